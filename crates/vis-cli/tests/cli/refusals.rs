//! Bad input: one clear line on standard error, a non-zero exit, no panic, and no file that was not there before.

use std::io::Write;
use std::path::Path;

use image::RgbImage;

use crate::{Place, text};

/// Arguments, the exit status, which is 2 for what is misuse by itself, and what the line must say.
const REFUSED: &[(&str, i32, &str)] = &[
    // Arguments.
    ("nonsense", 2, "unrecognized subcommand 'nonsense'"),
    ("saliancy", 2, "a similar subcommand exists: 'saliency'"),
    ("layers", 2, "--model <MODEL>"),
    ("layers --model vgg61", 2, "a similar value exists: 'vgg16'"),
    ("layers --model digits --colour", 2, "unexpected argument '--colour'"),
    ("layers --model digits extra", 2, "unexpected argument 'extra'"),
    ("completions tcsh", 2, "[possible values: bash,"),
    ("cam -o x.png", 2, "--image <PHOTO>"),
    ("cam --image cat.png", 2, "--output <PICTURE>"),
    ("cam --image cat.png --method best -o x.png", 2, "[possible values: grad-cam,"),
    ("saliency --image cat.png --method guidedd -o x.png", 2, "a similar value exists: 'guided'"),
    ("saliency --image cat.png --colors pink -o x.png", 2, "[possible values: viridis,"),
    ("saliency --image cat.png --opacity 1.5 -o x.png", 2, "expected a number from 0 to 1"),
    ("style --content cat.png -o x.png", 2, "--style <PAINTING>"),
    ("activation --model digits --layer conv1 -o x.png", 2, "--filter <FILTER>"),
    // Contradictions.
    ("activation --model digits --layer conv1 --filter 1 --all -o x.png", 2, "cannot be used with '--all'"),
    (
        "activation --model digits --layer conv1 --all --sample 2 -o x.png",
        2,
        "cannot be used with '--sample <N>'",
    ),
    (
        "activation --model digits --layer conv1 --all --seed 1 --seed 2 -o x.png",
        2,
        "cannot be used multiple times",
    ),
    ("saliency --image cat.png --steps 8 -o x.png", 2, "--steps goes with"),
    ("saliency --image cat.png --noise 0.1 -o x.png", 2, "--noise goes with"),
    ("cam --image cat.png --max-channels 8 -o x.png", 2, "--max-channels goes with"),
    ("style --content cat.png --style cat.png --share 1 2 -o x.png", 2, "2 of --share for 1 of --style"),
    (
        "style --content cat.png --style cat.png --content-weight 0 --style-weight 0 --tv-weight 0 -o x.png",
        1,
        "at least one",
    ),
    ("dream --model digits --image cat.png --size 64 -o x.png", 2, "images of one size"),
    (
        "style --model digits --keep-colors --content cat.png --style cat.png -o x.png",
        1,
        "red, green and blue",
    ),
    ("style --model digits --content cat.png --style cat.png --size 64 -o x.png", 2, "--size can't be given"),
    ("texture --model digits --image cat.png --sample-size 64 -o x.png", 2, "--sample-size can't be given"),
    // Numbers.
    (
        "activation --model digits --layer conv1 --all --max-iter 0 -o x.png",
        2,
        "expected a whole number from 1",
    ),
    (
        "activation --model digits --layer conv1 --all --max-iter 1e3 -o x.png",
        2,
        "expected a whole number from 1",
    ),
    (
        "activation --model digits --layer conv1 --all --max-iter 99999999999999999999 -o x.png",
        2,
        "expected a whole",
    ),
    (
        "activation --model vgg16 --layer block1_conv1 --all --size 0 -o x.png",
        2,
        "expected a whole number from 1",
    ),
    (
        "activation --model vgg16 --layer block1_conv1 --all --size -64 -o x.png",
        2,
        "expected a whole number from 1",
    ),
    ("activation --model vgg16 --layer block1_conv1 --all --size 16 -o x.png", 1, "32 or more"),
    ("activation --model vgg16 --layer block5_conv3 --all --size 99999 -o x.png", 2, "from 1 to 16384"),
    ("activation --model digits --layer conv1 --all --size 64 -o x.png", 1, "expected [batch, 1, 28, 28]"),
    (
        "activation --model digits --layer conv1 --all --tv-weight -1 -o x.png",
        2,
        "expected a number of 0 or more",
    ),
    (
        "activation --model digits --layer conv1 --all --tv-weight NaN -o x.png",
        2,
        "expected a number of 0 or more",
    ),
    (
        "activation --model digits --layer conv1 --all --lp-norm-weight inf -o x.png",
        2,
        "expected a number of 0 or more",
    ),
    ("activation --model digits --layer conv1 --all --jitter 1.5 -o x.png", 2, "a fraction from 0.0 to 1.0"),
    ("activation --model digits --layer conv1 --all --jitter 18446744073709551615 -o x.png", 2, "at most"),
    (
        "activation --model digits --layer conv1 --all --learning-rate 0 -o x.png",
        2,
        "expected a number above 0",
    ),
    (
        "activation --model digits --layer conv1 --all --normalize l3 -o x.png",
        2,
        "[possible values: rms, l2, none]",
    ),
    (
        "activation --model digits --layer conv1 --all --seed -1 -o x.png",
        2,
        "invalid value '-1' for '--seed <N>'",
    ),
    ("activation --model digits --layer conv1 --sample 0 -o x.png", 2, "expected a whole number from 1"),
    ("occlusion --model digits --image seven.png --window 40 -o x.png", 1, "must be 1 to 28, not 40"),
    ("occlusion --model digits --image seven.png --window 4 --stride 5 -o x.png", 1, "must be 1 to 4"),
    ("occlusion --model digits --image seven.png --window -4 -o x.png", 2, "expected a whole number from 1"),
    ("rise --model digits --image seven.png --masks 0 -o x.png", 2, "expected a whole number from 1"),
    ("rise --model digits --image seven.png --open 0 -o x.png", 1, "above 0"),
    ("dream --image cat.png --octave-scale 1 -o x.png", 1, "above 1"),
    ("dream --image cat.png --size 16 -o x.png", 1, "needs 32 a side"),
    (
        "dream --image cat.png --size 64 --step-size 1e38 -o x.png",
        1,
        "the step size must be a number from 0 to 255",
    ),
    (
        "dream --image cat.png --size 64 --step-size 255.5 -o x.png",
        1,
        "the step size must be a number from 0 to 255",
    ),
    ("texture --image cat.png --size 20 -o x.png", 1, "32 or more"),
    ("caricature --image cat.png --power nan -o x.png", 2, "expected a number of 0 or more"),
    // Filters, layers, classes, networks, devices.
    (
        "activation --model digits --layer conv1 --filter 32 -o x.png",
        1,
        "filter 32 is out of range: layer `conv1` has 32",
    ),
    ("activation --model digits --layer conv1 --filter -3 -o x.png", 2, "not `-3`"),
    ("activation --model digits --layer conv1 --filter 1+99 -o x.png", 1, "filter 99 is out of range"),
    ("activation --model digits --layer conv1 --filter 9-3 -o x.png", 2, "range of filters 9-3 is empty"),
    ("activation --model digits --layer conv1 --filter seven -o x.png", 2, "not `seven`"),
    ("activation --model digits --layer conv1 --sample 33 -o x.png", 2, "more than the 32 filters"),
    ("activation --model digits --layer predictions --filter eleven -o x.png", 1, "no class `eleven`"),
    ("activation --model digits --layer konv1 --all -o x.png", 1, "did you mean `conv1`?"),
    (
        "cam --model digits --image seven.png --penultimate-layer conv9 -o x.png",
        1,
        "there is no layer `conv9`",
    ),
    ("cam --model digits --image seven.png --penultimate-layer dense1 -o x.png", 1, "more than one position"),
    ("cam --model digits --image seven.png --class 10 -o x.png", 1, "class 10 is out of range"),
    ("cam --image cat.png --class crane -o x.png", 1, "134 crane (n02012849); 517 crane (n03126707)"),
    ("cam --image cat.png --class zebracrossing -o x.png", 1, "did you mean `zebra`?"),
    ("cam --image cat.png --class -1 -o x.png", 1, "there is no class `-1`"),
    ("dream --image cat.png --layer block9 -o x.png", 1, "there is no layer `block9`"),
    ("invert --image cat.png --layer block9 -o x.png", 1, "there is no layer `block9`"),
    ("caricature --image cat.png --layer block9 -o x.png", 1, "there is no layer `block9`"),
    ("texture --image cat.png --layer block9 -o x.png", 1, "there is no layer `block9`"),
    ("classify --image cat.png --model vgg16", 2, "no classes"),
    ("layers --model vgg19", 2, "`vis fetch vgg19` gets them (575 MB), or name a file with --weights"),
    ("layers --model digits --device abacus", 2, "there is no device `abacus`"),
    // Targets.
    ("saliency --model vgg16 --image cat.png -o x.png", 2, "as in `--target-layer block5_conv3 --filter 0`"),
    ("cam --model vgg16 --image cat.png --class 3 -o x.png", 2, "name what to explain"),
    ("cam --model digits --image seven.png --filter 3 -o x.png", 2, "--filter goes with --target-layer"),
    (
        "rise --model digits --image seven.png --class 3 --target-layer conv2 -o x.png",
        2,
        "cannot be used with",
    ),
    (
        "saliency --model digits --image seven.png --target-layer conv9 -o x.png",
        1,
        "there is no layer `conv9`",
    ),
    (
        "occlusion --model digits --image seven.png --target-layer conv1 --filter 32 -o x.png",
        1,
        "filter 32 is out of range: layer `conv1` has 32",
    ),
    ("cam --model digits --image seven.png --target-layer conv1 --filter x -o x.png", 2, "not `x`"),
    (
        "compare --model digits --image seven.png --class 1 2 -o x.png",
        2,
        "one photo and one target, not 2 maps",
    ),
    ("cam --image cat.png --scale both -o x.png", 2, "[possible values: common, each]"),
    // Photos.
    ("classify --image missing.png", 1, "can't read missing.png"),
    ("classify --image .", 1, "can't read ."),
    ("classify --image empty.png", 1, "it is empty"),
    ("classify --image text.png", 1, "text.png is not a readable PNG, JPEG or WebP picture"),
    ("classify --image cut.png", 1, "cut.png is not a readable PNG, JPEG or WebP picture"),
    ("classify --image huge.png", 1, "20000 × 20000"),
    ("classify --image one.png", 1, "1 × 1 pixels: too small"),
    ("classify --image thin.png", 1, "4000 × 1 pixels: too small"),
    (
        "classify --image good.npy",
        1,
        "the array good.npy has shape [1, 1, 28, 28], expected [3, height, width]",
    ),
    ("dream --image cat.png --guide text.png -o x.png", 1, "text.png is not a readable"),
    ("dream --image cat.png --guide one.png -o x.png", 1, "1 × 1 pixels: too small"),
    ("style --content cat.png --style missing.png -o x.png", 1, "can't read missing.png"),
    (
        "style --content cat.png --style one.png -o x.png",
        1,
        "one.png is 1 × 1 pixels as used; the network needs 32",
    ),
    ("style --content cat.png --style cat.png one.png -o x.png", 1, "one.png is 1 × 1 pixels as used"),
    ("texture --image one.png -o x.png", 1, "one.png is 1 × 1 pixels as used"),
    // Arrays to start from; `SEEDED` stands for a run of the digits network.
    ("SEEDED missing.npy", 1, "can't read missing.npy"),
    ("SEEDED text.npy", 1, "its first bytes are those of another format"),
    ("SEEDED empty.npy", 1, "it ends within its header"),
    ("SEEDED header.npy", 1, "it ends within its header"),
    ("SEEDED version.npy", 1, "version 9"),
    ("SEEDED short.npy", 1, "it ends before the 3136 bytes"),
    ("SEEDED long.npy", 1, "it goes on after the 3136 bytes"),
    ("SEEDED nan.npy", 1, "it holds the value NaN"),
    ("SEEDED integers.npy", 1, "its elements are of type '<i8'"),
    ("SEEDED negative.npy", 1, "its shape (1, 28, -28) is malformed"),
    ("SEEDED endless.npy", 1, "is too large"),
    ("SEEDED flat.npy", 1, "has shape [28, 28], expected [1, height, width]"),
    ("SEEDED coloured.npy", 1, "has shape [3, 28, 28], expected [1, height, width]"),
    ("SEEDED nothing.npy", 1, "has shape [0, 1, 28, 28]"),
    ("SEEDED three.npy", 1, "one for each of the 1 pictures"),
    ("SEEDED good.npy --size 64", 2, "--size contradicts good.npy"),
    ("SEEDED text.png", 1, "text.png is not a readable PNG, JPEG or WebP picture"),
    // Weights.
    ("layers --model digits --weights missing.safetensors", 1, "can't read missing.safetensors"),
    ("layers --model digits --weights .", 1, "can't read ."),
    ("layers --model digits --weights text.png", 1, "neither a safetensors file nor a PyTorch checkpoint"),
    (
        "layers --model digits --weights cut.safetensors",
        1,
        "cut.safetensors is not a readable file of weights",
    ),
    ("layers --model digits --weights nan.safetensors", 1, "holds the value NaN"),
    (
        "layers --model digits --weights boast.safetensors",
        1,
        "boast.safetensors is not a readable file of weights",
    ),
    (
        "layers --model vgg16 --weights whole.safetensors",
        1,
        "does not fit the network; missing: block1_conv1.weight",
    ),
    ("layers --model digits --weights text.pth", 1, "neither a safetensors file nor a PyTorch checkpoint"),
    ("layers --model digits --weights empty.pth", 1, "empty.pth is not a readable file of weights"),
    ("layers --model digits --weights cut.pth", 1, "cut.pth is not a readable file of weights"),
    ("layers --model digits --weights pickle.pth", 1, "pickle.pth is not a readable file of weights"),
    // Runs that leave all numbers.
    (
        "activation --model digits --layer conv2 --filter 1 --learning-rate 1e38 -o x.png",
        1,
        "became NaN or infinite at step 1",
    ),
    (
        "caricature --model digits --image seven.png --layer conv2 --learning-rate 1e38 -o x.png",
        1,
        "became NaN or infinite at step 1",
    ),
    (
        "invert --model digits --image seven.png --layer conv2 --learning-rate 1e38 -o x.png",
        1,
        "became NaN or infinite at step 1",
    ),
    // Results.
    ("cam --image cat.png -o x.bmp", 2, "x.bmp must end in .png, .jpg or .jpeg"),
    ("cam --image cat.png -o folder.png", 1, "can't write folder.png: it is a folder"),
    ("cam --image cat.png -o nowhere/x.png", 1, "there is no folder nowhere"),
    ("cam --image cat.png --raw folder.png", 1, "can't write folder.png: it is a folder"),
    ("cam --image cat.png --raw ..", 1, "can't write .."),
    ("cam --image cat.png -o cat.png", 2, "cat.png is read and would be written over"),
    (
        "activation --model digits --layer conv1 --all --seed-img good.npy --raw good.npy",
        2,
        "good.npy is read and",
    ),
    (
        "classify --model digits --image seven.png --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    (
        "cam --model digits --image seven.png --weights whole.safetensors --raw ./whole.safetensors",
        2,
        "is read and",
    ),
    (
        "rise --model digits --image seven.png --weights whole.safetensors --losses whole.safetensors --json",
        2,
        "is read and",
    ),
    (
        "compare --model digits --image seven.png --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    (
        "activation --model digits --layer conv1 --all --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    (
        "dream --model digits --image cat.png --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    (
        "dream --image cat.png --guide seven.png -o seven.png",
        2,
        "seven.png is read and would be written over",
    ),
    (
        "invert --model digits --image cat.png --layer conv2 --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    (
        "style --model digits --content cat.png --style seven.png --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    (
        "style --content cat.png --style cat.png seven.png -o seven.png",
        2,
        "seven.png is read and would be written over",
    ),
    (
        "texture --model digits --image cat.png --weights whole.safetensors --raw whole.safetensors",
        2,
        "is read and",
    ),
    ("cam --image cat.png --raw x.npy --losses ./x.npy", 2, "two results would be written to ./x.npy"),
    ("classify --image cat.png --raw nowhere/x.npy", 1, "there is no folder nowhere"),
    ("activation --model digits --layer conv1 --all --gif x.mp4 -o x.png", 2, "x.mp4 must end in .gif"),
    (
        "activation --model digits --layer conv1 --all --gif nowhere/x.gif -o x.png",
        1,
        "there is no folder nowhere",
    ),
    (
        "activation --model digits --layer conv1 --all -o x.png --gif text.png/x.gif",
        1,
        "there is no folder text.png",
    ),
];

