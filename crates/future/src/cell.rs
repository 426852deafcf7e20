//! What a future and whoever completes it share: a header that is the same for every future, and a slot for the
//! outcome.
//!
//! ```text
//!   Future<T> ----> dyn Cell<T> <---- Promise<T>, or the task in an executor's queue
//!                   +--------------------------------+
//!                   | Header: state word, id, pool,  |
//!                   |         waiters                |
//!                   | slot:   the outcome            |
//!                   | work:   function and argument  |  (only in a `PackagedTask`)
//!                   +--------------------------------+
//! ```
//!
//! The slot has a lock of its own, which nobody ever waits for: it is filled by the one thread that completes the
//! future before the state says so, and emptied by the one handle that reads it after. The lock spares the crate any
//! unsafe code.

use std::{sync::Arc, task::Waker};

use crate::{
    error::TaskError,
    hook::{self, Event},
    id::{FutureId, LazyId},
    panic::Panic,
    progress::{Observer, Outcome},
    state::{Cancel, Snapshot, Start, State, StateWord},
    sync::{AtomicUsize, Mutex, Ordering, lock},
    waiter::{self, Waiter, WaiterKey, WaiterList},
    worker::{self, PoolId},
};

/// What every future has, whatever it is a future of.
pub(crate) struct Header {
    word: StateWord,
    id: LazyId,
    /// The pool that the task is queued in, or `PoolId::NONE`. Written before the task is queued.
    pool: AtomicUsize,
    waiters: Mutex<WaiterList>,
}

impl Header {
    pub(crate) fn new() -> Self {
        Self {
            word: StateWord::new(),
            id: LazyId::new(),
            pool: AtomicUsize::new(PoolId::NONE),
            waiters: Mutex::new(WaiterList::default()),
        }
    }

    pub(crate) fn id(&self) -> FutureId {
        self.id.get()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.word.load()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.word.load().is_done()
    }

    /// Says that somebody has been told of the failure. True if nobody had been before.
    pub(crate) fn observe_failure(&self) -> bool {
        self.word.observe()
    }

    /// Tells the hook of a failure that nobody has been told of.
    pub(crate) fn report_unread(&self, error: &TaskError) {
        if !error.is_cancelled() && self.word.observe() {
            hook::report(&Event::FailureUnread { future: self.id(), error });
        }
    }

    pub(crate) fn abandon(&self) -> Snapshot {
        self.word.abandon()
    }

    pub(crate) fn set_pool(&self, pool: PoolId) {
        // Relaxed: whoever acts on it goes through the state word's compare-and-swap first.
        self.pool.store(pool.get(), Ordering::Relaxed);
    }

    /// Whether the calling thread is a worker of the pool that the task is queued in.
    pub(crate) fn is_ours_to_run(&self) -> bool {
        let pool = self.pool.load(Ordering::Relaxed);
        pool != PoolId::NONE && worker::current_pool().map(PoolId::get) == Some(pool)
    }

    pub(crate) fn start(&self) -> Start {
        let start = self.word.transition_to_running();
        if let Start::Run(before) = start
            && before.has_waiters()
        {
            let observers = lock(&self.waiters).observers();
            for observer in observers {
                observer.started();
            }
        }
        start
    }

    /// Adds `waiter`, or gives it back if the future has ended.
    pub(crate) fn register(&self, waiter: Waiter) -> Result<WaiterKey, Waiter> {
        if self.is_done() {
            return Err(waiter);
        }
        let mut waiters = lock(&self.waiters);
        let key = waiters.push(waiter);
        // Announced with the lock held, so that if the future ended meanwhile the entry is still there to take back.
        if self.word.announce_waiter().is_done()
            && let Some(waiter) = waiters.remove(key)
        {
            return Err(waiter);
        }
        Ok(key)
    }

    pub(crate) fn deregister(&self, key: WaiterKey) {
        let removed = lock(&self.waiters).remove(key);
        // Here the lock is released: dropping a waker runs the runtime's code.
        drop(removed);
    }

    /// Sees to it that `waker` is woken when the future ends. False if it has ended.
    pub(crate) fn register_waker(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> bool {
        if let Some(registered) = *key {
            let replaced = lock(&self.waiters).replace_waker(registered, waker);
            if let Ok(previous) = replaced {
                drop(previous);
                // If the entry is still there, whoever ends the future will find it.
                return true;
            }
            *key = None;
            return false;
        }
        match self.register(Waiter::Waker(waker.clone())) {
            Ok(registered) => {
                *key = Some(registered);
                true
            }
            Err(_ended) => false,
        }
    }

    fn notify(&self, outcome: Outcome) {
        let entries = lock(&self.waiters).take();
        waiter::notify(|| self.id(), outcome, entries);
    }
}

/// A cell seen without the type of its value.
pub(crate) trait AnyCell: Send + Sync {
    fn header(&self) -> &Header;

    /// Why there is no value, for a future that has ended. `None` if there is one, or was.
    fn error(&self) -> Option<TaskError>;

    /// Runs the task on the spot if it has not started.
    fn run_in_place(&self) {}

    /// Drops the function and its argument, of a task that was cancelled.
    fn drop_work(&self) {}

