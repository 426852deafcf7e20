//! What a future and whoever completes it share: a header that is the same for every future, and the stage, where the
//! work is replaced by its value.
//!
//! ```text
//!   Future<T> ----> dyn Cell<T> <---- Promise<T>, or the task in an executor's queue
//!                   +---------------------------------------+
//!                   | Header: state word, pool, and a side  |
//!                   |         with waiters and the rest     |
//!                   | Stage:  function and argument, later  |
//!                   |         the value                     |
//!                   +---------------------------------------+
//! ```
//!
//! One allocation holds all of it for as long as nobody has to wait and nothing fails. The id, waiters and the failure, which
//! may be looked at by several at once, lie behind a lock in a second one; the state word says whether it is worth looking.
//!
//! Bytes are time: one thread writes them, another reads them, each from the other's cache. So what few futures need is not
//! in the header, and a task with one word to work on and one word of result is 56 bytes, which with the allocator's own word
//! is a line of the cache. A test sees to that.

use std::{any::Any, convert::Infallible, mem, sync::Arc, task::Waker};

use crate::{
    error::TaskError,
    hook::{self, Event},
    id::FutureId,
    panic::Panic,
    progress::{Observer, Outcome},
    remote::{self, Remote},
    stage::Stage,
    state::{Cancel, Snapshot, Start, State, StateWord},
    surround::Surround,
    sync::{AtomicBool, AtomicU32, Mutex, Ordering, lock},
    task::Ran,
    waiter::{self, Waiter, WaiterKey, WaiterList},
    worker::{Nested, PoolId},
};

/// What every future has, whatever it is a future of.
pub(crate) struct Header {
    word: StateWord,
    /// Whether a packaged task was started by `start`, and has not been completed since. Kept here because there is room.
    handed_out: AtomicBool,
    /// Twice the pool that the task is queued in, or `PoolId::NONE`; and `SURROUNDED`, so that whoever runs a task need not
    /// look at the side for that. Written before the task is queued.
    pool: AtomicU32,
    side: Mutex<Option<Box<Side>>>,
}

/// Set in the header's pool if the side has a surround.
const SURROUNDED: u32 = 1;

/// What most futures never need.
#[derive(Default)]
struct Side {
    /// Chosen the first time that somebody asks, so that a task whose id nobody wants does not pay for one.
    id: Option<FutureId>,
    waiters: WaiterList,
    /// What is to be done around the task. Written before the task is queued, and taken by whoever starts or cancels it.
    surround: Option<Box<dyn Surround>>,
    /// Why there is no value. Written before the future finishes, and only if it fails.
    failure: Option<TaskError>,
    /// Whoever ended the future is running its callbacks.
    calling: bool,
}

