//! How long the layers of VGG16, EfficientNet-Lite0 and others take, forward and back: the least time of many runs.
//!
//! ```sh
//! cargo bench -p vis-kernels --profile dev                 # all
//! cargo bench -p vis-kernels --profile dev -- depthwise    # those with this in their name
//! COMPARE=1 cargo bench -p vis-kernels --profile dev       # by each kernel that can
//! SECONDS_EACH=1 cargo bench -p vis-kernels --profile dev  # longer
//! ```

use std::time::{Duration, Instant};

use vis_kernels::{
    Convolution, Direct, Epilogue, Filters, Gate, General, Geometry, Padding, Rectifier, Rule,
    instruction_set, max_pool, max_pool_gradient,
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

/// What other networks have: weight, channels, strides, dilation, padding, side.
type Other = ([usize; 4], usize, [usize; 2], usize, [usize; 2], usize);

const OTHERS: [(&str, Other); 19] = [
    ("7×7 / 2, 3 to 64", ([64, 3, 7, 7], 3, [2, 2], 1, [3, 3], 224)),
    ("3×3 / 2, 128", ([128, 128, 3, 3], 128, [2, 2], 1, [1, 1], 56)),
    ("3×3 / 2, 512", ([512, 512, 3, 3], 512, [2, 2], 1, [1, 1], 14)),
    ("1×1 / 2, 256 to 512", ([512, 256, 1, 1], 256, [2, 2], 1, [0, 0], 56)),
    ("1×1, 256 to 64", ([64, 256, 1, 1], 256, [1, 1], 1, [0, 0], 56)),
    ("1×1, 512 to 2048", ([2048, 512, 1, 1], 512, [1, 1], 1, [0, 0], 7)),
    ("3×3, 32 groups of 4", ([128, 4, 3, 3], 128, [1, 1], 1, [1, 1], 56)),
    ("3×3 / 2, 32 groups of 4", ([128, 4, 3, 3], 128, [2, 2], 1, [1, 1], 56)),
    ("3×3, 32 groups of 8", ([256, 8, 3, 3], 256, [1, 1], 1, [1, 1], 28)),
    ("3×3 / 2, 32 groups of 8", ([256, 8, 3, 3], 256, [2, 2], 1, [1, 1], 56)),
    ("3×3, 32 groups of 16", ([512, 16, 3, 3], 512, [1, 1], 1, [1, 1], 14)),
    ("7×7 depthwise, 96", ([96, 1, 7, 7], 96, [1, 1], 1, [3, 3], 56)),
    ("patches 4×4 / 4", ([96, 3, 4, 4], 3, [4, 4], 1, [0, 0], 224)),
    ("patches 16×16 / 16", ([384, 3, 16, 16], 3, [16, 16], 1, [0, 0], 224)),
    ("2×2 / 2, 96 to 192", ([192, 96, 2, 2], 96, [2, 2], 1, [0, 0], 56)),
    ("3×3 dilated by 2, 256", ([256, 256, 3, 3], 256, [1, 1], 2, [2, 2], 28)),
    ("1×7, 192", ([192, 192, 1, 7], 192, [1, 1], 1, [0, 3], 17)),
    ("5×5, 48 to 64", ([64, 48, 5, 5], 48, [1, 1], 1, [2, 2], 28)),
    ("3×3 depthwise dilated by 2, 96", ([96, 1, 3, 3], 96, [1, 1], 2, [2, 2], 56)),
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
        let convolution = Convolution::new(&noise(weight.iter().product()), &filters);
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
    for (name, (weight, channels, stride, dilation, [down, right], side)) in OTHERS {
        if !name.contains(&wanted) {
            continue;
        }
        let padding = Padding::Around([[down; 2], [right; 2]]);
        let filters = Filters::new(weight, channels, 1, padding).expect("filters");
        let filters = filters.spaced(stride, [dilation; 2]).expect("filters");
        let sizes = filters.on(1, [side, side]).expect("sizes");
        let weights = noise(weight.iter().product());
        let mut kernels = vec![(name.to_owned(), Convolution::new(&weights, &filters))];
        if std::env::var_os("COMPARE").is_some() {
            if Direct::suits(&filters) {
                kernels
                    .push((format!("{name}, direct"), Convolution::Direct(Direct::new(&weights, &filters))));
            }
            kernels
                .push((format!("{name}, general"), Convolution::General(General::new(&weights, &filters))));
        }
        for (name, convolution) in kernels {
            let mut layer = Layer {
                convolution,
                sizes,
                bias: noise(weight[0]),
                input: noise(sizes.input_length()),
                output: noise(sizes.output_length()),
                cotangent: noise(sizes.output_length()),
                gradient: noise(sizes.input_length()),
            };
            show(&name, least(|| layer.forward()), least(|| layer.backward()));
        }
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
