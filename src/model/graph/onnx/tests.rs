//! The official backend tests, forward and by finite differences, and the table of operators.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use rten_onnx::onnx::{DataType, NodeProto, TensorProto};
use rten_onnx::protobuf::{DecodeMessage as _, ValueReader};

use super::super::operations::Operation;
use super::supported::SUPPORTED;
use super::*;

/// One of the official tests.
struct Case<'a> {
    name: &'a str,
    files: HashMap<&'a str, &'a [u8]>,
}

/// Unpacks what `official.py` packed.
fn cases(mut bytes: &[u8]) -> Vec<Case<'_>> {
    fn number(bytes: &mut &[u8]) -> usize {
        let (head, rest) = bytes.split_at(4);
        *bytes = rest;
        u32::from_le_bytes(head.try_into().unwrap()) as usize
    }
    fn text<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
        let length = number(bytes);
        let (head, rest) = bytes.split_at(length);
        *bytes = rest;
        head
    }
    let mut cases = Vec::new();
    while !bytes.is_empty() {
        let name = std::str::from_utf8(text(&mut bytes)).unwrap();
        let count = number(&mut bytes);
        let files =
            (0..count).map(|_| (std::str::from_utf8(text(&mut bytes)).unwrap(), text(&mut bytes))).collect();
        cases.push(Case { name, files });
    }
    cases
}

