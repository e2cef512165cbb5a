//! How long the layers of VGG16 and EfficientNet-Lite0 take, forward and back: the least time of many runs.
//!
//! ```sh
//! cargo bench -p vis-kernels --profile dev                 # all
//! cargo bench -p vis-kernels --profile dev -- depthwise    # those with this in their name
//! SECONDS_EACH=1 cargo bench -p vis-kernels --profile dev  # longer
//! ```

use std::time::{Duration, Instant};

use vis_kernels::{
    Convolution, Epilogue, Filters, Gate, Geometry, Padding, Rectifier, Rule, instruction_set, max_pool,
    max_pool_gradient,
};

/// Weight, channels of the image, stride, batch, height and width.
type Shape = ([usize; 4], usize, usize, usize, usize);

const LAYERS: [(&str, Shape); 21] = [
    ("VGG16 block1_conv1", ([64, 3, 3, 3], 3, 1, 1, 224)),
    ("VGG16 block1_conv2", ([64, 64, 3, 3], 64, 1, 1, 224)),
    ("VGG16 block2_conv2", ([128, 128, 3, 3], 128, 1, 1, 112)),
    ("VGG16 block3_conv3", ([256, 256, 3, 3], 256, 1, 1, 56)),
    ("VGG16 block4_conv3", ([512, 512, 3, 3], 512, 1, 1, 28)),
    ("VGG16 block5_conv3", ([512, 512, 3, 3], 512, 1, 1, 14)),
    ("VGG16 block5_conv3, batch of 8", ([512, 512, 3, 3], 512, 1, 8, 14)),
    ("Lite0 stem", ([32, 3, 3, 3], 3, 2, 1, 224)),
    ("Lite0 depthwise 3×3", ([32, 1, 3, 3], 32, 1, 1, 112)),
    ("Lite0 depthwise 3×3 / 2", ([96, 1, 3, 3], 96, 2, 1, 112)),
    ("Lite0 depthwise 5×5 / 2", ([144, 1, 5, 5], 144, 2, 1, 56)),
    ("Lite0 depthwise 3×3, deep", ([480, 1, 3, 3], 480, 1, 1, 14)),
    ("Lite0 depthwise 5×5, deep", ([672, 1, 5, 5], 672, 1, 1, 14)),
    ("Lite0 pointwise 32 to 16", ([16, 32, 1, 1], 32, 1, 1, 112)),
    ("Lite0 pointwise 16 to 96", ([96, 16, 1, 1], 16, 1, 1, 112)),
    ("Lite0 pointwise 96 to 24", ([24, 96, 1, 1], 96, 1, 1, 56)),
    ("Lite0 pointwise 480 to 80", ([80, 480, 1, 1], 480, 1, 1, 14)),
    ("Lite0 pointwise 112 to 672", ([672, 112, 1, 1], 112, 1, 1, 14)),
    ("Lite0 pointwise 1152 to 320", ([320, 1152, 1, 1], 1152, 1, 1, 7)),
    ("Lite0 pointwise 320 to 1280", ([1280, 320, 1, 1], 320, 1, 1, 7)),
    ("Lite0 pointwise 320 to 1280, batch of 8", ([1280, 320, 1, 1], 320, 1, 8, 7)),
];

/// Numbers in -0.5..0.5 that look random.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

/// The least time of many runs.
fn least(mut run: impl FnMut()) -> Duration {
    let seconds = std::env::var("SECONDS_EACH").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.2);
    let (start, mut least) = (Instant::now(), Duration::MAX);
    while start.elapsed().as_secs_f64() < seconds {
        let before = Instant::now();
        run();
        least = least.min(before.elapsed());
    }
    least
}

struct Layer {
    convolution: Convolution,
    sizes: Geometry,
    bias: Vec<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    cotangent: Vec<f32>,
    gradient: Vec<f32>,
}

impl Layer {
    fn forward(&mut self) {
        let epilogue = Epilogue { bias: Some(&self.bias), rectifier: Some(Rectifier::Relu6) };
        self.convolution.forward(&self.input, &self.sizes, &mut self.output, epilogue);
    }

    fn backward(&mut self) {
        let gate = Gate { output: &self.output, rectifier: Rectifier::Relu6, rule: Rule::Plain };
        self.convolution.input_gradient(&self.cotangent, &self.sizes, &mut self.gradient, Some(gate));
    }
}

fn main() {
    let wanted = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")).unwrap_or_default();
    println!("{}; microseconds", instruction_set());
    println!("{:42} {:>9} {:>9}", "layer", "forward", "back");
    let show = |name: &str, forward: Duration, back: Duration| {
        println!("{name:42} {:9.1} {:9.1}", forward.as_secs_f64() * 1e6, back.as_secs_f64() * 1e6);
    };
    let mut all = Vec::new();
    for (name, (weight, channels, stride, batch, side)) in LAYERS {
        if !name.contains(&wanted) {
            continue;
        }
        let filters = Filters::new(weight, channels, stride, Padding::Same).expect("filters");
        let sizes = filters.on(batch, [side, side]).expect("sizes");
        let convolution = Convolution::new(&noise(weight.iter().product()), &filters).expect("a kernel");
        let mut layer = Layer {
            convolution,
            sizes,
            bias: noise(weight[0]),
            input: noise(sizes.input_length()),
            output: noise(sizes.output_length()),
            cotangent: noise(sizes.output_length()),
            gradient: noise(sizes.input_length()),
        };
        show(name, least(|| layer.forward()), least(|| layer.backward()));
        all.push(layer);
    }
    if "2×2 max pooling".contains(&wanted) {
        let shape = [64, 224, 224];
        let (input, mut gradient) = (noise(64 * 224 * 224), noise(64 * 224 * 224));
        let (mut output, mut winners) = (noise(64 * 112 * 112), vec![0; 64 * 112 * 112]);
        let forward = least(|| max_pool(&input, shape, &mut output, &mut winners));
        show(
            "2×2 max pooling",
            forward,
            least(|| max_pool_gradient(&output, &winners, shape, &mut gradient)),
        );
    }
    // One after the other, as networks do it: what it costs to share tasks out shows here.
    let mut forward = || all.iter_mut().for_each(Layer::forward);
    let forward = least(&mut forward);
    show("all layers in turn", forward, least(|| all.iter_mut().rev().for_each(Layer::backward)));
}
