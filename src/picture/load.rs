//! Reading pictures.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::{Error, Result};

/// A little over 12000 × 12000, some 450 MB in memory: more than any network's input is cut from.
const MOST_PIXELS: u64 = 150_000_000;

/// Sixteen-bit pixels with transparency, the widest there are, at the most pixels, and room for the decoder.
const MOST_BYTES: u64 = 10 * MOST_PIXELS;

/// Reads a PNG or JPEG picture, told apart by content and not by name.
///
/// The picture is turned upright as its EXIF orientation says. Grey becomes RGB, 16 bits become 8, and
/// transparency is laid over white. Colour profiles are ignored: the numbers are taken to be sRGB.
///
/// # Errors
/// [`Error::Io`] if there is no such file or it can't be read; [`Error::Format`] if it is another format,
/// damaged, cut off, or larger than 150 million pixels (which is refused before they are decoded).
///
/// ```no_run
/// # fn main() -> vis::Result<()> {
/// let photo = vis::picture::load("cat.jpg")?;
/// println!("{} by {} pixels", photo.width(), photo.height());
/// # Ok(())
/// # }
/// ```
pub fn load(path: impl AsRef<Path>) -> Result<RgbImage> {
    let path = path.as_ref();
    let read = Error::io("read", path);
    let bytes = match File::open(path).and_then(read_picture_file) {
        Ok(bytes) => bytes,
        Err(error) => return Err(read(error)),
    };
    decode(&bytes).map_err(|reason| Error::Format {
        path: path.to_owned(),
        kind: "PNG or JPEG picture",
        reason,
    })
}

/// Reads all of a picture file, but no more than the first bytes of anything else: it may be endless.
fn read_picture_file(file: File) -> std::io::Result<Vec<u8>> {
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    reader.by_ref().take(16).read_to_end(&mut bytes)?;
    if matches!(image::guess_format(&bytes), Ok(ImageFormat::Png | ImageFormat::Jpeg)) {
        reader.take(MOST_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        Ok(other) => return Err(format!("it is {other:?}")),
        Err(_) if bytes.is_empty() => return Err("it is empty".to_owned()),
        Err(_) => return Err("its first bytes are those of neither".to_owned()),
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("it is {width} × {height} pixels large; at most {MOST_PIXELS} pixels are read"));
    }
    // The decoders are lenient: what is missing at the end would come out grey.
    if !is_complete(format, bytes) {
        return Err("it is cut off before its end".to_owned());
    }
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    picture.apply_orientation(orientation);
    Ok(if picture.color().has_alpha() { over_white(picture) } else { picture.into_rgb8() })
}

fn over_white(picture: DynamicImage) -> RgbImage {
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u16::from);
        let blend = |value: u16| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        image::Rgb([red, green, blue].map(blend))
    })
}

