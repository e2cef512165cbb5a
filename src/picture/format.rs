//! What a file of a picture is, by its first bytes, and whether all of it is there.

use image::ImageFormat;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
}

/// The number of bytes at the start of a file that tell what it is.
pub(super) const HEAD: usize = 512;

/// What to do with a picture of another kind.
const CONVERT: &str = "convert it to PNG, JPEG or WebP first";

impl Format {
    /// The format of a file that starts with these bytes, or what else it is and what to do about it.
    pub(super) fn of(head: &[u8]) -> Result<Self, String> {
        if head.is_empty() {
            return Err("it is empty".to_owned());
        }
        match image::guess_format(head) {
            Ok(ImageFormat::Png) => return Ok(Self::Png),
            Ok(ImageFormat::Jpeg) => return Ok(Self::Jpeg),
            Ok(ImageFormat::WebP) => return Ok(Self::WebP),
            _ => {}
        }
        let what = other(head).ok_or("its first bytes are those of no known picture")?;
        Err(match what {
            Other::Picture(name) => format!("it is {name}; {CONVERT}"),
            Other::Vector(name) => format!("it is {name}; render it as a PNG picture first"),
            Other::Raw(name) => format!("it is {name}; develop it to PNG or JPEG first"),
            Other::Video(name) => format!("it is {name}; save one of its frames as PNG or JPEG first"),
            Other::Page => "it is a web page; download the picture that the page shows".to_owned(),
            Other::Pointer => "it is a pointer of Git LFS; `git lfs pull` fetches the file itself".to_owned(),
            Other::Data(name) => format!("it is {name}, which is no picture"),
        })
    }

    pub(super) fn decoded_by(self) -> ImageFormat {
        match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
            Self::WebP => ImageFormat::WebP,
        }
    }

    /// Does the file reach its end? The decoders are lenient: what is missing would come out grey.
    pub(super) fn is_complete(self, bytes: &[u8]) -> bool {
        match self {
            Self::Png => png_ends(bytes),
            Self::Jpeg => jpeg_ends(bytes),
            Self::WebP => webp_ends(bytes),
        }
    }

    /// Refuses what is known to make a decoder panic.
    pub(super) fn check(self, bytes: &[u8]) -> Result<(), String> {
        match (self, jpeg_components(bytes)) {
            // Two components under an Adobe marker are an index out of bounds to `zune-jpeg`.
            (Self::Jpeg, Some(count)) if !matches!(count, 1 | 3 | 4) => {
                Err(format!("it has {count} colour components; JPEG pictures have 1, 3 or 4"))
            }
            _ => Ok(()),
        }
    }
}

