//! The kernels against double precision, on every instruction set that the machine has.

mod direct;
mod pointwise;
mod pool;
mod reference;
mod threads;
mod trunk;
mod winograd;
mod workspace;

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::simd::INSTRUCTION_SET_LIMIT;

/// The limit of instruction sets is global: tests that set it take turns.
static LIMIT: Mutex<()> = Mutex::new(());

/// While it lives no other test changes the instruction set.
fn one_instruction_set() -> MutexGuard<'static, ()> {
    LIMIT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` with each instruction set that the machine has, and its name.
fn with_every_instruction_set(test: impl Fn(&str)) {
    let _turn = one_instruction_set();
    for (limit, name) in [(0, "portable"), (1, "AVX2"), (2, "AVX-512")] {
        INSTRUCTION_SET_LIMIT.store(limit, Ordering::Relaxed);
        test(name);
    }
}
