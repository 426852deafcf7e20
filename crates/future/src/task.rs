//! A function and the future of its result in one allocation: what the tasks of executors are made of.

use std::{fmt, sync::Arc};

use crate::{
    cell::{AnyCell, Cell, Core, Header, drop_contained},
    error::TaskError,
    future::Future,
    id::FutureId,
    panic::Panic,
    state::{Start, State},
    sync::{Mutex, lock},
    worker::{self, PoolId},
};

/// Something to be done once, with what it needs to be done.
pub trait Work: Send + 'static {
    /// What comes of it.
    type Output: Send + 'static;

    /// Does it. Whatever it owns is to be gone when this returns.
    fn call(self) -> Self::Output;
}

/// Work and the future of its outcome, in one allocation; C++ calls this `std::packaged_task`, Java `FutureTask`.
///
/// For executor authors, who mostly meet it as the `Task` of the executor crate. The work starts at most once, whoever
/// tries: the thread that takes it from a queue, a worker that waits for its future
/// (see [`work_for`](crate::work_for)), or nobody because the future was cancelled first.
///
/// Unlike a [`Promise`](crate::Promise), one that is dropped does not complete its future: the executor that owns it
/// must see to that, with [`fail`](Self::fail).
pub struct PackagedTask<W: Work> {
    core: Core<W::Output>,
    /// Present until the work is started, cancelled or taken back.
    work: Mutex<Option<W>>,
}

impl<W: Work> PackagedTask<W> {
    /// Packages `work`, together with the one future of its outcome.
    pub fn new(work: W) -> (Arc<Self>, Future<W::Output>) {
        let task = Arc::new(Self { core: Core::new(), work: Mutex::new(Some(work)) });
        let future = Future::new(Arc::clone(&task) as _);
        (task, future)
    }

    /// Does the work, in this thread, and completes the future; unless it was started or cancelled before.
    ///
    /// A panic of the work becomes the future's error. Threads that wait for the future are woken, then its callbacks
    /// run here. Says whether the work was done by this call.
    pub fn run(&self) -> bool {
        if !self.start() {
            return false;
        }
        let outcome = self.call();
        worker::finishing();
        self.complete(outcome);
        true
    }

    /// Does the work of a task that the caller has started.
    fn call(&self) -> Result<W::Output, TaskError> {
        let work = lock(&self.work).take();
        match work {
            Some(work) => Panic::catch(|| work.call()).map_err(TaskError::Panicked),
            None => Err(TaskError::Abandoned),
        }
    }

    /// Marks the future as running, for work that is done elsewhere. True if the caller now owes it an outcome.
    #[must_use = "if true, the future waits for `complete`"]
    pub fn start(&self) -> bool {
        matches!(self.core.header().start(), Start::Run(_))
    }

    /// Completes a future that [`start`](Self::start) has marked as running; without effect on any other.
    pub fn complete(&self, outcome: Result<W::Output, TaskError>) {
        if let Err(outcome) = self.core.finish(outcome) {
            drop_contained(|| drop(outcome));
        }
    }

    /// Completes the future with `error` and drops the work undone, unless it was started or cancelled before.
    pub fn fail(&self, error: TaskError) {
        if self.start() {
            self.drop_work();
            self.complete(Err(error));
        }
    }

    /// Cancels the future, as [`Future::cancel`] does.
    pub fn cancel(&self) -> bool {
        (self as &dyn AnyCell).cancel()
    }

    /// Lets `f` look at the work, if it is still here, as to encode it for another process.
    pub fn inspect<R>(&self, f: impl FnOnce(&W) -> R) -> Option<R> {
        // Out of the lock, since `f` runs user code; the work cannot be missed meanwhile by anybody who may start it,
        // because that is the caller.
        let work = lock(&self.work).take()?;
        let restore = Restore { slot: &self.work, work: Some(work) };
        restore.work.as_ref().map(f)
    }

    /// Takes the work back, as when an executor refused it. The future will not be completed by it any more.
    #[must_use]
    pub fn take_work(&self) -> Option<W> {
        lock(&self.work).take()
    }

    /// Says which pool's queue the task goes into, so that a worker of that pool that waits for the future may do the
    /// work itself. To be called before the task is queued.
    pub fn set_pool(&self, pool: PoolId) {
        self.core.header().set_pool(pool);
    }

    /// Where the future is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.core.header().snapshot().state()
    }

    /// The id of the future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.core.header().id()
    }
}

/// Puts work back that was lent to user code, also when that panics.
struct Restore<'a, W> {
    slot: &'a Mutex<Option<W>>,
    work: Option<W>,
}

impl<W> Drop for Restore<'_, W> {
    fn drop(&mut self) {
        *lock(self.slot) = self.work.take();
    }
}

impl<W: Work> AnyCell for PackagedTask<W> {
    fn header(&self) -> &Header {
        self.core.header()
    }

    fn error(&self) -> Option<TaskError> {
        self.core.error()
    }

    fn run_in_place(&self) {
        if self.start() {
            self.complete(self.call());
        }
    }

    fn drop_work(&self) {
        let work = lock(&self.work).take();
        drop_contained(|| drop(work));
    }

    fn drop_outcome(&self) {
        self.core.drop_outcome();
    }

    fn value_type(&self) -> &'static str {
        std::any::type_name::<W::Output>()
    }
}

impl<W: Work> Cell<W::Output> for PackagedTask<W> {
    fn take(&self) -> Result<W::Output, TaskError> {
        self.core.take()
    }
}

impl<W: Work> fmt::Debug for PackagedTask<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackagedTask").field("state", &self.state()).finish_non_exhaustive()
    }
}
