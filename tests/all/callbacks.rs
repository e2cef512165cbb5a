//! What callbacks leave behind, and how they fail.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use gif::{ColorOutput, DecodeOptions};
use image::RgbImage;
use vis::callbacks::{Callback, GifGenerator};
use vis::losses::{ActivationMaximization, Losses, TotalVariation};
use vis::model::Tiny;
use vis::optimizer::Step;
use vis::{Error, Optimizer, picture};

use crate::support::device;

fn losses() -> Losses {
    vis::losses![(ActivationMaximization::new("conv2", 3), 1.0), (TotalVariation::default(), 0.01)]
}

/// A callback that does whatever a function says.
struct Each<F>(F);

impl<F: FnMut(&Step) -> vis::Result<()> + Send> Callback for Each<F> {
    fn on_step(&mut self, step: &Step) -> vis::Result<ControlFlow<()>> {
        (self.0)(step).map(|()| ControlFlow::Continue(()))
    }
}

/// Fails at a step.
fn fail_at(index: usize) -> impl Callback {
    Each(move |step: &Step| match step.index == index {
        true => {
            Err(Error::InvalidParameter { name: "the weather", expected: "fine".into(), got: "rain".into() })
        }
        false => Ok(()),
    })
}

/// The frames of an animation, and how often it plays; `None` is for ever.
fn decode(path: &Path) -> (Vec<RgbImage>, bool) {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    let mut decoder = options.read_info(std::fs::File::open(path).unwrap()).unwrap();
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let pixels = frame.buffer.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        frames.push(RgbImage::from_raw(width, height, pixels).unwrap());
    }
    (frames, decoder.repeat() == gif::Repeat::Infinite)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_gif_has_every_so_manieth_step_and_the_last() {
    let model = Tiny::new(&device());
    let folder = folder();
    let path = folder.path().join("run.gif");
    // Steps 1, 5 and 9, and the last, 10.
    let gif = GifGenerator::create(&path).unwrap().every(4);
    let images = Arc::new(Mutex::new(Vec::new()));
    let keep = images.clone();
    let run =
        Optimizer::new(&model, losses()).max_iter(10).callback(gif).callback(Each(move |step: &Step| {
            keep.lock().unwrap().push(crate::host::array4(step.image.clone()));
            Ok(())
        }));
    run.minimize().unwrap();
    let (frames, forever) = decode(&path);
    assert!(forever);
    assert_eq!(frames.len(), 4);
    let images = images.lock().unwrap();
    for (frame, step) in frames.iter().zip([0, 4, 8, 9]) {
        // 8×8 pixels, each drawn as a square of 14×14: at most 64 colours, which a GIF keeps exactly.
        assert_eq!(frame.dimensions(), (112, 112));
        let shown = picture::deprocess(images[step].index_axis(ndarray::Axis(0), 0)).unwrap();
        // The number of the step stands top left.
        for (x, y) in [(7, 7), (3, 7), (7, 2), (5, 5)] {
            assert_eq!(frame.get_pixel(14 * x + 7, 14 * y + 7), shown.get_pixel(x, y), "step {step}");
        }
    }
    assert_ne!(frames[0], frames[3]);
}

#[test]
fn every_frame_of_a_gif_carries_the_number_of_its_step() {
    let model = Tiny::new(&device());
    let folder = folder();
    let path = folder.path().join("run.gif");
    // The image never changes: the frames differ by their number alone, and only in its corner.
    let run = Optimizer::new(&model, losses()).learning_rate(0.0).max_iter(3).progress_gif_path(&path);
    run.minimize().unwrap();
    let (frames, _) = decode(&path);
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        let differing: Vec<_> = frames[one]
            .enumerate_pixels()
            .filter(|(x, y, pixel)| *pixel != frames[other].get_pixel(*x, *y))
            .collect();
        assert!(!differing.is_empty());
        assert!(differing.iter().all(|(x, y, _)| *x < 40 && *y < 40));
    }
}