    /// Drops the outcome of a future that has ended and that nobody can read any more.
    fn drop_outcome(&self);

    /// What the outcome would be, for descriptions.
    fn value_type(&self) -> &'static str;
}

/// A cell seen by a reader of its value.
pub(crate) trait Cell<T>: AnyCell {
    /// Moves the outcome out of a future that has ended. The second time, only an error is left to be had.
    fn take(&self) -> Result<T, TaskError>;
}

impl dyn AnyCell + '_ {
    /// Python's `Future.cancel`.
    pub(crate) fn cancel(&self) -> bool {
        match self.header().word.transition_to_cancelled() {
            Cancel::Won(before) => {
                self.drop_work();
                if before.has_waiters() {
                    self.header().notify(Outcome::Cancelled);
                }
                true
            }
            Cancel::Already => true,
            Cancel::TooLate => false,
        }
    }

    /// Tells `observer` of the start and the end, from wherever the future is now.
    pub(crate) fn observe(&self, observer: &Arc<dyn Observer>) {
        let header = self.header();
        match header.register(Waiter::Observer(Arc::clone(observer))) {
            Ok(_) => {
                // If it started before the registration, its starter saw no observer. If it starts just now, both
                // of us say so, which observers allow for.
                if header.snapshot().state() == State::Running {
                    observer.started();
                }
            }
            Err(_ended) => observer.ended(match self.error() {
                Some(TaskError::Cancelled) => Outcome::Cancelled,
                Some(_) => Outcome::Failed,
                None => Outcome::Succeeded,
            }),
        }
    }
}

enum Slot<T> {
    Empty,
    Full(Result<T, TaskError>),
    Taken(Option<TaskError>),
}

/// Header and slot: all that a promise needs.
pub(crate) struct Core<T> {
    header: Header,
    slot: Mutex<Slot<T>>,
}

impl<T: Send> Core<T> {
    pub(crate) fn new() -> Self {
        Self { header: Header::new(), slot: Mutex::new(Slot::Empty) }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Ends a future that the caller has started.
    ///
    /// # Errors
    ///
    /// Gives the outcome back if the future is not running or has an outcome already.
    pub(crate) fn finish(&self, outcome: Result<T, TaskError>) -> Result<(), Result<T, TaskError>> {
        let error = outcome.as_ref().err().cloned();
        {
            let mut slot = lock(&self.slot);
            if !matches!(*slot, Slot::Empty) || self.header.snapshot().state() != State::Running {
                return Err(outcome);
            }
            *slot = Slot::Full(outcome);
        }
        let before = self.header.word.transition_to_finished();
        if before.has_waiters() {
            let outcome = if error.is_some() { Outcome::Failed } else { Outcome::Succeeded };
            self.header.notify(outcome);
        }
        if before.is_abandoned() {
            // After the callbacks, which may be all that was meant to look at it.
            if let Some(error) = &error {
                self.header.report_unread(error);
            }
            drop_contained(|| self.drop_outcome());
        }
        Ok(())
    }

    pub(crate) fn error(&self) -> Option<TaskError> {
        if self.header.snapshot().state() == State::Cancelled {
            return Some(TaskError::Cancelled);
        }
        match &*lock(&self.slot) {
            Slot::Full(Err(error)) | Slot::Taken(Some(error)) => Some(error.clone()),
            Slot::Full(Ok(_)) | Slot::Taken(None) | Slot::Empty => None,
        }
    }

    pub(crate) fn take(&self) -> Result<T, TaskError> {
        if self.header.snapshot().state() == State::Cancelled {
            return Err(TaskError::Cancelled);
        }
        let mut slot = lock(&self.slot);
        match std::mem::replace(&mut *slot, Slot::Taken(None)) {
            Slot::Full(outcome) => {
                *slot = Slot::Taken(outcome.as_ref().err().cloned());
                outcome
            }
            Slot::Taken(error) => {
                let answer = error.clone().unwrap_or(TaskError::Abandoned);
                *slot = Slot::Taken(error);
                Err(answer)
            }
            Slot::Empty => {
                *slot = Slot::Empty;
                Err(TaskError::Abandoned)
            }
        }
    }

    pub(crate) fn drop_outcome(&self) {
        let outcome = {
            let mut slot = lock(&self.slot);
            match std::mem::replace(&mut *slot, Slot::Taken(None)) {
                Slot::Full(outcome) => {
                    *slot = Slot::Taken(outcome.as_ref().err().cloned());
                    Some(outcome)
                }
                other => {
                    *slot = other;
                    None
                }
            }
        };
        drop(outcome);
    }
}

impl<T: Send> AnyCell for Core<T> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn error(&self) -> Option<TaskError> {
        Self::error(self)
    }

    fn drop_outcome(&self) {
        Self::drop_outcome(self);
    }

    fn value_type(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}

impl<T: Send> Cell<T> for Core<T> {
    fn take(&self) -> Result<T, TaskError> {
        Self::take(self)
    }
}

/// Runs user destructors in a thread that has to live on; a panic goes to the hook.
pub(crate) fn drop_contained(f: impl FnOnce()) {
    if let Err(panic) = Panic::catch(f) {
        hook::report(&Event::DestructorPanicked { panic: &panic });
    }
}