impl Header {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            word: StateWord::new(),
            handed_out: AtomicBool::new(false),
            pool: AtomicU32::new(PoolId::NONE),
            side: Mutex::new(None),
        }
    }

    pub(crate) fn id(&self) -> FutureId {
        *lock(&self.side).get_or_insert_default().id.get_or_insert_with(FutureId::next)
    }

    /// Says that the task was started for somebody who will complete it later, perhaps in another thread.
    pub(crate) fn hand_out(&self) {
        // Release: pairs with the Acquire in `take_back`.
        self.handed_out.store(true, Ordering::Release);
    }

    /// Whether it was handed out; true for one caller at most.
    pub(crate) fn take_back(&self) -> bool {
        self.handed_out.swap(false, Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.word.load()
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.word.load().is_done()
    }

    /// Where the future is in its life, also if that is elsewhere.
    pub(crate) fn state(&self) -> State {
        let snapshot = self.word.load();
        if !snapshot.is_sent() {
            return snapshot.state();
        }
        let started = self.remote().is_some_and(|remote| remote.has_started(self.id()));
        match self.word.load().state() {
            State::Pending if started => State::Running,
            now => now,
        }
    }

    /// The pool that the task was given to, if its workers are elsewhere.
    pub(crate) fn remote(&self) -> Option<Arc<dyn Remote>> {
        remote::find(self.pool())
    }

    pub(crate) fn send(&self) -> bool {
        self.word.send()
    }

    /// Cancels a future that was sent and is taken back for that.
    fn cancel_sent(&self) -> CancelSent {
        let mut won = None;
        let Some(remote) = self.remote() else { return CancelSent::TooLate };
        let revoked = remote.revoke(self.id(), &mut || won = self.word.sent_to_cancelled());
        match (won, revoked) {
            (Some(before), _) => CancelSent::Won(before),
            // Whether it is sent now says nothing: it may have been taken back when the pool was asked, and sent elsewhere
            // since.
            (None, None) => CancelSent::Again,
            (None, Some(_)) => CancelSent::TooLate,
        }
    }

    /// Starts a future that was sent.
    pub(crate) fn start_sent(&self) -> bool {
        let before = self.word.sent_to_running();
        if let Some(before) = before {
            self.tell_started(before);
        }
        before.is_some()
    }

    /// Makes a future that was sent an ordinary pending one.
    pub(crate) fn unsend(&self) -> bool {
        self.word.sent_to_pending().is_some()
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

    fn is_abandoned(&self) -> bool {
        self.word.load().is_abandoned()
    }

    #[inline]
    pub(crate) fn set_pool(&self, pool: PoolId) {
        // Relaxed: whoever acts on it goes through the state word's compare-and-swap first.
        let surrounded = self.pool.load(Ordering::Relaxed) & SURROUNDED;
        self.pool.store(pool.get() << 1 | surrounded, Ordering::Relaxed);
    }

    /// Sets what is to be done around the task, or with `None` takes it back. The answer is what was set before.
    pub(crate) fn set_surround(
        &self,
        surround: Option<Box<dyn Surround>>,
    ) -> Option<Box<dyn Surround>> {
        // Relaxed, as in `set_pool`.
        if surround.is_some() {
            self.pool.fetch_or(SURROUNDED, Ordering::Relaxed);
        } else {
            self.pool.fetch_and(!SURROUNDED, Ordering::Relaxed);
        }
        mem::replace(&mut lock(&self.side).get_or_insert_default().surround, surround)
    }

    /// Takes what is to be done around the task, if anything is. For whoever has started or cancelled it.
    #[inline]
    pub(crate) fn take_surround(&self) -> Option<Box<dyn Surround>> {
        if self.pool.load(Ordering::Relaxed) & SURROUNDED == 0 {
            return None;
        }
        lock(&self.side).as_mut().and_then(|side| side.surround.take())
    }

    /// Drops what is to be done around a task that is not going to be run here.
    pub(crate) fn drop_surround(&self) {
        if let Some(surround) = self.take_surround() {
            drop_contained(|| drop(surround));
        }
    }

    /// The pool that the task is queued in, or `PoolId::NONE`.
    #[inline]
    pub(crate) fn pool(&self) -> u32 {
        self.pool.load(Ordering::Relaxed) >> 1
    }

    /// Leave to run the task, if the calling thread is a worker of the pool that the task is queued in.
    pub(crate) fn nest(&self) -> Option<Nested> {
        let pool = self.pool();
        if pool == PoolId::NONE { None } else { Nested::enter(pool) }
    }

    fn observers(&self) -> Vec<Arc<dyn Observer>> {
        lock(&self.side).as_ref().map(|side| side.waiters.observers()).unwrap_or_default()
    }

    pub(crate) fn start(&self) -> Start {
        let start = self.word.transition_to_running();
        if let Start::Run(before) = start {
            self.tell_started(before);
        }
        start
    }

    fn tell_started(&self, before: Snapshot) {
        if before.has_waiters() {
            for observer in self.observers() {
                observer.started();
            }
        }
    }

    /// Adds `waiter`, or gives it back if the future has ended.
    pub(crate) fn register(&self, waiter: Waiter) -> Result<WaiterKey, Waiter> {
        if self.is_done() {
            return Err(waiter);
        }
        let mut side = lock(&self.side);
        let waiters = &mut side.get_or_insert_default().waiters;
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
        let removed = lock(&self.side).as_mut().and_then(|side| side.waiters.remove(key));
        // Here the lock is released: dropping a waker runs the runtime's code.
        drop(removed);
    }

    /// Sees to it that `waker` is woken when the future ends. False if it has ended.
    pub(crate) fn register_waker(&self, key: &mut Option<WaiterKey>, waker: &Waker) -> bool {
        if let Some(registered) = *key {
            // If the entry is still there, whoever ends the future will find it.
            let still_there =
                self.wakes(registered, waker) || self.replace_waker(registered, waker.clone());
            if !still_there {
                *key = None;
            }
            return still_there;
        }
        match self.register(Waiter::Waker(waker.clone())) {
            Ok(registered) => {
                *key = Some(registered);
                true
            }
            Err(_ended) => false,
        }
    }

    /// Whether the entry is there and wakes the same task as `waker`.
    fn wakes(&self, key: WaiterKey, waker: &Waker) -> bool {
        let mut side = lock(&self.side);
        let current = side.as_mut().and_then(|side| side.waiters.waker_mut(key));
        current.is_some_and(|current| current.will_wake(waker))
    }

    /// Puts `waker` into the entry, if that is still there.
    fn replace_waker(&self, key: WaiterKey, mut waker: Waker) -> bool {
        // Swapped, so that what is replaced is dropped with the argument: after the lock is released.
        let mut side = lock(&self.side);
        match side.as_mut().and_then(|side| side.waiters.waker_mut(key)) {
            Some(current) => {
                mem::swap(current, &mut waker);
                true
            }
            None => false,
        }
    }

    /// Why there is no value, for a future that has ended.
    pub(crate) fn failure(&self) -> Option<TaskError> {
        let snapshot = self.word.load();
        match snapshot.state() {
            State::Cancelled => Some(TaskError::Cancelled),
            State::Finished if snapshot.is_failed() => {
                lock(&self.side).as_ref().and_then(|side| side.failure.clone())
            }
            _ => None,
        }
    }

    /// Of a future that has failed: whether there are callbacks that may still look at the error.
    ///
    /// If so, whoever runs them looks afterwards whether the error is to be reported. The last handle's drop says that
    /// it is gone and then asks this; the other side takes back `calling`, under the same lock, and then looks whether
    /// the handle is gone. So one of the two sees the other, and `report_unread` sees to it that only one reports.
    pub(crate) fn has_callbacks_to_come(&self) -> bool {
        lock(&self.side).as_ref().is_some_and(|side| side.calling || side.waiters.has_callbacks())
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn waiters(&self) -> usize {
        lock(&self.side).as_ref().map_or(0, |side| side.waiters.len())
    }

    fn notify(&self, outcome: Outcome) {
        let entries = lock(&self.side).as_mut().map(Side::take_waiters).unwrap_or_default();
        waiter::notify(|| self.id(), outcome, entries);
        if outcome == Outcome::Failed
            && let Some(side) = &mut *lock(&self.side)
        {
            side.calling = false;
        }
    }
}

impl Side {
    fn take_waiters(self: &mut Box<Self>) -> Vec<(WaiterKey, Waiter)> {
        self.calling = self.waiters.has_callbacks();
        self.waiters.take()
    }
}

/// What came of trying to cancel a future that was sent.
enum CancelSent {
    Won(Snapshot),
    /// A worker has it, or nobody can be asked.
    TooLate,
    /// It was taken back, or has ended, meanwhile.
    Again,
}

/// A cell seen without the type of its value.
pub(crate) trait AnyCell: Send + Sync {
    fn header(&self) -> &Header;

    /// Why there is no value, for a future that has ended. `None` if there is one, or was.
    fn error(&self) -> Option<TaskError>;

    /// Runs the task on the spot if it has not started.
    fn run_in_place(&self) -> Ran {
        Ran::Not
    }

    /// Drops the function and its argument, of a task that was cancelled.
    ///
    /// # Safety
    ///
    /// The caller has won `cancel`.
    unsafe fn drop_cancelled_work(&self) {}

    /// Cancels a task that has not started, and puts its work into `into`, an `Option` of the type of the work.
    fn take_work(&self, _into: &mut dyn Any) {}

    /// Says that the last handle is gone. The answer is the word just before.
    fn abandon(&self) -> Snapshot {
        self.header().abandon()
    }

    /// Drops the outcome of a future that has ended and that nobody can read any more.
    fn drop_outcome(&self);

    /// What the outcome would be, for descriptions.
    fn value_type(&self) -> &'static str;

    /// What to register in the header for `observer`; another one for a cell that calls a failure what its header does
    /// not.
    fn observer(&self, observer: Arc<dyn Observer>) -> Arc<dyn Observer> {
        observer
    }
}

/// A cell seen by a reader of its value.
pub(crate) trait Cell<T>: AnyCell {
    /// Moves the outcome out of a future that has ended. The second time, only an error is left to be had.
    fn take(&self) -> Result<T, TaskError>;

    /// As `take`, by the last handle, which is not coming back.
    fn take_and_abandon(&self) -> Result<T, TaskError>;
}

impl dyn AnyCell + '_ {
    /// Python's `Future.cancel`.
    pub(crate) fn cancel(&self) -> bool {
        // SAFETY: called by whoever has won `cancel`.
        self.cancel_with(|| unsafe { self.drop_cancelled_work() })
    }

    /// Cancels, and if this is what did it, does something with the work before anybody is told.
    pub(crate) fn cancel_with(&self, with_work: impl FnOnce()) -> bool {
        let header = self.header();
        let before = loop {
            match header.word.transition_to_cancelled() {
                Cancel::Won(before) => break before,
                Cancel::Already => return true,
                Cancel::TooLate => return false,
                Cancel::Sent => match header.cancel_sent() {
                    CancelSent::Won(before) => break before,
                    CancelSent::TooLate => return false,
                    CancelSent::Again => {}
                },
            }
        };
        with_work();
        if before.has_waiters() {
            header.notify(Outcome::Cancelled);
        }
        true
    }

    /// Tells `observer` of the start and the end, from wherever the future is now.
    pub(crate) fn observe(&self, observer: &Arc<dyn Observer>) {
        let header = self.header();
        match header.register(Waiter::Observer(self.observer(Arc::clone(observer)))) {
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

/// Header and stage. A promise has no work, and its stage begins empty.
pub(crate) struct Core<W, T> {
    header: Header,
    stage: Stage<W, T>,
}

impl<T: Send> Core<Infallible, T> {
    pub(crate) fn without_work() -> Self {
        Self { header: Header::new(), stage: Stage::empty() }
    }
}

impl<W: Send, T: Send> Core<W, T> {
    pub(crate) fn new(work: W) -> Self {
        Self { header: Header::new(), stage: Stage::new(work) }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Marks the future as running. The caller may take the work, and owes the end.
    pub(crate) fn start(&self) -> Result<Running<'_, W, T>, Start> {
        match self.header.start() {
            Start::Run(_) => Ok(Running { core: self }),
            other => Err(other),
        }
    }

    /// As `start`, for a caller that knows that it has won it before, and has not finished since.
    ///
    /// # Safety
    ///
    /// As it says: there must be no other `Running` of this future, nor have been one that finished it.
    pub(crate) unsafe fn resume(&self) -> Running<'_, W, T> {
        Running { core: self }
    }

    /// Drops the work of a future that this caller has cancelled.
    ///
    /// # Safety
    ///
    /// The caller has won `cancel`.
    pub(crate) unsafe fn take_cancelled_work(&self) -> Option<W> {
        // SAFETY: passed on to the caller.
        unsafe { self.stage.take_work() }
    }

    /// Lets `f` look at the work, if the future has not started.
    pub(crate) fn inspect<R>(&self, f: impl FnOnce(&W) -> R) -> Option<R> {
        struct Return<'a>(&'a StateWord);
        impl Drop for Return<'_> {
            fn drop(&mut self) {
                self.0.return_loan();
            }
        }
        if !self.header.word.lend() {
            return None;
        }
        let _return = Return(&self.header.word);
        // SAFETY: lent to us, until `_return` is dropped.
        unsafe { self.stage.with_work(f) }
    }

    pub(crate) fn take(&self) -> Result<T, TaskError> {
        if self.header.word.claim_value() {
            // SAFETY: claimed by us just now.
            if let Some(value) = unsafe { self.stage.take_value() } {
                return Ok(value);
            }
        }
        // Failed or cancelled; or read before, after which there is nothing to be had.
        Err(self.header.failure().unwrap_or(TaskError::Abandoned))
    }

    pub(crate) fn take_and_abandon(&self) -> Result<T, TaskError> {
        if self.header.word.claim_value_and_abandon().has_value() {
            // SAFETY: claimed by us just now.
            if let Some(value) = unsafe { self.stage.take_value() } {
                return Ok(value);
            }
        }
        Err(self.header.failure().unwrap_or(TaskError::Abandoned))
    }

    pub(crate) fn drop_outcome(&self) {
        if self.header.snapshot().has_value() && self.header.word.claim_value() {
            // SAFETY: claimed by us just now.
            drop(unsafe { self.stage.take_value() });
        }
    }
}

/// The right, and the duty, to end a future that has started.
#[must_use = "the future waits for its end"]
pub(crate) struct Running<'a, W, T> {
    core: &'a Core<W, T>,
}

