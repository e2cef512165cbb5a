//! Shares the tasks of a kernel out among threads that stay awake from one kernel to the next.
//!
//! The gradient of a small network is a hundred kernels of a tenth of a millisecond each, and to wake a sleeping thread
//! takes about as long. So whoever calls a kernel begins with its tasks at once; helpers join in when they are awake, and
//! spin for a while before they sleep. Nobody ever waits for a thread that has not begun.
//!
//! The helpers are threads of this crate's own, one fewer than the processors that the process may use. They are started
//! when they are first needed, and stay.
//!
//! # The hand-out
//! A call is put on a board. Caller and helpers claim its indices one by one from a counter and run the task for each; who
//! is through with an index counts it as done. The caller takes the call from the board and waits until as many are done as
//! there are, so that the task, which is borrowed from the caller, is never run after it has returned. The same code runs
//! in a model that goes through the interleavings (`model`).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

use crate::processor;
use crate::sync::{
    Arc, AtomicUsize, Builder, Condvar, Mutex, MutexGuard, Ordering, Patience, spin_loop, yield_now,
};

/// Looks between two times that a caller lets others run while it waits.
const LOOKS: usize = 64;

/// Runs `task(0)` to `task(count - 1)`, each once, on the helpers and this thread, and waits for their end.
///
/// # Panics
/// With what a task panics with, if one does; the others may then not be run.
#[cfg(not(loom))]
pub(crate) fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    static TEAM: Team = Team::new();
    let helpers = count_of_threads().min(count).saturating_sub(1);
    if helpers == 0 {
        return (0..count).for_each(task);
    }
    share_out(&&TEAM, helpers, count, &task);
}

/// In a model the kernels are not what is modelled.
#[cfg(loom)]
pub(crate) fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    (0..count).for_each(task);
}

/// How many threads compute, the caller's among them: `RAYON_NUM_THREADS`, which Burn's own operations follow too, or as
/// many as there are processors that this process may use.
#[cfg(not(loom))]
fn count_of_threads() -> usize {
    static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *COUNT.get_or_init(|| {
        let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok());
        asked
            .filter(|count| *count > 0)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    })
}

/// What a helper holds of its team.
#[cfg(not(loom))]
type Handle = &'static Team;
#[cfg(loom)]
pub(crate) type Handle = Arc<Team>;

/// The helpers, and the calls that have tasks for them.
pub(crate) struct Team {
    board: Mutex<Board>,
    /// How many calls there are on the board: to be looked at without a lock.
    calls: AtomicUsize,
    /// Told to those that sleep.
    wake: Condvar,
}

struct Board {
    /// Oldest first.
    calls: Vec<Arc<Call>>,
    /// Helpers that look for tasks, or have been woken and will.
    awake: usize,
    /// Helpers that sleep and have not been woken.
    asleep: usize,
    /// Helpers that have been woken and sleep yet.
    woken: usize,
    /// The helpers are to end.
    #[cfg(loom)]
    closed: bool,
}

impl Board {
    const EMPTY: Self = Self {
        calls: Vec::new(),
        awake: 0,
        asleep: 0,
        woken: 0,
        #[cfg(loom)]
        closed: false,
    };
}

/// One call of [`for_each`].
struct Call {
    /// The task, as it was borrowed: there until all that are claimed are done.
    task: *const (),
    /// Runs it.
    run: unsafe fn(*const (), usize),
    count: usize,
    /// Indices that somebody has begun, or more.
    claimed: AtomicUsize,
    /// Indices that are over, or that nobody will begin.
    done: AtomicUsize,
    /// What the first task that panicked panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Where the caller ran.
    processor: Option<usize>,
}

// SAFETY: the task is `Sync`, see `share_out`; it is run by those alone that have claimed an index, while it is there.
unsafe impl Send for Call {}
// SAFETY: as above.
unsafe impl Sync for Call {}

/// [`for_each`] with up to so many helpers of a team.
pub(crate) fn share_out<T: Fn(usize) + Sync>(team: &Handle, helpers: usize, count: usize, task: &T) {
    /// # Safety
    /// `task` is a `T` that is there.
    unsafe fn run<T: Fn(usize)>(task: *const (), index: usize) {
        // SAFETY: as vouched for by the caller.
        let task = unsafe { &*task.cast::<T>() };
        task(index);
    }
    let call = Arc::new(Call {
        task: std::ptr::from_ref(task).cast(),
        run: run::<T>,
        count,
        claimed: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        panic: Mutex::new(None),
        processor: processor::current(),
    });
    let published = Published { team, call: &call };
    if Team::publish(team, &call, helpers) {
        // Lets a helper that was woken here begin, and move.
        yield_now();
    }
    call.work();
    drop(published);
    let panic = lock(&call.panic).take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// A call on the board. When it goes, all indices that were begun are over, and no other is begun.
struct Published<'a> {
    team: &'a Team,
    call: &'a Arc<Call>,
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.call.withdraw();
        let mut board = self.team.board();
        board.calls.retain(|call| !Arc::ptr_eq(call, self.call));
        self.team.calls.store(board.calls.len(), Ordering::Relaxed);
        drop(board);
        self.call.wait();
    }
}

