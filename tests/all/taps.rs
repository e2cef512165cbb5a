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

/// Multiplies by 2 at each of its layers.
struct Doubling(InputSpec, Vec<&'static str>);

impl Model for Doubling {
    fn input(&self) -> &InputSpec {
        &self.0
    }
    fn forward(&self, mut image: Tensor<4>, taps: &mut Taps) -> Result<(), Stop> {
        for name in &self.1 {
            image = taps.layer(name, image * 2.0)?;
        }
        Ok(())
    }
}

#[test]
fn every_layer_has_a_name_of_its_own_even_with_a_number_sign_in_it() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["a#b", "a#b", "a", "a#b"], &["a#b", "a#b#2", "a", "a#b#3"]),
        (&["a#1", "a", "a"], &["a#1", "a", "a#2"]),
        (&["a#2", "a", "a", "a"], &["a#2", "a", "a#3", "a#4"]),
        (&["a", "a", "a#2", "", "", "#"], &["a", "a#2", "a#2#2", "", "#2", "#"]),
    ];
    for (tapped, named) in cases {
        let model = Doubling(InputSpec::new([1, 1, 1], (0.0, 1.0)), tapped.to_vec());
        let names: Vec<_> = model.layers().unwrap().into_iter().map(|layer| layer.name).collect();
        assert_eq!(names, named);
        for (depth, name) in named.iter().enumerate() {
            let activation = model.activation(tensor(&[1.0], [1, 1, 1, 1]), name).unwrap();
            assert_eq!(
                activation.into_scalar::<f32>(),
                2.0_f32.powi(depth as i32 + 1),
                "{name} of {named:?}"
            );
        }
    }
}

#[test]
fn a_model_without_layers_is_called_that() {
    use vis::Target;
    use vis::attribution::{Attribution, Cam, Formula, Saliency};
    let model = Doubling(InputSpec::new([1, 4, 5], (0.0, 1.0)), vec![]);
    let image = || tensor(&[0.5; 20], [1, 1, 4, 5]);
    let without = "the model must be one that reports at least one layer to its taps, not one without layers";
    let said = [
        model.classify(image()).map(drop),
        Saliency::new().attribute(&model, image(), &Target::class(0)).map(drop),
        Saliency::new().attribute(&model, image(), &Target::predicted()).map(drop),
        Cam::new(Formula::GradCam).map(&model, image(), &Target::class(0)).map(drop),
        vis::visualization::deep_dream(&model, image()).run().map(drop),
        vis::visualization::caricature(&model, image()).run().map(drop),
        vis::visualization::texture(&model, image()).run().map(drop),
        vis::visualization::style_transfer(&model, image(), image()).run().map(drop),
    ];
    for (index, said) in said.into_iter().enumerate() {
        assert_eq!(said.unwrap_err().to_string(), without, "{index}");
    }
    let named = vis::visualize_activation(&model, "conv").run().unwrap_err().to_string();
    assert_eq!(named, "there is no layer `conv`; the model reports no layers");
}

#[test]
fn a_range_that_is_none_is_refused_wherever_an_image_enters() {
    for (low, high, text) in
        [(0.0, 0.0, "0..0"), (1.0, 0.0, "1..0"), (0.0, f32::INFINITY, "0..inf"), (f32::NAN, 1.0, "NaN..1")]
    {
        let model = Doubling(InputSpec::new([1, 1, 1], (low, high)), vec!["a"]);
        let refused = format!(
            "the range of the model's input must be two numbers of a magnitude up to 1e30, the lower one first, not {text}"
        );
        let image = || tensor(&[0.5], [1, 1, 1, 1]);
        let said = [
            model.layers().map(drop),
            model.classify(image()).map(drop),
            vis::visualize_saliency(&model, image()).run().map(drop),
            vis::visualize_activation(&model, "a").run().map(drop).map_err(Error::from),
            vis::Optimizer::new(&model, vis::losses::TotalVariation::default()).minimize().map(drop),
        ];
        for said in said {
            assert_eq!(said.unwrap_err().to_string(), refused);
        }
    }
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
