//! Curves over steps: how a loss went.

use image::{Rgb, RgbImage, imageops};

use super::caption::{TextStyle, draw_text, fit_text, measure_text, mix};
use crate::{Error, Result};

const WHITE: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([40; 3]);
const AXIS: Rgb<u8> = Rgb([120; 3]);
const RULE: Rgb<u8> = Rgb([228; 3]);

/// The height of numbers and names, and of the title.
const TEXT: f32 = 17.0;
const TITLE: f32 = 22.0;

/// Half the width of a curve, in pixels.
const HALF_STROKE: f32 = 1.0;

/// A line plot of one or more series over their index, such as loss histories over steps.
///
/// A value that is NaN or infinite leaves a gap. A constant series is a
/// level line, a single value a dot; without any value there are axes and the words "no data".
#[derive(Debug, Clone)]
#[must_use = "a plot draws nothing until `render`"]
pub(crate) struct Plot {
    title: String,
    x_label: String,
    y_label: String,
    series: Vec<(String, Vec<f32>)>,
    width: u32,
    height: u32,
}

impl Plot {
    /// A plot without series, 720 by 440 pixels. An empty title takes no room.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: String::new(),
            y_label: String::new(),
            series: Vec::new(),
            width: 720,
            height: 440,
        }
    }

    /// What the horizontal axis counts; nothing unless set.
    pub(crate) fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// What the vertical axis measures; nothing unless set.
    pub(crate) fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// Adds a series, drawn in the next of ten colours. Its first value stands at 0. An empty name leaves it out
    /// of the legend.
    pub(crate) fn series(mut self, name: impl Into<String>, values: &[f32]) -> Self {
        self.series.push((name.into(), values.to_vec()));
        self
    }

    /// The size of the picture in pixels, 160 × 120 to 10000 × 10000.
    #[allow(dead_code, reason = "for the figure of `benches/scaling.rs`, which takes this file")]
    pub(crate) fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Draws the plot.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if the size is out of its range.
    pub(crate) fn render(&self) -> Result<RgbImage> {
        if !(160..=10_000).contains(&self.width) || !(120..=10_000).contains(&self.height) {
            let got = format!("{} × {}", self.width, self.height);
            let expected = "160 × 120 to 10000 × 10000".to_owned();
            return Err(Error::InvalidParameter { name: "the size of a plot", expected, got });
        }
        let mut canvas = RgbImage::from_pixel(self.width, self.height, WHITE);
        let values = self.values();
        let scale = Scale::of(&values);
        let longest = self.series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let last_index = longest.saturating_sub(1).max(1) as f64;

        let head = self.draw_head(&mut canvas);
        let numbers = scale.ticks.iter().map(|(_, number)| measure_text(number, TEXT)).fold(0.0, f32::max);
        let name_of_y = if self.y_label.is_empty() { 0.0 } else { TEXT + 6.0 };
        let name_of_x = if self.x_label.is_empty() { 0.0 } else { TEXT + 2.0 };
        let frame = Frame {
            left: (numbers + name_of_y + 16.0).min(self.width as f32 * 0.5),
            right: self.width as f32 - 22.0,
            top: head + 8.0,
            bottom: self.height as f32 - (TEXT + name_of_x + 14.0),
        };
        self.draw_labels(&mut canvas, &frame);
        draw_ticks(&mut canvas, &frame, &scale, last_index);
        if values.iter().all(|values| values.iter().all(Option::is_none)) {
            let x = (frame.left + frame.right - measure_text("no data", TEXT)) / 2.0;
            write_text(&mut canvas, "no data", x, (frame.top + frame.bottom - TEXT) / 2.0, TEXT, AXIS);
        }
        for (index, values) in values.iter().enumerate() {
            let place = |(at, value): (usize, &Option<f64>)| {
                value.map(|value| {
                    let x = frame.left + (frame.right - frame.left) * (at as f64 / last_index) as f32;
                    (x, frame.y(scale.share(value)))
                })
            };
            let points: Vec<_> = values.iter().enumerate().map(place).collect();
            draw_curve(&mut canvas, &points, color(index));
        }
        Ok(canvas)
    }

    /// What is to be shown of each series: finite values.
    fn values(&self) -> Vec<Vec<Option<f64>>> {
        let shown = |value: &f32| {
            let value = f64::from(*value);
            value.is_finite().then_some(value)
        };
        self.series.iter().map(|(_, values)| values.iter().map(shown).collect()).collect()
    }

    /// Draws the title and the legend, and returns how far down they reach.
    fn draw_head(&self, canvas: &mut RgbImage) -> f32 {
        let room = self.width as f32 - 24.0;
        let mut down = 8.0;
        if !self.title.is_empty() {
            let title = fit_text(&self.title.replace('\n', " "), room, 12.0..=TITLE, 1);
            for line in &title.lines {
                let x = 12.0 + (room - measure_text(line, title.size)) / 2.0;
                write_text(canvas, line, x, down, title.size, INK);
            }
            down += TITLE + 4.0;
        }
        // Names in rows, each behind a piece of its curve.
        let (mark, gap) = (22.0, 18.0);
        let mut across = 12.0;
        let mut rows = 0;
        for (index, (name, _)) in self.series.iter().enumerate().filter(|(_, (name, _))| !name.is_empty()) {
            let name = fit_text(&name.replace('\n', " "), room - mark, TEXT..=TEXT, 1).lines.concat();
            let wide = mark + 6.0 + measure_text(&name, TEXT);
            if rows == 0 || across + wide > self.width as f32 - 12.0 {
                // A legend must not crowd out the curves.
                if (rows + 2) as f32 * (TEXT + 4.0) + down > self.height as f32 * 0.4 && rows > 0 {
                    break;
                }
                rows += 1;
                across = 12.0;
            }
            let y = down + (rows - 1) as f32 * (TEXT + 3.0);
            let middle = y + TEXT / 2.0;
            draw_curve(
                canvas,
                &[Some((across + 1.0, middle)), Some((across + mark - 1.0, middle))],
                color(index),
            );
            write_text(canvas, &name, across + mark + 6.0, y, TEXT, INK);
            across += wide + gap;
        }
        down + rows as f32 * (TEXT + 3.0)
    }

    fn draw_labels(&self, canvas: &mut RgbImage, frame: &Frame) {
        let fitted = |label: &str, room: f32| fit_text(&label.replace('\n', " "), room, 11.0..=TEXT, 1);
        let across = fitted(&self.x_label, frame.right - frame.left);
        for line in &across.lines {
            let x = (frame.left + frame.right - measure_text(line, across.size)) / 2.0;
            write_text(canvas, line, x, self.height as f32 - TEXT - 5.0, across.size, INK);
        }
        // The vertical label is drawn lying and turned.
        let up = fitted(&self.y_label, frame.bottom - frame.top);
        for line in up.lines.iter().filter(|line| !line.is_empty()) {
            let mut lying =
                RgbImage::from_pixel(measure_text(line, up.size).ceil() as u32, up.size.ceil() as u32, WHITE);
            write_text(&mut lying, line, 0.0, 0.0, up.size, INK);
            let standing = imageops::rotate270(&lying);
            let y = (frame.top + frame.bottom - standing.height() as f32) / 2.0;
            imageops::replace(canvas, &standing, 5, y as i64);
        }
    }
}

