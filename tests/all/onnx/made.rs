//! Networks made here, for what no file at hand shows.

use burn::tensor::{Device, Tensor};
use rten_onnx::onnx::{AttributeProto, AttributeType, DataType, GraphProto, TensorProto, ValueInfoProto};
use vis::model::{Graph, Taps, run};
use vis::{Error, Model, Rule};

use super::files::distance;
use super::hostile::{integers, loaded, model, node};
use crate::host;
use crate::support::{assert_close, device};

fn weight(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(DataType::FLOAT),
        float_data: values,
        ..Default::default()
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        f: Some(value),
        r#type: Some(AttributeType::FLOAT),
        ..Default::default()
    }
}

/// The gradient of the sum of `cotangent · output` under a rule.
fn pulled_back(model: &Graph, image: &[f32], cotangent: &[f32], rule: Rule) -> Vec<f32> {
    let [channels, height, width] = model.input().shape();
    let leaf =
        Tensor::<1>::from_floats(image, &Device::default().autodiff()).reshape([1, channels, height, width]);
    let leaf = leaf.detach().require_grad();
    let mut taps = Taps::new().rule(rule).record_last();
    run(model, leaf.clone(), &mut taps).unwrap();
    let output = taps.last().unwrap();
    let cotangent = Tensor::<1>::from_floats(cotangent, &device()).reshape(output.dims());
    host::values(leaf.grad(&(output * cotangent).sum().backward()).unwrap())
}

#[test]
fn rectifiers_of_a_file_obey_the_backward_rules() {
    // x = (-1, 0.5, 3, 9), cotangents g = (2, -3, 5, 7): guided is max(g, 0) f'(x), deconvolution max(g, 0).
    let (image, cotangent): ([f32; 4], [f32; 4]) = ([-1.0, 0.5, 3.0, 9.0], [2.0, -3.0, 5.0, 7.0]);
    let of = |kind: &str, inputs: &[&str], attributes: Vec<AttributeProto>| {
        let weights = vec![
            weight("low", &[], vec![0.0]),
            weight("high", &[], vec![4.0]),
            weight("slope", &[1, 1, 1], vec![0.25]),
        ];
        loaded(&model(&[1, 1, 2, 2], vec![node(kind, inputs, &["y"], attributes)], weights)).unwrap()
    };
    let elu = (-1.0f32).exp();
    let cases = [
        (of("Relu", &["x"], Vec::new()), [0.0, 1.0, 1.0, 1.0]),
        (of("Clip", &["x", "low", "high"], Vec::new()), [0.0, 1.0, 1.0, 0.0]),
        (of("LeakyRelu", &["x"], vec![float("alpha", 0.25)]), [0.25, 1.0, 1.0, 1.0]),
        (of("PRelu", &["x", "slope"], Vec::new()), [0.25, 1.0, 1.0, 1.0]),
        (of("Elu", &["x"], Vec::new()), [elu, 1.0, 1.0, 1.0]),
        (of("HardSwish", &["x"], Vec::new()), [1.0 / 6.0, 0.5 + 1.0 / 6.0, 1.0, 1.0]),
    ];
    for (index, (model, slopes)) in cases.iter().enumerate() {
        let expected = |rule: Rule| {
            let one = |k: usize| match rule {
                Rule::Guided => cotangent[k].max(0.0) * slopes[k],
                Rule::Deconvolution => cotangent[k].max(0.0),
                _ => cotangent[k] * slopes[k],
            };
            [0, 1, 2, 3].map(one)
        };
        for rule in [Rule::Plain, Rule::Guided, Rule::Deconvolution] {
            let mut got = pulled_back(model, &image, &cotangent, rule);
            let mut wanted = expected(rule);
            if index == 5 {
                // At 3 the derivative of hard swish jumps from 1.5 to 1.
                (got[2], wanted[2]) = (0.0, 0.0);
            }
            assert_close(&got, &wanted, 1e-5);
        }
    }
}