#[test]
fn bad_input_is_refused_in_one_clear_line_and_leaves_no_file() {
    assert!(REFUSED.len() >= 60);
    let place = Place::new();
    fill(&place);
    let files = place.files();
    let mut faults = Vec::new();
    for (arguments, status, expected) in REFUSED {
        let seeded = "activation --model digits --layer conv1 --filter 1 --max-iter 1 -o x.png --seed-img";
        let arguments = arguments.replace("SEEDED", seeded);
        let output = place.run(&arguments);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        let clear = error.starts_with("vis: ") && error.contains(expected) && error.lines().count() == 1;
        let refused = output.status.code() == Some(*status) && out.is_empty();
        let untrue = error.contains("kept in the error");
        let panicked = error.contains("panicked") || error.contains("bug in vis");
        if !clear || !refused || untrue || panicked || place.files() != files {
            let left = place.files();
            faults.push(format!("vis {arguments}\n  {:?} {error}{out}  {left:?}", output.status.code()));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), REFUSED.len(), faults.join("\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_found_before_the_work_begins() {
    let place = Place::new();
    let output =
        place.run("activation --model digits --layer conv1 --all --max-iter 1000000 --raw /proc/x.npy");
    let error = text(&output.stderr);
    assert!(error.starts_with("vis: can't write /proc/x.npy: ") && error.lines().count() == 1, "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn without_arguments_the_help_is_shown() {
    let output = Place::new().run("");
    assert!(!output.status.success() && text(&output.stderr).contains("Usage: vis <COMMAND>"));
}

/// Puts bad files into a folder.
fn fill(place: &Place) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.path(name), bytes).unwrap();
    std::fs::create_dir(place.path("folder.png")).unwrap();
    write("empty.png", b"");
    write("text.png", b"hello, this is not a picture");
    let cat = std::fs::read(place.path("cat.png")).unwrap();
    write("cut.png", &cat[..cat.len() / 2]);
    RgbImage::new(1, 1).save(place.path("one.png")).unwrap();
    RgbImage::new(4000, 1).save(place.path("thin.png")).unwrap();
    write("huge.png", &huge_png());

    let values = [0_u8; 4 * 28 * 28];
    let array = |header: &str, values: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        bytes
    };
    let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let good = array(&header("1, 1, 28, 28"), &values);
    write("good.npy", &good);
    write("text.npy", b"hello, this is no array");
    write("empty.npy", b"");
    write("header.npy", &good[..30]);
    write("version.npy", &[b"\x93NUMPY\x09\x00".as_slice(), &good[8..]].concat());
    write("short.npy", &good[..good.len() - 3]);
    write("long.npy", &[good.as_slice(), b"more"].concat());
    write("nan.npy", &array(&header("1, 28, 28"), &[0xff; 4 * 28 * 28]));
    write("integers.npy", &array(&header("1, 28, 28").replace("<f4", "<i8"), &values));
    write("negative.npy", &array(&header("1, 28, -28"), &values));
    write("endless.npy", &array(&header("4294967296, 4294967296, 28, 28"), &values));
    write("flat.npy", &array(&header("28, 28"), &values));
    write("coloured.npy", &array(&header("3, 28, 28"), &values.repeat(3)));
    write("nothing.npy", &array(&header("0, 1, 28, 28"), &[]));
    write("three.npy", &array(&header("3, 1, 28, 28"), &values.repeat(3)));

    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vis-weights/data/mnist_cnn_f16.safetensors");
    let mut weights = std::fs::read(weights).unwrap();
    write("whole.safetensors", &weights);
    write("cut.safetensors", &weights[..weights.len() - 100]);
    let end = weights.len() - 2;
    weights[end..].copy_from_slice(&[0xff, 0x7f]); // NaN in half precision
    write("nan.safetensors", &weights);
    write("text.pth", b"hello, this is no checkpoint");
    write("empty.pth", b"");
    // The beginning of a zip archive, and of the pickle of PyTorch before 1.6.
    write("cut.pth", b"PK\x03\x04\x14\x00\x00\x00\x00\x00archive/data.pkl");
    write("pickle.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.");
    let boast = [(1_u64 << 60).to_le_bytes().as_slice(), b"{\"a\": 1}"].concat();
    write("boast.safetensors", &boast);
}

/// A PNG file that claims 20000 × 20000 pixels.
fn huge_png() -> Vec<u8> {
    let side = 20_000_u32.to_be_bytes();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [
        (b"IHDR", [side.as_slice(), &side, &[8, 2, 0, 0, 0]].concat()),
        (b"IDAT", vec![0; 64]),
        (b"IEND", vec![]),
    ] {
        bytes.extend((data.len() as u32).to_be_bytes());
        let chunk = [name.as_slice(), &data].concat();
        bytes.write_all(&chunk).unwrap();
        bytes.extend(checksum(&chunk).to_be_bytes());
    }
    bytes
}

/// CRC-32 as PNG defines it, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