impl<W: Send, T: Send> Running<'_, W, T> {
    pub(crate) fn take_work(&self) -> Option<W> {
        // SAFETY: this is the one `Running` of its future, so `start` was won and it has not finished.
        unsafe { self.core.stage.take_work() }
    }

    /// Ends the future with a value, if nobody waits for it or has left a callback; or else gives back what it was given.
    pub(crate) fn finish_unwatched(self, value: T) -> Result<(), (Self, T)> {
        let header = &self.core.header;
        // SAFETY: as in `take_work`.
        unsafe { self.core.stage.put_value(value) };
        let Some(before) = header.word.transition_to_finished_unwatched() else {
            // SAFETY: as in `take_work`; it still has not finished.
            let value = unsafe { self.core.stage.take_value() };
            let value = value.expect("it was put there just now");
            return Err((self, value));
        };
        self.drop_unread_value(before);
        Ok(())
    }

    fn drop_unread_value(&self, before: Snapshot) {
        // Nobody will look at it, so what needs no destructor is left where it is.
        if before.is_abandoned() && mem::needs_drop::<T>() {
            drop_contained(|| self.core.drop_outcome());
        }
    }

    /// Ends the future.
    pub(crate) fn finish(self, outcome: Result<T, TaskError>) {
        let header = &self.core.header;
        let error = match outcome {
            Ok(value) => {
                // SAFETY: as in `take_work`.
                unsafe { self.core.stage.put_value(value) };
                None
            }
            Err(error) => {
                lock(&header.side).get_or_insert_default().failure = Some(error.clone());
                Some(error)
            }
        };
        let outcome = if error.is_some() { Outcome::Failed } else { Outcome::Succeeded };
        if header.snapshot().has_waiters() {
            for observer in header.observers() {
                observer.ending(outcome);
            }
        }
        let before = header.word.transition_to_finished(error.is_some());
        if before.has_waiters() {
            header.notify(outcome);
        }
        match &error {
            // After the callbacks, which may be all that was meant to look at it. A handle that was dropped while they
            // ran has left it to us.
            Some(error)
                if before.is_abandoned() || before.has_waiters() && header.is_abandoned() =>
            {
                header.report_unread(error);
            }
            Some(_) => {}
            None => self.drop_unread_value(before),
        }
    }
}

impl<T: Send> AnyCell for Core<Infallible, T> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn error(&self) -> Option<TaskError> {
        self.header.failure()
    }

    fn drop_outcome(&self) {
        Self::drop_outcome(self);
    }

    fn value_type(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}

impl<T: Send> Cell<T> for Core<Infallible, T> {
    fn take(&self) -> Result<T, TaskError> {
        Self::take(self)
    }

    fn take_and_abandon(&self) -> Result<T, TaskError> {
        Self::take_and_abandon(self)
    }
}

/// Runs user destructors in a thread that has to live on; a panic goes to the hook.
pub(crate) fn drop_contained(f: impl FnOnce()) {
    if let Err(panic) = Panic::catch(f) {
        hook::report(&Event::DestructorPanicked { panic: &panic });
    }
}
