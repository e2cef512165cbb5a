//! PyTorch and vis side by side: time and peak memory of the things one does with this crate.
//!
//! `PYTHON=/path/to/python cargo bench --bench pytorch [-- CASE]` with a Python that has PyTorch, and torchvision, timm and
//! onnx for the networks from files and the single operations (`-- network`, `-- operation`). Each side of a case
//! is a process of its own (PyTorch once in each memory layout) that waits while the others run; they run in turn,
//! A B C A B C …, because machines are noisy. Prints a Markdown table of medians.
//!
//! `ROUNDS` sets the number of rounds (9), `THREADS` that of threads (2), `NETWORKS` the folder of ONNX files
//! (`target/networks`), which are made where they are missing.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use vis::Target;
use vis::attribution::{Cam, Formula, IntegratedGradients};
use vis::gradient::Gradient;
use vis::losses::{ActivationMaximization, LPNorm, TotalVariation};
use vis::model::{EfficientNetLite0, Onnx, Preprocessing, Taps, Vgg16, run};
use vis::random::noise;
use vis::visualization::deep_dream;
use vis::{Model, Optimizer, Rule, losses, visualize_activation};

/// Name, batch, and what it is.
const CASES: [(&str, usize, &str); 12] = [
    ("vgg16 block1_conv2", 1, "VGG16, a step on `block1_conv2`"),
    ("vgg16 block1_conv2", 8, "the same, batch of 8"),
    ("vgg16 block3_conv3", 1, "VGG16, a step on `block3_conv3`"),
    ("vgg16 block3_conv3", 8, "the same, batch of 8"),
    ("vgg16 block5_conv3", 1, "VGG16, a step on `block5_conv3`"),
    ("vgg16 block5_conv3", 8, "the same, batch of 8"),
    ("guided backprop", 1, "VGG16, guided backpropagation from `block5_conv3`"),
    ("efficientnet gradient", 1, "EfficientNet-Lite0, gradient of a class (saliency)"),
    ("grad-cam", 1, "EfficientNet-Lite0, Grad-CAM"),
    ("integrated gradients", 16, "EfficientNet-Lite0, integrated gradients, 64 points in batches of 16"),
    ("visualize_activation", 16, "VGG16, `visualize_activation`, 16 filters of `block3_conv3`, 10 steps"),
    ("deep dream", 1, "VGG16, deep dream of 1024×768 on `block4_conv3`, 1 octave, 3 steps"),
];

/// The networks of `networks.py`, each from the same file.
const NETWORKS: [(&str, &str); 9] = [
    ("resnet50", "ResNet-50"),
    ("mobilenet_v2", "MobileNetV2"),
    ("mobilenet_v3_small", "MobileNetV3-small"),
    ("efficientnet_b0", "EfficientNet-B0"),
    ("densenet121", "DenseNet-121"),
    ("inception_v3", "Inception-v3"),
    ("convnext_tiny", "ConvNeXt-tiny"),
    ("vit_small", "ViT-S/16"),
    ("swin_t", "Swin-tiny"),
];

/// What is done with each of them.
const USES: [(&str, usize, &str); 4] = [
    ("gradient", 1, "gradient of a class (saliency)"),
    ("gradient", 8, "the same, batch of 8"),
    ("grad-cam", 1, "Grad-CAM"),
    ("activation", 1, "activation maximisation, 3 steps"),
];

/// The operations of `networks.py`.
const OPERATIONS: [&str; 22] = [
    "7x7/2 stem, 3 to 64 at 224",
    "3x3, 64 at 56",
    "3x3/2, 128 at 56",
    "3x3/2, 512 at 14",
    "1x1/2, 256 to 512 at 56",
    "1x1, 256 to 64 at 56",
    "1x1, 512 to 2048 at 7",
    "5x5, 48 to 64 at 28",
    "3x3 in 32 groups, 128 at 56",
    "3x3/2 in 32 groups, 256 at 56",
    "7x7 depthwise, 96 at 56",
    "3x3 dilated by 2, 256 at 28",
    "1x7, 192 at 17",
    "patches 4x4/4, 3 to 96 at 224",
    "patches 16x16/16, 3 to 384 at 224",
    "patches 2x2/2, 96 to 192 at 56",
    "transposed 2x2/2, 256 to 128 at 28",
    "max pool 3x3/2, 64 at 112",
    "SiLU, 64 at 112",
    "product 384 to 1536 of 197, and GELU",
    "attention, 6 heads of 197 by 64",
    "layer norm over channels, 96 at 56",
];

