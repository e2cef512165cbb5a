//! Tasks are shared out, each once, and none outlives the call.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::threads::for_each;

#[test]
fn every_task_runs_once_whoever_else_calls_at_the_same_time() {
    std::thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || {
                for count in (0..200).map(|round| (round * 7 + caller) % 40) {
                    let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                    for_each(count, |index| {
                        runs[index].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
                }
            });
        }
    });
}

#[test]
fn what_tasks_have_written_is_there_when_the_call_returns() {
    for round in 0..500_usize {
        let cells: Vec<AtomicUsize> = (0..16).map(|_| AtomicUsize::new(0)).collect();
        for_each(16, |index| cells[index].store(round + index, Ordering::Relaxed));
        let sum: usize = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 16 * round + 120);
    }
}

#[test]
fn a_panic_in_a_task_reaches_the_caller_after_all_that_were_begun_are_over() {
    for _ in 0..50 {
        let running = AtomicUsize::new(0);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for_each(32, |index| {
                running.fetch_add(1, Ordering::SeqCst);
                let guard = Leaves(&running);
                assert!(index != 5, "the fifth fails");
                drop(guard);
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }
    for_each(8, |_| ()); // the next call is none the worse
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_leaves_its_processor_is_on_another_and_may_run_where_it_might_before() {
    use crate::processor;
    let allowed = || -> Vec<usize> {
        // SAFETY: zeros are a set, of the size that is said, and no index is beyond it; 0 is this thread.
        unsafe {
            let mut allowed: libc::cpu_set_t = std::mem::zeroed();
            assert_eq!(libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed), 0);
            (0..8 * size_of_val(&allowed)).filter(|processor| libc::CPU_ISSET(*processor, &allowed)).collect()
        }
    };
    let before = allowed();
    // It may be moved back at once, but not every time.
    let moved = (0..100).any(|_| {
        let here = processor::current().unwrap();
        processor::leave(here);
        processor::current() != Some(here)
    });
    assert_eq!(moved, before.len() > 1);
    assert_eq!(allowed(), before);
}
