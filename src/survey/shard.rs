//! Which part of the images a machine takes.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A part of the images: every `of`-th one.
///
/// Written as `i/n`. `i` counts from 0 or from 1, as the scheduler at hand does: `0/3` and `3/3` are the same shard, so
/// `0/3 1/3 2/3` and `1/3 2/3 3/3` both cover everything.
///
/// ```
/// use vis::survey::Shard;
/// let shard: Shard = "2/3".parse()?;
/// assert_eq!((0..7).filter(|image| shard.takes(*image)).collect::<Vec<_>>(), [2, 5]);
/// assert_eq!("3/3".parse::<Shard>()?, "0/3".parse()?);
/// assert!("4/3".parse::<Shard>().is_err());
/// # Ok::<(), vis::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Default for Shard {
    /// All images.
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Shard {
    /// The shard that the environment names, if it names one.
    ///
    /// | scheduler | number of this shard | number of shards |
    /// | --- | --- | --- |
    /// | Slurm array | `SLURM_ARRAY_TASK_ID`, less `SLURM_ARRAY_TASK_MIN`, in steps of `SLURM_ARRAY_TASK_STEP` | `of`, or `SLURM_ARRAY_TASK_COUNT` |
    /// | Kubernetes indexed job | `JOB_COMPLETION_INDEX` | `of`, or `JOB_COMPLETIONS`, which the job's author sets |
    /// | GNU parallel | `PARALLEL_SEQ` | `of`; without it the variable is not read |
    ///
    /// The first scheduler that is there counts. Kubernetes tells a pod its index but not how many there are, and GNU
    /// parallel also runs commands that are no shards: both need the number.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an index without a number of shards or beyond it, and for a variable that is no
    /// number.
    pub fn from_environment(of: Option<u32>) -> Result<Option<Self>> {
        Self::told(of, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn told(of: Option<u32>, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let number = |name: &'static str| -> Result<Option<u32>> {
            let Some(value) = variable(name) else { return Ok(None) };
            let number = value.trim().parse().map_err(|_| Error::invalid(name, "a whole number", &value))?;
            Ok(Some(number))
        };
        if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
            let least = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let Some(of) = of.or(number("SLURM_ARRAY_TASK_COUNT")?) else {
                return Err(uncounted("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"));
            };
            let index = id.checked_sub(least).filter(|index| index % step == 0).map(|index| index / step);
            let index = index.filter(|index| *index < of);
            return match index {
                Some(index) => Self::new(index, of).map(Some),
                None => Err(Error::invalid(
                    "SLURM_ARRAY_TASK_ID",
                    format!(
                        "one of {of} ids in a row from {least}, such as --array={least}-{}",
                        least + of - 1
                    ),
                    id,
                )),
            };
        }
        if let Some(index) = number("JOB_COMPLETION_INDEX")? {
            let Some(of) = of.or(number("JOB_COMPLETIONS")?) else {
                return Err(uncounted("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"));
            };
            return below(index, of, "JOB_COMPLETION_INDEX");
        }
        match (number("PARALLEL_SEQ")?, of) {
            // It goes on counting when there are more jobs than shards, which then would be done twice.
            (Some(sequence), Some(of)) if sequence > 0 => below(sequence - 1, of, "PARALLEL_SEQ"),
            _ => Ok(None),
        }
    }

    /// The shard `index` of `of`, counted from 0; `of` of `of` is the shard 0.
    fn new(index: u32, of: u32) -> Result<Self> {
        if of == 0 || index > of {
            let expected = "i/n with i from 0 to n and n at least 1, such as 2/8";
            return Err(Error::invalid("a shard", expected, format!("{index}/{of}")));
        }
        Ok(Self { index: index % of, of })
    }

    /// Whether the image at this place of the list is one of the shard.
    ///
    /// ```
    /// let shard: vis::survey::Shard = "1/2".parse()?;
    /// assert!(!shard.takes(0) && shard.takes(1));
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn takes(self, image: u64) -> bool {
        image % u64::from(self.of) == u64::from(self.index)
    }

    pub(super) fn index(self) -> u32 {
        self.index
    }

    pub(super) fn of(self) -> u32 {
        self.of
    }
}

