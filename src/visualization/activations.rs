//! The pictures that filters were made to fire by, and how they are shown.

use std::fmt;
use std::path::Path;

use image::{RgbImage, Rgba, RgbaImage};
use ndarray::{Array2, Array3};

use crate::optimizer::History;
use crate::picture::{self, Grid};
use crate::target::Target;
use crate::{Error, Result};

/// The pictures made by [`visualize_activation`](super::visualize_activation), in the order of the filters asked for.
#[derive(Debug, Clone)]
pub struct Activations {
    /// The layer.
    pub layer: String,
    pub(super) pictures: Vec<Activation>,
}

/// The error of [`visualize_activation`](super::visualize_activation), with the pictures that were finished before it.
///
/// `?` makes it an [`Error`], without the pictures.
///
/// ```
/// # use burn::tensor::Tensor;
/// # use vis::Model;
/// # let model = vis::model::Tiny::new(&Default::default());
/// let grey = model.input().zeros(&model.device()) + 100.0;
/// let starts = Tensor::cat(vec![grey.clone(), grey * f32::NAN], 0);
/// let run = vis::visualize_activation(&model, "conv2").filter_indices([0, 3]).seed_img(starts).max_iter(2);
/// let error = run.memory_limit(1).run().unwrap_err(); // one by one
/// assert_eq!((error.made.len(), error.of), (1, 2));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Unfinished {
    /// What failed.
    pub source: Box<Error>,
    /// The pictures finished before.
    pub made: Activations,
    /// The number of pictures asked for, or 0 if it failed before they were counted.
    pub of: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        match self.made.len() {
            0 => Ok(()),
            made => write!(f, "; the {made} of {} pictures finished before are kept in the error", self.of),
        }
    }
}

impl std::error::Error for Unfinished {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<Error> for Unfinished {
    fn from(error: Error) -> Self {
        let made = Activations { layer: String::new(), pictures: Vec::new() };
        Self { source: Box::new(error), made, of: 0 }
    }
}

impl From<Unfinished> for Error {
    fn from(unfinished: Unfinished) -> Self {
        *unfinished.source
    }
}

/// One picture made by [`visualize_activation`](super::visualize_activation).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Activation {
    /// What it maximises.
    pub target: Target,
    /// Its caption.
    pub label: String,
    /// The best image, `[channels, height, width]`, in the model's input range and not clipped to it.
    pub image: Array3<f32>,
    /// The score of its target, of filters the sum of their mean activations, on the image that the run started from.
    pub before: f32,
    /// The same on the picture.
    pub after: f32,
    /// The weighted losses of the run, with a batch of one.
    pub losses: History,
    /// How much of the run's gradient went to each place, `[height, width]`, of 0 or more; none unless the
    /// [preset](crate::model::Preset::transparency) asks for it.
    #[doc(alias = "alpha")]
    pub transparency: Option<Array2<f32>>,
    /// Whether the filters answered every image of the run alike, mostly with nothing, so that the picture shows nothing
    /// of them. Never so when no two images were seen: after no step, or where a run with a gradient stood still.
    pub dead: bool,
    /// Whether the image lies in the range by how it was optimised.
    pub(super) bounded: bool,
    pub(super) range: (f32, f32),
}

impl Activation {
    /// How many times more the filters fire on the picture than on the image that the run started from: infinite if they
    /// did not fire at all there, and 1 if they fire on neither.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(9).run()?;
    /// assert_eq!(pictures[0].gain(), pictures[0].after / pictures[0].before);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn gain(&self) -> f32 {
        match (self.before > 0.0, self.after > 0.0) {
            (true, _) => self.after / self.before,
            (false, true) => f32::INFINITY,
            (false, false) => 1.0,
        }
    }

    /// The picture as it is shown. The contrast of an image that may leave the input range, as one by
    /// [`Pixels`](crate::parametrization::Pixels), is normalised as in keras-vis
    /// ([`deprocess`](crate::picture::deprocess)); one whose
    /// [parametrization keeps it in range](crate::parametrization::Parametrization::is_bounded), as
    /// [`Fourier`](crate::parametrization::Fourier) does, is shown as it is. Black for a dead filter.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").filter_indices([0]).max_iter(9).run()?;
    /// assert_eq!(pictures[0].picture()?, vis::picture::deprocess(pictures[0].image.view())?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) for an image of neither one nor three channels.
    pub fn picture(&self) -> Result<RgbImage> {
        match self.bounded {
            _ if self.dead => {
                let (_, height, width) = self.image.dim();
                Ok(RgbImage::new(width as u32, height as u32))
            }
            false => picture::deprocess(self.image.view()),
            true => picture::from_array(self.image.view(), self.range),
        }
    }
}