/// Does the file reach its end mark?
fn is_complete(format: ImageFormat, bytes: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    if format == ImageFormat::Png {
        // Eight bytes of signature, then chunks: length, name, data, checksum.
        let mut at = 8;
        while let Some(length) = number(at, 4) {
            if bytes.get(at + 4..at + 8) == Some(b"IEND".as_slice()) {
                return true;
            }
            at += length + 12;
        }
        return false;
    }
    // Two bytes of signature, then segments with a length, and scans without one in which FF is stuffed with 00.
    let mut at = 2;
    while let Some(pair) = number(at, 2) {
        at += match pair {
            0xFFD9 => return true,
            0xFFFF => 1,
            0xFF00 | 0xFF01 | 0xFFD0..=0xFFD8 => 2,
            0xFF02.. => 2 + number(at + 2, 2).unwrap_or(0),
            _ => 1,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::save;
    use image::{ImageEncoder, Rgb};

    const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn sample() -> RgbImage {
        RgbImage::from_fn(64, 48, |x, y| Rgb([(x * 4) as u8, (y * 5) as u8, (x * y) as u8]))
    }

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn content_decides_and_not_the_name() {
        let folder = tempfile::tempdir().unwrap();
        save(&sample(), folder.path().join("a.png")).unwrap();
        std::fs::rename(folder.path().join("a.png"), folder.path().join("a.jpg")).unwrap();
        assert_eq!(load(folder.path().join("a.jpg")).unwrap(), sample());
    }

    #[test]
    fn a_missing_file_and_a_folder_are_read_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing.png"), folder.path().to_owned()] {
            let error = load(&path).unwrap_err();
            assert!(matches!(error, Error::Io { action: "read", .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn other_formats_are_refused_with_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes, reason) in [
            ("empty.png", b"".as_slice(), "empty"),
            ("text.png", b"hello, this is not a picture".as_slice(), "neither"),
            ("movie.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".as_slice(), "Gif"),
            ("cut.png", PNG_SIGNATURE, ""),
        ] {
            let error = load(file(folder.path(), name, bytes)).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{error}");
            assert!(error.to_string().contains(name) && error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["whole.png", "whole.jpg"] {
            let path = folder.path().join(name);
            save(&sample(), &path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            for percent in [0, 1, 5, 25, 50, 75, 95, 99] {
                let cut = &bytes[..bytes.len() * percent / 100];
                let error = load(file(folder.path(), "cut", cut)).unwrap_err();
                assert!(matches!(error, Error::Format { .. }), "{name} cut at {percent} %: {error}");
            }
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(load(file(folder.path(), "cut", cut)).is_err(), name == "whole.jpg");
            // Cameras append previews after the end: that is not damage.
            let longer = [bytes.as_slice(), b"appended"].concat();
            assert!(load(file(folder.path(), "longer", &longer)).is_ok());
        }
    }

    #[test]
    fn absurd_dimensions_are_refused_before_memory_is_taken() {
        // A PNG header that claims 100 000 × 100 000 pixels (30 GB), followed by nothing.
        let side = 100_000_u32.to_be_bytes();
        let header = [b"IHDR".as_slice(), &side, &side, &[8, 2, 0, 0, 0]].concat();
        let checksum = checksum(&header).to_be_bytes();
        let bytes =
            [PNG_SIGNATURE, &[0, 0, 0, 13], &header, &checksum, b"\0\0\0\0IDAT\x35\xaf\x06\x1e"].concat();
        let folder = tempfile::tempdir().unwrap();
        let error = load(file(folder.path(), "huge.png", &bytes)).unwrap_err().to_string();
        assert!(error.contains("100000 × 100000"), "{error}");
    }

    #[test]
    fn twelve_thousand_by_twelve_thousand_is_within_the_limits() {
        const { assert!(12_000 * 12_000 <= MOST_PIXELS) };
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MOST_BYTES);
        limits.reserve(12_000 * 12_000 * 8).unwrap();
    }

    /// CRC-32 as PNG defines it, bit by bit.
    fn checksum(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    #[test]
    fn transparency_is_laid_over_white() {
        // Red at alpha 0, 51 = 255/5 and 255. White shows through: 255·(1 − 1/5) = 204 in green and blue.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels = [255, 0, 0, 0, 255, 0, 0, 51, 255, 0, 0, 255];
        image::save_buffer(&path, &pixels, 3, 1, image::ExtendedColorType::Rgba8).unwrap();
        assert_eq!(load(&path).unwrap().into_raw(), [255, 255, 255, 255, 204, 204, 255, 0, 0]);
    }

    #[test]
    fn grey_and_sixteen_bit_pictures_become_rgb() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::save_buffer(&path, &[7, 200], 2, 1, image::ExtendedColorType::L8).unwrap();
        assert_eq!(load(&path).unwrap().into_raw(), [7, 7, 7, 200, 200, 200]);
        // 8-bit value v is v·257 in 16 bits.
        let wide = image::ImageBuffer::<Rgb<u16>, _>::from_raw(1, 1, vec![0, 257 * 100, 65535]).unwrap();
        DynamicImage::from(wide).save(&path).unwrap();
        assert_eq!(load(&path).unwrap().into_raw(), [0, 100, 255]);
    }

    #[test]
    fn the_exif_orientation_is_honoured() {
        // Orientation 6: what is stored as the left column is shown as the top row.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        // Stored: two rows, black above white.
        encoder.write_image(&[0, 0, 0, 255, 255, 255], 1, 2, image::ExtendedColorType::Rgb8).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let upright = load(file(folder.path(), "a.png", &bytes)).unwrap();
        // Turned a quarter clockwise, the upper pixel comes to lie on the right.
        assert_eq!(upright.dimensions(), (2, 1));
        assert_eq!(upright.into_raw(), [255, 255, 255, 0, 0, 0]);
    }
}