#[test]
fn a_convolution_takes_norm_and_rectifier_with_it_and_each_can_be_had_alone() {
    let noise = |length: usize, seed: u64, range| {
        host::values(vis::random::noise([1, 1, 1, length], range, seed, 0, &device()))
    };
    let weights = vec![
        weight("w", &[4, 3, 3, 3], noise(108, 1, (-1.0, 1.0))),
        weight("scale", &[4], noise(4, 2, (0.5, 2.0))),
        weight("shift", &[4], noise(4, 3, (-1.0, 1.0))),
        weight("mean", &[4], noise(4, 4, (-1.0, 1.0))),
        weight("variance", &[4], noise(4, 5, (0.5, 2.0))),
    ];
    let nodes = vec![
        node("Conv", &["x", "w"], &["conv"], vec![integers("pads", &[1, 1, 1, 1])]),
        node("BatchNormalization", &["conv", "scale", "shift", "mean", "variance"], &["norm"], Vec::new()),
        node("Relu", &["norm"], &["relu"], Vec::new()),
        node("GlobalAveragePool", &["relu"], &["y"], Vec::new()),
    ];
    let graph = loaded(&model(&[1, 3, 7, 5], nodes, weights)).unwrap();
    let names: Vec<String> = graph.layers().unwrap().into_iter().map(|layer| layer.name).collect();
    assert_eq!(names, ["conv", "norm", "relu", "y"]);
    let image = vis::random::noise([2, 3, 7, 5], (0.0, 1.0), 9, 0, &device());
    // All apart, then all in one.
    let mut apart = Taps::new().record_all();
    run(&graph, image.clone(), &mut apart).unwrap();
    for name in names {
        let alone = graph.activation(image.clone(), &name).unwrap();
        assert!(
            distance(&host::values(alone), &host::values(apart.activation(&name).unwrap())) < 1e-5,
            "{name}"
        );
    }
    // The gradient at each of them.
    let at = |layer: &str| {
        let mut taps = Taps::new().open(layer).record(["y"]);
        run(&graph, image.clone().autodiff(), &mut taps).unwrap();
        let gradients = taps.activation("y").unwrap().sum().backward();
        host::values(taps.opened(layer).unwrap().grad(&gradients).unwrap())
    };
    let (norm, relu) = (at("norm"), at("relu"));
    let open: Vec<f32> = host::values(apart.activation("norm").unwrap());
    let expected: Vec<f32> = relu.iter().zip(open).map(|(g, x)| if x > 0.0 { *g } else { 0.0 }).collect();
    assert!(distance(&norm, &expected) < 1e-6);
}

#[test]
fn the_transpositions_of_channels_last_files_leave_layers_channels_first() {
    let to_first = || vec![integers("perm", &[0, 3, 1, 2])];
    let to_last = || vec![integers("perm", &[0, 2, 3, 1])];
    let weights = vec![
        weight("w", &[5, 3, 1, 1], (0..15).map(|k| k as f32 - 7.0).collect()),
        weight("b", &[5], vec![1.0, 2.0, 3.0, 4.0, 5.0]),
    ];
    let nodes = vec![
        node("Transpose", &["x"], &["first"], to_first()),
        node("Conv", &["first", "w"], &["conv"], Vec::new()),
        node("Transpose", &["conv"], &["last"], to_last()),
        // The bias is of the last axis here.
        node("Add", &["last", "b"], &["sum"], Vec::new()),
        node("Relu", &["sum"], &["relu"], Vec::new()),
        node("Transpose", &["relu"], &["again"], to_first()),
        node("GlobalAveragePool", &["again"], &["y"], Vec::new()),
    ];
    let graph = loaded(&model(&[1, 6, 4, 3], nodes, weights)).unwrap();
    assert_eq!(graph.input().shape(), [3, 6, 4]);
    let table: Vec<String> = graph.layers().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        table,
        [
            "conv  convolution  5x6x4  15 parameters",
            "sum  sum  5x6x4",
            "relu  relu  5x6x4",
            "y  average pooling  5x1x1"
        ]
    );
    let image = vis::random::noise([1, 3, 6, 4], (0.0, 1.0), 2, 0, &device());
    let conv = graph.activation(image.clone(), "conv").unwrap();
    let bias = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 5.0], &device()).reshape([1, 5, 1, 1]);
    let sum = graph.activation(image, "sum").unwrap();
    assert!(distance(&host::values(sum), &host::values(conv + bias)) < 1e-6);
}

#[test]
fn an_operator_that_is_not_known_is_an_error_only_for_what_depends_on_it() {
    let nodes = vec![
        node("Relu", &["x"], &["known"], Vec::new()),
        node("Wonder", &["known"], &["unknown"], Vec::new()),
        node("Exp", &["unknown"], &["y"], Vec::new()),
    ];
    let graph = loaded(&model(&[1, 1, 2, 2], nodes, Vec::new())).unwrap();
    assert_eq!(graph.unsupported(), ["Wonder at unknown"]);
    let image = graph.input().zeros(&device());
    assert!(graph.activation(image.clone(), "known").is_ok());
    let error = graph.activation(image, "y").unwrap_err();
    assert_eq!(error.to_string(), "node `unknown` can't be computed: operator Wonder is not supported");
    assert!(matches!(error, Error::Graph { .. }));
}

