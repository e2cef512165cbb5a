//! `-`: standard input as a photo, standard output for the picture.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use image::RgbImage;
use tempfile::TempPath;

use crate::failure::{Failure, Outcome};

/// What errors call it.
const INPUT: &str = "standard input";
/// More is no picture and no array that would be read.
const MOST_BYTES: u64 = 2 << 30;

/// Whether a path stands for standard input or output.
pub(crate) fn is_meant_by(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses to read standard input twice, or from a keyboard.
pub(crate) fn check_inputs(inputs: &[&Path]) -> Outcome {
    match inputs.iter().filter(|input| is_meant_by(input)).count() {
        0 => Ok(()),
        1 if std::io::stdin().is_terminal() => Err(Failure::misuse(
            "standard input is a terminal: redirect a photo into it, as in `< cat.jpg`, or name a file",
        )),
        1 => Ok(()),
        _ => Err(Failure::misuse("`-` is given twice, and standard input can be read only once")),
    }
}

/// Refuses to draw on a terminal.
pub(crate) fn check_output() -> Outcome {
    if std::io::stdout().is_terminal() {
        let advice = "redirect it, as in `-o - > picture.png`, or name a file";
        return Err(Failure::misuse(format!("standard output is a terminal: {advice}")));
    }
    Ok(())
}

/// What errors call a photo.
pub(crate) fn called(path: &Path) -> String {
    if is_meant_by(path) { INPUT.to_owned() } else { path.display().to_string() }
}

/// Runs a reader of files on a path, or on what comes from standard input.
pub(crate) fn read<T>(path: &Path, reader: impl FnOnce(&Path) -> vis::Result<T>) -> Outcome<T> {
    if !is_meant_by(path) {
        return Ok(reader(path)?);
    }
    let spooled = spool().map_err(vis::Error::io("read", INPUT))?;
    reader(&spooled).map_err(|error| {
        // Nobody asked for the file in which it was kept.
        Failure::from(match error {
            vis::Error::Format { kind, reason, .. } => {
                vis::Error::Format { path: INPUT.into(), kind, reason }
            }
            error => error,
        })
    })
}

/// The bytes of standard input in a file, as readers of files take them.
fn spool() -> std::io::Result<TempPath> {
    let mut input = std::io::stdin().lock();
    let mut file = tempfile::Builder::new().prefix("vis-").tempfile()?;
    // As long as it may still be a picture or an array: a stream that never ends is not kept.
    let mut start = Vec::new();
    input.by_ref().take(64).read_to_end(&mut start)?;
    file.write_all(&start)?;
    if is_array(&start) || image::guess_format(&start).is_ok() {
        std::io::copy(&mut input.take(MOST_BYTES), &mut file)?;
    }
    file.flush()?;
    Ok(file.into_temp_path())
}

/// Whether bytes begin as an array in NumPy's format does.
fn is_array(start: &[u8]) -> bool {
    start.starts_with(b"\x93NUMPY")
}

/// Whether a file holds an array in NumPy's format, by its name, or by its first bytes if it comes from standard input.
pub(crate) fn names_array(given: &Path, file: &Path) -> bool {
    if !is_meant_by(given) {
        return given.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(64).read_to_end(&mut start));
    read.is_ok() && is_array(&start)
}

/// A picture as the bytes of a file of this extension.
pub(crate) fn encoded(picture: &RgbImage, extension: &str) -> vis::Result<Vec<u8>> {
    let create = vis::Error::io("create", "a temporary folder");
    let folder = tempfile::Builder::new().prefix("vis-").tempdir().map_err(create)?;
    let path = folder.path().join("picture").with_extension(extension);
    vis::picture::save(picture, &path)?;
    std::fs::read(&path).map_err(vis::Error::io("read", path))
}
