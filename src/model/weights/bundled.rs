//! The networks that come with the crate, and where their weights are.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The environment variable that names a folder whose files come before all others.
const FOLDER_VARIABLE: &str = "VIS_WEIGHTS";

/// A network that comes with the crate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundled {
    /// The name of its file.
    file: &'static str,
    /// The feature that puts it into the program.
    feature: &'static str,
    /// The number of files that it is cut into.
    parts: usize,
    /// Their bytes; none without the feature. A function, so that a program holds only the networks that it opens.
    bytes: fn() -> Vec<&'static [u8]>,
}

/// The bytes of these files, or none without the feature.
macro_rules! built_in {
    ($feature:literal, $($bytes:path),+) => {
        || {
            #[cfg(feature = $feature)]
            return vec![$($bytes),+];
            #[cfg(not(feature = $feature))]
            return Vec::new();
        }
    };
}

const fn small(file: &'static str, bytes: fn() -> Vec<&'static [u8]>) -> Bundled {
    Bundled { file, feature: "bundled", parts: 1, bytes }
}

pub(crate) const EFFICIENTNET_LITE0: Bundled =
    small("efficientnet_lite0_f16.safetensors", built_in!("bundled", vis_weights::EFFICIENTNET_LITE0));

pub(crate) const DIGITS: Bundled =
    small("mnist_cnn_f16.safetensors", built_in!("bundled", vis_weights::DIGITS));

pub(crate) const DIGITS_GENERATOR: Bundled =
    small("digits_generator_f16.safetensors", built_in!("bundled", vis_weights::DIGITS_GENERATOR));

pub(crate) const DIGITS_DISCRIMINATOR: Bundled =
    small("digits_discriminator_f16.safetensors", built_in!("bundled", vis_weights::DIGITS_DISCRIMINATOR));

pub(crate) const VGG16_TRUNK: Bundled = Bundled {
    file: "vgg16_conv_f16.safetensors",
    feature: "bundled-vgg16",
    parts: 3,
    bytes: built_in!(
        "bundled-vgg16",
        vis_weights_vgg16_1::PART,
        vis_weights_vgg16_2::PART,
        vis_weights_vgg16_3::PART
    ),
};

const ALL: [Bundled; 5] = [EFFICIENTNET_LITE0, DIGITS, DIGITS_GENERATOR, DIGITS_DISCRIMINATOR, VGG16_TRUNK];

/// Where the weights of a bundled network are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// In these files.
    Files(Vec<PathBuf>),
    /// In the program.
    BuiltIn(Vec<&'static [u8]>),
}

impl Bundled {
    /// The network whose file has this name.
    pub(super) fn named(file: &str) -> Result<Self> {
        ALL.into_iter().find(|bundled| bundled.file == file).ok_or_else(|| {
            let files: Vec<_> = ALL.iter().map(|bundled| bundled.file).collect();
            Error::invalid("the name of bundled weights", format!("one of {}", files.join(", ")), file)
        })
    }

    pub(super) fn file(&self) -> &'static str {
        self.file
    }

    /// In the folder that `VIS_WEIGHTS` names, in the program, or in a folder `weights`, here or beside the program.
    pub(super) fn find(&self) -> Result<Found> {
        let folder = Path::new("weights");
        let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(folder)));
        let others = [Some(folder.to_owned()), beside].into_iter().flatten();
        self.find_in(weights_folder(), (self.bytes)(), others)
    }

    fn find_in(
        &self,
        first: Option<PathBuf>,
        built_in: Vec<&'static [u8]>,
        others: impl Iterator<Item = PathBuf>,
    ) -> Result<Found> {
        if let Some(files) = first.as_deref().and_then(|folder| self.files_in(folder)) {
            return Ok(Found::Files(files));
        }
        if !built_in.is_empty() {
            return Ok(Found::BuiltIn(built_in));
        }
        let mut looked_in: Vec<PathBuf> = first.into_iter().collect();
        for folder in others {
            if let Some(files) = self.files_in(&folder) {
                return Ok(Found::Files(files));
            }
            looked_in.push(folder);
        }
        Err(Error::NotBundled { file: self.file.to_owned(), feature: self.feature, looked_in })
    }

    /// Its file in a folder, or else all its parts.
    fn files_in(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        let whole = folder.join(self.file);
        if whole.is_file() {
            return Some(vec![whole]);
        }
        let stem = self.file.trim_end_matches(".safetensors");
        let part = |number| folder.join(format!("{stem}-{number}-of-{}.safetensors", self.parts));
        let parts: Vec<PathBuf> = (1..=self.parts).map(part).collect();
        parts.iter().all(|part| part.is_file()).then_some(parts)
    }
}

/// The folder that `VIS_WEIGHTS` names.
pub(super) fn weights_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_named_folder_comes_before_what_is_built_in_and_that_before_other_folders() {
        let here = folder_with(&[DIGITS.file]);
        let empty = folder_with(&[]);
        let path = |folder: &tempfile::TempDir| folder.path().to_owned();
        let files = Found::Files(vec![here.path().join(DIGITS.file)]);
        let built_in: Vec<&'static [u8]> = vec![b"abc"];
        let find = |first, built_in: &Vec<&'static [u8]>, other| {
            DIGITS.find_in(first, built_in.clone(), [other].into_iter())
        };
        assert_eq!(find(Some(path(&here)), &built_in, path(&empty)).unwrap(), files);
        assert_eq!(find(Some(path(&empty)), &built_in, path(&here)).unwrap(), Found::BuiltIn(built_in));
        assert_eq!(find(Some(path(&empty)), &Vec::new(), path(&here)).unwrap(), files);
        match find(Some(path(&empty)), &Vec::new(), path(&empty)) {
            Err(Error::NotBundled { looked_in, feature, .. }) => {
                assert_eq!((looked_in, feature), (vec![path(&empty); 2], "bundled"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_network_is_found_whole_or_with_all_its_parts() {
        let parts = ["vgg16_conv_f16-1-of-3.safetensors", "vgg16_conv_f16-3-of-3.safetensors"];
        let incomplete = folder_with(&parts);
        assert_eq!(VGG16_TRUNK.files_in(incomplete.path()), None);
        std::fs::write(incomplete.path().join("vgg16_conv_f16-2-of-3.safetensors"), "").unwrap();
        assert_eq!(VGG16_TRUNK.files_in(incomplete.path()).unwrap().len(), 3);
        let whole = folder_with(&[parts[0], VGG16_TRUNK.file]);
        assert_eq!(VGG16_TRUNK.files_in(whole.path()).unwrap(), [whole.path().join(VGG16_TRUNK.file)]);
    }

    #[test]
    fn a_name_that_no_bundled_network_has_is_refused_with_those_there_are() {
        let error = Bundled::named("vgg17.safetensors").unwrap_err().to_string();
        assert!(error.contains("vgg16_conv_f16.safetensors") && error.contains("vgg17"), "{error}");
    }
}