/// The rectangle of the curves.
struct Frame {
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
}

impl Frame {
    fn y(&self, share: f64) -> f32 {
        self.bottom - (self.bottom - self.top) * share as f32
    }
}

/// The vertical scale: what its ends mean, and which values are marked with which numbers.
struct Scale {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Scale {
    /// A scale that holds all values with a little air.
    fn of(values: &[Vec<Option<f64>>]) -> Self {
        let all = || values.iter().flatten().flatten();
        let (mut low, mut high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A constant gets a range of its own size around it; f32 has seven digits, and less is noise.
        let least = low.abs().max(high.abs()) * 1e-6;
        let air = match high - low {
            0.0 if low == 0.0 => 1.0,
            0.0 => low.abs() * 0.5,
            range => range.max(least) * 0.05,
        };
        let (low, high) = (low - air, high + air);
        let ticks = ticks(low, high);
        Self { low, high, ticks }
    }

    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// Four to nine round values between two numbers, one, two or five times a power of ten apart, as text.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let places = (-step.log10() + 1e-9).ceil().max(0.0) as usize;
    let largest = low.abs().max(high.abs());
    let text = |value: f64| {
        if largest >= 1e7 || (largest < 1e-3 && largest > 0.0) {
            // As many digits as tell neighbours apart.
            let digits = ((largest / step).log10().ceil().max(0.0) as usize).min(6);
            if value == 0.0 { "0".to_owned() } else { format!("{value:.digits$e}").replace('-', "−") }
        } else {
            format!("{value:.places$}").replace('-', "−")
        }
    };
    multiples(low, high, step).into_iter().map(|value| (value, text(value))).collect()
}

/// The multiples of a step between two numbers; `+ 0.0` makes −0 a 0.
fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    let count = (last - first).clamp(-1.0, 100.0) + 1.0;
    (0..count as usize).map(|index| (first + index as f64) * step + 0.0).collect()
}

fn draw_ticks(canvas: &mut RgbImage, frame: &Frame, scale: &Scale, last_index: f64) {
    let mut free_above = f32::INFINITY;
    for (value, number) in &scale.ticks {
        let y = frame.y(scale.share(*value));
        fill(canvas, (frame.left, y), (frame.right, y), RULE);
        // A low plot has room for some of the numbers only.
        if y + TEXT / 2.0 <= free_above {
            let x = frame.left - 7.0 - measure_text(number, TEXT);
            write_text(canvas, number, x, y - TEXT / 2.0, TEXT, INK);
            free_above = y - TEXT / 2.0;
        }
    }
    let mut free_from = 0.0;
    for (index, number) in ticks(0.0, last_index).iter().filter(|(index, _)| index.fract() == 0.0) {
        let x = frame.left + (frame.right - frame.left) * (index / last_index) as f32;
        fill(canvas, (x, frame.bottom), (x, frame.bottom + 4.0), AXIS);
        // Whole numbers need no decimals, and none may touch its neighbour or the edge.
        let number = number.split('.').next().unwrap_or(number);
        let wide = measure_text(number, TEXT);
        if x - wide / 2.0 >= free_from && x + wide / 2.0 < canvas.width() as f32 {
            write_text(canvas, number, x - wide / 2.0, frame.bottom + 7.0, TEXT, INK);
            free_from = x + wide / 2.0 + 8.0;
        }
    }
    fill(canvas, (frame.left, frame.top), (frame.left, frame.bottom), AXIS);
    fill(canvas, (frame.left, frame.bottom), (frame.right, frame.bottom), AXIS);
}

fn write_text(canvas: &mut RgbImage, text: &str, x: f32, y: f32, size: f32, color: Rgb<u8>) {
    draw_text(canvas, text, (x.round() as i32, y.round() as i32), &TextStyle { size, color, halo: None });
}

/// Fills a rectangle, corners included.
fn fill(canvas: &mut RgbImage, from: (f32, f32), to: (f32, f32), color: Rgb<u8>) {
    for y in from.1.round() as u32..=to.1.round() as u32 {
        for x in from.0.round() as u32..=to.0.round() as u32 {
            if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
                *pixel = color;
            }
        }
    }
}

