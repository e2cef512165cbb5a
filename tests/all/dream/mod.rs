//! Deep dream, caricature, inversion, style transfer, texture: the losses in closed form and by finite differences,
//! and what every method must keep.

mod deep_dream;
mod drawings;
mod lbfgs;
mod losses;
mod style;

use burn::tensor::{Tensor, TensorData, module, ops::ConvOptions, ops::MaxPoolOptions};
use ndarray::{Array3, Axis};
use vis::Model;
use vis::model::{InputSpec, Taps};

use crate::support::{Function, device};

/// An image with structure at every pixel.
fn photo(seed: u64, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let noise = vis::random::noise([1, channels, height, width], (0.0, 255.0), seed, 0, &device());
    (noise - 128.0) * 12.0 + 128.0
}

/// A network that takes any size: two convolutions around a max pooling. A unit of its last layer reaches
/// 1 + 1 + 2 = 4 pixels.
fn any_size() -> impl Model {
    let weights = |shape: [usize; 4], phase: f32| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (1..=count).map(|k| (k as f32 * 0.618_034 + phase).fract() - 0.4).collect();
        Tensor::<4>::from_data(TensorData::new(values, shape), &device())
    };
    let (first, second) = (weights([4, 3, 3, 3], 0.1), weights([5, 4, 3, 3], 0.7));
    let same = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    Function(InputSpec::rgb(64, 64).with_any_size_from(8), move |x: Tensor<4>, taps: &mut Taps| {
        let x = taps.relu(module::conv2d(x / 255.0, first.clone(), None, same()));
        let x = module::max_pool2d(x, MaxPoolOptions::new([2, 2]));
        taps.relu(module::conv2d(x, second.clone(), None, same()))
    })
}

fn array3(image: Tensor<4>) -> Array3<f32> {
    crate::host::array4(image).index_axis_move(Axis(0), 0)
}

/// The largest difference, relative to the largest value of `b`, over the part that `within` accepts.
fn difference(a: &Array3<f32>, b: &Array3<f32>, within: impl Fn(usize, usize) -> bool) -> f32 {
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error =
        a.indexed_iter().filter(|((_, y, x), _)| within(*y, *x)).map(|(at, value)| (value - b[at]).abs());
    error.fold(0.0, f32::max) / largest
}
