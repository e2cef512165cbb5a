//! The hand-out of tasks in every interleaving with up to three preemptions, and under every order of memory that the
//! model knows: `RUSTFLAGS="--cfg loom" cargo test -p vis-kernels model`.
//!
//! The model finds what no run would: accesses that nothing orders, a task that runs twice or after its call has returned,
//! a helper that sleeps for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::threads::{Team, share_out};

/// Numbers that tasks write, each its own, without atomics: the model checks that all accesses are in order.
struct Cells<const COUNT: usize>([UnsafeCell<usize>; COUNT]);

// SAFETY: whether accesses are in order is what the model checks.
unsafe impl<const COUNT: usize> Sync for Cells<COUNT> {}

impl<const COUNT: usize> Cells<COUNT> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| UnsafeCell::new(0)))
    }

    fn add(&self, index: usize) {
        // SAFETY: as above.
        self.0[index].with_mut(|cell| unsafe { *cell += 1 });
    }

    fn values(&self) -> [usize; COUNT] {
        // SAFETY: as above.
        std::array::from_fn(|index| self.0[index].with(|cell| unsafe { *cell }))
    }
}

fn check(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
}

#[test]
fn every_task_runs_once_and_what_it_has_written_is_there_when_the_call_returns() {
    check(3, || {
        let team = Arc::new(Team::new());
        let cells = Cells::<2>::new();
        share_out(&team, 1, 2, &|index| cells.add(index));
        assert_eq!(cells.values(), [1, 1]);
        team.close();
    });
}

#[test]
fn two_helpers_and_their_caller_share_the_tasks_out() {
    check(2, || {
        let team = Arc::new(Team::new());
        let cells = Cells::<3>::new();
        share_out(&team, 2, 3, &|index| cells.add(index));
        assert_eq!(cells.values(), [1; 3]);
        team.close();
    });
}

#[test]
fn a_helper_that_sleeps_or_is_about_to_is_there_for_the_next_call() {
    check(3, || {
        let team = Arc::new(Team::new());
        for _ in 0..2 {
            let cells = Cells::<2>::new();
            share_out(&team, 1, 2, &|index| cells.add(index));
            assert_eq!(cells.values(), [1, 1]);
        }
        team.close();
    });
}

#[test]
fn two_callers_share_one_helper() {
    check(2, || {
        let team = Arc::new(Team::new());
        let other = {
            let team = team.clone();
            thread::spawn(move || {
                let cells = Cells::<2>::new();
                share_out(&team, 1, 2, &|index| cells.add(index));
                assert_eq!(cells.values(), [1, 1]);
            })
        };
        let cells = Cells::<1>::new();
        share_out(&team, 1, 1, &|index| cells.add(index));
        assert_eq!(cells.values(), [1]);
        other.join().unwrap();
        team.close();
    });
}

#[test]
fn a_panic_reaches_the_caller_when_all_that_was_begun_is_over() {
    check(3, || {
        let team = Arc::new(Team::new());
        let cells = Cells::<2>::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            share_out(&team, 1, 2, &|index| {
                cells.add(index);
                if index == 0 {
                    std::panic::resume_unwind(Box::new("the first fails"));
                }
            });
        }));
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"the first fails"));
        let [first, second] = cells.values();
        assert!(first == 1 && second <= 1);
        team.close();
    });
}