fn color(index: usize) -> Rgb<u8> {
    let color = colorous::CATEGORY10[index % colorous::CATEGORY10.len()];
    Rgb([color.r, color.g, color.b])
}

/// Draws an anti-aliased curve through points, with gaps where there is none and a dot at a point between gaps.
fn draw_curve(canvas: &mut RgbImage, points: &[Option<(f32, f32)>], color: Rgb<u8>) {
    // Coverage is collected before it is painted, or joints would be darker than the rest.
    let (width, height) = canvas.dimensions();
    let mut covered = vec![0.0_f32; width as usize * height as usize];
    let mut stroke = |from: (f32, f32), to: (f32, f32), half: f32| {
        let reach = half + 1.0;
        let range = |a: f32, b: f32, side: u32| {
            let first = (a.min(b) - reach).floor().max(0.0) as u32;
            first..((a.max(b) + reach).ceil() as u32 + 1).min(side)
        };
        for y in range(from.1, to.1, height) {
            for x in range(from.0, to.0, width) {
                let distance = distance_to_segment((x as f32, y as f32), from, to);
                let coverage = (half + 0.5 - distance).clamp(0.0, 1.0);
                let covered = &mut covered[y as usize * width as usize + x as usize];
                *covered = covered.max(coverage);
            }
        }
    };
    for (index, point) in points.iter().enumerate() {
        let Some(point) = *point else { continue };
        let before = index.checked_sub(1).and_then(|before| points[before]);
        let after = points.get(index + 1).copied().flatten();
        match (before, after) {
            (None, None) => stroke(point, point, 3.0 * HALF_STROKE),
            (Some(before), _) => stroke(before, point, HALF_STROKE),
            (None, Some(_)) => (),
        }
    }
    for (pixel, coverage) in canvas.pixels_mut().zip(covered).filter(|(_, coverage)| *coverage > 0.0) {
        *pixel = mix(*pixel, color, coverage);
    }
}

