//! Every instruction set that the machine has, one after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{InstructionSet, instruction_set};

/// From the slowest to the fastest.
const NAMES: [&str; 3] = ["portable", "AVX2", "AVX-512"];

/// The place in [`NAMES`] of the fastest that may be used.
static FASTEST: AtomicUsize = AtomicUsize::new(NAMES.len() - 1);

/// Whether kernels may run on this one.
pub(crate) fn is_allowed(name: &str) -> bool {
    NAMES[..=FASTEST.load(Ordering::Relaxed)].contains(&name)
}

/// [`FASTEST`] is global: tests that set it take turns.
static TURN: Mutex<()> = Mutex::new(());

/// While it lives no other test changes the instruction set.
pub(super) fn one_instruction_set() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn machine_has(name: &str) -> bool {
    match name {
        "portable" => true,
        #[cfg(target_arch = "x86_64")]
        Avx2::NAME => Avx2::detect().is_some(),
        #[cfg(target_arch = "x86_64")]
        Avx512::NAME => Avx512::detect().is_some(),
        _ => false,
    }
}

/// Runs `test` with each instruction set that the machine has, and its name; says which ones it has not.
pub(super) fn with_every_instruction_set(mut test: impl FnMut(&str)) {
    let _turn = one_instruction_set();
    for (index, name) in NAMES.into_iter().enumerate() {
        if !machine_has(name) {
            println!("skipped: this machine has no {name}");
            continue;
        }
        FASTEST.store(index, Ordering::Relaxed);
        assert_eq!(instruction_set(), name);
        test(name);
    }
    FASTEST.store(NAMES.len() - 1, Ordering::Relaxed);
}

#[test]
fn kernels_run_on_the_instruction_set_that_a_test_asks_for() {
    let mut seen = Vec::new();
    with_every_instruction_set(|name| seen.push((name.to_owned(), instruction_set())));
    assert!(seen.iter().all(|(asked, runs)| asked == runs));
    assert_eq!(seen[0].0, "portable");
}

#[test]
fn an_instruction_set_is_found_exactly_where_the_processor_has_all_of_it() {
    use crate::simd::Portable;
    assert!(Portable::detect().is_some());
    #[cfg(target_arch = "x86_64")]
    {
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        assert_eq!(Avx2::detect().is_some(), has_avx2);
        assert_eq!(Avx512::detect().is_some(), has_avx2 && is_x86_feature_detected!("avx512f"));
    }
}
