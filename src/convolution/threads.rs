//! Shares the tasks of a kernel out among threads that stay awake from one kernel to the next.
//!
//! The gradient of a small network is a hundred kernels of a tenth of a millisecond each, and to wake a sleeping thread
//! takes about as long. So whoever calls a kernel begins with its tasks at once; threads of rayon's pool join in when
//! they are awake, and look out for the next kernel for a while before they go back. Nobody ever waits for a thread that
//! has not begun.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long a thread looks out for the next kernel: longer than what usually lies between two, too short to be in the way
/// of other users of the pool.
const PATIENCE: Duration = Duration::from_micros(300);
/// Looks at the board between two looks at the clock.
const LOOKS: usize = 64;

/// Runs `task(0)` to `task(count - 1)`, each once, on all threads of rayon's pool and this one, and waits for their end.
///
/// # Panics
/// If a task does.
pub(super) fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    let helpers = rayon::current_num_threads().min(count).saturating_sub(1);
    if helpers == 0 {
        return (0..count).for_each(task);
    }
    let task: &(dyn Fn(usize) + Sync) = &task;
    // SAFETY: only the lifetime changes. The task is run by those that have claimed an index of it, and `Published` keeps
    // this function from returning before all indices are claimed and those that were are done.
    let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
    let call = Published::new(Call {
        task,
        count,
        claimed: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        panicked: AtomicBool::new(false),
        processor: processor::current(),
    });
    let mut called = false;
    while AWAKE.load(Ordering::Relaxed) < helpers {
        AWAKE.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(help);
        called = true;
    }
    if called {
        // Lets a helper that was woken here begin, and move.
        std::thread::yield_now();
    }
    let shared = call.0.clone();
    shared.work();
    drop(call);
    assert!(!shared.panicked.load(Ordering::Relaxed), "a task of a kernel panicked");
}

/// The calls that have tasks to give away, oldest first.
static BOARD: Mutex<Vec<Arc<Call>>> = Mutex::new(Vec::new());
/// How many calls there are on the board: to be looked at without a lock.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Threads that help, or have been called and will.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

fn board() -> MutexGuard<'static, Vec<Arc<Call>>> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call of [`for_each`].
struct Call {
    task: &'static (dyn Fn(usize) + Sync),
    count: usize,
    /// Tasks that somebody has begun, or more.
    claimed: AtomicUsize,
    /// Tasks that are over.
    done: AtomicUsize,
    panicked: AtomicBool,
    /// Where the caller ran.
    processor: Option<usize>,
}

impl Call {
    /// Does tasks until all are claimed.
    fn work(&self) {
        loop {
            let index = self.claimed.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            let over = Over(self);
            (self.task)(index);
            drop(over);
        }
    }

    /// Waits for the tasks that others have claimed.
    fn wait(&self) {
        let mut looks = 0;
        // Acquires what the others have written.
        while self.done.load(Ordering::Acquire) < self.count {
            looks += 1;
            if looks % LOOKS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// Counts a task as over, however it ends.
struct Over<'a>(&'a Call);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
        }
        self.0.done.fetch_add(1, Ordering::Release);
    }
}

/// A call on the board. When it goes, because all tasks are claimed or because one has panicked, those that were begun
/// are over.
struct Published(Arc<Call>);

impl Published {
    fn new(call: Call) -> Self {
        let call = Arc::new(call);
        board().push(call.clone());
        CALLS.fetch_add(1, Ordering::Release);
        Self(call)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // What nobody has begun nobody begins any more.
        let claimed = self.0.claimed.fetch_add(self.0.count, Ordering::Relaxed).min(self.0.count);
        self.0.done.fetch_add(self.0.count - claimed, Ordering::Release);
        board().retain(|call| !Arc::ptr_eq(call, &self.0));
        CALLS.fetch_sub(1, Ordering::Release);
        self.0.wait();
    }
}

/// What a thread of the pool does: the tasks of whatever call has some, until there was none for a while.
fn help() {
    let mut since = Instant::now();
    let mut looks = 0;
    loop {
        let call = match CALLS.load(Ordering::Acquire) {
            0 => None,
            _ => board().iter().find(|call| call.claimed.load(Ordering::Relaxed) < call.count).cloned(),
        };
        if let Some(call) = call {
            if let Some(here) = processor::current().filter(|here| call.processor == Some(*here)) {
                processor::leave(here);
            }
            // The caller is told of a panic, and this thread helps on.
            let _ = catch_unwind(AssertUnwindSafe(|| call.work()));
            since = Instant::now();
            continue;
        }
        looks += 1;
        if looks % LOOKS == 0 {
            if since.elapsed() > PATIENCE {
                break;
            }
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
    AWAKE.fetch_sub(1, Ordering::Relaxed);
}

/// The processor that the calling thread runs on.
#[cfg(target_os = "linux")]
pub(super) mod processor {
    use std::mem::{size_of_val, zeroed};

    use libc::{CPU_CLR, CPU_COUNT, cpu_set_t, sched_getaffinity, sched_getcpu, sched_setaffinity};

    pub(in crate::convolution) fn current() -> Option<usize> {
        // SAFETY: it has no conditions.
        usize::try_from(unsafe { sched_getcpu() }).ok()
    }

    /// Moves this thread from here to another processor, if it may run on one. It may run on the same as before afterwards.
    pub(in crate::convolution) fn leave(here: usize) {
        // SAFETY: a set of processors is a field of bits, of which zeros are one, and is as large as said; 0 is this thread.
        unsafe {
            let mut allowed: cpu_set_t = zeroed();
            if sched_getaffinity(0, size_of_val(&allowed), &mut allowed) != 0 {
                return;
            }
            let mut others = allowed;
            CPU_CLR(here, &mut others);
            if CPU_COUNT(&others) > 0 && sched_setaffinity(0, size_of_val(&others), &others) == 0 {
                sched_setaffinity(0, size_of_val(&allowed), &allowed);
            }
        }
    }
}

/// Elsewhere it is not known, and threads stay where they were put.
#[cfg(not(target_os = "linux"))]
pub(super) mod processor {
    pub(in crate::convolution) fn current() -> Option<usize> {
        None
    }

    pub(in crate::convolution) fn leave(_here: usize) {}
}