fn distance_to_segment(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let length = across * across + down * down;
    let along = if length > 0.0 {
        (((point.0 - from.0) * across + (point.1 - from.1) * down) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (point.0 - from.0 - along * across).hypot(point.1 - from.1 - along * down)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[(f64, String)]) -> Vec<&str> {
        ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn of_color(picture: &RgbImage, index: usize) -> Vec<(u32, u32)> {
        let wanted = color(index);
        let found = picture.enumerate_pixels().filter(|(_, _, pixel)| **pixel == wanted);
        found.map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        // A sixth of 10 is 1.67: the next round step is 2. A sixth of 1.02 is 0.17: 0.2.
        assert_eq!(texts(&ticks(0.0, 10.0)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(texts(&ticks(-0.51, 0.51)), ["−0.4", "−0.2", "0.0", "0.2", "0.4"]);
        assert_eq!(texts(&ticks(999_990.0, 1_000_010.0))[0], "999990");
        assert_eq!(texts(&ticks(0.0, 1e8))[1], "2.0e7");
        assert_eq!(texts(&ticks(0.0, 3.1e-5)), ["0", "1.0e−5", "2.0e−5", "3.0e−5"]);
        for (low, high) in [(0.0, 1.0), (-3.0, 900.0), (1e-9, 1e9), (-1e38, 1e38), (5.0, 5.0001)] {
            let ticks = ticks(low, high);
            assert!((3..=9).contains(&ticks.len()), "{low} to {high}: {ticks:?}");
            let texts = texts(&ticks);
            assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "{texts:?}");
        }
    }

    #[test]
    fn higher_values_stand_higher_and_later_ones_further_right() {
        let picture = Plot::new("").series("", &[0.0, 1.0, 2.0, 3.0]).render().unwrap();
        let curve = of_color(&picture, 0);
        let (first, last) = (curve.iter().min().unwrap(), curve.iter().max().unwrap());
        assert!(last.0 > first.0 + 500 && last.1 + 250 < first.1, "{first:?} to {last:?}");
        // A straight line stays within a stroke of the straight line between its ends.
        let slope = (f64::from(last.1) - f64::from(first.1)) / f64::from(last.0 - first.0);
        for (x, y) in &curve {
            let straight = f64::from(first.1) + slope * f64::from(x - first.0);
            assert!((f64::from(*y) - straight).abs() < 4.0);
        }
    }

    #[test]
    fn a_value_that_is_not_finite_leaves_a_gap() {
        let whole = Plot::new("").series("", &[1.0; 5]).render().unwrap();
        for missing in [f32::NAN, f32::INFINITY] {
            let broken = Plot::new("").series("", &[1.0, 1.0, missing, 1.0, 1.0]).render().unwrap();
            // Two of the four pieces are gone.
            let share = of_color(&broken, 0).len() as f64 / of_color(&whole, 0).len() as f64;
            assert!((share - 0.5).abs() < 0.02, "{share}");
        }
        // A value alone between gaps is a dot.
        let lonely = Plot::new("").series("", &[f32::NAN, 5.0, f32::NAN]).render().unwrap();
        let dot = of_color(&lonely, 0);
        assert!((9..60).contains(&dot.len()), "{}", dot.len());
    }

    #[test]
    fn a_constant_series_is_a_level_line_in_the_middle() {
        for value in [0.0, 1.0, -3e8, 1e-30] {
            let picture = Plot::new("").series("", &[value; 10]).render().unwrap();
            let curve = of_color(&picture, 0);
            let rows = curve.iter().map(|(_, y)| *y);
            assert!(rows.clone().max().unwrap() - rows.clone().min().unwrap() <= 3, "{value}");
            assert!((150..260).contains(&rows.min().unwrap()), "{value}");
        }
    }

    #[test]
    fn odd_series_are_drawn_without_a_panic() {
        let nothing: [f32; 0] = [];
        let wide = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0];
        let long: Vec<f32> = (0..100_000).map(|step| (step as f32 * 0.01).sin()).collect();
        {
            for values in [&nothing[..], &[1.0], &[f32::NAN; 3], &wide, &long, &[f32::INFINITY, 1.0]] {
                for (width, height) in [(160, 120), (720, 440)] {
                    let name = "a rather long name 中".repeat(4);
                    let plot = (0..14).fold(Plot::new(&*name).x_label(&*name).y_label(&*name), |plot, _| {
                        plot.series(&*name, values)
                    });
                    plot.size(width, height).render().unwrap();
                }
            }
        }
    }

    #[test]
    fn no_values_are_said_in_words() {
        let blank = Plot::new("").series("", &[0.5]).render().unwrap();
        let empty = Plot::new("").render().unwrap();
        let grey = |picture: &RgbImage| picture.pixels().filter(|pixel| **pixel == AXIS).count();
        assert!(of_color(&empty, 0).is_empty());
        assert!(grey(&empty) > grey(&blank));
    }

    #[test]
    fn every_named_series_has_its_colour_in_the_legend() {
        let values = [1.0_f32];
        let plot =
            ["one", "two", "three"].iter().fold(Plot::new("t"), |plot, name| plot.series(*name, &values));
        let picture = plot.render().unwrap();
        for index in 0..3 {
            assert!(of_color(&picture, index).iter().any(|(_, y)| *y < 60), "{index}");
        }
    }
}
