//! Does memory grow with the number of maps? The resident memory after 20, 100 and 200 Grad-CAM and saliency maps.
//!
//! ```text
//! cargo run --example memory_over_maps
//! ```
//!
//! Linux only: it reads `/proc/self/status`. The first maps fill the pools that later ones use again; from then on the
//! memory should stay where it is.

use vis::Target;
use vis::attribution::{Attribution, Cam, Formula, Saliency};
use vis::model::EfficientNetLite0;
use vis::picture;

/// The memory that the process holds now, in MB.
fn resident() -> Option<f32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f32>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = EfficientNetLite0::bundled(&Default::default())?;
    let image = picture::to_input(&picture::load("images/photos/chelsea.png")?, &model)?;
    let (cam, saliency) = (Cam::new(Formula::GradCam), Saliency::new());
    let mut before = None;
    for count in 1..=200 {
        // Another class each time, so that nothing can be remembered.
        let target = Target::class(count * 5 % 1000);
        let sizes = [
            cam.attribute(&model, image.clone(), &target)?.abs().sum().into_scalar::<f32>(),
            saliency.attribute(&model, image.clone(), &target)?.abs().sum().into_scalar::<f32>(),
        ];
        assert!(sizes.iter().all(|size| size.is_finite()));
        if [20, 100, 200].contains(&count) {
            let now = resident().ok_or("can't read the resident memory from /proc/self/status")?;
            let since = before.map(|before| format!(", {:+.1} MB", now - before)).unwrap_or_default();
            println!("after {count:3} maps of each kind: {now:.1} MB{since}");
            before = Some(now);
        }
    }
    Ok(())
}