/// What is taken for a picture and isn't one that is read.
#[derive(Debug, Clone, Copy)]
enum Other {
    Picture(&'static str),
    Vector(&'static str),
    Raw(&'static str),
    Video(&'static str),
    Data(&'static str),
    Page,
    Pointer,
}

/// First bytes that belong to one kind of file. Longer ones stand before shorter ones that they begin with.
const SIGNATURES: &[(&[u8], Other)] = &[
    (b"GIF8", Other::Picture("a GIF picture")),
    (b"BM", Other::Picture("a BMP picture")),
    (b"II*\0\x10\0\0\0CR", Other::Raw("a Canon raw photo (CR2)")),
    (b"II*\0", Other::Picture("a TIFF picture or a raw photo (DNG, NEF, ARW)")),
    (b"MM\0*", Other::Picture("a TIFF picture or a raw photo (DNG, NEF, ARW)")),
    (b"II+\0", Other::Picture("a TIFF picture")),
    (b"MM\0+", Other::Picture("a TIFF picture")),
    (b"IIRO", Other::Raw("an Olympus raw photo (ORF)")),
    (b"IIRS", Other::Raw("an Olympus raw photo (ORF)")),
    (b"IIU\0", Other::Raw("a Panasonic raw photo (RW2)")),
    (b"FUJIFILMCCD-RAW", Other::Raw("a Fujifilm raw photo (RAF)")),
    (b"FOVb", Other::Raw("a Sigma raw photo (X3F)")),
    (b"\0MRM", Other::Raw("a Minolta raw photo (MRW)")),
    (b"\xff\x0a", Other::Picture("a JPEG XL picture")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Other::Picture("a JPEG XL picture")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Other::Picture("a JPEG 2000 picture")),
    (b"\xff\x4f\xff\x51", Other::Picture("a JPEG 2000 picture")),
    (b"II\xbc\x01", Other::Picture("a JPEG XR picture")),
    (b"8BPS", Other::Picture("a Photoshop document (PSD)")),
    (b"gimp xcf", Other::Picture("a GIMP document (XCF)")),
    (b"\0\0\x01\0", Other::Picture("an icon (ICO)")),
    (b"icns", Other::Picture("an icon (ICNS)")),
    (b"\x76\x2f\x31\x01", Other::Picture("an OpenEXR picture")),
    (b"#?RADIANCE", Other::Picture("a Radiance HDR picture")),
    (b"#?RGBE", Other::Picture("a Radiance HDR picture")),
    (b"qoif", Other::Picture("a QOI picture")),
    (b"DDS ", Other::Picture("a DDS texture")),
    (b"\xabKTX ", Other::Picture("a KTX texture")),
    (b"farbfeld", Other::Picture("a farbfeld picture")),
    (b"BPG\xfb", Other::Picture("a BPG picture")),
    (b"FLIF", Other::Picture("a FLIF picture")),
    (b"AT&TFORM", Other::Picture("a DjVu document")),
    (b"%PDF", Other::Vector("a PDF document")),
    (b"%!PS", Other::Vector("a PostScript document")),
    (b"\xc5\xd0\xd3\xc6", Other::Vector("a PostScript document (EPS)")),
    (b"\x1a\x45\xdf\xa3", Other::Video("a Matroska or WebM video")),
    (b"FLV\x01", Other::Video("a Flash video")),
    (b"\0\0\x01\xba", Other::Video("an MPEG video")),
    (b"\x93NUMPY", Other::Data("an array of NumPy (.npy)")),
    (b"\x89HDF", Other::Data("an HDF5 file")),
    (b"PK\x03\x04", Other::Data("a zip archive")),
    (b"\x1f\x8b", Other::Data("a gzip archive")),
    (b"version https://git-lfs", Other::Pointer),
];

/// The brand at the start of files of the ISO base media format: `length ftyp brand`.
const BRANDS: &[(&[u8; 4], Other)] = &[
    (b"avif", AVIF),
    (b"avis", AVIF),
    (b"heic", HEIC),
    (b"heix", HEIC),
    (b"heim", HEIC),
    (b"heis", HEIC),
    (b"hevc", HEIC),
    (b"hevx", HEIC),
    (b"hevm", HEIC),
    (b"hevs", HEIC),
    (b"crx ", Other::Raw("a Canon raw photo (CR3)")),
    (b"qt  ", Other::Video("a QuickTime video")),
];
const AVIF: Other = Other::Picture("an AVIF picture");
const HEIC: Other = Other::Picture("a HEIC picture, as iPhones take them");
const HEIF: Other = Other::Picture("a HEIF picture");

fn other(head: &[u8]) -> Option<Other> {
    if head.get(4..8) == Some(b"ftyp") {
        return Some(media(head));
    }
    if head.starts_with(b"RIFF") {
        return Some(if head.get(8..12) == Some(b"AVI ") {
            Other::Video("an AVI video")
        } else {
            Other::Data("a RIFF file")
        });
    }
    if let Some((_, other)) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
        return Some(*other);
    }
    if let [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t' | b'#', ..] = head {
        return Some(Other::Picture("a PNM picture (PBM, PGM, PPM)"));
    }
    if head.get(128..132) == Some(b"DICM") {
        return Some(Other::Picture("a DICOM picture"));
    }
    markup(head)
}

/// The kind of a file of the ISO base media format: its own brand, or else those that it is compatible with.
fn media(head: &[u8]) -> Other {
    let length = head.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let brands = head.get(8..length.clamp(8, head.len())).unwrap_or_default();
    // Major brand, its version, compatible brands.
    let (brands, _) = brands.as_chunks::<4>();
    let known = |brand: &[u8; 4]| BRANDS.iter().find(|(known, _)| *known == brand).map(|(_, other)| *other);
    let own = head.get(8..12).and_then(<[u8]>::first_chunk).and_then(known);
    let general = brands.first().is_some_and(|brand| matches!(brand, b"mif1" | b"msf1" | b"miaf" | b"mif2"));
    match own {
        Some(other) => other,
        None if general => brands.iter().skip(2).find_map(known).unwrap_or(HEIF),
        None => Other::Video("an MP4 video"),
    }
}

/// Text in angle brackets: a drawing or a page.
fn markup(head: &[u8]) -> Option<Other> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let text = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    if !text.starts_with('<') {
        return None;
    }
    // In a page a drawing stands further down.
    let is_page = text.starts_with("<!doctype html") || text.contains("<html") || text.contains("<head");
    match text.contains("<svg") || text.starts_with("<!doctype svg") {
        true if !is_page => Some(Other::Vector("an SVG drawing")),
        _ if is_page => Some(Other::Page),
        _ => Some(Other::Data("a text of XML")),
    }
}

/// The bytes as a number, the first the highest.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn png_ends(bytes: &[u8]) -> bool {
    // Eight bytes of signature, then chunks: length, name, data, checksum.
    let mut at = 8_usize;
    while let Some(length) = number(bytes, at, 4) {
        if bytes.get(at + 4..at + 8) == Some(b"IEND".as_slice()) {
            return true;
        }
        at = at.saturating_add(length).saturating_add(12);
    }
    false
}

/// The segments of a JPEG file: the marker, and where what follows its length begins.
fn jpeg_segments(bytes: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    // Two bytes of signature, then segments with a length, and scans without one in which FF is stuffed with 00.
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            let pair = number(bytes, at, 2)?;
            let start = at;
            at += match pair {
                0xFFFF => 1,
                0xFF00 | 0xFF01 | 0xFFD0..=0xFFD9 => 2,
                0xFF02.. => 2 + number(bytes, at + 2, 2).unwrap_or(0),
                _ => 1,
            };
            if matches!(pair, 0xFF02..=0xFFFE) {
                return Some((pair as u8, start + 4));
            }
        }
    })
}