impl Case<'_> {
    fn tensors(&self, what: &str) -> Vec<Value> {
        let tensor = |index: usize| {
            let bytes = *self.files.get(format!("{what}_{index}.pb").as_str())?;
            let tensor = TensorProto::decode(ValueReader::from_buf(bytes)).unwrap();
            Some(tensors::read(&tensor, None, 0, &Device::default()).unwrap())
        };
        (0..).map_while(tensor).collect()
    }

    /// The graph, with its inputs as they are.
    fn graph(&self) -> Result<(Graph, Vec<usize>, HashSet<String>), String> {
        let bytes = self.files["model.onnx"];
        let model = ModelProto::parse_buf(bytes).map_err(|error| error.to_string())?;
        let graph = model.graph.as_ref().unwrap();
        let plain = |domain: Option<&str>| matches!(domain, None | Some("" | "ai.onnx"));
        let opset =
            model.opset_import.iter().find(|set| plain(set.domain.as_deref())).and_then(|set| set.version);
        let mut reader = Reader {
            builder: Builder::new(&Device::default(), Limits::default()),
            opset: opset.unwrap(),
            folder: None,
            functions: Rc::default(),
            calls: 0,
            called: 0,
            most_called: 1000,
            scopes: vec![HashMap::new()],
            zero_types: HashMap::new(),
            bytes: 0,
        };
        reader.initializers(graph)?;
        let mut inputs = Vec::new();
        for input in &graph.input {
            let name = input.name.as_deref().unwrap();
            if reader.find(name).is_none() {
                let value = reader.builder.image();
                if let Some(kind) = declared(input).0 {
                    reader.zero_types.insert(value, kind);
                }
                reader.define(name, value)?;
                inputs.push(value);
            }
        }
        reader.nodes(graph, &[], None)?;
        let outputs =
            graph.output.iter().map(|output| reader.find(output.name.as_deref().unwrap()).unwrap()).collect();
        let operators = graph.node.iter().filter_map(|node| node.op_type.clone()).collect();
        let spec = InputSpec::new([1, 1, 1], (0.0, 1.0));
        let graph = reader
            .builder
            .finish(usize::MAX, Layout::ChannelsFirst, outputs, spec, Preprocessing::none())
            .map_err(|error| error.to_string())?;
        Ok((graph, inputs, operators))
    }

    fn check(&self) -> Result<(), String> {
        let (graph, inputs, _) = self.graph()?;
        let given = inputs.into_iter().zip(self.tensors("input")).collect();
        let got = graph.evaluate(given)?;
        let tolerance = std::str::from_utf8(self.files["tolerance"]).unwrap();
        let (relative, absolute) = tolerance.split_once(' ').unwrap();
        let (relative, absolute): (f32, f32) = (relative.parse().unwrap(), absolute.parse().unwrap());
        for (index, (got, expected)) in got.iter().zip(self.tensors("output")).enumerate() {
            if got.shape() != expected.shape() {
                return Err(format!(
                    "output {index} has shape {:?} instead of {:?}",
                    got.shape(),
                    expected.shape()
                ));
            }
            let (got, expected) = (got.host().to_floats(), expected.host().to_floats());
            // The references were computed in other orders of summation.
            let close = |(got, expected): (&f32, &f32)| {
                got == expected
                    || (got.is_nan() && expected.is_nan())
                    || (got - expected).abs() <= absolute.max(1e-6) + relative.max(1e-3) * expected.abs()
            };
            if let Some(place) = got.iter().zip(&expected).position(|pair| !close(pair)) {
                return Err(format!(
                    "output {index} is {} instead of {} at {place}",
                    got[place], expected[place]
                ));
            }
        }
        Ok(())
    }

    /// The error of a directional derivative against central differences, if the case has one.
    fn gradient_error(&self) -> Option<f32> {
        let (graph, inputs, operators) = self.graph().ok()?;
        let given = self.tensors("input");
        let jumps = [
            "Floor",
            "Ceil",
            "Round",
            "Sign",
            "QuantizeLinear",
            "DynamicQuantizeLinear",
            "QLinearConv",
            "QLinearMatMul",
            "Cast",
            "CastLike",
            "Mod",
            "Hardmax",
            "Shrink",
            "ThresholdedRelu",
        ];
        // At a kink or a tie there is no derivative; of 10000 a float has not the digits.
        let kinks = [
            "leakyrelu_example",
            "elu_example",
            "l2normalization_axis_0",
            "reduce_min_default_axes",
            "maxpool_3d_dilations",
            "large_number",
            "gridsample_nearest",
            // Points that lie on the pixels.
            "gridsample_aligncorners_true",
            "gridsample_bilinear_align_corners_1",
        ];
        if kinks.iter().any(|kink| self.name.contains(kink)) {
            return None;
        }
        if operators.iter().any(|operator| jumps.contains(&operator.as_str())) {
            return None;
        }
        // Numbers that mean a place, a size or a bound stay.
        let moves = |index: usize| index == 0 || given[index].shape().len() == given[0].shape().len();
        let moved: Vec<usize> = (0..given.len())
            .filter(|index| matches!(given[*index], Value::Real(_)) && moves(*index))
            .collect();
        if moved.is_empty() {
            return None;
        }
        let noise = |length: usize, seed: u64| {
            crate::random::noise([1, 1, 1, length], (-1.0, 1.0), seed, 0, &Device::default())
        };
        let direction: Vec<Vec<f32>> = moved
            .iter()
            .map(|index| crate::host::values(noise(given[*index].shape().iter().product(), *index as u64)))
            .collect();
        let sum = |outputs: &[Value]| -> Option<Tensor<1>> {
            let parts = outputs.iter().enumerate().filter_map(|(index, output)| match output {
                Value::Real(real) => {
                    let length = real.shape().iter().product::<usize>();
                    let row: Tensor<1> = real.reshape(&[length]).ok()?.ranked();
                    Some((row * noise(length, 100 + index as u64).reshape([length])).sum())
                }
                Value::Host(_) => None,
            });
            parts.reduce(|a, b| a + b)
        };
        let at = |step: f32| -> Option<f32> {
            let mut values = given.clone();
            for (index, direction) in moved.iter().zip(&direction) {
                let host = given[*index].host();
                let moved = host.to_floats().iter().zip(direction).map(|(x, d)| x + step * d).collect();
                values[*index] = Real::from_host(host.shape.clone(), moved, &Device::default()).ok()?.into();
            }
            let outputs = graph.evaluate(inputs.iter().copied().zip(values).collect()).ok()?;
            Some(sum(&outputs)?.into_scalar::<f32>()).filter(|sum| sum.is_finite())
        };
        let differences: Vec<f32> = [3e-4, 1e-3, 3e-3, 1e-2]
            .iter()
            .map(|h| Some((at(*h)? - at(-h)?) / (2.0 * h)))
            .collect::<Option<_>>()?;
        let mut values = given.clone();
        let mut leaves = Vec::new();
        for index in &moved {
            let host = given[*index].host();
            let length = host.len();
            let leaf = Tensor::<1>::from_data(
                TensorData::new(host.to_floats(), [length]),
                &Device::default().autodiff(),
            );
            let leaf = leaf.require_grad();
            values[*index] = Value::Real(Real::from_tensor(leaf.clone()).reshape(&host.shape).ok()?);
            leaves.push(leaf);
        }
        let outputs = graph.evaluate(inputs.iter().copied().zip(values).collect()).ok()?;
        let total = sum(&outputs)?;
        if !total.is_autodiff() {
            return None;
        }
        let gradients = total.backward();
        let mut derivative = 0.0;
        let mut size = 0.0;
        for (leaf, direction) in leaves.iter().zip(&direction) {
            if let Some(gradient) = leaf.grad(&gradients) {
                for (g, d) in crate::host::values(gradient).iter().zip(direction) {
                    derivative += g * d;
                    size += (g * d).abs();
                }
            }
        }
        let worst =
            differences.iter().map(|difference| (difference - derivative).abs()).fold(f32::MAX, f32::min);
        Some(worst / size.max(1e-3))
    }
}

