//! A worker thread: it makes itself ready, runs tasks until there is nothing more to do, and cleans up.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use concurrent_futures_executor::future::{
    BrokenExecutor, Event, Host, Panic, PoolId, report, work_for,
};

use crate::shared::{Next, Shared};

thread_local! {
    /// What the initializer returned, for as long as this thread is a worker.
    static STATE: RefCell<Option<Rc<dyn Any>>> = const { RefCell::new(None) };
    /// The pool that this thread was started by. Unlike what `work_for` says, it holds from the thread's first moment
    /// to its last: in the initializer, and while the state and the user's own thread-locals are dropped.
    static POOL: Cell<Option<PoolId>> = const { Cell::new(None) };
}

/// Whether the calling thread belongs to this pool, which therefore cannot have ended before the thread goes on.
pub(crate) fn belongs_to(pool: PoolId) -> bool {
    POOL.get() == Some(pool)
}

/// Lends the state of the worker that this thread is to `f`.
pub(crate) fn with_state<S: 'static, R>(f: impl FnOnce(&S) -> R) -> R {
    let state = STATE.with_borrow(Clone::clone).and_then(|state| state.downcast::<S>().ok());
    // Held by its own count while lent, not by the cell: tasks may be nested.
    match state {
        Some(state) => f(&state),
        None => {
            unreachable!("a task of a pool runs on a worker of that pool, after its initializer")
        }
    }
}

/// The life of a worker thread.
pub(crate) fn run(shared: &Arc<Shared>, index: usize) {
    POOL.set(Some(shared.id));
    match initialize(shared) {
        Ok(state) => {
            STATE.set(Some(state));
            let host = Rc::new(Worker::new(shared));
            work_for(shared.id, Rc::clone(&host) as Rc<dyn Host>, || work(&host, index));
            drop_state();
        }
        Err(broken) => shared.broken(&broken),
    }
    shared.left();
}

fn initialize(shared: &Shared) -> Result<Rc<dyn Any>, BrokenExecutor> {
    match Panic::catch(|| (shared.config.initializer)()) {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(error)) => {
            Err(BrokenExecutor::with_source("the initializer of a worker failed", error))
        }
        Err(panic) => {
            Err(BrokenExecutor::with_source("the initializer of a worker panicked", panic))
        }
    }
}

fn work(worker: &Worker, index: usize) {
    loop {
        let mut available = worker.available.get();
        let next = worker.shared.next(index, &mut available);
        worker.available.set(available);
        match next {
            Next::Run(task) => task.run(),
            Next::Leave => return,
        }
    }
}

fn drop_state() {
    let state = STATE.take();
    if let Err(panic) = Panic::catch(|| drop(state)) {
        report(&Event::DestructorPanicked { panic: &panic });
    }
}

/// What the futures that a worker waits for tell its pool.
struct Worker {
    shared: Arc<Shared>,
    /// Whether this worker is counted as available. Only this thread touches it.
    available: Cell<bool>,
    /// How many times over this worker has said that it is about to sleep. It counts as blocked once: a lock that
    /// announces its wait may be built on another that does so as well.
    sleeps: Cell<usize>,
}

impl Worker {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), available: Cell::new(false), sleeps: Cell::new(0) }
    }

    fn with_available(&self, f: impl FnOnce(&mut bool)) {
        let mut available = self.available.get();
        f(&mut available);
        self.available.set(available);
    }
}

impl Host for Worker {
    fn blocked(&self) {
        let sleeps = self.sleeps.get();
        self.sleeps.set(sleeps + 1);
        if sleeps == 0 {
            self.with_available(|available| self.shared.blocked(available));
        }
    }

    fn unblocked(&self) {
        let sleeps = self.sleeps.get() - 1;
        self.sleeps.set(sleeps);
        if sleeps == 0 {
            self.shared.unblocked();
        }
    }

    fn finishing(&self) {
        self.with_available(|available| self.shared.finishing(available));
    }

    fn running_callbacks(&self) {
        self.with_available(|available| self.shared.busy(available));
    }
}
