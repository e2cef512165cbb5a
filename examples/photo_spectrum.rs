//! The mean magnitude spectrum of photographs in decorrelated colours, which `vis::parametrization::Phase` keeps its images
//! at.
//!
//! ```text
//! cargo run --example photo_spectrum -- images/photos/chelsea.png images/photos/coffee.png FOLDER/*.jpg
//! ```
//!
//! Writes `src/parametrization/photographs.txt`: a row a frequency, from low to high; in it a number for each direction, for
//! light, then red against blue, then green against purple. Each photo is cut into windows of 128 pixels at full, half and
//! quarter size; each window fades out towards its edges, so that these leave no cross in the spectrum.

use std::f64::consts::{PI, TAU};

use ndarray::{Array2, Array3, s};

/// The side of a window.
const SIDE: usize = 128;
/// Frequencies, spaced evenly in their logarithm from 1/128 to √½ cycles a pixel.
const RADII: usize = 16;
/// Directions from vertical to horizontal change; those to the other side are averaged with them.
const ANGLES: usize = 5;
/// From red, green and blue to light, red against blue, green against purple: the inverse of lucid's matrix.
const CORRELATION: [[f64; 3]; 3] =
    [[0.562_829, 0.194_825, 0.043_295], [0.584_476, 0.0, -0.108_236], [0.584_476, -0.194_825, 0.064_942]];

#[allow(clippy::needless_range_loop, reason = "a channel is an index of three tables")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let decorrelation = inverse(CORRELATION);
    let mut sums = vec![[[0.0_f64; 3]; ANGLES]; RADII];
    let mut counts = vec![[0.0_f64; ANGLES]; RADII];
    let photos: Vec<String> = std::env::args().skip(1).collect();
    for path in &photos {
        let mut photo = colours(&vis::picture::load(path)?, decorrelation);
        for _ in 0..3 {
            let (_, height, width) = photo.dim();
            let places = |side: usize| (0..=side.saturating_sub(SIDE)).step_by(SIDE / 2);
            for (top, left) in places(height).flat_map(|top| places(width).map(move |left| (top, left))) {
                if height < SIDE || width < SIDE {
                    continue;
                }
                for channel in 0..3 {
                    let window = photo.slice(s![channel, top..top + SIDE, left..left + SIDE]);
                    let magnitude = magnitude(&window.to_owned());
                    for ((row, column), value) in magnitude.indexed_iter() {
                        let (vertical, horizontal) =
                            (row.min(SIDE - row) as f64, column.min(SIDE - column) as f64);
                        let radius = vertical.hypot(horizontal) / SIDE as f64;
                        if radius == 0.0 {
                            continue;
                        }
                        let place = (radius * SIDE as f64).ln() / (SIDE as f64 * 0.5_f64.sqrt()).ln();
                        let radius = (place * (RADII - 1) as f64).round() as usize;
                        let angle = horizontal.atan2(vertical) / (PI / 2.0) * (ANGLES - 1) as f64;
                        let angle = angle.round() as usize;
                        sums[radius][angle][channel] += value;
                        counts[radius][angle] += f64::from(channel == 0);
                    }
                }
            }
            photo = halved(&photo);
        }
    }
    let mut text = format!(
        "# Mean magnitude spectrum of {} photographs, by examples/photo_spectrum.rs: a row for each of {RADII} frequencies\n\
         # from 1/{SIDE} to √½ cycles a pixel, evenly in their logarithm; {ANGLES} directions from vertical to horizontal\n\
         # change; for light, red against blue, green against purple.\n",
        photos.len()
    );
    let whole = sums[0][0][0] / counts[0][0];
    for (sums, counts) in sums.iter().zip(&counts) {
        let mut row = Vec::new();
        for channel in 0..3 {
            // Low frequencies don't come in all directions.
            let (sum, count) = (0..ANGLES)
                .fold((0.0, 0.0), |(sum, count), angle| (sum + sums[angle][channel], count + counts[angle]));
            for angle in 0..ANGLES {
                let value =
                    if counts[angle] > 0.0 { sums[angle][channel] / counts[angle] } else { sum / count };
                row.push(format!("{:.5}", value / whole));
            }
        }
        text += &(row.join(" ") + "\n");
    }
    std::fs::write("src/parametrization/photographs.txt", &text)?;
    print!("{text}");
    Ok(())
}

/// A photo as an image is written down: what a sigmoid turns into shares of the range, in decorrelated colours.
fn colours(photo: &image::RgbImage, decorrelation: [[f64; 3]; 3]) -> Array3<f64> {
    let (width, height) = photo.dimensions();
    Array3::from_shape_fn((3, height as usize, width as usize), |(channel, y, x)| {
        let pixel = photo.get_pixel(x as u32, y as u32);
        let logit = |value: u8| {
            let share = (f64::from(value) / 255.0).clamp(0.02, 0.98);
            (share / (1.0 - share)).ln()
        };
        (0..3).map(|colour| decorrelation[channel][colour] * logit(pixel.0[colour])).sum()
    })
}

/// Half as many pixels a side, each the mean of four.
fn halved(photo: &Array3<f64>) -> Array3<f64> {
    let (channels, height, width) = photo.dim();
    Array3::from_shape_fn((channels, height / 2, width / 2), |(channel, y, x)| {
        photo.slice(s![channel, 2 * y..2 * y + 2, 2 * x..2 * x + 2]).sum() / 4.0
    })
}

/// The magnitude of the discrete Fourier transform of a window that fades out towards its edges.
fn magnitude(window: &Array2<f64>) -> Array2<f64> {
    let fade = |at: usize| 0.5 - 0.5 * (TAU * (at as f64 + 0.5) / SIDE as f64).cos();
    let mean = window.mean().unwrap_or_default();
    let faded = Array2::from_shape_fn(window.dim(), |(y, x)| (window[[y, x]] - mean) * fade(y) * fade(x));
    let wave = |of: fn(f64) -> f64| {
        Array2::from_shape_fn((SIDE, SIDE), |(j, k)| of(TAU * ((j * k) % SIDE) as f64 / SIDE as f64))
    };
    let (cosine, sine) = (wave(f64::cos), wave(f64::sin));
    let (real, imaginary) = (faded.dot(&cosine), -faded.dot(&sine));
    let (real, imaginary) =
        (cosine.dot(&real) + sine.dot(&imaginary), cosine.dot(&imaginary) - sine.dot(&real));
    (&real * &real + &imaginary * &imaginary).mapv(f64::sqrt)
}

/// By cofactors.
fn inverse(m: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cofactor = |row: usize, column: usize| {
        let (r1, r2) = ((row + 1) % 3, (row + 2) % 3);
        let (c1, c2) = ((column + 1) % 3, (column + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * cofactor(0, column)).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cofactor(column, row) / determinant))
}
