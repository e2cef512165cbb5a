//! `vis compare`.

use burn::tensor::Tensor;
use clap::Args;
use image::RgbImage;
use ndarray::{Array2, Axis};
use serde::Serialize;
use vis::attribution::{
    Attribution, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, Rise, Saliency, SmoothGrad,
    Target, channel_sum, magnitude,
};
use vis::picture::{
    ColorMap, Grid, SALIENCY_PERCENTILE, normalize_signed, normalize_unsigned, normalize_unsigned_clipped,
};

use crate::explain::{DrawOptions, ExplainOptions, Explained, matrix};
use crate::failure::{Failure, Outcome};
use crate::options;
use crate::photo::enlarged;
use crate::progress::Work;
use crate::report::{Report, described};

#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareOptions {
    #[command(flatten)]
    #[serde(flatten)]
    explain: ExplainOptions,

    /// The steps of integrated gradients and the samples of SmoothGrad
    #[arg(long, value_name = "N", default_value = "32", value_parser = options::count)]
    steps: usize,

    /// The masks of RISE
    #[arg(long, value_name = "N", default_value = "500", value_parser = options::count)]
    masks: usize,

    /// The channels of Score-CAM and Ablation-CAM
    #[arg(long, value_name = "N", default_value = "64", value_parser = options::count)]
    channels: usize,

    /// The seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// How much of the photo the maps hide, from 0 to 1
    #[arg(long, value_name = "SHARE", help_heading = "Results", default_value = "0.5", value_parser = options::share)]
    alpha: f32,
}

const EXAMPLES: &str = "\
Examples:
  vis compare --image cat.jpg -o panel.png
  vis compare --image seven.png --model digits --class 1 --masks 200 -o why-not-1.png

The slow methods run with fewer masks and channels than alone. The numbers of --raw are the signed maps at the
size of the image, summed over colour channels, [methods, 1, height, width], in the order of the panel, which
--json names. Ctrl-C writes the methods that are done.";

/// How a map is brought to colours.
#[derive(Clone, Copy)]
enum Shown {
    /// The largest magnitude over the channels, the largest values clipped.
    Magnitude,
    /// What is above 0.
    Rectified,
    /// Both signs.
    Signed,
    /// From the least to the most.
    Spread,
}

impl CompareOptions {
    pub(crate) fn run(self) -> Outcome {
        let mut report = Report::new("compare", &self, self.explain.outputs.json.json);
        let explained = self.explain.open(&mut report)?;
        let photo = &explained.photo;
        let methods = self.methods(&explained);

        let work = Work::begin();
        let line = work.line();
        let (mut panel, mut raws) = (vec![enlarged(photo.picture.clone())], Vec::new());
        let mut captions = vec!["photo".to_owned()];
        for (index, (name, method, target, shown)) in methods.iter().enumerate() {
            if line.at(index, methods.len(), || name.clone()).is_break() {
                break;
            }
            match method.attribute(explained.opened.model.as_ref(), photo.image.clone(), target) {
                Ok(map) => {
                    panel.push(self.draw(photo.picture.clone(), map.clone(), *shown)?);
                    captions.push(name.clone());
                    raws.push(vis::host::array4(channel_sum(map)));
                }
                // Some methods have nothing to say of some networks; the others have.
                Err(error @ (vis::Error::ZeroGradient { .. } | vis::Error::NoSpatialLayer { .. })) => {
                    report.say(format!("{name}: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let ended = work.end();
        if raws.is_empty() {
            return Err(Failure::interrupted("no method was done"));
        }
        report.say(format!("{} of {} methods", raws.len(), methods.len()));
        report.set("methods", captions[1..].to_vec());
        report.set("interrupted", ended.interrupted);
        let views: Vec<_> = raws.iter().map(|raw| raw.view()).collect();
        let raw = ndarray::concatenate(Axis(0), &views)
            .map_err(|error| Failure::new(format!("the maps do not fit together: {error}")))?
            .into_dyn();
        report.set("map", described(&raw.view()));
        let outputs = &self.explain.outputs;
        let title =
            format!("{}: class {}", self.explain.model.name(), explained.scores.caption(explained.class));
        outputs.write_picture(&mut report, || Grid::new(&panel).captions(captions).title(title).render())?;
        outputs.write_raw(&mut report, raw.view())?;
        explained.write_losses(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }

    fn methods(&self, explained: &Explained) -> Vec<(String, Box<dyn Attribution>, Target, Shown)> {
        let class = Target::class(explained.class);
        let (height, width) = explained.opened.model.input().size();
        let window = (height.min(width) / 7).max(1);
        let slow = |formula| Cam::new(formula).max_channels(self.channels);
        let smooth = SmoothGrad::new(Saliency::new()).samples(self.steps).seed(self.seed);
        let mut methods: Vec<(Box<dyn Attribution>, Target, Shown)> = vec![
            (Box::new(Saliency::new()), class.clone(), Shown::Magnitude),
            (Box::new(Saliency::new().times_input()), class.clone(), Shown::Magnitude),
            (Box::new(IntegratedGradients::new().steps(self.steps)), class.clone(), Shown::Magnitude),
            (Box::new(smooth), class.clone(), Shown::Magnitude),
            (Box::new(Saliency::guided()), class.clone(), Shown::Magnitude),
            (Box::new(Saliency::deconvolution()), class.clone(), Shown::Magnitude),
            (Box::new(GuidedGradCam::new()), class.clone(), Shown::Magnitude),
        ];
        for formula in Formula::ALL {
            let cam = match formula {
                Formula::AblationCam | Formula::ScoreCam => slow(formula),
                _ => Cam::new(formula),
            };
            methods.push((Box::new(cam), class.clone(), Shown::Rectified));
        }
        methods.push((Box::new(Occlusion::new([window; 2])), class, Shown::Signed));
        let rise = Rise::new().masks(self.masks).seed(self.seed);
        methods.push((Box::new(rise), Target::probability(explained.class), Shown::Spread));
        methods.into_iter().map(|(method, target, shown)| (method.name(), method, target, shown)).collect()
    }

    fn draw(&self, photo: RgbImage, map: Tensor<4>, shown: Shown) -> vis::Result<RgbImage> {
        let draw = DrawOptions { colors: None, alpha: self.alpha };
        let (map, colors): (Array2<f32>, _) = match shown {
            Shown::Magnitude => {
                let map = matrix(magnitude(map));
                (normalize_unsigned_clipped(map.view(), SALIENCY_PERCENTILE)?, ColorMap::Inferno)
            }
            Shown::Rectified => {
                let map = matrix(burn::tensor::activation::relu(map));
                (normalize_signed(map.view()), ColorMap::Jet)
            }
            Shown::Signed => (normalize_signed(matrix(map).view()), ColorMap::BlueRed),
            Shown::Spread => (normalize_unsigned(matrix(map).view()), ColorMap::Jet),
        };
        draw.overlay(&photo, &map, colors)
    }
}