/// All cases: name, batch, and what it is.
fn cases() -> Vec<(String, usize, String)> {
    let mut cases: Vec<_> =
        CASES.iter().map(|(case, batch, what)| ((*case).to_owned(), *batch, (*what).to_owned())).collect();
    for (name, title) in NETWORKS {
        for (kind, batch, what) in USES {
            cases.push((format!("network: {name}, {kind}"), batch, format!("{title}, {what}")));
        }
    }
    for name in OPERATIONS {
        for (kind, what) in [("forward", "forward"), ("backward", "forward and back to the input")] {
            cases.push((format!("operation: {name}, {kind}"), 1, format!("{name}: {what}")));
        }
    }
    cases
}

/// What a case is made of, if it is of `networks.py`: the name in it, and what is done with it.
fn made(case: &str) -> Option<(&str, &str)> {
    let (_, rest) = case.split_once(": ")?;
    rest.rsplit_once(", ")
}

/// The file of a network or an operation.
fn file(name: &str) -> std::path::PathBuf {
    let folder = std::env::var("NETWORKS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/networks").into());
    std::fs::create_dir_all(&folder).unwrap();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    std::path::Path::new(&folder).join(name).with_extension("onnx")
}

/// After a step PyTorch's threads spin for a while.
const REST: Duration = Duration::from_millis(250);

