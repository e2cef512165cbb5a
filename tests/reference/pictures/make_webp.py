"""Writes the small WebP pictures of this folder with Pillow (13.0, libwebp), which encodes what the crate `image` can't.

All show 37 x 23 pixels of red 6x, green 10y, blue 3(x + y); `alpha` is 255 in the left 20 columns and 0 in the others,
`oriented` is stored so that EXIF orientation 6 (a quarter turn clockwise) shows it upright, `animated` has it as its
first frame and black as its second.
"""
import numpy as np
from PIL import Image

y, x = np.mgrid[0:23, 0:37]
rgb = np.stack([6 * x, 10 * y, 3 * (x + y)], axis=2).astype(np.uint8)
picture = Image.fromarray(rgb)
picture.save("lossy.webp", quality=95, method=6)
alpha = np.where(x < 20, 255, 0).astype(np.uint8)
Image.fromarray(np.dstack([rgb, alpha])).save("alpha.webp", quality=95, method=6)
exif = Image.Exif()
exif[0x0112] = 6
picture.transpose(Image.Transpose.ROTATE_90).save("oriented.webp", quality=95, method=6, exif=exif)
black = Image.new("RGB", (37, 23))
picture.save("animated.webp", save_all=True, append_images=[black], duration=100, lossless=True)