#[test]
fn a_branch_is_taken_by_its_condition_also_one_that_depends_on_the_image() {
    let branch = |name: &str, kind: &str| AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::GRAPH),
        g: Some(GraphProto {
            node: vec![node(kind, &["x"], &["inner"], Vec::new())],
            output: vec![ValueInfoProto { name: Some("inner".into()), r#type: None }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let nodes = vec![
        node(
            "ReduceMax",
            &["x"],
            &["largest"],
            vec![AttributeProto {
                name: Some("keepdims".into()),
                i: Some(0),
                r#type: Some(AttributeType::INT),
                ..Default::default()
            }],
        ),
        node("Greater", &["largest", "bound"], &["large"], Vec::new()),
        node("If", &["large"], &["y"], vec![branch("then_branch", "Neg"), branch("else_branch", "Exp")]),
    ];
    let graph = loaded(&model(&[1, 1, 1, 2], nodes, vec![weight("bound", &[], vec![1.0])])).unwrap();
    let of = |values: [f32; 2]| {
        let image = Tensor::<1>::from_floats(values, &device()).reshape([1, 1, 1, 2]);
        let mut taps = Taps::new().record_last();
        run(&graph, image, &mut taps).unwrap();
        host::values(taps.last().unwrap())
    };
    assert_close(&of([3.0, -2.0]), &[-3.0, 2.0], 1e-6);
    assert_close(&of([0.5, 0.0]), &[0.5f32.exp(), 1.0], 1e-6);
}

#[test]
fn weights_in_other_floats_are_read() {
    let bits16 = |values: &[u16]| values.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>();
    // 0.5 and -2 in each.
    let kinds = [
        (DataType::FLOAT, [0.5f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),
        (DataType::DOUBLE, [0.5f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect()),
        (DataType::FLOAT16, bits16(&[0x3800, 0xc000])),
        (DataType::BFLOAT16, bits16(&[0x3f00, 0xc000])),
    ];
    for (kind, bytes) in kinds {
        let mut weight = weight("w", &[2], Vec::new());
        weight.data_type = Some(kind);
        weight.raw_data = Some(bytes.into());
        let graph = loaded(&model(&[1, 2], vec![node("Mul", &["x", "w"], &["y"], Vec::new())], vec![weight]))
            .unwrap();
        let image = Tensor::<1>::from_floats([2.0, 3.0], &device()).reshape([1, 2, 1, 1]);
        assert_close(&host::values(graph.classify(image).unwrap()), &[1.0, -6.0], 0.0);
    }
}

/// Every layer of a network, all apart and each alone, and the gradient of the output by differences.
fn alike_and_differentiable(graph: &Graph) {
    let [channels, height, width] = graph.input().shape();
    let image = vis::random::noise([1, channels, height, width], (-1.0, 1.0), 9, 0, &device());
    let mut apart = Taps::new().record_all();
    run(graph, image.clone(), &mut apart).unwrap();
    let names: Vec<String> = graph.layers().unwrap().into_iter().map(|layer| layer.name).collect();
    for name in &names {
        let alone = host::values(graph.activation(image.clone(), name).unwrap());
        let together = host::values(apart.activation(name).unwrap());
        assert!(distance(&alone, &together) < 1e-5, "{name} of {names:?}");
    }
    let output = host::values(graph.activation(image.clone(), names.last().unwrap()).unwrap());
    let cotangent: Vec<f32> = (0..output.len()).map(|k| ((k * 7 % 11) as f32 - 5.0) / 5.0).collect();
    let numbers = host::values(image);
    let gradient = pulled_back(graph, &numbers, &cotangent, Rule::Plain);
    // Along a direction, so that what rounds one number off hides in many.
    let direction: Vec<f32> = (0..numbers.len()).map(|k| ((k * 5 % 13) as f32 - 6.0) / 6.0).collect();
    let noise = |step: f32| {
        let sum = output.iter().zip(&cotangent).map(|(y, c)| f64::from((y * c).abs())).sum::<f64>();
        f64::from(f32::EPSILON) * sum / f64::from(step)
    };
    let at = |step: f32| -> f64 {
        let moved: Vec<f32> = numbers.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
        let moved = Tensor::<1>::from_floats(&moved[..], &device()).reshape([1, channels, height, width]);
        let output = host::values(graph.activation(moved, names.last().unwrap()).unwrap());
        output.iter().zip(&cotangent).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum()
    };
    let step = 1e-2;
    let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
    let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
    let size = gradient.iter().zip(&direction).map(|(g, d)| f64::from((g * d).abs())).sum::<f64>();
    assert!(
        (slope - along).abs() < 5e-3 * size.max(1e-3) + noise(step),
        "{slope} by differences, {along} of {size}"
    );
}

#[test]
fn parts_of_activations_and_products_are_computed_in_one_unless_a_part_is_wanted() {
    let noise = |length: usize, seed: u64| {
        host::values(vis::random::noise([1, 1, 1, length], (-1.0, 1.0), seed, 0, &device()))
    };
    let weights = vec![
        weight("root", &[], vec![std::f32::consts::SQRT_2]),
        weight("one", &[], vec![1.0]),
        weight("half", &[], vec![0.5]),
        weight("w", &[5, 7], noise(35, 1)),
        weight("b", &[7], noise(7, 2)),
        weight("gamma", &[7], noise(7, 3)),
        weight("beta", &[7], noise(7, 4)),
    ];
    let nodes = vec![
        node("MatMul", &["x", "w"], &["product"], Vec::new()),
        node("Add", &["b", "product"], &["dense"], Vec::new()),
        node("LayerNormalization", &["dense", "gamma", "beta"], &["norm"], Vec::new()),
        node("Div", &["norm", "root"], &["scaled"], Vec::new()),
        node("Erf", &["scaled"], &["erf"], Vec::new()),
        node("Add", &["erf", "one"], &["sum"], Vec::new()),
        node("Mul", &["norm", "sum"], &["twice"], Vec::new()),
        node("Mul", &["twice", "half"], &["gelu"], Vec::new()),
        node("Sigmoid", &["gelu"], &["gate"], Vec::new()),
        node("Mul", &["gelu", "gate"], &["silu"], Vec::new()),
        node("Softmax", &["silu"], &["soft"], Vec::new()),
        node("Add", &["soft", "silu"], &["y"], Vec::new()),
    ];
    alike_and_differentiable(&loaded(&model(&[1, 2, 6, 5], nodes, weights)).unwrap());
}

#[test]
fn convolutions_and_windows_of_every_kind_have_the_gradient_of_differences() {
    let noise = |length: usize, seed: u64| {
        host::values(vis::random::noise([1, 1, 1, length], (-0.3, 0.3), seed, 0, &device()))
    };
    let weights = vec![
        weight("a", &[6, 4, 5, 3], noise(360, 1)),
        weight("b", &[6], noise(6, 2)),
        weight("c", &[6, 10, 3, 2], noise(360, 3)),
        weight("d", &[20], noise(20, 4)),
        weight("e", &[8, 20, 1, 1], noise(160, 5)),
    ];
    let nodes = vec![
        node(
            "Conv",
            &["x", "a", "b"],
            &["conv"],
            vec![
                integers("pads", &[3, 1, 2, 0]),
                integers("strides", &[1, 2]),
                integers("dilations", &[2, 1]),
            ],
        ),
        node(
            "ConvTranspose",
            &["conv", "c", "d"],
            &["transposed"],
            vec![
                integers("pads", &[1, 0, 0, 1]),
                integers("strides", &[2, 3]),
                integers("output_padding", &[1, 2]),
                AttributeProto { i: Some(2), ..attribute("group", AttributeType::INT) },
            ],
        ),
        node("Sigmoid", &["transposed"], &["bounded"], Vec::new()),
        node(
            "MaxPool",
            &["bounded"],
            &["max"],
            vec![
                integers("kernel_shape", &[3, 3]),
                integers("strides", &[2, 2]),
                integers("pads", &[1, 1, 1, 1]),
                AttributeProto { i: Some(1), ..attribute("ceil_mode", AttributeType::INT) },
            ],
        ),
        node(
            "AveragePool",
            &["max"],
            &["mean"],
            vec![
                integers("kernel_shape", &[3, 2]),
                integers("strides", &[1, 2]),
                integers("pads", &[1, 0, 1, 1]),
            ],
        ),
        node("Conv", &["mean", "e"], &["y"], vec![integers("strides", &[2, 1])]),
    ];
    alike_and_differentiable(&loaded(&model(&[1, 4, 13, 11], nodes, weights)).unwrap());
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind), ..Default::default() }
}

#[test]
fn the_parts_of_an_activation_keep_their_derivative_under_every_rule() {
    let nodes = vec![
        node("Sigmoid", &["x"], &["gate"], Vec::new()),
        node("Mul", &["gate", "x"], &["silu"], Vec::new()),
        node("Relu", &["silu"], &["y"], Vec::new()),
    ];
    let graph = loaded(&model(&[1, 1, 2, 2], nodes, Vec::new())).unwrap();
    let image = [-1.0f32, 0.5, 3.0, 9.0];
    // (x s(x))′ = s (1 + x (1 − s)); the rectifier alone obeys the rule.
    let slope = |x: f32| {
        let s = 1.0 / (1.0 + (-x).exp());
        s * (1.0 + x * (1.0 - s))
    };
    for (rule, passed) in [
        (Rule::Plain, [0.0, -3.0, 5.0, 7.0]),
        (Rule::Guided, [0.0, 0.0, 5.0, 7.0]),
        (Rule::Deconvolution, [2.0, 0.0, 5.0, 7.0]),
    ] {
        let expected = [0, 1, 2, 3].map(|k| passed[k] * slope(image[k]));
        assert_close(&pulled_back(&graph, &image, &[2.0, -3.0, 5.0, 7.0], rule), &expected, 1e-5);
    }
}
