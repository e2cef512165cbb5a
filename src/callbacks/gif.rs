//! A run as an animation.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use burn::tensor::Tensor;
use image::RgbImage;
use image::imageops::{self, FilterType};
use ndarray::Axis;

use super::Callback;
use crate::optimizer::Step;
use crate::picture::{self, GifWriter, stitch};
use crate::{Error, Result, host};

/// Writes the image of every step to an animated GIF, with the number of the step, counted from 1, in its corner.
///
/// A batch becomes a grid. The file grows as the run goes on and is whole after each frame, so that a run that is
/// broken off, fails or is killed leaves an animation of the steps so far; no frame is kept in memory.
///
/// ```
/// use vis::{Optimizer, callbacks::GifGenerator, losses::ActivationMaximization};
/// # let model = vis::model::Tiny::new(&Default::default());
/// # let path = std::env::temp_dir().join("vis-gif-generator-example");
/// # let _ = std::fs::remove_file(path.with_extension("gif"));
/// let gif = GifGenerator::create(&path)?.every(10).play_once();   // keras-vis plays once, too
/// Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).max_iter(30).callback(gif).minimize()?;
/// assert!(path.with_extension("gif").exists());
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug)]
pub struct GifGenerator {
    /// Taken when the run ends.
    writer: Option<GifWriter>,
    every: usize,
    first_only: bool,
    /// The range to clip to; contrast is normalised instead when there is none.
    range: Option<(f32, f32)>,
    /// The latest step that has no frame yet.
    left_out: Option<(usize, Tensor<4>)>,
}

/// Smaller frames are enlarged to at least this many pixels a side, so that the number of the step has room.
const SMALLEST_SIDE: u32 = 112;
/// How long the last frame is shown before the animation starts again.
const LAST_DELAY: Duration = Duration::from_secs(2);

impl GifGenerator {
    /// Writes to this file; `.gif` is appended to the name if it is missing. Plays for ever, 20 frames a second, and
    /// stays at the last for two seconds.
    ///
    /// The path is tried now. An older animation stays until the first frame takes its place.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::GifGenerator, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-gif-create-example");
    /// # let _ = std::fs::remove_file(path.with_extension("gif"));
    /// let gif = GifGenerator::create(&path)?;
    /// Optimizer::new(&model, TotalVariation::default()).max_iter(2).callback(gif).minimize()?;
    /// assert!(std::fs::read(path.with_extension("gif")).unwrap().starts_with(b"GIF89a"));
    /// assert!(GifGenerator::create("no/such/folder/run.gif").is_err());
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) when the file can't be written.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let mut path = path.into();
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif")) {
            let mut name = path.into_os_string();
            name.push(".gif");
            path = name.into();
        }
        let writer = GifWriter::create(path)?.delay(Duration::from_millis(50)).last_delay(LAST_DELAY);
        Ok(Self { writer: Some(writer), every: 1, first_only: false, range: None, left_out: None })
    }

    /// Writes every n-th step, from the first on, and always the last. Default: every step.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::GifGenerator, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-gif-every-example.gif");
    /// let gif = GifGenerator::create(&path)?.every(2);
    /// Optimizer::new(&model, TotalVariation::default()).max_iter(4).callback(gif).minimize()?;
    /// let mut decoder = gif::DecodeOptions::new().read_info(std::fs::File::open(&path).unwrap()).unwrap();
    /// let frames = std::iter::from_fn(|| decoder.read_next_frame().unwrap().map(drop)).count();
    /// assert_eq!(frames, 3); // the first, the third, and the last
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn every(mut self, steps: usize) -> Self {
        self.every = steps.max(1);
        self
    }

    /// Sets how long each frame is shown, in hundredths of a second from 20 ms.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vis::{Optimizer, callbacks::GifGenerator, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-gif-generator-delay-example.gif");
    /// let gif = GifGenerator::create(&path)?.delay(Duration::from_millis(80));
    /// Optimizer::new(&model, TotalVariation::default()).max_iter(2).callback(gif).minimize()?;
    /// let mut decoder = gif::DecodeOptions::new().read_info(std::fs::File::open(&path).unwrap()).unwrap();
    /// assert_eq!(decoder.read_next_frame().unwrap().unwrap().delay, 8);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn delay(mut self, delay: Duration) -> Self {
        self.writer = self.writer.map(|writer| writer.delay(delay));
        self
    }

    /// Stops at the last frame instead of starting again.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::GifGenerator, losses::TotalVariation};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-gif-generator-once-example.gif");
    /// let gif = GifGenerator::create(&path)?.play_once();
    /// Optimizer::new(&model, TotalVariation::default()).max_iter(2).callback(gif).minimize()?;
    /// // Nothing asks for another round.
    /// assert!(!std::fs::read(&path).unwrap().windows(11).any(|bytes| bytes == b"NETSCAPE2.0"));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn play_once(mut self) -> Self {
        self.writer = self.writer.map(GifWriter::play_once);
        self
    }

    /// Shows the first image of a batch only.
    ///
    /// ```
    /// use vis::{Optimizer, callbacks::GifGenerator, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-gif-first-only-example.gif");
    /// let gif = GifGenerator::create(&path)?.first_only();
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).batch(4).max_iter(2);
    /// run.callback(gif).minimize()?;
    /// // One image of 8 × 8, whose pixels are drawn large enough for the number of the step.
    /// let width_and_height = &std::fs::read(&path).unwrap()[6..10];
    /// assert_eq!(width_and_height, [112, 0, 112, 0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn first_only(mut self) -> Self {
        self.first_only = true;
        self
    }

    /// Shows images as they are, clipped to this range. Default: with their contrast normalised, as keras-vis does
    /// ([`deprocess`](picture::deprocess)), because pixels can leave the input range.
    ///
    /// [`Optimizer::progress_gif_path`](crate::Optimizer::progress_gif_path) chooses by itself.
    ///
    /// ```
    /// use vis::{Model, Optimizer, callbacks::GifGenerator, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// # let path = std::env::temp_dir().join("vis-gif-clipped-example.gif");
    /// let gif = GifGenerator::create(&path)?.clipped_to(model.input().range());
    /// let black = model.input().zeros(&model.device());
    /// let run = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).seed_img(black);
    /// run.max_iter(1).callback(gif).minimize()?;
    /// // Black stays black; normalised, the contrast of an even image would be centred to grey.
    /// let mut decoder = gif::DecodeOptions::new().read_info(std::fs::File::open(&path).unwrap()).unwrap();
    /// let frame = decoder.read_next_frame().unwrap().unwrap();
    /// let last_pixel = 3 * usize::from(frame.buffer[frame.buffer.len() - 1]);
    /// assert_eq!(frame.palette.as_ref().unwrap()[last_pixel..][..3], [0, 0, 0]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn clipped_to(mut self, range: (f32, f32)) -> Self {
        self.range = Some(range);
        self
    }

    fn frame(&mut self, index: usize, images: Tensor<4>) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let images = if self.first_only { images.narrow(0, 0, 1) } else { images };
        let images = host::array4(images);
        let pictures = images.axis_iter(Axis(0)).map(|image| match self.range {
            Some(range) => picture::from_array(image, range),
            None => picture::deprocess(image),
        });
        let pictures = pictures.collect::<Result<Vec<_>>>()?;
        let columns = (pictures.len() as f64).sqrt().ceil() as usize;
        writer.numbered_frame(&enlarged(stitch(&pictures, columns, 2)?), index + 1)
    }
}