#[test]
fn a_gif_is_whole_on_the_disk_after_every_step_and_keeps_no_frames_back() {
    let model = Tiny::new(&device());
    let folder = folder();
    let path = folder.path().join("run.gif");
    let gif = GifGenerator::create(&path).unwrap();
    let watched = path.clone();
    // What a process that is killed after any step leaves behind.
    let mut size = 0;
    let watch = Each(move |step: &Step| {
        assert_eq!(decode(&watched).0.len(), step.index + 1);
        let now = std::fs::metadata(&watched).unwrap().len();
        assert!(now > size, "the frame of step {} is not on the disk", step.index);
        size = now;
        Ok(())
    });
    Optimizer::new(&model, losses()).max_iter(12).callback(gif).callback(watch).minimize().unwrap();
    assert_eq!(decode(&path).0.len(), 12);
}

#[test]
fn a_run_that_fails_or_is_left_leaves_the_frames_so_far_and_one_of_no_steps_no_file() {
    let model = Tiny::new(&device());
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let run = |name: &str| Optimizer::new(&model, losses()).max_iter(9).progress_gif_path(path(name));

    let error = run("failed").callback(fail_at(4)).minimize().unwrap_err();
    assert!(error.best_image().is_some());
    // Callbacks are called in the order in which they were added: step 5 failed after its frame was written.
    assert_eq!(decode(&path("failed.gif")).0.len(), 5);

    let mut steps = run("left.gif").steps().unwrap();
    steps.by_ref().take(3).for_each(|step| drop(step.unwrap()));
    drop(steps);
    assert_eq!(decode(&path("left.gif")).0.len(), 3);

    run("none.gif").max_iter(0).minimize().unwrap();
    assert!(!path("none.gif").exists());
}

#[test]
fn a_batch_becomes_a_grid_or_its_first_image() {
    let model = Tiny::new(&device());
    let folder = folder();
    let (all, first) = (folder.path().join("all.gif"), folder.path().join("first.gif"));
    let run = Optimizer::new(&model, losses()).batch(3).max_iter(2);
    let run = run.callback(GifGenerator::create(&all).unwrap().play_once());
    let run = run.callback(GifGenerator::create(&first).unwrap().first_only());
    let images = run.minimize().unwrap();
    let ((all, forever), (first, _)) = (decode(&all), decode(&first));
    assert!(!forever);
    // Two columns of 8 pixels and 2 between them make 18; 7 times that is the first multiple of 112 or more.
    assert_eq!((all[1].dimensions(), first[1].dimensions()), ((126, 126), (112, 112)));
    // The fourth place stays empty.
    assert_eq!(all[1].get_pixel(120, 120).0, [0; 3]);
    assert_eq!(images.image.dims()[0], 3);
}

#[test]
fn the_pictures_of_several_batches_get_an_animation_each() {
    let model = Tiny::new(&device());
    let folder = folder();
    let run = vis::visualize_activation(&model, "conv2").filter_indices([0, 1, 2]).max_iter(2);
    // Too little memory for more than one picture at a time.
    run.memory_limit(1).progress_gif_path(folder.path().join("run.gif")).run().unwrap();
    for name in ["run.gif", "run-2.gif", "run-3.gif"] {
        assert_eq!(decode(&folder.path().join(name)).0.len(), 2, "{name}");
    }
}

#[test]
fn pictures_finished_before_one_fails_are_in_the_error() {
    let model = Tiny::new(&device());
    let folder = folder();
    // The second batch can't write its animation.
    std::fs::create_dir(folder.path().join("run-2.gif")).unwrap();
    let run = || vis::visualize_activation(&model, "conv2").filter_indices([0, 1, 2]).max_iter(2);
    let gif = folder.path().join("run.gif");
    let error = run().memory_limit(1).progress_gif_path(&gif).run().unwrap_err();
    let said = error.to_string();
    assert!(said.contains("run-2.gif") && said.contains("the 1 of 3 pictures finished before"), "{said}");
    let alone = run().run().unwrap();
    assert_eq!((error.made.len(), error.of, &error.made[0].image), (1, 3, &alone[0].image));
    assert!(matches!(*error.source, Error::Io { .. }), "{error}");
    // Where nothing is finished, the error is what failed.
    std::fs::remove_file(&gif).unwrap();
    std::fs::create_dir(&gif).unwrap();
    let error = run().memory_limit(1).progress_gif_path(&gif).run().unwrap_err();
    assert!(matches!(*error.source, Error::Io { .. }) && error.made.is_empty(), "{error}");
    assert_eq!(error.to_string(), error.source.to_string());
    assert!(matches!(Error::from(error), Error::Io { .. }));
}

