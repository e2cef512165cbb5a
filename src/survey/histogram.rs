//! How often a channel has which value.

use serde::{Deserialize, Serialize};

/// The bins of an octave: a bin is at most a quarter as wide as its lower end.
const PER_OCTAVE: u32 = 4;
/// The bits of a number's significand that tell the bins of an octave apart.
const BITS: u32 = PER_OCTAVE.trailing_zeros();
/// The exponents of the first octave, and of the first that is too large.
const FIRST: i32 = -10;
const END: i32 = 14;
/// The bins of one sign: what is smaller than the first octave, the octaves, what is larger.
const SIDE: usize = (END - FIRST) as usize * PER_OCTAVE as usize + 2;
/// The bins of negative numbers from the largest to the smallest, zero, and the positive ones.
pub(super) const BINS: usize = 2 * SIDE + 1;

/// Counts of values in bins that are the same for every channel of every network: zero by itself, and four bins an octave
/// from 2⁻¹⁰ to 2¹⁴ for either sign.
///
/// Fixed bins let histograms of several machines be added up exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BINS] }
    }

    pub(super) fn count(&mut self, values: &[f32]) {
        // Most values are zero where a rectifier comes before: those are told apart before their bin is looked for.
        let mut zeros = 0;
        for value in values {
            if *value == 0.0 {
                zeros += 1;
            } else {
                self.counts[bin(*value)] += 1;
            }
        }
        self.counts[SIDE] += zeros;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(here, there)| *here = here.saturating_add(*there));
    }

    pub(super) fn is_whole(&self) -> bool {
        self.counts.len() == BINS
    }

    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The number of values that were exactly zero.
    pub fn zeros(&self) -> u64 {
        self.counts[SIDE]
    }

    /// The number of values.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bins from the most negative to the most positive: their lower and upper ends, and how many values lie between.
    ///
    /// The bin of zero has no width; the outermost ones have no end.
    pub fn bins(&self) -> impl Iterator<Item = (f32, f32, u64)> + '_ {
        self.counts.iter().enumerate().map(|(index, count)| {
            let (low, high) = ends(index);
            (low, high, *count)
        })
    }
}

/// The bin of a number other than zero.
fn bin(value: f32) -> usize {
    let significant = (value.abs().to_bits() >> (f32::MANTISSA_DIGITS - 1 - BITS)) as i32;
    let first = (FIRST + f32::MAX_EXP - 1) << BITS;
    let place = (significant - first + 1).clamp(0, SIDE as i32 - 1) as usize;
    if value > 0.0 { SIDE + 1 + place } else { SIDE - 1 - place }
}

pub(super) fn ends(bin: usize) -> (f32, f32) {
    // The lower end of the n-th bin of one sign.
    let edge = |place: usize| match place {
        0 => 0.0,
        SIDE => f32::INFINITY,
        place => {
            let (octave, part) = ((place as i32 - 1) >> BITS, (place as u32 - 1) % PER_OCTAVE);
            2f32.powi(FIRST + octave) * (1.0 + part as f32 / PER_OCTAVE as f32)
        }
    };
    match bin.cmp(&SIDE) {
        std::cmp::Ordering::Equal => (0.0, 0.0),
        std::cmp::Ordering::Greater => (edge(bin - SIDE - 1), edge(bin - SIDE)),
        std::cmp::Ordering::Less => (-edge(SIDE - bin), -edge(SIDE - bin - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_between_the_ends_of_its_bin() {
        let mut values: Vec<f32> =
            (-40..40).flat_map(|e| [1.0, 1.2499, 1.25, 1.6, 1.9999].map(|s| s * 2f32.powi(e))).collect();
        values.extend([f32::MIN_POSITIVE / 8.0, f32::MAX, 1.0 / 1024.0, 16384.0, 16383.998]);
        for value in values {
            let (low, high) = ends(bin(value));
            assert!(low <= value && value < high, "{low} {value} {high}");
            // The other sign is the mirror image.
            let (low, high) = ends(bin(-value));
            assert!(low < -value && -value <= high, "{low} {value} {high}");
        }
    }

    #[test]
    fn the_bins_follow_each_other_without_gaps() {
        let ends: Vec<_> = Histogram::new().bins().map(|(low, high, _)| (low, high)).collect();
        assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].0 <= pair[0].1));
        assert_eq!((ends[0].0, ends[BINS - 1].1), (f32::NEG_INFINITY, f32::INFINITY));
    }

    #[test]
    fn counts_add_up() {
        let values: Vec<f32> = (0..1000).map(|k| ((k * 37 % 101) as f32 - 50.0).max(-20.0) * 0.3).collect();
        let mut whole = Histogram::new();
        whole.count(&values);
        let (mut first, mut second) = (Histogram::new(), Histogram::new());
        first.count(&values[..317]);
        second.count(&values[317..]);
        second.add(&first);
        assert_eq!(whole, second);
        assert_eq!(whole.total(), 1000);
        assert_eq!(whole.zeros(), values.iter().filter(|value| **value == 0.0).count() as u64);
    }
}
