//! Many images: which of them excite each channel of a network most, and how often it fires at all.
//!
//! A [`Survey`] runs images through a network once. Of every channel of the layers asked for it keeps the images with the
//! largest activation and with the largest mean, each with its place; how its values are spread; and how often it is zero.
//! Memory does not grow with the number of images.
//!
//! ```
//! use image::{Rgb, RgbImage};
//! use vis::survey::Survey;
//! # let model = vis::model::Tiny::new(&Default::default());
//! let flat = |grey: u8| (format!("{grey}.png"), RgbImage::from_pixel(8, 8, Rgb([grey; 3])));
//! let surveyed = Survey::new(&model, ["conv1", "conv2"]).top(2).run([0, 50, 200].map(flat))?;
//! let unit = &surveyed.layer("conv2")?.units()[3];
//! for example in unit.by_maximum() {
//!     println!("{} fires {} at row {}, column {}", example.image, example.value, example.row, example.column);
//! }
//! assert_eq!((surveyed.images(), unit.by_maximum().len()), (3, 2));
//! # Ok::<(), vis::Error>(())
//! ```
//!
//! # A folder of a million images
//!
//! [`Survey::run_into`] reads a folder of images and keeps its state in another folder, every so many images. When it is
//! killed, the same call goes on where it was. Each of several machines takes a [`Shard`], and [`Surveyed::merge`] makes one
//! survey of theirs. However the images are cut into shards, in whatever order these are merged, and wherever a run was
//! killed: the files are the same, byte for byte, as those of a single run on the same kind of processor. Equal values are
//! ranked by the name of the image, sums are kept as whole numbers, and images share a batch only if the network gives
//! each the same values as alone, which is tried first.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `manifest.json` | the network's input, the layers, the number of images and of those passed over |
//! | `top.csv` | `layer,channel,rank,image,value,row,column`: the images with the largest activation, the first of rank 1, and its place in the layer's own map |
//! | `examples.csv` | the same with labels and with the crop of the input image that the unit depends on; and those with the largest mean |
//! | `units.csv` | `layer,channel,mean,minimum,maximum,sparsity,silence` |
//! | `broken.csv` | `image,reason`: what was passed over |
//! | `histograms.npy` | `[channels of all layers, bins]`, in the order of `units.csv` |
//! | `bins.npy` | `[bins, 2]`: the ends of each bin |
//! | `state.bin` | all of it, to go on from and to merge |
//!
//! An image is seen as the network takes it: resized on its short side and cropped around the middle.
//!
#![doc = include_str!("cluster.md")]

mod ahead;
mod field;
mod histogram;
mod images;
mod notice;
mod pass;
mod run;
mod sample;
mod shard;
mod store;
mod surveyed;
mod tables;
mod unit;

pub use field::{Crop, Field};
pub use histogram::Histogram;
pub use images::Images;
pub use notice::Notice;
pub use run::Survey;
pub use sample::Sample;
pub use shard::Shard;
pub use surveyed::{Surveyed, SurveyedLayer};
pub use unit::{Example, Unit};
