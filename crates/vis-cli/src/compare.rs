//! `vis compare`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;
use clap::Args;
use image::RgbImage;
use ndarray::{Array2, Axis};
use serde::Serialize;
use serde_json::{Map, Value};
use vis::Progress;
use vis::Target;
use vis::attribution::{
    AttentionRollout, Attribution, Blank, Cam, Formula, GuidedGradCam, IntegratedGradients, Occlusion, Rise,
    Saliency, SmoothGrad, channel_sum, magnitude,
};
use vis::model::Model;
use vis::picture::{ColorMap, Grid, Sign, normalize};

use crate::asked::Asked;
use crate::explain::{DrawOptions, ExplainOptions, Scale, matrix};
use crate::failure::{Failure, Outcome};
use crate::network::Opened;
use crate::options;
use crate::perturbation::usual_window;
use crate::photo::enlarged;
use crate::progress::{self, Work};
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
    #[arg(long, alias = "channels", value_name = "N", default_value = "64", value_parser = options::count)]
    max_channels: usize,

    /// The seed of all randomness
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// How much of the photo the maps hide, from 0 to 1
    #[arg(long, alias = "alpha", value_name = "SHARE", help_heading = "Results", default_value = "0.5",
        value_parser = options::share)]
    opacity: f32,
}

const EXAMPLES: &str = "\
Examples:
  vis compare --image cat.jpg -o panel.png
  vis compare --image seven.png --model digits --class 1 --masks 200 -o why-not-1.png
  vis compare --image cat.jpg --model vgg16 --target-layer block5_conv3 --filter 20 --masks 100 -o filter.png

One photo and one target. The slow methods run with fewer masks and channels than alone. The numbers of --raw are the signed maps at the
size of the image, summed over colour channels, [methods, 1, height, width], in the order of the panel, which
--json names. Ctrl-C writes the methods that are done; one that was not is left out.";

/// A method of the panel.
struct Method {
    explains: Explains,
    target: Target,
    shown: Shown,
}

enum Explains {
    /// By a map at a layer, with the name of that layer.
    AtLayer(Box<Cam>),
    AtPixels(Box<dyn Attribution>),
}

impl Method {
    fn name(&self) -> String {
        match &self.explains {
            Explains::AtLayer(cam) => cam.name(),
            Explains::AtPixels(method) => method.name(),
        }
    }

    /// The map at the size of the image, and the layer that it was made at.
    fn map(&self, model: &dyn Model, image: Tensor<4>) -> vis::Result<(Tensor<4>, Option<String>)> {
        Ok(match &self.explains {
            Explains::AtLayer(cam) => {
                let cam = cam.map(model, image, &self.target)?;
                (cam.upsampled(), Some(cam.layer))
            }
            Explains::AtPixels(method) => (method.attribute(model, image, &self.target)?, None),
        })
    }
}

