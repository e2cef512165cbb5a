//! What is kept of one channel of a layer.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Histogram;

/// An image that excites a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Example {
    /// The image's name.
    #[serde(with = "shared")]
    pub image: Arc<str>,
    /// Its label, if it has one.
    #[serde(with = "shared_option")]
    pub label: Option<Arc<str>>,
    /// The value by which it is ranked: the largest activation of the channel, or its mean over positions.
    pub value: f32,
    /// The row of the largest activation, in the layer's own map; of several the first in reading order.
    pub row: u32,
    /// Its column.
    pub column: u32,
}

/// The channels of a layer have one of these each: the images that excite it most, and how its values are spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    by_maximum: Vec<Example>,
    by_mean: Vec<Example>,
    histogram: Histogram,
    silent: u64,
    images: u64,
    /// The sum of the means of the images, in units of 2⁻⁶⁴: whole numbers add up to the same in any order.
    sum: i128,
    least: f32,
}

/// What a map of a channel comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    largest: f32,
    /// The place of the largest value in the map.
    at: u32,
    least: f32,
    mean: f32,
}

impl Measured {
    /// Of a map that is not empty.
    pub(super) fn of(map: &[f32]) -> Self {
        const LANES: usize = 8;
        let mut largest = [f32::NEG_INFINITY; LANES];
        let mut least = [f32::INFINITY; LANES];
        let mut sum = [0f64; LANES];
        let (chunks, rest) = map.as_chunks::<LANES>();
        let mut take = |lane: usize, value: f32| {
            largest[lane] = if value > largest[lane] { value } else { largest[lane] };
            least[lane] = if value < least[lane] { value } else { least[lane] };
            sum[lane] += f64::from(value);
        };
        for chunk in chunks {
            chunk.iter().enumerate().for_each(|(lane, value)| take(lane, *value));
        }
        rest.iter().enumerate().for_each(|(lane, value)| take(lane, *value));
        // −0 is 0, in files too.
        let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max) + 0.0;
        let at = map.iter().position(|value| *value == largest).unwrap_or_default() as u32;
        let least = least.into_iter().fold(f32::INFINITY, f32::min) + 0.0;
        let mean = (sum.into_iter().sum::<f64>() / map.len() as f64) as f32 + 0.0;
        Self { largest, at, least, mean }
    }

    pub(super) fn is_finite(&self) -> bool {
        self.largest.is_finite() && self.least.is_finite() && self.mean.is_finite()
    }
}

impl Unit {
    pub(super) fn new() -> Self {
        Self {
            by_maximum: Vec::new(),
            by_mean: Vec::new(),
            histogram: Histogram::new(),
            silent: 0,
            images: 0,
            sum: 0,
            least: f32::INFINITY,
        }
    }

