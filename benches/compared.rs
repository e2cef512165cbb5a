//! What it costs to compare the gradient pass with a plain one: a saliency map of EfficientNet-Lite0 by the network
//! itself, which says that it is frozen, and by the same network when it does not say so.
//!
//! `cargo bench --bench compared` takes the cases in turn, because machines are noisy, and prints a table of medians.

use std::time::Instant;

use burn::tensor::Tensor;
use vis::Target;
use vis::attribution::{Attribution, Saliency, SmoothGrad};
use vis::model::{EfficientNetLite0, InputSpec, Model, Stop, Taps};

const ROUNDS: usize = 41;

/// A network that does not say that it is frozen.
struct Unsaid(EfficientNetLite0, InputSpec);

impl Model for Unsaid {
    fn input(&self) -> &InputSpec {
        &self.1
    }

    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        self.0.forward(image, taps)
    }

    fn logits(&self) -> Option<&str> {
        self.0.logits()
    }
}

fn main() {
    let load = || EfficientNetLite0::bundled(&Default::default()).unwrap();
    let spec = load().input().clone();
    let models: [(&str, Box<dyn Model>); 3] = [
        ("says it is frozen", Box::new(load())),
        ("takes any size", Box::new(Unsaid(load(), spec))),
        ("takes one size", Box::new(Unsaid(load(), InputSpec::rgb(224, 224)))),
    ];
    let image = vis::random::noise([1, 3, 224, 224], (0.0, 255.0), 0, 0, &Default::default());
    let smooth = SmoothGrad::new(Saliency::new()).samples(25);
    let methods: [(&str, Box<dyn Attribution>, usize); 2] =
        [("gradient", Box::new(Saliency::new()), ROUNDS), ("SmoothGrad of 25", Box::new(smooth), ROUNDS / 8)];
    println!("| map | network | milliseconds (median) | least | of the processor |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, method, rounds) in methods {
        let mut times = vec![Vec::new(); models.len()];
        let mut of_processor = vec![0.0; models.len()];
        for _ in 0..=rounds {
            for (((_, model), times), sum) in models.iter().zip(&mut times).zip(&mut of_processor) {
                let (start, before) = (Instant::now(), processor());
                let map = method.attribute(model.as_ref(), image.clone(), &Target::class(285)).unwrap();
                drop(map.into_data());
                times.push(start.elapsed().as_secs_f64() * 1e3);
                *sum += processor() - before;
            }
        }
        for (((network, _), mut times), sum) in models.iter().zip(times).zip(of_processor) {
            let each = sum / times.len() as f64;
            times.remove(0); // to warm up
            times.sort_by(f64::total_cmp);
            println!("| {name} | {network} | {:.1} | {:.1} | {each:.1} |", times[times.len() / 2], times[0]);
        }
    }
}

/// The milliseconds that all threads have run; zero where the system does not say.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses: the 12th and 13th number, in hundredths of a second.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    numbers.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}
