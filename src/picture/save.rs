//! Writing pictures, and writing any file whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Little is lost at this quality, and files stay several times smaller than as PNG.
const JPEG_QUALITY: u8 = 95;

/// Writes a picture as PNG or JPEG (quality 95), whichever the extension says.
///
/// The file is written whole or not at all: see [`write_atomically`].
///
/// # Errors
/// [`Error::InvalidParameter`] for an extension other than `png`, `jpg` and `jpeg` (in upper or lower case),
/// before anything is written; [`Error::Shape`] for an empty picture, or one too large for JPEG (65535 pixels
/// a side); [`Error::Io`] if the target is a folder or can't be written.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// let path = std::env::temp_dir().join("vis-save-example.png");
/// let grey = image::RgbImage::from_pixel(3, 2, image::Rgb([127; 3]));
/// vis::picture::save(&grey, &path)?;
/// assert_eq!(vis::picture::load(&path)?, grey);
/// assert!(vis::picture::save(&grey, "picture.bmp").is_err());
/// # Ok(())
/// # }
/// ```
pub fn save(picture: &RgbImage, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    let (longest_side, as_jpeg) = match extension.as_deref() {
        Some("png") => (u32::MAX, false),
        Some("jpg" | "jpeg") => (u32::from(u16::MAX), true),
        _ => {
            let expected = "one that ends in .png, .jpg or .jpeg";
            return Err(Error::invalid("the name of a picture file", expected, path.display()));
        }
    };
    let (width, height) = picture.dimensions();
    if width.min(height) == 0 || width.max(height) > longest_side {
        return Err(Error::Shape {
            what: format!("the picture for {}", path.display()),
            expected: format!("1 to {longest_side} pixels a side"),
            got: vec![height as usize, width as usize],
        });
    }
    write_atomically(path, |writer| {
        let pixels = picture.as_raw();
        let written = if as_jpeg {
            JpegEncoder::new_with_quality(writer, JPEG_QUALITY).write_image(
                pixels,
                width,
                height,
                ExtendedColorType::Rgb8,
            )
        } else {
            PngEncoder::new(writer).write_image(pixels, width, height, ExtendedColorType::Rgb8)
        };
        written.map_err(|error| match error {
            image::ImageError::IoError(error) => error,
            other => io::Error::other(other),
        })
    })
}

/// Writes a file whole or not at all, and returns what `write` returns: for the tables and arrays that a program writes
/// beside its pictures, as the command `vis` does.
///
/// `write` fills a temporary file in the same folder, which takes the place of `path` only once everything is
/// on the disk. When anything fails, `path` is as it was before and the temporary file is gone; a process that
/// is killed leaves at most a file named `.vis-….part`. A symbolic link is followed: the file it points to is
/// replaced. A device or pipe can't be replaced and is written to directly.
///
/// # Errors
/// [`Error::Io`], naming `path`: it is a folder, its folder is missing or read-only, the disk is full, or
/// `write` failed.
///
/// ```
/// # fn main() -> vis::Result<()> {
/// use std::io::Write;
/// let path = std::env::temp_dir().join("vis-losses.csv");
/// vis::picture::write_atomically(&path, |writer| writeln!(writer, "step,loss"))?;
/// assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("step,loss\n"));
/// # Ok(())
/// # }
/// ```
pub fn write_atomically<T>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> Result<T> {
    let path = path.as_ref();
    replace(path, write).map_err(Error::io("write", path))
}

/// Refuses a path that can't be written, before any work is done for it; what is there stays as it is.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let tried = Place::of(path).and_then(|place| match place {
        Place::Device(_) => Ok(()), // nothing is known before it is written to
        Place::File { folder, .. } => temporary_in(&folder).map(drop).map_err(|error| error.kind().into()),
    });
    tried.map_err(Error::io("write", path))
}

/// Where a path leads, with links followed.
pub(super) enum Place {
    /// What can't be replaced and is written to directly: a device or a pipe.
    Device(PathBuf),
    /// An ordinary file, there or not, in a folder that is there.
    File { target: PathBuf, folder: PathBuf },
}

