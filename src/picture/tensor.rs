//! From photos to a model's input, and from tensors back to pictures.

use burn::tensor::Tensor;
use image::RgbImage;
use ndarray::Axis;

use super::{from_array, resize_to_cover_and_crop, to_array, to_grey_array};
use crate::model::Model;
use crate::{Error, Result, host};

/// A photo as the model's input, `[1, channels, height, width]`, on the model's device: resized on its short side and
/// cropped to the centre, in the model's range, grey if the model takes one channel.
///
/// A photo that already has the model's size passes through untouched.
///
/// ```
/// use image::{Rgb, RgbImage};
/// use vis::Model;
/// let model = vis::model::Tiny::new(&Default::default());
/// let photo = RgbImage::from_pixel(20, 10, Rgb([10, 20, 30]));
/// let image = vis::picture::to_input(&photo, &model)?;
/// assert_eq!(image.dims(), [1, 3, 8, 8]);
/// assert_eq!(image.into_data().to_vec::<f32>().unwrap()[0], 10.0);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] for an empty photo, or for a model of neither one nor three channels.
pub fn to_input(photo: &RgbImage, model: &(impl Model + ?Sized)) -> Result<Tensor<4>> {
    let (height, width) = model.input().size();
    // What is larger is too large for a photo all the same.
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    to_tensor(&resize_to_cover_and_crop(photo, side(width), side(height))?, model)
}

/// A photo of any size as a tensor `[1, channels, height, width]` of that size, in the model's range, on its device.
///
/// ```
/// use image::RgbImage;
/// let model = vis::model::Tiny::new(&Default::default());
/// let image = vis::picture::to_tensor(&RgbImage::new(20, 10), &model)?;
/// assert_eq!(image.dims(), [1, 3, 10, 20]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] for a model of neither one nor three channels, [`Error::InvalidParameter`] for one whose range is none.
pub fn to_tensor(photo: &RgbImage, model: &(impl Model + ?Sized)) -> Result<Tensor<4>> {
    model.input().check_bounds()?;
    let range = model.input().range();
    let array = match model.input().channels() {
        3 => to_array(photo, range),
        1 => to_grey_array(photo, range),
        channels => {
            return Err(Error::Shape {
                what: "a photo".into(),
                expected: format!("{channels} channels for this model"),
                got: vec![3, photo.height() as usize, photo.width() as usize],
            });
        }
    };
    Ok(host::tensor4(array.view(), &model.device()))
}

/// A batch of images `[batch, channels, height, width]` in a range as pictures, clipped to the range.
///
/// ```
/// use burn::tensor::Tensor;
/// let grey = Tensor::ones([2, 1, 4, 4], &Default::default()) * 0.5;
/// let pictures = vis::picture::from_tensor(grey, (0.0, 1.0))?;
/// assert_eq!(pictures[1].get_pixel(0, 0).0, [128, 128, 128]);
/// # Ok::<(), vis::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] for images of neither one nor three channels.
pub fn from_tensor(images: Tensor<4>, range: (f32, f32)) -> Result<Vec<RgbImage>> {
    host::array4(images).axis_iter(Axis(0)).map(|image| from_array(image, range)).collect()
}