fn main() {
    let arguments: Vec<String> =
        std::env::args().filter(|argument| !argument.starts_with("--bench")).collect();
    if let [_, word, case, batch] = &arguments[..]
        && word == "child"
    {
        return child(case, batch.parse().unwrap());
    }
    let rounds: usize = setting("ROUNDS", 9);
    let threads: usize = setting("THREADS", 2);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pytorch.py");
    println!("| what | PyTorch, s (MB) | vis, s (MB) | time ratio | memory ratio |");
    println!("| --- | --- | --- | --- | --- |");
    for (case, batch, what) in cases() {
        if arguments.get(1).is_some_and(|wanted| !case.contains(wanted.as_str())) {
            continue;
        }
        if let Some((name, _)) = made(&case)
            && !file(name).exists()
        {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/networks.py");
            let made = Command::new(&python).arg(script).arg(name).arg(file(name)).output().unwrap();
            assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        }
        let batch = batch.to_string();
        let mut commands = Vec::new();
        for layout in ["contiguous", "channels_last"] {
            let mut command = Command::new(&python);
            command.args([script, &case, &batch, layout, &threads.to_string()]);
            commands.push(command);
        }
        let mut command = Command::new(&arguments[0]);
        command.args(["child", &case, &batch]).env("RAYON_NUM_THREADS", threads.to_string());
        commands.push(command);
        let mut sides: Vec<Side> = commands.into_iter().map(Side::start).collect();
        for _ in 0..rounds {
            for side in &mut sides {
                std::thread::sleep(REST);
                side.run();
            }
        }
        let measured: Vec<(f64, f64)> = sides.into_iter().map(Side::finish).collect();
        let (torch, vis) = (measured[0].0.min(measured[1].0), measured[2].0);
        let torch_memory = if measured[0].0 <= measured[1].0 { measured[0].1 } else { measured[1].1 };
        let vis_memory = measured[2].1;
        println!(
            "| {what} | {torch:.4} ({torch_memory:.0}) | {vis:.4} ({vis_memory:.0}) | {:.2} | {:.2} |",
            vis / torch,
            vis_memory / torch_memory
        );
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A process that runs its case once for each line it gets.
struct Side {
    process: Child,
    answers: BufReader<ChildStdout>,
    seconds: Vec<f64>,
}

impl Side {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut side = Self { process, answers, seconds: Vec::new() };
        assert_eq!(side.answer(), "ready", "{command:?}");
        side
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn run(&mut self) {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
        let seconds = self.answer().parse().expect("seconds");
        self.seconds.push(seconds);
    }

    /// The median of the seconds, and the peak memory in MB.
    fn finish(mut self) -> (f64, f64) {
        drop(self.process.stdin.take());
        let memory = self.answer().parse().expect("megabytes");
        self.process.wait().unwrap();
        self.seconds.sort_by(f64::total_cmp);
        (self.seconds[self.seconds.len() / 2], memory)
    }
}

/// The side of this crate: see `pytorch.py`.
fn child(case: &str, batch: usize) {
    let run = prepare(case, batch);
    run();
    run();
    println!("ready");
    // What is short is run several times, so that what it costs to begin is no part of it.
    let times = if case.starts_with("operation") { 20 } else { 1 };
    for _ in std::io::stdin().lines() {
        let start = Instant::now();
        (0..times).for_each(|_| run());
        println!("{}", start.elapsed().as_secs_f64() / f64::from(times));
    }
    println!("{}", common::peak_memory_in_mb());
}

/// What is done with a network or an operation of `networks.py`.
fn prepare_made(name: &str, kind: &str, batch: usize) -> Box<dyn Fn()> {
    let model = Onnx::open(file(name), Preprocessing::none()).unwrap();
    let [channels, height, width] = model.input().shape();
    let shape = [batch, channels, height, width];
    let image = noise(shape, (0.0, 1.0), 0, 0, &model.device());
    match kind {
        "gradient" => {
            let losses = ActivationMaximization::of(&model, Target::class(285)).unwrap().into();
            Box::new(move || check(Gradient::new(&model, &losses).evaluate(image.clone()).unwrap().gradient))
        }
        "grad-cam" => {
            let cam = Cam::new(Formula::GradCam);
            Box::new(move || {
                check(cam.map(&model, image.clone(), &Target::class(285)).unwrap().rectified().map);
            })
        }
        "activation" => Box::new(move || {
            let losses = losses![
                (ActivationMaximization::of(&model, Target::class(285)).unwrap(), 1.0),
                (LPNorm::default(), 10.0),
                (TotalVariation::default(), 10.0),
            ];
            check(
                Optimizer::new(&model, losses).seed_img(image.clone()).max_iter(3).minimize().unwrap().image,
            );
        }),
        "forward" => Box::new(move || {
            let mut taps = Taps::new().record_last();
            run(&model, image.clone(), &mut taps).unwrap();
            assert!(taps.last().is_ok());
        }),
        _ => Box::new(move || {
            let leaf = Tensor::from_inner(image.clone()).require_grad();
            let mut taps = Taps::new().record_last();
            run(&model, leaf.clone(), &mut taps).unwrap();
            let gradients = taps.last().unwrap().sum().backward();
            assert!(leaf.grad(&gradients).is_some());
        }),
    }
}

fn prepare(case: &str, batch: usize) -> Box<dyn Fn()> {
    if let Some((name, kind)) = made(case) {
        return prepare_made(name, kind, batch);
    }
    let device = Device::default();
    let vgg = || Vgg16::bundled(&device).unwrap();
    let lite = || EfficientNetLite0::with_random_weights(0, &device).unwrap();
    let image = noise([batch, 3, 224, 224], (0.0, 255.0), 0, 0, &device);
    let step = |model: Box<dyn Model>, layer: &str, filter: usize, rule| -> Box<dyn Fn()> {
        let losses = ActivationMaximization::new(layer, filter).into();
        let image = image.clone();
        Box::new(move || {
            check(Gradient::new(&*model, &losses).rule(rule).evaluate(image.clone()).unwrap().gradient);
        })
    };
    match case {
        "guided backprop" => step(Box::new(vgg()), "block5_conv3", 0, Rule::Guided),
        "efficientnet gradient" => step(Box::new(lite()), "predictions", 285, Rule::Plain),
        "grad-cam" => {
            let model = lite();
            let cam = Cam::new(Formula::GradCam);
            let image = image.clone();
            Box::new(move || {
                check(cam.map(&model, image.clone(), &Target::class(285)).unwrap().rectified().map);
            })
        }
        "integrated gradients" => {
            let model = lite();
            let method = IntegratedGradients::new().steps(64).batch_size(batch);
            let image = image.clone().narrow(0, 0, 1);
            Box::new(move || check(method.evaluate(&model, image.clone(), &Target::class(285)).unwrap().map))
        }
        "visualize_activation" => {
            let model = vgg();
            Box::new(move || {
                let pictures =
                    visualize_activation(&model, "block3_conv3").filter_indices(0..batch).max_iter(10);
                let pictures = pictures.progress(|_| ControlFlow::Continue(())).run().unwrap();
                assert_eq!(pictures.len(), batch);
            })
        }
        "deep dream" => {
            let model = vgg();
            let photo = noise([1, 3, 768, 1024], (0.0, 255.0), 0, 0, &device);
            Box::new(move || {
                let dream = deep_dream(&model, photo.clone()).layer("block4_conv3").octaves(1).max_iter(3);
                check(dream.run().unwrap().image);
            })
        }
        _ => step(Box::new(vgg()), case.strip_prefix("vgg16 ").expect("a case"), 0, Rule::Plain),
    }
}

fn check(x: Tensor<4>) {
    assert!(x.abs().max().into_scalar::<f32>().is_finite());
}
