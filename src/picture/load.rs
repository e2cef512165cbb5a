//! Reading pictures.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::format::{Format, HEAD};
use crate::contained::contained;
use crate::{Error, Result};

/// A little over 12000 × 12000, some 450 MB in memory: more than any network's input is cut from.
pub(super) const MOST_PIXELS: u64 = 150_000_000;

/// Sixteen-bit pixels with transparency, the widest there are, at the most pixels, and room for the decoder.
const MOST_BYTES: u64 = 10 * MOST_PIXELS;

/// Reads a PNG, JPEG or WebP picture, told apart by content and not by name.
///
/// The picture is turned upright as its EXIF orientation says. Grey becomes RGB, 16 bits become 8, and
/// transparency is laid over white. Of an animation the first frame is taken. Colour profiles are ignored: the numbers
/// are taken to be sRGB.
///
/// # Errors
/// [`Error::Io`] if there is no such file or it can't be read; [`Error::Format`] if it is another format (which is
/// named, with what to do: HEIC, AVIF, TIFF, …), damaged, cut off, or larger than 150 million pixels (which is refused
/// before they are decoded).
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
    contained(|| decode(&bytes)).map_err(|reason| Error::Format {
        path: path.to_owned(),
        kind: "PNG, JPEG or WebP picture",
        reason,
    })
}

