//! Panics of foreign decoders, turned into reasons.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a reader of untrusted bytes that is not ours; should it panic, that becomes the reason why the bytes can't be
/// read.
///
/// The panic hook still runs, and the standard one writes to standard error: silencing it would mean to replace the
/// hook of the whole process, which another thread may be replacing at the same time. What is known to make a decoder
/// panic is therefore refused before it is decoded, and this is the net below.
pub(crate) fn contained<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // The bytes are only read, and whatever else the reader made is dropped by the unwinding.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(format!("its decoder failed: {}", message.unwrap_or("for no stated reason")))
    })
}

#[cfg(test)]
mod tests {
    use super::contained;

    #[test]
    fn what_is_read_comes_through() {
        assert_eq!(contained(|| Ok(3)), Ok(3));
        assert_eq!(contained(|| Err::<(), _>("cut off".to_owned())), Err("cut off".to_owned()));
    }

    #[test]
    fn a_panic_becomes_the_reason_with_what_it_said() {
        let text = contained::<()>(|| panic!("no more"));
        assert_eq!(text, Err("its decoder failed: no more".to_owned()));
        let index = [3][..].len();
        let formatted = contained::<()>(|| panic!("at {index}"));
        assert_eq!(formatted, Err("its decoder failed: at 1".to_owned()));
        let other = contained::<()>(|| std::panic::panic_any(7));
        assert_eq!(other, Err("its decoder failed: for no stated reason".to_owned()));
    }
}
