//! Buffers are nobody else's while they live, are used again afterwards, and are given back when asked for.

use std::panic::catch_unwind;

use crate::workspace::{OutOfMemory, Workspace, length, release_memory};

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

#[test]
fn a_buffer_is_as_long_as_was_asked_for_in_numbers_and_in_bytes() {
    for length in [0, 1, 15, 16, 17, 1000] {
        let mut buffer = Workspace::new(length).unwrap();
        assert_eq!(format!("{buffer:?}"), format!("Workspace {{ numbers: {length} }}"));
        let numbers: Vec<f32> = (0..length).map(|index| index as f32 - 3.5).collect();
        buffer.numbers_mut().copy_from_slice(&numbers);
        assert_eq!(buffer.numbers(), numbers);
        assert_eq!(buffer.bytes().len(), 4 * length);
        assert_eq!(buffer.bytes().as_ptr().cast(), buffer.numbers().as_ptr());
        // SAFETY: every byte stays what it is or becomes another one.
        let bytes = unsafe { buffer.bytes_mut() };
        assert_eq!(bytes.len(), 4 * length);
        for (byte, written) in bytes.iter_mut().zip(numbers.iter().rev().flat_map(|n| n.to_ne_bytes())) {
            byte.write(written);
        }
        assert!(buffer.numbers().iter().eq(numbers.iter().rev()));
    }
}

#[test]
fn the_length_of_a_shape_is_the_product_of_its_extents_if_so_many_can_be_addressed() {
    assert_eq!(length(&[]), Ok(1));
    assert_eq!(length(&[3, 5, 7]), Ok(105));
    assert_eq!(length(&[3, 0, 7]), Ok(0));
    // Room for four lines of sixteen numbers is kept for the marks and for rounding up.
    let most = (isize::MAX as usize - 256) / 4;
    assert_eq!(length(&[most]), Ok(most));
    let error = length(&[most + 1]).unwrap_err();
    assert_eq!(error.to_string(), format!("there is no memory for {} numbers of 4 bytes", most + 1));
    let error = length(&[usize::MAX, 2]).unwrap_err();
    assert_eq!(error.to_string(), "there is no memory for more numbers than can be addressed");
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

#[test]
fn buffers_of_several_chunks_go_back_to_their_own() {
    for order in [[0, 1], [1, 0]] {
        // The second is larger than what the first leaves of its chunk.
        let mut buffers = [17, 18].map(|size| Some(Workspace::new(size << 20).unwrap()));
        for (index, buffer) in buffers.iter_mut().enumerate() {
            let numbers = buffer.as_mut().unwrap().numbers_mut();
            let last = numbers.len() - 1;
            (numbers[0], numbers[last]) = (index as f32, -(index as f32));
        }
        for place in order {
            let buffer = buffers[place].take().unwrap();
            let numbers = buffer.numbers();
            assert_eq!((numbers[0], numbers[numbers.len() - 1]), (place as f32, -(place as f32)));
        }
        release_memory();
    }
}

#[cfg(not(unpooled))]
#[test]
fn buffers_lie_side_by_side_and_become_one_again_in_whatever_order_they_go() {
    let length = 1 << 20;
    for first_goes_first in [true, false] {
        // Other tests may take a part in between, but not every time.
        let as_expected = (0..1000).any(|_| {
            let mut first = Workspace::new(length).unwrap();
            let mut second = Workspace::new(length).unwrap();
            let [start, next] = [first.pointer() as usize, second.pointer() as usize];
            // With debug assertions a line of marks lies before and behind each.
            let marks = if cfg!(debug_assertions) { 2 * 64 } else { 0 };
            let side_by_side = next == start + 4 * length + marks;
            if first_goes_first {
                drop(first);
                drop(second);
            } else {
                drop(second);
                drop(first);
            }
            let mut both = Workspace::new(2 * length).unwrap();
            side_by_side && both.pointer() as usize == start
        });
        assert!(as_expected, "first goes first: {first_goes_first}");
    }
}

#[cfg(all(debug_assertions, not(unpooled)))]
#[test]
fn every_mark_around_a_buffer_is_looked_at() {
    // Sixteen before the numbers; behind them the rest of the seventh line, and another line.
    for place in (-16..0).chain(100..128) {
        let mut buffer = Workspace::new(100).unwrap();
        // SAFETY: the marks are memory of this buffer.
        unsafe { buffer.pointer().offset(place).write(0.0) }
        let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| drop(buffer)));
        assert!(outcome.is_err(), "{place}");
    }
}