#[test]
fn two_losses_of_one_kind_have_a_column_each() {
    let model = Tiny::new(&device());
    let losses = vis::losses![
        (ActivationMaximization::new("conv1", 0), 1.0),
        (ActivationMaximization::new("conv2", 0), 1.0),
        (ActivationMaximization::new("conv2", 1), 1.0),
    ];
    let history = Optimizer::new(&model, losses).max_iter(1).minimize().unwrap().losses;
    let names = ["conv1", "conv2", "conv2 #2"].map(|place| format!("activation maximization at {place}"));
    assert_eq!(history.names(), names);
    for (index, name) in names.iter().enumerate() {
        assert_eq!(history.named(name).unwrap()[[0, 0]], history.values()[[0, index, 0]]);
    }
    let mut table = Vec::new();
    history.write_csv(&mut table).unwrap();
    let head = format!("step,image,{},total\n", names.join(","));
    assert!(String::from_utf8(table).unwrap().starts_with(&head));
}

#[test]
fn the_table_of_a_history_has_its_numbers_and_quotes_odd_names() {
    struct Odd;
    impl vis::Loss for Odd {
        fn name(&self) -> String {
            "left, \"right\"".into()
        }
        fn build_loss(&self, scene: &vis::Scene) -> vis::Result<burn::tensor::Tensor<1>> {
            Ok(scene.image().mean_dims(&[1, 2, 3]).reshape([scene.batch()]))
        }
    }
    let model = Tiny::new(&device());
    let losses = vis::losses![(Odd, 2.0), (TotalVariation::default(), 1.0)];
    let history = Optimizer::new(&model, losses).batch(2).max_iter(3).minimize().unwrap().losses;
    let mut table = Vec::new();
    history.write_csv(&mut table).unwrap();
    let table = String::from_utf8(table).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("step,image,\"left, \"\"right\"\"\",TV(2),total"));
    let rows: Vec<Vec<f32>> =
        lines.map(|line| line.split(',').map(|field| field.parse().unwrap()).collect()).collect();
    assert_eq!(rows.len(), 6);
    for (index, row) in rows.iter().enumerate() {
        let (step, image) = (index / 2, index % 2);
        let values = history.values();
        let (first, second) = (values[[step, 0, image]], values[[step, 1, image]]);
        assert_eq!(row, &[step as f32, image as f32, first, second, history.totals()[[step, image]]]);
    }
}

#[test]
fn a_gif_that_cannot_be_created_costs_no_step() {
    let model = Tiny::new(&device());
    let folder = folder();
    let taken = folder.path().join("taken.gif");
    std::fs::create_dir(&taken).unwrap();
    for path in [taken, PathBuf::from("/no/such/folder/run.gif")] {
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        let run =
            Optimizer::new(&model, losses()).progress_gif_path(&path).callback(Each(move |_: &Step| {
                *counted.lock().unwrap() += 1;
                Ok(())
            }));
        let error = run.minimize().unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        assert_eq!(*count.lock().unwrap(), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_with_its_name_and_keeps_the_best_image() {
    let model = Tiny::new(&device());
    let folder = folder();
    let full = |name: &str| {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        path
    };
    let gif = full("run.gif");
    let error = Optimizer::new(&model, losses()).max_iter(3).progress_gif_path(&gif).minimize().unwrap_err();
    match error {
        Error::Stopped { source, best: Some(_), .. } => {
            let said = source.to_string();
            assert!(said.contains("run.gif") && said.contains("No space left on device"), "{said}");
        }
        other => panic!("{other}"),
    }
}