/// The picture with every pixel drawn as a square, as many times as it takes to be large enough.
fn enlarged(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let factor = SMALLEST_SIDE.div_ceil(width.min(height).max(1));
    match factor {
        1 => picture,
        _ => imageops::resize(&picture, width * factor, height * factor, FilterType::Nearest),
    }
}

impl Callback for GifGenerator {
    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
        if step.index.is_multiple_of(self.every) {
            self.left_out = None;
            self.frame(step.index, step.image.clone())?;
        } else {
            self.left_out = Some((step.index, step.image.clone()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_end(&mut self, _error: Option<&Error>) -> Result<()> {
        if let Some((index, image)) = self.left_out.take() {
            self.frame(index, image)?;
        }
        match self.writer.take() {
            Some(writer) if writer.frames() > 0 => writer.finish(),
            _ => Ok(()), // a run of no steps leaves no file
        }
    }
}

/// A [`GifGenerator`] that is created when the run begins, with the settings that suit its images.
pub(super) struct GifOfRun {
    path: PathBuf,
    gif: Option<GifGenerator>,
}

impl GifOfRun {
    pub(super) fn to(path: PathBuf) -> Self {
        Self { path, gif: None }
    }
}

impl Callback for GifOfRun {
    fn on_begin(&mut self) -> Result<()> {
        self.gif = Some(GifGenerator::create(&self.path)?);
        Ok(())
    }

    fn on_step(&mut self, step: &Step) -> Result<ControlFlow<()>> {
        let Some(gif) = self.gif.take() else { return Ok(ControlFlow::Continue(())) };
        let gif = match step.bounds {
            Some(range) => gif.clipped_to(range),
            None => gif,
        };
        self.gif.insert(gif).on_step(step)
    }

    fn on_end(&mut self, error: Option<&Error>) -> Result<()> {
        self.gif.as_mut().map_or(Ok(()), |gif| gif.on_end(error))
    }
}