impl Call {
    /// Does tasks until all are claimed.
    fn work(&self) {
        loop {
            let index = self.claimed.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            // SAFETY: the index is claimed and not done, so whoever borrowed the task to this call waits in `Published`.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (self.run)(self.task, index) }));
            if let Err(panic) = outcome {
                lock(&self.panic).get_or_insert(panic);
                self.withdraw();
            }
            // Releases what the task has written.
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// What nobody has begun nobody begins any more.
    fn withdraw(&self) {
        let claimed = self.claimed.fetch_add(self.count, Ordering::Relaxed).min(self.count);
        self.done.fetch_add(self.count - claimed, Ordering::Release);
    }

    /// Waits for the tasks that others have claimed.
    fn wait(&self) {
        let mut looks = 0usize;
        // Acquires what the others have written.
        while self.done.load(Ordering::Acquire) < self.count {
            looks += 1;
            if looks.is_multiple_of(LOOKS) { yield_now() } else { spin_loop() }
        }
    }

    fn has_tasks(&self) -> bool {
        self.claimed.load(Ordering::Relaxed) < self.count
    }
}

impl Team {
    /// A team that has no helper yet.
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self { board: Mutex::new(Board::EMPTY), calls: AtomicUsize::new(0), wake: Condvar::new() }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { board: Mutex::new(Board::EMPTY), calls: AtomicUsize::new(0), wake: Condvar::new() }
    }

    /// Lets the helpers end.
    #[cfg(loom)]
    pub(crate) fn close(&self) {
        self.board().closed = true;
        self.wake.notify_all();
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// Puts a call on the board, and sees to it that so many helpers are awake; whether one had to be woken.
    fn publish(team: &Handle, call: &Arc<Call>, helpers: usize) -> bool {
        let mut board = team.board();
        board.calls.push(call.clone());
        team.calls.store(board.calls.len(), Ordering::Relaxed);
        let missing = helpers.saturating_sub(board.awake);
        let woken = missing.min(board.asleep);
        board.asleep -= woken;
        board.woken += woken;
        board.awake += missing;
        drop(board);
        for _ in 0..woken {
            team.wake.notify_one();
        }
        for _ in woken..missing {
            let same = Handle::clone(team);
            // Where there is no thread to be had, the caller does it all.
            if Builder::new().name("vis-kernels".to_owned()).spawn(move || help(&same)).is_err() {
                team.board().awake -= 1;
            }
        }
        missing > 0
    }

    /// The oldest call that has tasks.
    fn find(&self) -> Option<Arc<Call>> {
        if self.calls.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.board().calls.iter().find(|call| call.has_tasks()).cloned()
    }

    /// Sleeps until woken, unless there are tasks; false if the helper is to end.
    fn sleep(&self) -> bool {
        let mut board = self.board();
        if board.calls.iter().any(|call| call.has_tasks()) {
            return true;
        }
        board.awake -= 1;
        board.asleep += 1;
        while board.woken == 0 {
            #[cfg(loom)]
            if board.closed {
                return false;
            }
            board = self.wake.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
        board.woken -= 1;
        true
    }
}

/// What a helper does: the tasks of whatever call has some, until there was none for a while; then it sleeps.
fn help(team: &Handle) {
    loop {
        let mut patience = Patience::new();
        loop {
            if let Some(call) = team.find() {
                if let Some(here) = processor::current().filter(|here| call.processor == Some(*here)) {
                    processor::leave(here);
                }
                call.work();
                patience = Patience::new();
            } else if !patience.wait() {
                break;
            }
        }
        if !team.sleep() {
            return;
        }
    }
}

/// No task runs under a lock, so none is poisoned by one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Results that tasks write side by side: a slice in parts of equal length, of which each is for one task.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    part: usize,
    borrowed: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out exclusive references to parts of what it was given as one.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Cuts a slice into parts of `part` numbers, the last of which may be shorter.
    pub(crate) fn new(all: &'a mut [T], part: usize) -> Self {
        Self { start: all.as_mut_ptr(), length: all.len(), part, borrowed: std::marker::PhantomData }
    }

    /// A part.
    ///
    /// # Safety
    /// No other reference to this part lives.
    #[allow(clippy::mut_from_ref, reason = "that is what its condition is about")]
    pub(crate) unsafe fn get(&self, index: usize) -> &mut [T] {
        let first = index.saturating_mul(self.part).min(self.length);
        let count = self.part.min(self.length - first);
        // SAFETY: inside of the slice that is borrowed; the caller vouches for the part being nobody else's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), count) }
    }
}
