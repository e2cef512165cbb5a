//! How good is a map? Numbers that ask the network, not the eye.
//!
//! | measure | asks | good |
//! | --- | --- | --- |
//! | [`PixelCurve::deletion`] | does the score fall fast when the pixels ranked highest are removed first? | small area |
//! | [`PixelCurve::insertion`] | does it rise fast when they are shown first? | large area, and larger than under deletion |
//! | [`average_drop`] | how much of the score is lost when only the map's region is shown? | small drop, large increase |
//! | [`pointing_game`] | is the map's highest place on the object? | hit |
//! | [`MuFidelity`] | does the map's sum over random pixels follow the drop when they are hidden? | near 1 |
//! | [`RandomizationCheck`] | does the map change when the weights are drawn anew? | low correlation |
//!
//! None of them is the truth: deletion and insertion show the network pictures it was never trained on, and
//! depend on what a removed pixel is replaced by. Compare methods on the same images with the same settings,
//! and compare with maps that know nothing, [`RandomMap`](crate::attribution::RandomMap) and
//! [`Sobel`](crate::attribution::Sobel).
//!
//! ```
//! use vis::{Target, attribution::{Attribution, Cam, Formula}};
//! use vis::metrics::PixelCurve;
//! # use vis::Model;
//! # let model = vis::model::Tiny::new(&Default::default());
//! # let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 0, 0, &model.device());
//! let target = Target::predicted().resolved(&model, &image)?;
//! let map = Cam::new(Formula::GradCam).attribute(&model, image.clone(), &target)?;
//! let deletion = PixelCurve::deletion().steps(16).evaluate(&model, image, map, &target)?;
//! assert_eq!(deletion[0].scores().len(), 17);
//! println!("area under the deletion curve: {}", deletion[0].area());
//! # Ok::<(), vis::Error>(())
//! ```

mod average_drop;
mod correlation;
mod mu_fidelity;
mod pixel_curve;
mod pointing_game;
mod randomization;

use burn::tensor::Tensor;

use crate::attribution::refuse_non_finite_maps;
use crate::{Error, Result};

pub use average_drop::{AverageDrop, average_drop};
pub use mu_fidelity::MuFidelity;
pub use pixel_curve::{Curve, PixelCurve};
pub use pointing_game::pointing_game;
pub use randomization::{RandomizationCheck, RandomizationRow};

fn check_map(map: &Tensor<4>, expected: [usize; 4]) -> Result<()> {
    if map.dims() == expected {
        return refuse_non_finite_maps("the map of image", map);
    }
    let what = "the map".into();
    Err(Error::Shape {
        what,
        expected: format!("{expected:?}: one channel at the image's size"),
        got: map.dims().to_vec(),
    })
}