    /// Takes in the map of one more image.
    pub(super) fn take(
        &mut self,
        map: &[f32],
        measured: &Measured,
        (image, label): (&Arc<str>, &Option<Arc<str>>),
        (width, top): (usize, usize),
    ) {
        self.histogram.count(map);
        self.images += 1;
        self.silent += u64::from(measured.largest <= 0.0);
        self.sum = self.sum.wrapping_add((f64::from(measured.mean) * 2f64.powi(64)) as i128);
        self.least = self.least.min(measured.least);
        let (row, column) = (measured.at / width as u32, measured.at % width as u32);
        for (list, value) in [(&mut self.by_maximum, measured.largest), (&mut self.by_mean, measured.mean)] {
            let is_behind = list.last().is_some_and(|last| value < last.value);
            if list.len() < top || !is_behind {
                insert(list, Example { image: image.clone(), label: label.clone(), value, row, column }, top);
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self, top: usize) {
        other.by_maximum.into_iter().for_each(|example| insert(&mut self.by_maximum, example, top));
        other.by_mean.into_iter().for_each(|example| insert(&mut self.by_mean, example, top));
        self.histogram.add(&other.histogram);
        self.silent += other.silent;
        self.images += other.images;
        self.sum = self.sum.wrapping_add(other.sum);
        self.least = self.least.min(other.least);
    }

    /// Whether it can have been written by this program.
    pub(super) fn is_sound(&self, top: usize, (height, width): (usize, usize)) -> bool {
        let sound = |list: &[Example]| {
            list.len() <= top
                && list.is_sorted_by(|a, b| rank(a, b) != Ordering::Greater)
                && list.iter().all(|example| {
                    (example.row as usize) < height
                        && (example.column as usize) < width
                        && example.value.is_finite()
                })
        };
        sound(&self.by_maximum) && sound(&self.by_mean) && self.histogram.is_whole()
    }

    /// The images in which it fires most at one place, the strongest first; equal ones by name.
    pub fn by_maximum(&self) -> &[Example] {
        &self.by_maximum
    }

    /// The images in which it fires most on average over its positions, the strongest first; equal ones by name.
    pub fn by_mean(&self) -> &[Example] {
        &self.by_mean
    }

    /// How its values are spread, over all images and positions.
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The share of values that are exactly zero, over all images and positions.
    pub fn sparsity(&self) -> f64 {
        share(self.histogram.zeros(), self.histogram.total())
    }

    /// The share of images in which it is nowhere above zero.
    pub fn silence(&self) -> f64 {
        share(self.silent, self.images)
    }

    /// The mean over all images and positions.
    pub fn mean(&self) -> f64 {
        if self.images == 0 { 0.0 } else { self.sum as f64 / 2f64.powi(64) / self.images as f64 }
    }

    /// The least and the largest value; none without an image.
    pub fn range(&self) -> Option<(f32, f32)> {
        self.by_maximum.first().map(|first| (self.least, first.value))
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The order of examples: the larger value first, then by name, so that no two orders of images give two results.
fn rank(a: &Example, b: &Example) -> Ordering {
    let places = (a.row, a.column).cmp(&(b.row, b.column));
    b.value.total_cmp(&a.value).then_with(|| a.image.cmp(&b.image)).then(places)
}

fn insert(list: &mut Vec<Example>, example: Example, top: usize) {
    let place = list.partition_point(|other| rank(other, &example) == Ordering::Less);
    if place < top {
        list.insert(place, example);
        list.truncate(top);
    }
}

/// Text that several examples share, as text.
mod shared {
    use super::*;

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

mod shared_option {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        text: &Option<Arc<str>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Arc::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_measured_at_any_length_and_the_first_of_equals_is_its_place() {
        for length in 1..40 {
            let map: Vec<f32> = (0..length).map(|k| ((k * 7 + length) % 5) as f32 - 3.0).collect();
            let measured = Measured::of(&map);
            let largest = map.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(measured.largest, largest);
            assert_eq!(measured.at as usize, map.iter().position(|value| *value == largest).unwrap());
            assert_eq!(measured.least, map.iter().copied().fold(f32::MAX, f32::min));
            assert_eq!(measured.mean, map.iter().sum::<f32>() / length as f32);
        }
        assert!(Measured::of(&[-0.0, -0.0]).largest.is_sign_positive());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!Measured::of(&[1.0, value, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]).is_finite());
        }
    }

    #[test]
    fn images_in_any_order_and_any_parts_leave_the_same_behind() {
        // Many equal values, so that names decide.
        let images: Vec<(Arc<str>, Vec<f32>)> = (0..40)
            .map(|k| {
                (
                    format!("{:02}", k * 13 % 40).into(),
                    (0..6).map(|i| ((k * i) % 4) as f32 * 0.1 - 0.1).collect(),
                )
            })
            .collect();
        let unit_of = |images: &[(Arc<str>, Vec<f32>)]| {
            let mut unit = Unit::new();
            images.iter().for_each(|(name, map)| unit.take(map, &Measured::of(map), (name, &None), (3, 5)));
            unit
        };
        let whole = unit_of(&images);
        let mut reversed = images.clone();
        reversed.reverse();
        assert_eq!(whole, unit_of(&reversed));
        let parts = || images.chunks(11).map(unit_of);
        let merged = |mut parts: Vec<Unit>| {
            let mut first = parts.remove(0);
            parts.into_iter().for_each(|part| first.merge(part, 5));
            first
        };
        assert_eq!(whole, merged(parts().collect()));
        assert_eq!(whole, merged(parts().rev().collect()));
        let [a, b, c, d]: [Unit; 4] = parts().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(whole, merged(vec![merged(vec![d, b]), merged(vec![c, a])]));
        // The rule itself: by value, then by name.
        let mut ranked: Vec<(f32, &str)> = images
            .iter()
            .map(|(name, map)| (map.iter().copied().fold(f32::MIN, f32::max), &**name))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let kept: Vec<_> =
            whole.by_maximum().iter().map(|example| (example.value, &*example.image)).collect();
        assert_eq!(kept, ranked[..5]);
    }
}
