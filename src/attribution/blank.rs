//! Maps that say nothing.

use std::fmt;

use burn::tensor::Tensor;

use crate::host;

/// Why a map says nothing about where the evidence lies, though it was computed as asked.
///
/// Drawn, such a map looks like one that says something: of one colour, or of noise.
///
/// ```
/// use vis::attribution::Blank;
/// assert_eq!(Blank::of(&[0.0, 0.0, 0.0]), Some(Blank::Zero));
/// assert_eq!(Blank::of(&[0.2, 0.2, 0.2]), Some(Blank::Flat));
/// assert_eq!(Blank::of(&[-0.1, 0.0, -3.0]), Some(Blank::Negative));
/// assert_eq!(Blank::of(&[-0.1, 0.0, 3.0]), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blank {
    /// It is zero everywhere, as integrated gradients of an image that is its own baseline.
    Zero,
    /// It has one value everywhere, to within a millionth.
    Flat,
    /// It is nowhere above zero: rectified, as class activation maps are shown, it is zero everywhere. A picture with
    /// signs still shows what speaks against the target.
    Negative,
}

impl Blank {
    /// Why a map of these values says nothing; `None` where it does say something.
    pub fn of<'a>(map: impl IntoIterator<Item = &'a f32>) -> Option<Self> {
        let ends = |(low, high): (f32, f32), value: &f32| (low.min(*value), high.max(*value));
        let (low, high) = map.into_iter().fold((f32::INFINITY, f32::NEG_INFINITY), ends);
        match (low, high) {
            (0.0, 0.0) => Some(Self::Zero),
            _ if low > high => None, // no values
            _ if f64::from(high) - f64::from(low) <= 1e-6 * f64::from(high.abs().max(low.abs())) => {
                Some(Self::Flat)
            }
            _ if high <= 0.0 => Some(Self::Negative),
            _ => None,
        }
    }

    /// The same for each map of a batch, `[batch, channels, height, width]`.
    ///
    /// ```
    /// use vis::{Target, attribution::{Attribution, Blank, Occlusion}};
    /// # use vis::Model;
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let black = model.input().zeros(&model.device());
    /// // Black hidden by black changes nothing.
    /// let map = Occlusion::new([2, 2]).attribute(&model, black, &Target::class(2))?;
    /// assert_eq!(Blank::of_each(&map), [Some(Blank::Zero)]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn of_each(maps: &Tensor<4>) -> Vec<Option<Self>> {
        let [_, channels, height, width] = maps.dims();
        let values = host::values(maps.clone().inner());
        values.chunks((channels * height * width).max(1)).map(Self::of).collect()
    }
}

/// A sentence without its full stop.
impl fmt::Display for Blank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "the map is zero everywhere and says nothing",
            Self::Flat => "the map has the same value everywhere and says nothing about where",
            Self::Negative => "the map is nowhere above zero: nothing speaks for the target",
        })
    }
}