/// Reads all of a picture file, but no more than the first bytes of anything else: it may be endless.
fn read_picture_file(file: File) -> std::io::Result<Vec<u8>> {
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    reader.by_ref().take(HEAD as u64).read_to_end(&mut bytes)?;
    if Format::of(&bytes).is_ok() {
        reader.take(MOST_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let format = Format::of(&bytes[..bytes.len().min(HEAD)])?;
    format.check(bytes)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.decoded_by());
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("it is {width} × {height} pixels large; at most {MOST_PIXELS} pixels are read"));
    }
    if !format.is_complete(bytes) {
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
            ("text.png", b"hello, this is not a picture".as_slice(), "no known picture"),
            ("movie.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".as_slice(), "a GIF picture"),
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

    /// A JPEG file of 64 × 48 pixels that ends in zeros: one quantisation table, one Huffman table of each class, one
    /// scan. `adobe` is the transform of an Adobe marker.
    fn jpeg(frame: u8, components: u8, sampling: u8, adobe: Option<u8>, zeros: usize) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8];
        let mut segment = |marker: u8, body: &[u8]| {
            bytes.extend([0xFF, marker]);
            bytes.extend((body.len() as u16 + 2).to_be_bytes());
            bytes.extend(body);
        };
        if let Some(transform) = adobe {
            segment(0xEE, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat());
        }
        segment(0xDB, &[[0].as_slice(), &[1; 64]].concat());
        let of_frame: Vec<u8> = (1..=components).flat_map(|id| [id, sampling, 0]).collect();
        segment(frame, &[[8, 0, 48, 0, 64, components].as_slice(), &of_frame].concat());
        for class in [0x00, 0x10] {
            // One code, of one bit, for the value 0.
            segment(0xC4, &[[class, 1].as_slice(), &[0; 15], &[0]].concat());
        }
        let of_scan: Vec<u8> = (1..=components).flat_map(|id| [id, 0]).collect();
        let end = if frame == 0xC2 { 0 } else { 63 };
        segment(0xDA, &[[components].as_slice(), &of_scan, &[0, end, 0]].concat());
        bytes.resize(bytes.len() + zeros, 0);
        bytes.extend([0xFF, 0xD9]);
        bytes
    }

    #[test]
    fn what_makes_the_decoder_of_jpeg_panic_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for frame in [0xC0, 0xC1, 0xC2] {
            for (components, sampling) in [(2, 0x11), (2, 0x21), (2, 0x22), (5, 0x11), (0, 0x11), (255, 0x11)]
            {
                for adobe in [None, Some(0), Some(1), Some(2), Some(9)] {
                    let bytes = jpeg(frame, components, sampling, adobe, 400);
                    let error = load(file(folder.path(), "odd.jpg", &bytes)).unwrap_err();
                    assert!(matches!(error, Error::Format { .. }), "{error}");
                    let text = error.to_string();
                    let expected = format!("it has {components} colour components");
                    assert!(text.contains("odd.jpg") && text.contains(&expected), "{text}");
                }
            }
        }
        // The same with 1 or 3 components is a grey picture: every difference is zero.
        for frame in [0xC0, 0xC2] {
            for components in [1, 3] {
                // A block takes a bit for its mean and, unless the scan holds means alone, one for its end.
                let bits = 48 * usize::from(components) * if frame == 0xC0 { 2 } else { 1 };
                let bytes = jpeg(frame, components, 0x11, None, bits / 8);
                let picture = load(file(folder.path(), "grey.jpg", &bytes)).unwrap();
                assert_eq!(picture.dimensions(), (64, 48));
                assert!(picture.into_raw().iter().all(|value| *value == 128), "{components}");
            }
        }
    }

    #[test]
    fn no_frame_of_a_jpeg_makes_loading_panic() {
        // Kinds of frame, components, sampling factors and Adobe's transforms against each other. A panic would be
        // contained, but is to be known: what the decoder says then starts with these words.
        let folder = tempfile::tempdir().unwrap();
        for frame in (0xC0..=0xCF).filter(|marker| !matches!(marker, 0xC4 | 0xC8 | 0xCC)) {
            for components in [1, 2, 3, 4] {
                for sampling in [0x00, 0x11, 0x12, 0x14, 0x22, 0x41, 0x44, 0xFF] {
                    for adobe in [None, Some(0), Some(1), Some(2)] {
                        let bytes = jpeg(frame, components, sampling, adobe, 400);
                        if let Err(error) = load(file(folder.path(), "odd.jpg", &bytes)) {
                            let text = error.to_string();
                            assert!(
                                !text.contains("its decoder failed"),
                                "{frame:x} {components} {sampling:x} {adobe:?}: {text}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_webp_of_an_encoder_without_loss_has_every_pixel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        for picture in [sample(), RgbImage::from_fn(1, 3, |_, y| Rgb([y as u8, 255, 7]))] {
            picture.save_with_format(&path, image::ImageFormat::WebP).unwrap();
            assert_eq!(load(&path).unwrap(), picture);
        }
        let pixels = [255, 0, 0, 0, 255, 0, 0, 51, 255, 0, 0, 255];
        image::save_buffer_with_format(
            &path,
            &pixels,
            3,
            1,
            image::ExtendedColorType::Rgba8,
            image::ImageFormat::WebP,
        )
        .unwrap();
        assert_eq!(load(&path).unwrap().into_raw(), [255, 255, 255, 255, 204, 204, 255, 0, 0]);
    }

    #[test]
    fn a_webp_cut_off_anywhere_is_an_error_and_one_with_an_appendix_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole.webp");
        sample().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(29).chain([bytes.len() - 1]) {
            let error = load(file(folder.path(), "cut", &bytes[..length])).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{length}: {error}");
        }
        let longer = [bytes.as_slice(), b"appended"].concat();
        assert_eq!(load(file(folder.path(), "longer", &longer)).unwrap(), sample());
    }

    #[test]
    fn the_webp_of_browsers_and_telephones_is_read_whatever_its_kind() {
        // By `make_webp.py`: what was drawn, within what the compression leaves of it.
        let drawn =
            RgbImage::from_fn(37, 23, |x, y| Rgb([6 * x, 10 * y, 3 * (x + y)].map(|value| value as u8)));
        let white = Rgb([255; 3]);
        let half = RgbImage::from_fn(37, 23, |x, y| if x < 20 { *drawn.get_pixel(x, y) } else { white });
        for (name, expected, tolerance) in [
            ("lossy", &drawn, 6.0),
            ("oriented", &drawn, 6.0),
            ("alpha", &half, 6.0),
            ("animated", &drawn, 0.0),
        ] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pictures");
            let picture = load(folder.join(name).with_extension("webp")).unwrap();
            assert_eq!(picture.dimensions(), (37, 23), "{name}");
            let differences = picture.iter().zip(expected.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)));
            let mean = differences.sum::<f64>() / f64::from(37 * 23 * 3);
            assert!(mean <= tolerance, "{name}: {mean}");
            if name == "alpha" {
                assert!(picture.enumerate_pixels().all(|(x, _, pixel)| x < 20 || *pixel == white));
            }
        }
    }
}
