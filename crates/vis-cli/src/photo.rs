//! Photos and arrays as the image of a network.

use std::path::Path;

use burn::tensor::Tensor;
use image::RgbImage;
use image::imageops::{self, FilterType};
use ndarray::{ArrayD, Axis, Ix3, Ix4};
use vis::model::Model;
use vis::picture;

use crate::failure::{Failure, Outcome};
use crate::{npy, stream};

/// A photo smaller than the image by more than this would be a blur of a few colours.
const MOST_ENLARGED: u32 = 16;

/// A photo as a network sees it.
pub(crate) struct Photo {
    /// At the network's size.
    pub(crate) picture: RgbImage,
    /// `[1, channels, height, width]`, in the network's range.
    pub(crate) image: Tensor<4>,
}

/// A photo at the network's own size: untouched if it has it, else resized on its short side and cropped.
pub(crate) fn at_input_size(path: &Path, model: &dyn Model) -> Outcome<Photo> {
    at_size(path, model, model.input().size())
}

/// A photo at a height and width, in the same way.
pub(crate) fn at_size(path: &Path, model: &dyn Model, (height, width): (usize, usize)) -> Outcome<Photo> {
    match stream::read(path, |file| opened(path, file))? {
        Seed::Picture(photo) => cropped(path, &photo, model, (height, width)),
        Seed::Array(numbers) => array(path, numbers, model),
    }
}

/// A photo or an array, whichever a file is.
fn opened(path: &Path, file: &Path) -> vis::Result<Seed> {
    Ok(match stream::names_array(path, file) {
        true => Seed::Array(npy::read(file)?),
        false => Seed::Picture(picture::load(file)?),
    })
}

fn cropped(
    path: &Path,
    photo: &RgbImage,
    model: &dyn Model,
    (height, width): (usize, usize),
) -> Outcome<Photo> {
    check_size(path, photo, height.min(width) as u32)?;
    let picture = picture::resize_to_cover_and_crop(photo, width as u32, height as u32)?;
    let image = picture::to_tensor(&picture, model)?;
    Ok(Photo { picture, image })
}

/// What a file to start from holds.
enum Seed {
    Array(ArrayD<f32>),
    Picture(RgbImage),
}

/// Refuses a size for a network that takes only one.
pub(crate) fn check_choice(model: &dyn Model, option: &str, size: Option<usize>) -> Outcome {
    if size.is_some() && model.input().smallest().is_none() {
        return Err(Failure::misuse(format!(
            "{option} can't be given: this network takes images of one size"
        )));
    }
    Ok(())
}

/// A photo with its own shape, shrunk to at most `longest` pixels a side; at the network's size if that takes
/// only one.
pub(crate) fn whole(path: &Path, model: &dyn Model, longest: Option<u32>) -> Outcome<Photo> {
    let Some(smallest) = model.input().smallest() else { return at_input_size(path, model) };
    let photo = match stream::read(path, |file| opened(path, file))? {
        Seed::Picture(photo) => photo,
        Seed::Array(numbers) => return array(path, numbers, model),
    };
    let (width, height) = photo.dimensions();
    let picture = match longest {
        Some(longest) if longest < width.max(height) => {
            let factor = f64::from(longest) / f64::from(width.max(height));
            let side = |side: u32| (f64::from(side) * factor).round().max(1.0) as u32;
            imageops::resize(&photo, side(width), side(height), FilterType::CatmullRom)
        }
        _ => photo,
    };
    let (width, height) = picture.dimensions();
    if (width.min(height) as usize) < smallest {
        let name = stream::called(path);
        return Err(Failure::new(format!(
            "{name} is {width} × {height} pixels as used; the network needs {smallest} a side at least"
        )));
    }
    let image = picture::to_tensor(&picture, model)?;
    Ok(Photo { picture, image })
}

/// Images to start from: a picture at a height and width, or an array as it is, `[channels, height, width]` or
/// with a batch before.
pub(crate) fn seed(path: &Path, model: &dyn Model, size: Option<(usize, usize)>) -> Outcome<Tensor<4>> {
    let array = match stream::read(path, |file| opened(path, file))? {
        Seed::Picture(photo) => {
            return Ok(cropped(path, &photo, model, size.unwrap_or(model.input().size()))?.image);
        }
        Seed::Array(array) => array,
    };
    seeds(path, array, model, size)
}

/// An array as images.
fn seeds(
    path: &Path,
    array: ArrayD<f32>,
    model: &dyn Model,
    size: Option<(usize, usize)>,
) -> Outcome<Tensor<4>> {
    let shape = array.shape().to_vec();
    let array = match array.ndim() {
        3 => array.into_dimensionality::<Ix3>().ok().map(|array| array.insert_axis(Axis(0))),
        _ => array.into_dimensionality::<Ix4>().ok(),
    };
    let channels = model.input().channels();
    let expected = format!("[{channels}, height, width] or [pictures, {channels}, height, width]");
    let array = array.filter(|array| array.len_of(Axis(1)) == channels && !array.is_empty());
    let array = array.ok_or_else(|| vis::Error::Shape {
        what: format!("the array {}", stream::called(path)),
        expected,
        got: shape,
    })?;
    let (_, _, height, width) = array.dim();
    if size.is_some_and(|size| size != (height, width)) {
        let name = stream::called(path);
        return Err(Failure::misuse(format!("--size contradicts {name}, which is {height} × {width}")));
    }
    Ok(crate::host::tensor4(array.view(), &model.device()))
}

/// An array as the image of a network, in the network's range and at its own size; the picture shows its first channels.
fn array(path: &Path, numbers: ArrayD<f32>, model: &dyn Model) -> Outcome<Photo> {
    let image = seeds(path, numbers, model, None)?;
    model.input().check(image.dims())?;
    if image.dims()[0] != 1 {
        return Err(Failure::new(format!(
            "{} holds {} images instead of one",
            path.display(),
            image.dims()[0]
        )));
    }
    let shown = if image.dims()[1] < 3 { 1 } else { 3 };
    let shown = image.clone().narrow(1, 0, shown);
    let (low, high) = model.input().range();
    let values = crate::host::values(shown.clone());
    let range = (
        values.iter().copied().filter(|value| value.is_finite()).fold(low, f32::min),
        values.iter().copied().filter(|value| value.is_finite()).fold(high, f32::max),
    );
    let picture = picture::from_tensor(shown, range)?.pop();
    let picture = picture.ok_or_else(|| Failure::new(format!("{} holds no image", path.display())))?;
    Ok(Photo { picture, image })
}

/// Refuses a photo that would have to be blown up.
fn check_size(path: &Path, photo: &RgbImage, wanted: u32) -> Outcome {
    let (width, height) = photo.dimensions();
    if width.min(height).saturating_mul(MOST_ENLARGED) < wanted {
        let name = stream::called(path);
        return Err(Failure::new(format!(
            "{name} is {width} × {height} pixels: too small for a network that takes {wanted} a side"
        )));
    }
    Ok(())
}

/// Pictures whose sides are smaller are drawn with every pixel as a square.
const SMALL: u32 = 112;

/// The factor at which a picture of a grid can be looked at and carries a caption.
pub(crate) fn enlargement(side: usize) -> u32 {
    SMALL.div_ceil((side as u32).max(1))
}

/// A picture large enough to be looked at.
pub(crate) fn enlarged(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = width.min(height).max(1);
    if side >= SMALL {
        return picture;
    }
    let factor = (2 * SMALL).div_ceil(side);
    imageops::resize(&picture, width * factor, height * factor, FilterType::Nearest)
}