fn below(index: u32, of: u32, name: &'static str) -> Result<Option<Shard>> {
    if index >= of {
        return Err(Error::invalid(name, format!("that of one of {of} shards"), index));
    }
    Shard::new(index, of).map(Some)
}

fn uncounted(name: &'static str, counted_by: &str) -> Error {
    Error::invalid(
        "the number of shards",
        format!("given, as {name} is set, or set as {counted_by}"),
        "unknown",
    )
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let (index, of) = parts.ok_or_else(|| Error::invalid("a shard", "i/n, such as 2/8", text))?;
        Self::new(index, of)
    }
}

/// As `i/n`, counted from 0.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(of: Option<u32>, set: &[(&str, &str)]) -> Result<Option<String>> {
        let variable =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Ok(Shard::told(of, variable)?.map(|shard| shard.to_string()))
    }

    #[test]
    fn every_image_belongs_to_exactly_one_shard() {
        for of in [1, 2, 3, 7] {
            for first in [0, 1] {
                let shards: Vec<Shard> =
                    (first..first + of).map(|index| format!("{index}/{of}").parse().unwrap()).collect();
                for image in 0..50 {
                    assert_eq!(shards.iter().filter(|shard| shard.takes(image)).count(), 1);
                }
            }
        }
    }

    #[test]
    fn schedulers_name_the_shard_and_the_first_one_counts() {
        let slurm = |id: &'static str, min: &'static str, count: &'static str| {
            vec![
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_COUNT", count),
            ]
        };
        let shard = |text: &str| Some(text.to_owned());
        assert_eq!(told(None, &slurm("7", "5", "3")).unwrap(), shard("2/3"));
        assert_eq!(told(None, &slurm("0", "0", "4")).unwrap(), shard("0/4"));
        let mut stepped = slurm("14", "10", "3");
        stepped.push(("SLURM_ARRAY_TASK_STEP", "2"));
        stepped.push(("JOB_COMPLETION_INDEX", "0"));
        assert_eq!(told(None, &stepped).unwrap(), shard("2/3"));
        let kubernetes = [("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "8")];
        assert_eq!(told(None, &kubernetes).unwrap(), shard("3/8"));
        assert_eq!(told(Some(4), &kubernetes[..1]).unwrap(), shard("3/4"));
        assert_eq!(told(Some(4), &[("PARALLEL_SEQ", "4")]).unwrap(), shard("3/4"));
        assert_eq!(told(None, &[("PARALLEL_SEQ", "4")]).unwrap(), None);
        assert_eq!(told(Some(4), &[]).unwrap(), None);
    }

    #[test]
    fn a_shard_that_is_not_clear_is_refused() {
        for (of, set) in [
            (None, vec![("JOB_COMPLETION_INDEX", "3")]),
            (Some(3), vec![("JOB_COMPLETION_INDEX", "3")]),
            (Some(3), vec![("PARALLEL_SEQ", "4")]),
            (None, vec![("SLURM_ARRAY_TASK_ID", "3")]),
            // --array=1,3,9: three tasks whose ids are not in a row.
            (
                None,
                vec![
                    ("SLURM_ARRAY_TASK_ID", "9"),
                    ("SLURM_ARRAY_TASK_MIN", "1"),
                    ("SLURM_ARRAY_TASK_COUNT", "3"),
                ],
            ),
            (None, vec![("SLURM_ARRAY_TASK_ID", "x")]),
        ] {
            assert!(matches!(told(of, &set), Err(Error::InvalidParameter { .. })), "{set:?}");
        }
        for text in ["", "1", "1/0", "5/4", "-1/3", "1/3/4", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
