//! Reads what `torch.save` writes.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use pytorch_reader::{DType, PytorchReader};
use tempfile::NamedTempFile;
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

use super::malformed;
use super::source::Files;
use super::stored::{Data, Element, Stored, advice};
use crate::contained::contained;
use crate::{Error, Result};

/// A checkpoint in a zip archive, as PyTorch writes it since 1.6.
pub(super) fn read_zip(path: &Path) -> Result<Files> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let copy = match contained(|| examine(&file)).map_err(|reason| malformed(path, reason))? {
        Archive::Readable => None,
        Archive::Misread => Some(mended(&file).map_err(Error::io("copy", path))?),
    };
    let tensors = read(path, copy.as_ref().map_or(path, NamedTempFile::path))?;
    Ok(Files { tensors, copies: copy.into_iter().collect() })
}

/// A checkpoint in the form of an older version.
pub(super) fn read_pickle(path: &Path) -> Result<Files> {
    Ok(Files { tensors: read(path, path)?, copies: Vec::new() })
}

enum Archive {
    Readable,
    /// Well-formed, but the crate `zip` takes its second entry for the first.
    Misread,
}

/// Refuses archives that hold something else than a checkpoint, by the names of their entries.
fn examine(file: &File) -> Result<Archive, String> {
    // PyTorch's archives begin where the file does, and the central directory is where they say.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, BufReader::new(file)).map_err(|error| error.to_string())?;
    let names = archive.file_names().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let any = |fits: &dyn Fn(&str) -> bool| names.iter().any(|name| fits(name.as_ref()));
    let ends = |end: &str| any(&|name| name == end || name.ends_with(&format!("/{end}")));
    if ends("constants.pkl") || any(&|name| name.starts_with("code/") || name.contains("/code/__torch__")) {
        return Err(
            "it is a TorchScript archive (torch.jit.save), a program with its weights; save the weights: \
                    torch.save(torch.jit.load(file).state_dict(), \"weights.pth\")"
                .to_owned(),
        );
    }
    if ends("model.weights.h5") {
        return Err("it is an archive of Keras (.keras); convert its weights to safetensors".to_owned());
    }
    if ends("archive_format")
        || ends("serialized_exported_program.json")
        || any(&|name| name.contains("models/model.json"))
    {
        return Err("it is an exported program (torch.export.save, .pt2); save the weights: \
                    torch.save(torch.export.load(file).state_dict, \"weights.pth\")"
            .to_owned());
    }
    if ends(".data/extern_modules") || any(&|name| name.contains("/.data/extern_modules")) {
        return Err(
            "it is a package of torch.package, which holds Python code; save the state_dict alone".to_owned()
        );
    }
    if !ends("data.pkl") {
        return Err(if any(&|name| name.ends_with(".npy")) {
            "it is an archive of NumPy arrays (.npz); convert it to safetensors".to_owned()
        } else {
            "it is a zip archive, but not one of torch.save: it has no data.pkl".to_owned()
        });
    }
    let found = ZipArchive::new(BufReader::new(file));
    Ok(if found.is_ok_and(|found| found.offset() == 0) { Archive::Readable } else { Archive::Misread })
}

/// A copy of an archive that the crate `zip` reads rightly.
///
/// It looks for the central directory at its own length before the record at the end of the file. PyTorch writes a
/// record of ZIP64 and its locator, 76 bytes, in between, and when the first entry of the directory has 76 bytes too (the
/// name of the file has 21 bytes before `/data.pkl`), the second entry stands where the first was looked for. With the
/// greatest number of entries in the record at the end the crate follows the record of ZIP64, which says where the
/// directory is.
fn mended(mut file: &File) -> std::io::Result<NamedTempFile> {
    const END: &[u8] = b"PK\x05\x06";
    const LENGTH: i64 = 22;
    let mut copy = NamedTempFile::new()?;
    file.seek(SeekFrom::Start(0))?;
    std::io::copy(&mut file, &mut copy)?;
    let mut end = [0; LENGTH as usize];
    copy.seek(SeekFrom::End(-LENGTH))?;
    copy.read_exact(&mut end)?;
    if end.starts_with(END) {
        end[8..12].fill(0xff);
        copy.seek(SeekFrom::End(-LENGTH))?;
        copy.write_all(&end)?;
    }
    copy.flush()?;
    Ok(copy)
}

/// The tensors in the file `place`, which is `path` or a copy of it.
fn read(path: &Path, place: &Path) -> Result<Vec<Stored>> {
    let reader = contained(|| PytorchReader::new(place).map_err(|error| explained(&error.to_string())))
        .map_err(|reason| malformed(path, reason))?;
    let file_size = std::fs::metadata(place).map_err(Error::io("read", path))?.len();
    let mut tensors = Vec::new();
    for (name, tensor) in reader.into_tensors() {
        // A tensor may repeat one value over strides of zero; no network is stored so, and a few bytes could
        // ask for all memory there is.
        let extents = tensor.shape().iter().map(|&extent| extent as u64);
        let size = extents.chain([tensor.dtype().size() as u64]).try_fold(1, u64::checked_mul);
        if size.is_none_or(|size| size > file_size) {
            return Err(malformed(path, format!("{name} is larger than the file")));
        }
        let element = match tensor.dtype() {
            DType::F16 => Element::F16,
            DType::BF16 => Element::Bf16,
            DType::F32 => Element::F32,
            DType::F64 => Element::F64,
            other => Element::Other(format!("{other:?}")),
        };
        tensors.push(Stored { name, shape: tensor.shape().to_vec(), element, data: Data::Pytorch(tensor) });
    }
    Ok(tensors)
}

/// What the reader says, in the words of what the file is.
fn explained(error: &str) -> String {
    let float8 = error.find("float8").or_else(|| error.find("Float8"));
    match float8 {
        Some(at) => {
            let name: String = error[at..]
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            format!("it has elements of type {name}{}", advice("float8"))
        }
        None => error.to_owned(),
    }
}
