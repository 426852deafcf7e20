//! Models in which loom goes through the interleavings of a pool of one to three workers and of whoever uses it, and through
//! the values that their loads may see.
//!
//! ```console
//! $ RUSTFLAGS="--cfg loom" cargo test --release -p concurrent-futures-thread-pool --lib -- loom_
//! ```
//!
//! Each model is about one race, which its comment names, in a whole pool. It sets its scene in one fixed order, explores
//! from there on until the outcome is certain, and ends the pool in one fixed order again. A task that is forgotten is a
//! deadlock, which loom finds: to that end tasks wait for one another at gates, which the pool knows nothing of. A thread
//! that is left over at the end is a deadlock as well. What loom does not see:
//!
//! - Time. A wait with a deadline is one without, except for a time-out of zero, after which a worker gives up at once;
//!   that may be after anything that the others do meanwhile.
//! - The inside of the deque and of the parker, which have stand-ins in `sync.rs`.
//! - More than one look around of a worker that searches; and that only in models that ask for it.
//! - Threads that cannot be started, joined threads that run on, panics: there are other tests for these.
//!
//! Each has been seen to fail when a line that it defends was taken out. The comments name these lines by their function.

mod blocking;
mod calls;
mod ends;
mod idle;
mod joins;
mod maps;
mod room;
mod scopes;

use std::{cell::Cell, sync::Arc};

use concurrent_futures_executor::future::Future;
use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{Builder, ThreadPoolExecutor, sync::set_may_spin};

/// Almost every known bug needs no more preemptions than this.
const PREEMPTIONS_MAX: usize = 3;

/// For models with more threads or a longer race, of which the full number would take minutes.
const FEWER_PREEMPTIONS: usize = 2;

type Pool = Arc<ThreadPoolExecutor>;

thread_local! {
    /// All threads of a model are one thread of the system.
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `model` in all ways that need no more than so many preemptions. If `LOOM_MAX_PREEMPTIONS` asks for more or fewer than
/// usual, it is as many more or fewer here.
fn check(preemptions_max: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut loom = loom::model::Builder::new();
    let asked = loom.preemption_bound.unwrap_or(PREEMPTIONS_MAX);
    loom.preemption_bound = Some((asked + preemptions_max).saturating_sub(PREEMPTIONS_MAX));
    loom.check(move || {
        set_may_spin(false);
        EXPLORING.set(false);
        loom::stop_exploring();
        model();
    });
}

/// The scene is set: everybody goes as far as they can, and what follows is explored.
fn explore() {
    thread::yield_now();
    EXPLORING.set(true);
    loom::explore();
}

/// What was at stake is certain, and what follows need not be explored.
fn certain() {
    if EXPLORING.replace(false) {
        loom::stop_exploring();
    }
}

/// Ends the pool, and says how many threads there were.
fn end(pool: &Pool) -> usize {
    certain();
    let threads = pool.thread_count();
    pool.shutdown();
    threads
}

fn pool(max_workers: usize) -> Pool {
    build(builder(max_workers))
}

fn builder(max_workers: usize) -> Builder {
    ThreadPoolExecutor::builder().max_workers(max_workers)
}

fn build(builder: Builder) -> Pool {
    Arc::new(builder.build().unwrap())
}

fn spawn<T: Send + 'static>(pool: &Pool, f: impl FnOnce() -> T + Send + 'static) -> Future<T> {
    pool.spawn(f).unwrap()
}

/// A worker inside a task that waits for `start` and then does the rest.
fn busy<T: Send + 'static>(
    pool: &Pool,
    start: &Gate,
    rest: impl FnOnce() -> T + Send + 'static,
) -> Future<T> {
    let start = start.clone();
    spawn(pool, move || {
        start.pass();
        rest()
    })
}

/// A worker inside a task that waits for `start`, pushes another, and waits until that one runs and opens the gate. So the
/// other has to be run by another worker.
fn pusher(pool: &Pool, start: &Gate, ran: &Gate) -> Future<()> {
    let (inner, ran) = (Arc::clone(pool), ran.clone());
    busy(pool, start, move || {
        drop(spawn(&inner, ran.opener()));
        drop(inner);
        ran.pass();
    })
}

/// As many workers that sleep for want of tasks.
fn add_sleepers<const COUNT: usize>(pool: &Pool) {
    let hold = Gate::closed();
    let held = [(); COUNT].map(|()| busy(pool, &hold, || ()));
    hold.open();
    for future in held {
        future.result().unwrap();
    }
    thread::yield_now();
}

/// Lets nobody pass until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<GateState>);

#[derive(Default)]
struct GateState {
    is_open: AtomicBool,
    /// Behind a lock that loom knows nothing of, so that it does not explore who takes it first: the flag decides.
    waiting: std::sync::Mutex<Vec<thread::Thread>>,
}

impl Gate {
    fn closed() -> Self {
        Self::default()
    }

    fn open(&self) {
        self.0.is_open.swap(true, Ordering::AcqRel);
        for thread in self.0.waiting.lock().unwrap().drain(..) {
            thread.unpark();
        }
    }

    fn pass(&self) {
        self.0.waiting.lock().unwrap().push(thread::current());
        while !self.is_open() {
            thread::park();
        }
    }

    /// Not a load, which might still miss that the gate is open when nobody is going to say so any more.
    fn is_open(&self) -> bool {
        self.0.is_open.fetch_or(false, Ordering::AcqRel)
    }

    /// A task that opens the gate. That it runs is what was at stake.
    fn opener(&self) -> impl FnOnce() + Send + use<> {
        let gate = self.clone();
        move || {
            certain();
            gate.open();
        }
    }
}
