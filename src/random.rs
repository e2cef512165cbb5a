//! Seeded randomness from the host: the same seed gives the same picture on every backend.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The random stream of a run.
pub type Stream = ChaCha8Rng;

/// The stream of a seed; `substream` separates the pictures of one run, so that a picture does not
/// depend on which others are made beside it.
///
/// ```
/// use rand::Rng;
/// let first: f32 = vis::random::stream(7, 0).random();
/// let again: f32 = vis::random::stream(7, 0).random();
/// let other: f32 = vis::random::stream(7, 1).random();
/// assert!(first == again && first != other);
/// ```
pub fn stream(seed: u64, substream: u64) -> Stream {
    let mut stream = ChaCha8Rng::seed_from_u64(seed);
    stream.set_stream(substream);
    stream
}

/// Standard normal numbers, by the Box–Muller transform.
pub(crate) fn normal(stream: &mut Stream, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - stream.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * stream.random::<f64>();
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

/// Uniform noise in a band around the middle of `range`, 0.04 of the range to either side: `118..138` for
/// `0..255`, the seed image of keras-vis. `[batch, channels, height, width]`; image `i` is drawn from its
/// own substream `first + i`.
///
/// ```
/// let noise = vis::random::noise([2, 3, 4, 4], (0.0, 255.0), 0, 0, &Default::default());
/// let values = noise.into_data().to_vec::<f32>().unwrap();
/// assert!(values.iter().all(|value| (117.0..139.0).contains(value)));
/// ```
pub fn noise(shape: [usize; 4], range: (f32, f32), seed: u64, first: usize, device: &Device) -> Tensor<4> {
    let [batch, channels, height, width] = shape;
    let (middle, width_of_range) = ((range.0 + range.1) / 2.0, range.1 - range.0);
    // keras-vis writes 128 ± 10 for a range of 0..255.
    let (middle, half_band) = (middle + width_of_range * (0.5 / 255.0), width_of_range * (10.0 / 255.0));
    let mut values = Vec::with_capacity(batch * channels * height * width);
    for image in 0..batch {
        let mut stream = stream(seed, first.wrapping_add(image) as u64);
        values.extend(
            (0..channels * height * width).map(|_| middle + half_band * (2.0 * stream.random::<f32>() - 1.0)),
        );
    }
    Tensor::from_data(TensorData::new(values, shape), device)
}