impl Place {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
        };
        if target.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        if target.exists() && !target.is_file() {
            return Ok(Self::Device(target));
        }
        let folder = match target.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")),
        };
        if !folder.is_dir() {
            let reason = format!("there is no folder {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        Ok(Self::File { folder: folder.to_owned(), target })
    }
}

/// A file that takes the place of another once it is written.
pub(super) fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vis-").suffix(".part");
    // Temporary files are private by default; this one becomes an ordinary file (the umask still applies).
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn replace<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>) -> io::Result<T> {
    let (target, folder) = match Place::of(path)? {
        Place::Device(device) => {
            let mut writer = BufWriter::new(File::options().write(true).open(device)?);
            let result = write(&mut writer)?;
            writer.flush()?;
            return Ok(result);
        }
        Place::File { target, folder } => (target, folder),
    };
    let (file, temporary) = temporary_in(&folder)?.into_parts();
    let mut writer = BufWriter::new(file);
    let result = write(&mut writer)?;
    // Without this a crash of the machine could leave the new name on an empty file. It also closes the file,
    // which Windows wants before a rename.
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    temporary.persist(&target)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 3) as u8, (y * 3) as u8, 128]))
    }

    #[test]
    fn a_png_comes_back_byte_for_byte_and_a_jpeg_nearly() {
        let folder = tempfile::tempdir().unwrap();
        let picture = gradient(60, 40);
        for name in ["a.png", "a.PNG"] {
            save(&picture, folder.path().join(name)).unwrap();
            assert_eq!(crate::picture::load(folder.path().join(name)).unwrap(), picture);
        }
        for name in ["a.jpg", "a.Jpeg"] {
            save(&picture, folder.path().join(name)).unwrap();
            let back = crate::picture::load(folder.path().join(name)).unwrap();
            assert_eq!(back.dimensions(), (60, 40));
            let worst = back.iter().zip(picture.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(8), "{worst:?}");
        }
        assert_eq!(names(folder.path()).len(), 4, "no temporary file is left");
    }

    #[test]
    fn another_extension_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.bmp", "a", "png", "a.png.gif"] {
            let error = save(&gradient(2, 2), folder.path().join(name)).unwrap_err();
            assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
            assert!(error.to_string().contains(".png, .jpg or .jpeg"), "{error}");
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn an_empty_picture_and_one_too_large_for_jpeg_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = save(&RgbImage::new(0, 4), folder.path().join("a.png")).unwrap_err();
        let long = save(&RgbImage::new(65536, 1), folder.path().join("a.jpg")).unwrap_err();
        assert!(matches!((empty, long), (Error::Shape { .. }, Error::Shape { .. })));
        save(&RgbImage::new(65536, 1), folder.path().join("a.png")).unwrap();
    }

    #[test]
    fn a_folder_and_a_missing_folder_are_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.png");
        std::fs::create_dir(&target).unwrap();
        let error = save(&gradient(2, 2), &target).unwrap_err().to_string();
        assert!(error.contains("a.png") && error.contains("folder"), "{error}");
        let error = save(&gradient(2, 2), folder.path().join("nowhere/b.png")).unwrap_err().to_string();
        assert!(error.contains("b.png") && error.contains("there is no folder"), "{error}");
    }

    #[test]
    fn when_writing_fails_the_old_file_stays_and_no_other_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.csv");
        std::fs::write(&path, "old").unwrap();
        let failed: Result<()> = write_atomically(&path, |writer| {
            writer.write_all(b"half of the new")?;
            Err(io::Error::other("disk on fire"))
        });
        assert!(failed.unwrap_err().to_string().contains("disk on fire"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["numbers.csv"]);
        assert_eq!(write_atomically(&path, |writer| writer.write(b"new")).unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["numbers.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_has_ordinary_permissions_and_a_link_stays_a_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        write_atomically(&link, |writer| writer.write_all(b"new")).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
        // An ordinary new file gets 0666 less the umask; ours must get the same.
        std::fs::write(folder.path().join("ordinary"), "").unwrap();
        let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("real"), mode("ordinary"));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        use std::os::unix::fs::FileTypeExt;
        write_atomically("/dev/null", |writer| writer.write_all(b"gone")).unwrap();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
