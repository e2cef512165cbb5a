//! The 1000 classes of ImageNet-1k (ILSVRC 2012) in their standard order.
//!
//! ```
//! use vis::model::imagenet;
//! assert_eq!(imagenet::name(20), Some("water ouzel"));
//! assert_eq!(imagenet::find("ouzel")?, 20);
//! # Ok::<(), vis::Error>(())
//! ```

use std::sync::LazyLock;

use crate::error::nearest;
use crate::{Error, Result};

/// The number of classes.
pub const CLASSES: usize = 1000;

/// One class: its WordNet id and its names, the usual one first.
#[derive(Debug)]
struct Class {
    wordnet_id: &'static str,
    names: &'static str,
}

static TABLE: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let (_, rest) = line.split_once('\t')?;
        let (wordnet_id, names) = rest.split_once('\t')?;
        Some(Class { wordnet_id, names })
    };
    include_str!("imagenet_classes.tsv").lines().filter_map(row).collect()
});

impl Class {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.split(", ")
    }
}

/// The usual name of a class, `None` from 1000 on.
///
/// ```
/// assert_eq!(vis::model::imagenet::name(285), Some("Egyptian cat"));
/// assert_eq!(vis::model::imagenet::name(1000), None);
/// ```
pub fn name(class: usize) -> Option<&'static str> {
    TABLE.get(class)?.names().next()
}

/// All names of a class, separated by commas, the usual one first.
///
/// ```
/// assert_eq!(vis::model::imagenet::names(20), Some("water ouzel, dipper"));
/// ```
pub fn names(class: usize) -> Option<&'static str> {
    Some(TABLE.get(class)?.names)
}

/// The class that a name means: a WordNet id, one of the class's names, or the beginning of a word in
/// one, whatever the case.
///
/// # Errors
///
/// [`Error::UnknownClass`] lists the classes that the name could mean, or the one with the name nearest
/// to it.
///
/// ```
/// use vis::model::imagenet;
/// assert_eq!(imagenet::find("Egyptian cat")?, 285);
/// assert_eq!(imagenet::find("n02124075")?, 285);
/// let error = imagenet::find("crane").unwrap_err();
/// assert_eq!(error.to_string(), "`crane` could mean any of: 134 crane (n02012849); 517 crane (n03126707)");
/// # Ok::<(), vis::Error>(())
/// ```
pub fn find(name: &str) -> Result<usize> {
    let wanted = name.trim().to_lowercase();
    let is_it = |class: &Class| class.wordnet_id == wanted;
    let is_named = |class: &Class| class.names().any(|name| name.to_lowercase() == wanted);
    let has_word = |class: &Class| {
        let names = format!(" {}", class.names.to_lowercase().replace('-', " "));
        !wanted.is_empty() && names.contains(&format!(" {}", wanted.replace('-', " ")))
    };
    let matching = |fits: &dyn Fn(&Class) -> bool| -> Vec<usize> {
        (0..TABLE.len()).filter(|&class| fits(&TABLE[class])).collect()
    };
    for fits in [&is_it as &dyn Fn(&Class) -> bool, &is_named, &has_word] {
        match matching(fits).as_slice() {
            [] => {}
            [class] => return Ok(*class),
            several => {
                let candidates = several.iter().map(|&class| describe(class)).collect();
                return Err(Error::UnknownClass { name: name.to_owned(), candidates });
            }
        }
    }
    let all_names = || TABLE.iter().flat_map(Class::names);
    let nearest = nearest(name, all_names());
    let candidates = nearest.into_iter().map(str::to_owned).collect();
    Err(Error::UnknownClass { name: name.to_owned(), candidates })
}

fn describe(class: usize) -> String {
    let Class { wordnet_id, names } = &TABLE[class];
    format!("{class} {names} ({wordnet_id})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_wordnet_id() {
        for (class, row) in TABLE.iter().enumerate() {
            assert_eq!(find(row.wordnet_id).unwrap(), class);
        }
    }
}
