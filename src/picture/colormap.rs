//! Colours for numbers.

use std::fmt;
use std::str::FromStr;

use image::{Rgb, RgbImage};
use ndarray::ArrayView2;

use crate::error::nearest;
use crate::{Error, Result};

/// A way to show a number as a colour.
///
/// Sequential maps colour `0..=1`. Diverging maps ([`is_diverging`](Self::is_diverging)) colour `-1..=1`, with
/// light grey at exactly 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ColorMap {
    /// Dark violet, green, yellow; matplotlib's default. Steps that look alike are alike.
    Viridis,
    /// Black, red, yellow, white; even steps, and 0 is black.
    Inferno,
    /// Black, violet, pink, white; even steps, and 0 is black.
    Magma,
    /// Rainbow with smoother steps than [`Jet`](Self::Jet).
    Turbo,
    /// Dark blue, cyan, yellow, dark red: MATLAB's, in OpenCV's 256 steps. What class activation maps are
    /// usually shown in.
    #[default]
    Jet,
    /// Black to white.
    Grey,
    /// Diverging: blue below 0, red above. Matplotlib's `RdBu_r`.
    BlueRed,
    /// Diverging: green below 0, purple above; a choice for those who do not see red as red. Matplotlib's
    /// `PRGn_r`.
    GreenPurple,
}

impl ColorMap {
    /// Every colour map there is.
    ///
    /// ```
    /// use vis::picture::ColorMap;
    /// assert!(ColorMap::ALL.iter().all(|map| map.name().parse().ok() == Some(*map)));
    /// ```
    pub const ALL: [Self; 8] = [
        Self::Viridis,
        Self::Inferno,
        Self::Magma,
        Self::Turbo,
        Self::Jet,
        Self::Grey,
        Self::BlueRed,
        Self::GreenPurple,
    ];

    /// The name in lower case, as parsed from a command line: `viridis`, …, `blue-red`, `green-purple`.
    ///
    /// ```
    /// use vis::picture::ColorMap;
    /// assert_eq!(ColorMap::BlueRed.name(), "blue-red");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Viridis => "viridis",
            Self::Inferno => "inferno",
            Self::Magma => "magma",
            Self::Turbo => "turbo",
            Self::Jet => "jet",
            Self::Grey => "grey",
            Self::BlueRed => "blue-red",
            Self::GreenPurple => "green-purple",
        }
    }

    /// Is the map for numbers of both signs, from -1 to 1 with 0 in the middle?
    ///
    /// ```
    /// use vis::picture::ColorMap;
    /// assert!(ColorMap::BlueRed.is_diverging() && !ColorMap::Jet.is_diverging());
    /// ```
    pub fn is_diverging(self) -> bool {
        matches!(self, Self::BlueRed | Self::GreenPurple)
    }

    /// The colour of one number: in `0..=1`, or `-1..=1` for a diverging map. Numbers outside are clipped; NaN
    /// is coloured as 0.
    ///
    /// ```
    /// use vis::picture::ColorMap;
    /// assert_eq!(ColorMap::Grey.color(0.2).0, [51; 3]);
    /// assert_eq!(ColorMap::Jet.color(1.0).0, [128, 0, 0]);
    /// assert_eq!(ColorMap::BlueRed.color(0.0).0, [247; 3]);
    /// ```
    pub fn color(self, value: f32) -> Rgb<u8> {
        let value = if value.is_nan() { 0.0 } else { f64::from(value) };
        let share = value.clamp(0.0, 1.0);
        match self {
            Self::Viridis => rgb(colorous::VIRIDIS.eval_continuous(share)),
            Self::Inferno => rgb(colorous::INFERNO.eval_continuous(share)),
            Self::Magma => rgb(colorous::MAGMA.eval_continuous(share)),
            Self::Turbo => rgb(colorous::TURBO.eval_continuous(share)),
            Self::Jet => jet(share),
            Self::Grey => Rgb([(share * 255.0).round() as u8; 3]),
            Self::BlueRed => between(&BLUE_RED, value),
            Self::GreenPurple => between(&GREEN_PURPLE, value),
        }
    }
}

impl fmt::Display for ColorMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ColorMap {
    type Err = Error;

    /// The map with that [`name`](ColorMap::name), in upper or lower case; otherwise the error lists all names.
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|map| map.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let hint =
                nearest(name, names).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            Error::invalid("the colour map", format!("one of {}{hint}", names.join(", ")), name)
        })
    }
}

/// A map of numbers `[rows, columns]` as a picture, pixel by pixel.
///
/// The numbers must be normalised: to `0..=1` or, for a
/// diverging colour map, to `-1..=1`, by [`normalize`](super::normalize). Numbers outside are
/// clipped; NaN is coloured as 0.
///
/// ```
/// use vis::picture::{ColorMap, colorize};
/// let picture = colorize(ndarray::array![[0.0, 1.0]].view(), ColorMap::Grey);
/// assert_eq!(picture.into_raw(), [0, 0, 0, 255, 255, 255]);
/// ```
pub fn colorize(map: ArrayView2<'_, f32>, colors: ColorMap) -> RgbImage {
    let (height, width) = map.dim();
    RgbImage::from_fn(width as u32, height as u32, |x, y| colors.color(map[[y as usize, x as usize]]))
}

fn rgb(color: colorous::Color) -> Rgb<u8> {
    Rgb([color.r, color.g, color.b])
}

/// Three trapezoids, 1.5 − |4·share − k| for k = 3, 2, 1, over 256 steps. In whole numbers, because every value
/// is a half before rounding.
fn jet(share: f64) -> Rgb<u8> {
    let step = (share * 255.0).round() as i32;
    Rgb([765, 510, 255].map(|peak| (383 - (4 * step - peak).abs()).clamp(0, 255) as u8))
}