/// Whether a method was ended by Ctrl-C before it was done.
#[derive(Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Cut {
    /// A callback that ends a method when Ctrl-C asks for it.
    fn asker(&self) -> impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static {
        let cut = self.clone();
        move |now| {
            if now.done < now.of && progress::is_interrupted() {
                cut.0.store(true, Ordering::SeqCst);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

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
        let explained = self.explain.open_one(&mut report)?;
        let [photo] = &explained.photos[..] else { return Err(Failure::new("there is no photo")) };
        let [(_, asked)] = &explained.maps[..] else { return Err(Failure::new("there is no target")) };
        let cut = Cut::default();
        let methods = self.methods(&explained.opened, asked, &cut);

        let work = Work::begin();
        let line = work.line();
        let (mut panel, mut raws) = (vec![enlarged(photo.picture.clone())], Vec::new());
        let mut captions = vec!["photo".to_owned()];
        let mut layers = Map::new();
        for (index, method) in methods.iter().enumerate() {
            let name = method.name();
            if line.at(index, methods.len(), || name.clone()).is_break() {
                break;
            }
            let map = method.map(explained.opened.model.as_ref(), photo.image.clone());
            if cut.is_cut() {
                report.say(format!("{name}: left out, it was not done"));
                break;
            }
            match map {
                Ok((map, layer)) => {
                    let is_rectified = matches!(method.shown, Shown::Rectified);
                    let blank = Blank::of_each(&map).into_iter().flatten().next();
                    if let Some(blank) = blank.filter(|blank| is_rectified || *blank != Blank::Negative) {
                        report.say(format!("{name}: {blank}"));
                    }
                    panel.push(self.draw(photo.picture.clone(), map.clone(), method.shown)?);
                    captions.push(name.clone());
                    layers.extend(layer.map(|layer| (name, Value::from(layer))));
                    raws.push(crate::host::array4(channel_sum(map)));
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
        report.set("layers", layers);
        report.set("interrupted", ended.interrupted);
        let views: Vec<_> = raws.iter().map(|raw| raw.view()).collect();
        let raw = ndarray::concatenate(Axis(0), &views)
            .map_err(|error| Failure::new(format!("the maps do not fit together: {error}")))?
            .into_dyn();
        report.set("map", described(&raw.view()));
        let outputs = &self.explain.outputs;
        let title = match asked.probability {
            Some(_) => format!("{}: class {}", self.explain.model.name(), asked.caption),
            None => format!("{}: {}", self.explain.model.name(), asked.caption),
        };
        outputs.write_picture(&mut report, || Grid::new(&panel).captions(captions).title(title).render())?;
        outputs.write_raw(&mut report, raw.view())?;
        explained.write_losses(&mut report, outputs)?;
        report.print()?;
        ended.verdict()
    }

    fn methods(&self, opened: &Opened, asked: &Asked, cut: &Cut) -> Vec<Method> {
        let (height, width) = opened.model.input().size();
        let window = usual_window(height, width);
        let at_pixels = |method: Box<dyn Attribution>, shown| Method {
            explains: Explains::AtPixels(method),
            target: asked.target.clone(),
            shown,
        };
        let smooth =
            SmoothGrad::new(Saliency::new()).samples(self.steps).seed(self.seed).progress(cut.asker());
        let by_gradient: [Box<dyn Attribution>; 7] = [
            Box::new(Saliency::new()),
            Box::new(Saliency::new().times_input()),
            Box::new(IntegratedGradients::new().steps(self.steps).progress(cut.asker())),
            Box::new(smooth),
            Box::new(Saliency::guided()),
            Box::new(Saliency::deconvolution()),
            Box::new(GuidedGradCam::new()),
        ];
        let by_gradient = by_gradient.map(|method| at_pixels(method, Shown::Magnitude));
        let at_layer = Formula::ALL.into_iter().map(|formula| {
            let cam = Cam::new(formula).progress(cut.asker());
            let slow = matches!(formula, Formula::AblationCam | Formula::ScoreCam);
            let cam = if slow { cam.max_channels(self.max_channels) } else { cam };
            Method {
                explains: Explains::AtLayer(Box::new(cam)),
                target: asked.target.clone(),
                shown: Shown::Rectified,
            }
        });
        let occlusion = at_pixels(Box::new(Occlusion::new([window; 2]).progress(cut.asker())), Shown::Signed);
        let rise = Rise::new().masks(self.masks).seed(self.seed).progress(cut.asker());
        let mut rise = at_pixels(Box::new(rise), Shown::Spread);
        rise.target = asked.as_probability.clone();
        let attends =
            opened.model.layers().is_ok_and(|all| all.iter().any(|layer| layer.kind == "attention map"));
        let rollouts = [AttentionRollout::new(), AttentionRollout::by_gradient()];
        let rollouts = rollouts.map(|method| at_pixels(Box::new(method), Shown::Rectified));
        let rollouts = rollouts.into_iter().filter(|_| attends);
        by_gradient.into_iter().chain(at_layer).chain(rollouts).chain([occlusion, rise]).collect()
    }

    fn draw(&self, photo: RgbImage, map: Tensor<4>, shown: Shown) -> vis::Result<RgbImage> {
        let draw = DrawOptions { scale: Scale::Each, colors: None, opacity: self.opacity };
        let (map, colors): (Array2<f32>, _) = match shown {
            Shown::Magnitude => {
                let map = matrix(magnitude(map));
                (normalize(map.view(), Sign::Unsigned, 99.0)?, ColorMap::Inferno)
            }
            Shown::Rectified => {
                let map = matrix(burn::tensor::activation::relu(map));
                (normalize(map.view(), Sign::Signed, 100.0)?, ColorMap::Jet)
            }
            Shown::Signed => (normalize(matrix(map).view(), Sign::Signed, 100.0)?, ColorMap::BlueRed),
            Shown::Spread => (normalize(matrix(map).view(), Sign::Unsigned, 100.0)?, ColorMap::Jet),
        };
        draw.overlay(&photo, &map, colors)
    }
}
