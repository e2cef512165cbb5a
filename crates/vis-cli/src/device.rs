//! What computes: the devices that this program was built with.

use burn::tensor::{Device, Tensor};

use crate::failure::{Failure, Outcome};

/// Every name that `--device` may have, and the feature of the crate that brings it.
const KNOWN: [(&str, &str); 7] = [
    ("cpu", "flex"),
    ("flex", "flex"),
    ("ndarray", "ndarray"),
    ("wgpu", "wgpu"),
    ("vulkan", "vulkan"),
    ("metal", "metal"),
    ("cuda", "cuda"),
];

/// A device and how to get it.
type Choice = (&'static str, fn() -> Device);

/// The devices that this program was built with.
fn built_in() -> Vec<Choice> {
    #[allow(unused_mut, reason = "without a backend there is nothing to add")]
    let mut choices: Vec<Choice> = Vec::new();
    #[cfg(feature = "flex")]
    choices.extend([("cpu", Device::flex as fn() -> Device), ("flex", Device::flex)]);
    #[cfg(feature = "ndarray")]
    #[allow(deprecated, reason = "offered for as long as burn has it")]
    choices.push(("ndarray", Device::ndarray));
    #[cfg(feature = "wgpu")]
    choices.push(("wgpu", || Device::wgpu(Default::default())));
    #[cfg(feature = "vulkan")]
    choices.push(("vulkan", || Device::vulkan(Default::default())));
    #[cfg(feature = "metal")]
    choices.push(("metal", || Device::metal(Default::default())));
    #[cfg(feature = "cuda")]
    choices.push(("cuda", || Device::cuda(0)));
    choices
}

/// The names of the devices that this program was built with.
pub(crate) fn names() -> Vec<&'static str> {
    built_in().into_iter().map(|(name, _)| name).collect()
}

/// The device of a name; by default the one in the environment variable `BURN_DEVICE`, which the library heeds
/// as well, or else the first built in.
pub(crate) fn open(name: Option<&str>) -> Outcome<(String, Device)> {
    match std::env::var("BURN_DEVICE") {
        Ok(wanted) if name.is_none() && !wanted.is_empty() => open_named(Some(&wanted))
            .map_err(|failure| failure.but("the environment variable BURN_DEVICE asks for it")),
        _ => open_named(name),
    }
}

fn open_named(name: Option<&str>) -> Outcome<(String, Device)> {
    let choices = built_in();
    let there_are = || match choices.as_slice() {
        [] => "this program was built without any".to_owned(),
        _ => format!("this program was built with: {}", names().join(", ")),
    };
    let Some(wanted) = name.or_else(|| choices.first().map(|(name, _)| *name)) else {
        return Err(Failure::misuse(format!("there is no device to compute on: {}", there_are())));
    };
    if let Some((name, device)) = choices.iter().find(|(name, _)| *name == wanted) {
        let device = device();
        probe(name, &device)?;
        return Ok(((*name).to_owned(), device));
    }
    Err(Failure::misuse(match KNOWN.iter().find(|(name, _)| *name == wanted) {
        Some((name, feature)) => {
            format!("the device `{name}` comes with the feature `{feature}`; {}", there_are())
        }
        None => format!("there is no device `{wanted}`; {}", there_are()),
    }))
}

/// Computes one number: a missing GPU or driver shows only then, as a panic in the backend.
fn probe(name: &str, device: &Device) -> Outcome {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answer = std::panic::catch_unwind(|| {
        let one = Tensor::<1>::ones([1], device);
        crate::host::values(one.clone() + one)
    });
    std::panic::set_hook(hook);
    match answer {
        Ok(values) if values == [2.0] => Ok(()),
        Ok(_) => Err(Failure::new(format!("the device `{name}` gives wrong results"))),
        Err(cause) => {
            let reason = cause
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| cause.downcast_ref::<&str>().copied());
            let reason = reason.unwrap_or("there is none, or its driver is missing");
            Err(Failure::new(format!("can't use the device `{name}`: {reason}")))
        }
    }
}
