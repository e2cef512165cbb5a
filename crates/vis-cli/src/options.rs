//! Readers of option values, each refusing what makes no sense in a line.

use std::str::FromStr;

/// A weight: a finite number of 0 or more.
pub(crate) fn weight(text: &str) -> Result<f32, String> {
    number(text, |number| number >= 0.0, "a number of 0 or more")
}

/// A finite number above 0.
pub(crate) fn positive<N: FromStr + Copy + Into<f64>>(text: &str) -> Result<N, String> {
    number(text, |number: N| number.into() > 0.0, "a number above 0")
}

/// A number from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f32, String> {
    number(text, |number| (0.0..=1.0).contains(&number), "a number from 0 to 1")
}

fn number<N: FromStr + Copy + Into<f64>>(
    text: &str,
    fits: impl Fn(N) -> bool,
    expected: &str,
) -> Result<N, String> {
    let number = text.parse::<N>().ok().filter(|number| (*number).into().is_finite() && fits(*number));
    number.ok_or_else(|| format!("expected {expected}"))
}

/// A count of at least 1, and no more than can be meant.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    whole(text, 1, 1_000_000)
}

/// The side of an image in pixels.
pub(crate) fn side(text: &str) -> Result<usize, String> {
    whole(text, 1, 16_384)
}

/// A distance in pixels.
pub(crate) fn pixels(text: &str) -> Result<usize, String> {
    whole(text, 0, 16_384)
}

fn whole(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}
