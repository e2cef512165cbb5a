//! What a survey has to say.

use std::fmt;

use crate::Error;

/// What a survey has to say while it goes on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'n> {
    /// An image can't be read, or the network's values for it are not finite; it is counted and passed over.
    PassedOver {
        /// The image's name.
        image: &'n str,
        /// What is wrong with it.
        reason: &'n str,
    },
    /// A survey goes on that was not finished.
    Resumed {
        /// The images of the shard that were done before.
        done: u64,
    },
    /// The state can't be read, and the survey goes on from the state before it.
    Damaged {
        /// What is wrong with the state.
        damage: &'n Error,
    },
}

impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassedOver { image, reason } => write!(f, "passed over {image}: {reason}"),
            Self::Resumed { done } => write!(f, "going on after {done} images"),
            Self::Damaged { damage } => write!(f, "{damage}; going on from the state before it"),
        }
    }
}