/// Linear interpolation between eleven colours for -1 to 1.
fn between(colors: &[[u8; 3]; 11], value: f64) -> Rgb<u8> {
    let at = value.clamp(-1.0, 1.0) * 5.0 + 5.0;
    let first = (at.floor() as usize).min(9);
    let share = at - first as f64;
    let mix = |one: u8, other: u8| (f64::from(one) * (1.0 - share) + f64::from(other) * share).round() as u8;
    let (one, other) = (colors[first], colors[first + 1]);
    Rgb([mix(one[0], other[0]), mix(one[1], other[1]), mix(one[2], other[2])])
}

/// ColorBrewer's RdBu in eleven classes, reversed.
const BLUE_RED: [[u8; 3]; 11] = [
    [5, 48, 97],
    [33, 102, 172],
    [67, 147, 195],
    [146, 197, 222],
    [209, 229, 240],
    [247, 247, 247],
    [253, 219, 199],
    [244, 165, 130],
    [214, 96, 77],
    [178, 24, 43],
    [103, 0, 31],
];

/// ColorBrewer's PRGn in eleven classes, reversed.
const GREEN_PURPLE: [[u8; 3]; 11] = [
    [0, 68, 27],
    [27, 120, 55],
    [90, 174, 97],
    [166, 219, 160],
    [217, 240, 211],
    [247, 247, 247],
    [231, 212, 232],
    [194, 165, 207],
    [153, 112, 171],
    [118, 42, 131],
    [64, 0, 75],
];

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn jet_is_that_of_opencv() {
        // OpenCV samples 1.5 − |4·s/255 − k| at s = 0..255, times 255 and rounded: blue starts at 127.5, 131.5, …,
        // green leaves 0 at s = 32 with 0.5 (clipped before that), red at s = 96 with 1.5, and all are mirrored.
        for (step, expected) in [
            (0, [0, 0, 128]),
            (1, [0, 0, 132]),
            (31, [0, 0, 252]),
            (32, [0, 1, 255]),
            (95, [0, 253, 255]),
            (96, [2, 255, 254]),
            (127, [126, 255, 130]),
            (128, [130, 255, 126]),
            (159, [254, 255, 2]),
            (160, [255, 253, 0]),
            (255, [128, 0, 0]),
        ] {
            assert_eq!(ColorMap::Jet.color(step as f32 / 255.0).0, expected, "step {step}");
        }
    }

    #[test]
    fn zero_is_exactly_the_middle_colour_and_the_ends_are_the_ends() {
        for (map, table) in [(ColorMap::BlueRed, BLUE_RED), (ColorMap::GreenPurple, GREEN_PURPLE)] {
            assert_eq!(map.color(0.0).0, [247; 3]);
            assert_eq!(map.color(-0.0).0, [247; 3]);
            assert_eq!((map.color(-1.0).0, map.color(1.0).0), (table[0], table[10]));
            // −0.2 and 0.2 are the neighbours of the middle among eleven colours.
            assert_eq!((map.color(-0.2).0, map.color(0.2).0), (table[4], table[6]));
        }
        // 0.1 is halfway from (247, 247, 247) to (253, 219, 199).
        assert_eq!(ColorMap::BlueRed.color(0.1).0, [250, 233, 223]);
    }

    #[test]
    fn the_ends_of_the_sequential_maps_are_those_of_matplotlib() {
        for (map, low, high) in [
            (ColorMap::Viridis, [68, 1, 84], [253, 231, 37]),
            (ColorMap::Inferno, [0, 0, 4], [252, 255, 164]),
            (ColorMap::Magma, [0, 0, 4], [252, 253, 191]),
            (ColorMap::Grey, [0; 3], [255; 3]),
        ] {
            assert_eq!((map.color(0.0).0, map.color(1.0).0), (low, high), "{map}");
        }
    }

    #[test]
    fn the_perceptual_maps_only_get_lighter() {
        let lightness = |color: Rgb<u8>| {
            0.2126 * f64::from(color[0]).powf(2.2)
                + 0.7152 * f64::from(color[1]).powf(2.2)
                + 0.0722 * f64::from(color[2]).powf(2.2)
        };
        for map in [ColorMap::Viridis, ColorMap::Inferno, ColorMap::Magma, ColorMap::Grey] {
            let steps: Vec<_> = (0..=50).map(|step| lightness(map.color(step as f32 / 50.0))).collect();
            assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{map}");
        }
    }

    #[test]
    fn numbers_outside_are_clipped_and_nan_is_zero() {
        for map in ColorMap::ALL {
            let low = if map.is_diverging() { -1.0 } else { 0.0 };
            assert_eq!(map.color(f32::NAN), map.color(0.0), "{map}");
            assert_eq!(map.color(f32::INFINITY), map.color(1.0), "{map}");
            assert_eq!(map.color(-7.0), map.color(low), "{map}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "virdis".parse::<ColorMap>().unwrap_err().to_string();
        assert!(error.contains("did you mean viridis?") && error.contains("blue-red"), "{error}");
        assert_eq!("JET".parse::<ColorMap>().unwrap(), ColorMap::Jet);
    }

    #[test]
    fn rows_are_rows() {
        let picture = colorize(array![[0.0, 1.0], [1.0, 1.0], [0.2, 0.0]].view(), ColorMap::Grey);
        let reds: Vec<_> = picture.pixels().map(|pixel| pixel[0]).collect();
        assert_eq!((picture.dimensions(), reds), ((2, 3), vec![0, 255, 255, 255, 51, 0]));
    }
}
