//! Tasks are shared out, each once, and none outlives the call.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sync::Patience;
use crate::threads::{Parts, for_each};

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

/// How many threads compute, the caller's among them.
fn count_of_threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok());
    let asked = asked.filter(|count| *count > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

#[test]
fn helpers_share_the_tasks_however_long_they_have_slept_and_are_fewer_than_the_threads() {
    let threads = count_of_threads();
    let attempts = if threads > 1 { 200 } else { 1 };
    for pause in [0, 0, 1, 3, 0, 5, 0, 1, 3, 5].map(Duration::from_millis) {
        std::thread::sleep(pause);
        // Nobody waits for a helper that comes late, so it may miss some calls, but not all.
        let shared = (0..attempts).any(|_| {
            let runners = Mutex::new(HashSet::new());
            for_each(8, |_| {
                std::thread::sleep(Duration::from_micros(200));
                runners.lock().unwrap().insert(std::thread::current().id());
            });
            runners.into_inner().unwrap().len() > 1
        });
        assert_eq!(shared, threads > 1, "after {pause:?}");
    }
    #[cfg(target_os = "linux")]
    {
        let names = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            names.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
        let helpers = names.filter(|name| name.trim() == "vis-kernels").count();
        assert!(helpers < threads, "{helpers} helpers for {threads} threads");
    }
}

#[cfg(not(miri))]
#[test]
fn the_variable_for_the_number_of_threads_is_followed_unless_it_is_zero() {
    // It is read once in a process, so each value has one of its own. The test above counts as the variable says.
    let test =
        "tests::threads::helpers_share_the_tasks_however_long_they_have_slept_and_are_fewer_than_the_threads";
    for value in ["0", "1", "2", "many"] {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test]).env("RAYON_NUM_THREADS", value);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{value}: {text}");
    }
}

#[test]
fn a_call_returns_when_the_last_task_of_a_helper_is_over_and_not_before() {
    for round in 0..20 {
        let over = AtomicUsize::new(0);
        // Neither one thread nor several take all of them in step.
        for_each(5 + round % 3, |_| {
            std::thread::sleep(Duration::from_millis(1));
            over.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(over.load(Ordering::Relaxed), 5 + round % 3);
    }
}

#[test]
fn patience_is_over_at_the_64th_look_after_its_time_and_not_before() {
    let mut patience = Patience::new();
    std::thread::sleep(Duration::from_millis(2));
    // The clock is looked at every 64th time only.
    for round in 0..3 {
        for look in 1..64 {
            assert!(patience.wait(), "look {look} of round {round}");
        }
        assert!(!patience.wait(), "round {round}");
    }
}

#[test]
fn patience_lasts_for_its_time() {
    let begin = Instant::now();
    let mut patience = Patience::new();
    while patience.wait() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never ends");
    }
    assert!(begin.elapsed() >= Duration::from_micros(300));
}

#[test]
fn parts_are_of_equal_length_but_for_the_last_and_those_beyond_the_end_are_empty() {
    let mut numbers: Vec<usize> = (0..10).collect();
    let start = numbers.as_ptr();
    let parts = Parts::new(&mut numbers, 4);
    for (index, expected) in [0..4, 4..8, 8..10, 10..10, 10..10].into_iter().enumerate() {
        // SAFETY: one part at a time.
        let part = unsafe { parts.get(index) };
        assert_eq!(part.as_ptr(), start.wrapping_add(expected.start));
        assert_eq!(part, expected.collect::<Vec<_>>());
    }
    // SAFETY: it is empty.
    assert!(unsafe { parts.get(usize::MAX) }.is_empty());
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