fn jpeg_ends(bytes: &[u8]) -> bool {
    jpeg_segments(bytes).any(|(marker, _)| marker == 0xD9)
}

/// The number of components that the frame of a JPEG file has.
fn jpeg_components(bytes: &[u8]) -> Option<u8> {
    let is_frame = |marker: u8| matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC);
    let (_, at) = jpeg_segments(bytes).find(|(marker, _)| is_frame(*marker))?;
    // Precision, height, width, number of components.
    bytes.get(at + 5).copied()
}

fn webp_ends(bytes: &[u8]) -> bool {
    // The length counts from behind itself.
    let length = bytes.get(4..8).and_then(<[u8]>::first_chunk).map(|length| u32::from_le_bytes(*length));
    length.is_some_and(|length| bytes.len() as u64 >= u64::from(length) + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_named(head: &[u8], name: &str) {
        let reason = Format::of(head).unwrap_err();
        assert!(reason.starts_with(&format!("it is {name}")), "{reason}");
    }

    #[test]
    fn every_signature_is_met_by_itself() {
        for (signature, other) in SIGNATURES {
            let reason = Format::of(signature).unwrap_err();
            let name = match other {
                Other::Picture(name) | Other::Vector(name) | Other::Raw(name) | Other::Video(name) => name,
                Other::Data(name) => name,
                Other::Page => "a web page",
                Other::Pointer => "a pointer of Git LFS",
            };
            assert!(reason.contains(name), "{signature:?}: {reason}");
        }
    }

    #[test]
    fn photos_of_telephones_and_browsers_are_named_with_what_to_do() {
        let file = |brands: &[&[u8; 4]]| {
            let length = 8 + 4 * brands.len() as u32;
            let brands: Vec<u8> = brands.iter().flat_map(|brand| **brand).collect();
            [&length.to_be_bytes()[..], b"ftyp", &brands, b"\0\0\0\x08mdat"].concat()
        };
        let version = b"\0\0\0\0";
        assert_named(&file(&[b"heic", version, b"mif1", b"heic"]), "a HEIC picture");
        assert_named(&file(&[b"mif1", version, b"heic"]), "a HEIC picture");
        assert_named(&file(&[b"mif1", version, b"miaf", b"avif"]), "an AVIF picture");
        assert_named(&file(&[b"avif", version, b"mif1"]), "an AVIF picture");
        assert_named(&file(&[b"avis", version]), "an AVIF picture");
        assert_named(&file(&[b"mif1", version, b"zzzz"]), "a HEIF picture");
        assert_named(&file(&[b"crx ", version, b"isom"]), "a Canon raw photo");
        assert_named(&file(&[b"isom", version, b"avc1"]), "an MP4 video");
        assert_named(b"\0\0\0\x18ftyp", "an MP4 video");
        let advice = Format::of(&file(&[b"heic", version])).unwrap_err();
        assert!(advice.ends_with("; convert it to PNG, JPEG or WebP first"), "{advice}");
    }

    #[test]
    fn drawings_and_pages_are_told_apart() {
        assert_named(b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing");
        assert_named(b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><svg>", "an SVG drawing");
        assert_named(b"<!DOCTYPE html><svg></svg>", "a web page");
        assert_named(b"\n<HTML><head>", "a web page");
        assert_named(b"<?xml version='1.0'?><plist>", "a text of XML");
        assert_named(b"P6\n3 2\n255\n", "a PNM picture");
        assert_named(&[&[0; 128], b"DICM".as_slice()].concat(), "a DICOM picture");
        assert_named(b"RIFF\x10\0\0\0AVI LIST", "an AVI video");
        assert_named(b"RIFF\x10\0\0\0WAVEfmt ", "a RIFF file");
        let unknown = Format::of(b"hello, this is not a picture").unwrap_err();
        assert_eq!(unknown, "its first bytes are those of no known picture");
    }

    #[test]
    fn the_components_of_a_jpeg_are_those_of_its_frame() {
        // A comment of four bytes and a Huffman table stand before the frame.
        for count in 0..=5 {
            let file = [
                b"\xff\xd8\xff\xfe\0\x04ab\xff\xc4\0\x03x\xff\xc2\0\x08\x08\0\x10\0\x20".as_slice(),
                &[count],
                b"\xff\xd9",
            ]
            .concat();
            assert_eq!(jpeg_components(&file), Some(count));
            assert_eq!(Format::Jpeg.check(&file).is_ok(), matches!(count, 1 | 3 | 4), "{count}");
        }
        assert_eq!(jpeg_components(b"\xff\xd8\xff\xd9"), None);
    }
}