/// The official tests of the repository, and all of them where they were fetched.
fn official() -> Vec<u8> {
    let small = include_bytes!("../../../../tests/reference/onnx/official.bin");
    match std::env::var_os("VIS_ONNX_OFFICIAL") {
        Some(path) => std::fs::read(path).unwrap(),
        None => {
            eprintln!(
                "SKIPPED: the large official tests; set VIS_ONNX_OFFICIAL to what `official.py --all` wrote"
            );
            small.to_vec()
        }
    }
}

#[test]
fn the_official_backend_tests_of_the_supported_operators_pass() {
    let bytes = official();
    let cases = cases(&bytes);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| case.check().err().map(|reason| format!("{}: {reason}", case.name)))
        .collect();
    println!("{} of {} official tests pass", cases.len() - failed.len(), cases.len());
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(cases.len() > 800);
}

#[test]
fn gradients_of_the_official_tests_agree_with_finite_differences() {
    let bytes = official();
    let cases = cases(&bytes);
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in cases.iter().filter(|case| !case.name.ends_with("_expanded")) {
        let Some(error) = case.gradient_error() else { continue };
        if error > 0.03 {
            failed.push(format!("{}: {error}", case.name));
        }
        for operator in case.graph().map(|(.., operators)| operators).unwrap_or_default() {
            *operators.entry(operator).or_default() += 1;
        }
    }
    println!("{} operators differentiated: {operators:?}", operators.len());
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(operators.len() > 70, "{}", operators.len());
}

/// The table of operators in the docs.
fn table() -> String {
    let all = include_str!("../../../../tests/reference/onnx/operators.txt");
    let (known, others): (Vec<&str>, Vec<&str>) = all.lines().partition(|name| SUPPORTED.contains(name));
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!(
        "# Operators\n\n| | of {} operators of ONNX |\n| --- | --- |\n| supported ({}) | {} |\n| not ({}) | {} |\n",
        known.len() + others.len(),
        known.len(),
        list(&known),
        others.len(),
        list(&others)
    )
}

#[test]
fn the_table_of_operators_in_the_docs_is_what_is_translated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/model/graph/onnx/operators.md");
    if std::env::var_os("VIS_WRITE_TABLE").is_some() {
        std::fs::write(&path, table()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table(), "VIS_WRITE_TABLE=1 writes it anew");
    let all = include_str!("../../../../tests/reference/onnx/operators.txt");
    for name in all.lines().filter(|name| !matches!(*name, "Constant" | "ConstantOfShape" | "If")) {
        let node = NodeProto { op_type: Some(name.into()), output: vec!["y".into()], ..Default::default() };
        let mut builder = Builder::new(&Device::default(), Limits::default());
        let operator =
            Operator { node: &node, opset: 18, inputs: vec![None], zero_type: Some(DataType::UINT8) };
        // Without its attributes an operator may be refused, but not as one that is not known.
        let unknown = match operator.translate(&mut builder) {
            Ok(translated) => matches!(translated.operation, Operation::Unsupported(_)),
            Err(_) => false,
        };
        assert_eq!(!unknown, SUPPORTED.contains(&name) || name == "Scatter", "{name}");
    }
}
