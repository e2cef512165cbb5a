//! A static site of a survey.

mod features;
mod pages;
mod shown;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::model::{Model, Preset};
use crate::progress::SharedWatcher;
use crate::survey::{Surveyed, SurveyedLayer};
use crate::{Error, Progress, Result};
use features::Features;
use shown::Shown;

/// The file by which a folder is known to hold a site.
const MARK: &str = "site.json";

/// A static site of a survey: an index of layers, a page for each layer with its units, a page for each unit with its
/// feature visualisation, the images that excite it, its histogram, its likeliest classes and the units most like it, and
/// a page for each of those images.
///
/// The feature visualisations take most of the time. Each is written as soon as it is made, and a site that is made again,
/// after it was cut off or with more units, takes those that have the same settings from the folder.
///
/// ```no_run
/// use vis::page::Site;
/// use vis::survey::Surveyed;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let surveyed = Surveyed::open("survey")?;
/// let built = Site::new(&model, &surveyed, "photos").units(64).write("site")?;
/// println!("{} pages: open site/index.html", built.pages);
/// # Ok::<(), vis::Error>(())
/// ```
pub struct Site<'a> {
    model: &'a dyn Model,
    surveyed: &'a Surveyed,
    images: PathBuf,
    units: usize,
    name: String,
    preset: Option<Preset>,
    size: (usize, usize),
    progress: Option<SharedWatcher<'a>>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Built {
    /// The number of pages; none if it was stopped before.
    pub pages: usize,
    /// The number of feature visualisations, those that were there before included.
    pub pictures: usize,
    /// Whether it was done to the end.
    pub finished: bool,
}

impl std::fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("name", &self.name).field("units", &self.units).finish_non_exhaustive()
    }
}

/// A layer on the site, with those of its units that are shown.
struct Shelf<'a> {
    layer: &'a SurveyedLayer,
    /// Its name as a part of file names.
    slug: String,
    units: usize,
}

impl<'a> Site<'a> {
    /// The site of a survey of this network, over the images in this folder.
    pub fn new(model: &'a dyn Model, surveyed: &'a Surveyed, images: impl Into<PathBuf>) -> Self {
        let name = surveyed.notes().get("model").cloned().unwrap_or_else(|| "the network".into());
        let name =
            Path::new(&name).file_name().map_or(name.clone(), |name| name.to_string_lossy().into_owned());
        Self {
            model,
            surveyed,
            images: images.into(),
            units: usize::MAX,
            name,
            preset: Some(model.preset()),
            size: model.input().size(),
            progress: None,
        }
    }

    /// Shows the first units of each layer only.
    pub fn units(mut self, units: usize) -> Self {
        self.units = units;
        self
    }

    /// Sets what the network is called.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how the feature visualisations are made, instead of by the network's own preset; without one there are none.
    pub fn preset(mut self, preset: Option<Preset>) -> Self {
        self.preset = preset;
        self
    }

    /// Sets the height and width of the feature visualisations, for a network that takes any size.
    pub fn size(mut self, height: usize, width: usize) -> Self {
        self.size = (height, width);
        self
    }

    /// Follows the work, and may end it: the pictures made so far are kept, and the next call goes on from there.
    pub fn progress(mut self, watcher: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Self {
        self.progress = Some(SharedWatcher::new(watcher));
        self
    }

    /// Writes the site into a folder, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if the folder holds something else than a site, or if the network is not the one of the
    /// survey; [`Error::Io`] and [`Error::Format`] for an image that can't be read any more; [`Error::Io`] for a file that
    /// can't be written.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<Built> {
        let folder = folder.as_ref();
        self.check()?;
        prepare(folder)?;
        let shelves = self.shelves();
        let unfinished = |pictures| Built { pages: 0, pictures, finished: false };
        let features = match &self.preset {
            None => Features::default(),
            Some(preset) => {
                let (features, ended) = Features::make(self, preset, &shelves, folder)?;
                if ended.is_break() {
                    return Ok(unfinished(features.len()));
                }
                features
            }
        };
        let Some(shown) = Shown::look_at(self, &shelves, folder)? else {
            return Ok(unfinished(features.len()));
        };
        let pages = pages::write(self, &shelves, &features, &shown, folder)?;
        Ok(Built { pages, pictures: features.len(), finished: true })
    }

    fn check(&self) -> Result<()> {
        let table = self.model.layers()?;
        for layer in self.surveyed.layers() {
            let known = || table.iter().map(|layer| layer.name.clone()).collect();
            let own = table.iter().find(|own| own.name == layer.name());
            let own = own.ok_or_else(|| Error::unknown_layer(layer.name(), known()))?;
            if own.shape != layer.shape() {
                let expected =
                    format!("the one surveyed, whose layer `{}` is {:?}", layer.name(), layer.shape());
                return Err(Error::invalid(
                    "the network",
                    expected,
                    format!("one where it is {:?}", own.shape),
                ));
            }
        }
        if self.surveyed.images() == 0 {
            return Err(Error::invalid("the survey", "one with images", "empty"));
        }
        Ok(())
    }

    fn shelves(&self) -> Vec<Shelf<'a>> {
        let mut taken = BTreeMap::new();
        let shelf = |layer: &'a SurveyedLayer| {
            let mut slug = slug(layer.name());
            // Names that differ in capitals are one file on some systems.
            let times = taken.entry(slug.to_lowercase()).or_insert(0);
            *times += 1;
            if *times > 1 {
                slug = format!("{slug}-{times}");
            }
            Shelf { layer, slug, units: layer.units().len().min(self.units) }
        };
        self.surveyed.layers().iter().map(shelf).collect()
    }

    fn tell(&self, stage: &str, done: usize, of: usize) -> ControlFlow<()> {
        self.progress.as_ref().map_or(ControlFlow::Continue(()), |progress| progress.report(stage, done, of))
    }
}

impl Shelf<'_> {
    fn href(&self) -> String {
        format!("layers/{}.html", self.slug)
    }

    fn unit_href(&self, unit: usize) -> String {
        format!("units/{}-{unit}.html", self.slug)
    }
}

/// Makes the folder, unless it holds something else.
fn prepare(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mark = folder.join(MARK);
    if !mark.exists() {
        let mut entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
        if entries.next().is_some() {
            let got = format!("{}, which holds other files", folder.display());
            return Err(Error::invalid("the folder of a site", "empty, or that of an older site", got));
        }
        super::write_text(&mark, "{}\n")?;
    }
    for name in ["layers", "units", "images", "pictures", "crops"] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
    }
    Ok(())
}

/// A name as a part of file names: letters, digits and a few signs of ASCII, with a checksum if anything else was in it.
fn slug(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => character,
            _ => '-',
        })
        .take(60)
        .collect();
    if plain == name { plain } else { format!("{plain}-{:08x}", crc32fast::hash(name.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_become_names_of_files_that_differ() {
        assert_eq!(slug("block5_conv3"), "block5_conv3");
        let hostile =
            ["../../etc", "a/b", "a\\b", "a b", "a?b", "é", "日本", "", "con<script>", &"x".repeat(500)];
        let slugs: std::collections::BTreeSet<String> = hostile.iter().map(|name| slug(name)).collect();
        assert_eq!(slugs.len(), hostile.len());
        assert!(slugs.iter().all(|slug| slug.len() < 80 && !slug.contains(['/', '\\', '.', '<', '?', ' '])));
    }
}
