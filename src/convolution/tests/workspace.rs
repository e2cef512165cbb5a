//! Buffers are nobody else's while they live, and are used again afterwards.

use rand::Rng;

use crate::convolution::workspace::Workspace;

#[test]
fn buffers_that_live_at_the_same_time_never_overlap() {
    let mut random = crate::random::stream(0, 0);
    let mut living: Vec<(Workspace, f32, usize)> = Vec::new();
    for round in 0..2000 {
        if living.len() > 40 || (random.random_bool(0.45) && !living.is_empty()) {
            let index = random.random_range(0..living.len());
            let (mut buffer, mark, length) = living.swap_remove(index);
            assert!(buffer.numbers_mut()[..length].iter().all(|number| *number == mark));
        } else {
            let length = random.random_range(0..50_000);
            let mut buffer = Workspace::of(length);
            assert_eq!(buffer.pointer() as usize % 64, 0);
            buffer.numbers_mut().fill(round as f32);
            living.push((buffer, round as f32, length));
        }
    }
}

#[test]
fn a_buffer_larger_than_all_before_is_made_and_its_memory_used_again() {
    let length = 40 << 20;
    let mut large = Workspace::of(length);
    let pointer = large.pointer();
    large.numbers_mut()[length - 1] = 7.0;
    drop(large);
    // Unless another test has taken a part of it in between, it is the best place for one of its size.
    let mut again = Workspace::of(length);
    assert!(again.numbers_mut().len() >= length);
    assert!(again.pointer() == pointer || again.numbers_mut()[0] == 0.0);
}
