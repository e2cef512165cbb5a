//! Buffers are nobody else's while they live, are used again afterwards, and are given back when asked for.

use std::panic::catch_unwind;

use crate::workspace::{OutOfMemory, Workspace, release_memory};

/// Numbers below `below` that look random.
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as usize % below
}

#[test]
fn buffers_that_live_at_the_same_time_never_overlap_even_when_memory_is_released_in_between() {
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut living: Vec<(Workspace, f32, usize)> = Vec::new();
    for round in 0..2000 {
        if living.len() > 40 || (random(&mut state, 100) < 45 && !living.is_empty()) {
            let index = random(&mut state, living.len());
            let (buffer, mark, length) = living.swap_remove(index);
            assert_eq!(buffer.numbers().len(), length);
            assert!(buffer.numbers().iter().all(|number| *number == mark));
        } else {
            let length = random(&mut state, 50_000);
            let mut buffer = Workspace::new(length).unwrap();
            assert_eq!(buffer.pointer() as usize % 64, 0);
            buffer.numbers_mut().fill(round as f32);
            living.push((buffer, round as f32, length));
        }
        if round % 100 == 0 {
            release_memory();
        }
    }
}

#[test]
fn a_buffer_larger_than_all_before_is_made_and_its_memory_used_again() {
    let length = 20 << 20;
    let mut large = Workspace::new(length).unwrap();
    let pointer = large.pointer();
    large.numbers_mut()[length - 1] = 7.0;
    drop(large);
    // Unless another test has taken a part of it in between, or released it, it is the best place for one of its size.
    let mut again = Workspace::new(length).unwrap();
    assert_eq!(again.numbers_mut().len(), length);
    assert!(again.pointer() == pointer || again.numbers()[0].is_nan());
}

#[test]
fn more_than_there_is_is_an_error_that_says_how_much() {
    let too_many = isize::MAX as usize / size_of::<f32>();
    for length in [usize::MAX, usize::MAX / 4, too_many, too_many - 16] {
        let error = Workspace::new(length).unwrap_err();
        assert!(error.to_string().contains("there is no memory for"), "{error}");
    }
    // Products that wrap around to something small.
    let panic = catch_unwind(|| Workspace::of(&[1 << (usize::BITS - 1), 2, 3])).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("2, 3]"), "{message}");
    let _: OutOfMemory = Workspace::new(usize::MAX).unwrap_err();
}

#[cfg(debug_assertions)]
#[test]
fn what_is_written_beyond_a_buffer_is_noticed() {
    let outside: [fn(&mut Workspace); 2] = [
        |buffer| {
            // SAFETY: there are marks before the numbers, which nobody else uses.
            unsafe { buffer.pointer().sub(1).write(0.0) }
        },
        |buffer| {
            // SAFETY: there are marks behind them too.
            unsafe { buffer.pointer().add(100).write(0.0) }
        },
    ];
    for write in outside {
        let mut buffer = Workspace::new(100).unwrap();
        buffer.numbers_mut().fill(0.0);
        write(&mut buffer);
        let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| drop(buffer)));
        assert!(outcome.is_err());
    }
}

/// Resident memory in bytes.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn released_memory_goes_back_to_the_system_though_a_part_of_it_is_in_use() {
    let length = 100 << 20;
    let mut large = Workspace::new(length).unwrap();
    large.numbers_mut().fill(1.0);
    let before = resident();
    drop(large);
    // It takes a part of the large one's memory, or of another test's.
    let mut small = Workspace::new(1000).unwrap();
    small.numbers_mut().fill(3.0);
    release_memory();
    let after = resident();
    assert!(after + length * size_of::<f32>() / 2 < before, "{before} bytes before, {after} after");
    assert!(small.numbers().iter().all(|number| *number == 3.0));
}
