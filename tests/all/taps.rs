//! The observer of a forward pass.

use burn::tensor::Tensor;
use vis::model::{InputSpec, Stop, Taps, Tiny, run};
use vis::{Error, Model};

use crate::support::{device, tensor};

/// Panics if it is run past `shallow`; taps one name twice before.
struct Trap(InputSpec);

impl Model for Trap {
    fn input(&self) -> &InputSpec {
        &self.0
    }
    fn forward(&self, image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        let x = taps.layer("shallow", image * 2.0)?;
        let x = taps.layer("shallow", x * 2.0)?;
        taps.layer("deep", deeper(x))?;
        Ok(())
    }
}

fn deeper(_: Tensor<4>) -> Tensor<4> {
    panic!("a layer deeper than the deepest one wanted was computed")
}

#[test]
fn nothing_deeper_than_the_deepest_wanted_layer_is_computed() {
    let model = Trap(InputSpec::new([1, 1, 1], (0.0, 1.0)));
    let image = tensor(&[3.0], [1, 1, 1, 1]);
    let activation = model.activation(image.clone(), "shallow").unwrap();
    assert_eq!(activation.into_scalar::<f32>(), 6.0);

    let losses = vis::losses::ActivationMaximization::new("shallow", 0).into();
    let evaluation = vis::gradient::Gradient::new(&model, &losses).evaluate(image).unwrap();
    assert_eq!(evaluation.gradient.into_scalar::<f32>(), -2.0);
}

#[test]
fn a_name_tapped_twice_is_two_layers() {
    let model = Trap(InputSpec::new([1, 1, 1], (0.0, 1.0)));
    let activation = model.activation(tensor(&[3.0], [1, 1, 1, 1]), "shallow#2").unwrap();
    assert_eq!(activation.into_scalar::<f32>(), 12.0);
}

#[test]
fn an_unknown_layer_answers_with_the_list_and_the_nearest_match() {
    let model = Tiny::new(&device());
    let error = model.activation(model.input().zeros(&device()), "Conv_2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no layer `Conv_2` (did you mean `conv2`?); \
         the layers are: conv1, pool1, conv2, logits, softmax"
    );
}

#[test]
fn an_image_that_the_model_cant_take_is_refused() {
    let model = Tiny::new(&device());
    for shape in [[1, 1, 8, 8], [1, 3, 8, 9], [0, 3, 8, 8]] {
        let error = model.classify(Tensor::zeros(shape, &device())).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}

#[test]
fn the_table_of_layers_gives_names_kinds_shapes_and_parameters() {
    let table: Vec<String> = Tiny::new(&device()).layers().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        table,
        [
            "conv1  convolution  4x8x8  108 parameters",
            "pool1  average pooling  4x4x4",
            "conv2  convolution  6x4x4  216 parameters",
            "logits  dense  5x1x1  480 parameters",
            "softmax  softmax  5x1x1",
        ]
    );
}

#[test]
fn a_replaced_layer_with_a_larger_batch_equals_a_run_for_each() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &device());
    let pooled = model.activation(image.clone(), "pool1").unwrap();
    let variations = Tensor::cat(vec![pooled.clone(), pooled.clone() * 2.0, pooled * 0.0], 0);
    let output = |replacement: Tensor<4>| {
        let mut taps = Taps::new().replace("pool1", move |_| replacement).record(["logits"]);
        run(&model, image.clone(), &mut taps).unwrap();
        crate::host::array4(taps.activation("logits").unwrap())
    };
    let together = output(variations.clone());
    for index in 0..3 {
        let alone = output(variations.clone().narrow(0, index, 1));
        let difference =
            &together.index_axis(ndarray::Axis(0), index) - &alone.index_axis(ndarray::Axis(0), 0);
        assert!(difference.iter().all(|value| value.abs() < 1e-5));
    }
}

#[test]
fn recording_every_layer_gives_what_recording_each_alone_gives() {
    let model = Tiny::new(&device());
    let image = vis::random::noise([1, 3, 8, 8], (0.0, 255.0), 1, 0, &device());
    let mut taps = Taps::new().record_all();
    run(&model, image.clone(), &mut taps).unwrap();
    let all = taps.into_recorded();
    assert_eq!(all.len(), 5);
    for (name, activation) in all {
        let alone = model.activation(image.clone(), &name).unwrap();
        assert_eq!(crate::host::values(activation), crate::host::values(alone), "{name}");
    }
}
