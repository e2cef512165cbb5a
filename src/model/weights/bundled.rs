//! Where the bundled files of weights are.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The name of the environment variable that says where the bundled weights are.
const FOLDER_VARIABLE: &str = "VIS_WEIGHTS";

/// Where a bundled file of weights is: the first of these folders that has it.
///
/// 1. the one that the environment variable `VIS_WEIGHTS` names,
/// 2. `weights` in the source of this crate, if it was built from its repository,
/// 3. `weights` in the current folder,
/// 4. `weights` beside the running program.
///
/// The crate as published has no weights, because the registry takes 10 MB: get the folder from the
/// repository.
///
/// # Errors
///
/// [`Error::NotBundled`] names the places looked at.
///
/// ```
/// use vis::Error;
/// use vis::model::weights::bundled;
/// match bundled("vgg17.safetensors") {
///     Err(Error::NotBundled { looked_in, .. }) => assert!(looked_in.len() >= 2),
///     other => panic!("there is no such network: {other:?}"),
/// }
/// ```
pub fn bundled(file: &str) -> Result<PathBuf> {
    let folder = Path::new("weights");
    let places = [
        std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from),
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)),
        Some(folder.to_owned()),
        std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join(folder))),
    ];
    find(file, places.into_iter().flatten())
}

fn find(file: &str, places: impl Iterator<Item = PathBuf>) -> Result<PathBuf> {
    let mut looked_in = Vec::new();
    for place in places {
        let path = place.join(file);
        if path.is_file() {
            return Ok(path);
        }
        looked_in.push(place);
    }
    Err(Error::NotBundled { file: file.to_owned(), looked_in })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_has_the_file_wins() -> std::io::Result<()> {
        let (empty, first, second) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
        for folder in [&first, &second] {
            std::fs::write(folder.path().join("a.safetensors"), "")?;
        }
        let places = [&empty, &first, &second].map(|folder| folder.path().to_owned());
        let found = find("a.safetensors", places.clone().into_iter());
        assert_eq!(found.ok(), Some(first.path().join("a.safetensors")));
        match find("b.safetensors", places.clone().into_iter()) {
            Err(Error::NotBundled { looked_in, .. }) => assert_eq!(looked_in, places),
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}