impl Activation {
    /// The picture with its transparency, for networks that see things on nothing: transparent where the gradient of the run
    /// hardly went, opaque where it went as much as at the uppermost twentieth of the places; opaque throughout without
    /// a [`transparency`](Self::transparency).
    ///
    /// # Errors
    ///
    /// As [`picture`](Self::picture).
    pub fn transparent_picture(&self) -> Result<RgbaImage> {
        let picture = self.picture()?;
        let alpha = self.transparency.as_ref().map(|touched| {
            let mut sorted: Vec<f32> = touched.iter().copied().collect();
            sorted.sort_unstable_by(f32::total_cmp);
            let most = sorted[(sorted.len() - 1) * 19 / 20];
            touched.mapv(
                |value| if most > 0.0 { (255.0 * (value / most).clamp(0.0, 1.0)).round() as u8 } else { 0 },
            )
        });
        Ok(RgbaImage::from_fn(picture.width(), picture.height(), |x, y| {
            let [red, green, blue] = picture.get_pixel(x, y).0;
            let alpha = alpha.as_ref().map_or(255, |alpha| alpha[[y as usize, x as usize]]);
            Rgba([red, green, blue, alpha])
        }))
    }
}

impl Activations {
    /// All pictures as a grid with their captions; dead filters are black and say so.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").max_iter(2).run()?;
    /// let grid = pictures.grid()?;
    /// assert!(grid.width() > 3 * 8 && grid.height() > 2 * 8);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Activation::picture`].
    pub fn grid(&self) -> Result<RgbImage> {
        self.grid_with(|grid| grid)
    }

    /// The same with other settings of the grid, such as its title or the number of columns.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").max_iter(2).run()?;
    /// let one_row = pictures.grid_with(|grid| grid.columns(6).enlarge(10))?;
    /// assert_eq!(one_row.width(), 8 + 6 * (80 + 8));
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Activation::picture`], and settings out of range.
    pub fn grid_with(&self, change: impl FnOnce(Grid<'_>) -> Grid<'_>) -> Result<RgbImage> {
        let pictures = self.pictures.iter().map(Activation::picture).collect::<Result<Vec<_>>>()?;
        let captions = self.pictures.iter().map(|picture| match picture.dead {
            true => format!("{} (dead)", picture.label),
            false => picture.label.clone(),
        });
        change(Grid::new(&pictures).captions(captions)).render()
    }

    /// Saves the grid as PNG or JPEG, by the extension.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-activations-example.png");
    /// let pictures = vis::visualize_activation(&model, "conv2").max_iter(2).run()?;
    /// pictures.save(&path)?;
    /// assert_eq!(vis::picture::load(&path)?, pictures.grid()?);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`grid`](Self::grid) and [`picture::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        picture::save(&self.grid()?, path)
    }

    /// The captions of the pictures of dead filters, which show nothing of them.
    ///
    /// ```
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let pictures = vis::visualize_activation(&model, "conv2").max_iter(3).run()?;
    /// assert!(pictures.dead().is_empty());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn dead(&self) -> Vec<&str> {
        self.pictures.iter().filter(|picture| picture.dead).map(|picture| picture.label.as_str()).collect()
    }
}

impl std::ops::Deref for Activations {
    type Target = [Activation];

    fn deref(&self) -> &[Activation] {
        &self.pictures
    }
}
