//! A function and the future of its result in one allocation: what the tasks of executors are made of.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    cell::{AnyCell, Cell, Core, Header, Running, drop_contained},
    error::TaskError,
    future::Future,
    id::FutureId,
    panic::Panic,
    state::{Start, State},
    surround::{self, Surround},
    worker::{self, PoolId},
};

/// Something to be done once, with what it needs to be done.
pub trait Work: Send + 'static {
    /// What comes of it.
    type Output: Send + 'static;

    /// Does it. Whatever it owns is to be gone when this returns.
    fn call(self) -> Self::Output;

    /// What it is called in logs.
    #[must_use]
    fn name() -> &'static str
    where
        Self: Sized,
    {
        std::any::type_name::<Self>()
    }
}

/// What came of trying to run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ran {
    /// It was run, and its future has a value.
    Succeeded,
    /// It was run and panicked, and its future has an error.
    Failed,
    /// It was not run: it had been cancelled, or started elsewhere.
    Not,
}

impl Ran {
    fn from_outcome<T>(outcome: &Result<T, TaskError>) -> Self {
        if outcome.is_ok() { Self::Succeeded } else { Self::Failed }
    }
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
    core: Core<W, W::Output>,
}

impl<W: Work> PackagedTask<W> {
    /// Packages `work`, together with the one future of its outcome.
    pub fn new(work: W) -> (Arc<Self>, Future<W::Output>) {
        let task = Arc::new(Self { core: Core::new(work) });
        let future = Future::new(Arc::clone(&task) as _);
        (task, future)
    }

    /// Does the work, in this thread, and completes the future; unless it was started or cancelled before.
    ///
    /// A panic of the work becomes the future's error. Threads that wait for the future are woken, then its callbacks
    /// run here. Says what this call has done.
    pub fn run(&self) -> Ran {
        let Ok(running) = self.core.start() else { return Ran::Not };
        let outcome = surround::call(self.core.header(), &running, false);
        let ran = Ran::from_outcome(&outcome);
        worker::finishing(self.core.header().pool(), ran);
        running.finish(outcome);
        ran
    }

    /// Marks the future as running, for work that is done elsewhere. True if the caller now owes it an outcome.
    #[must_use = "if true, the future waits for `complete`"]
    pub fn start(&self) -> bool {
        let won = self.core.start().is_ok();
        if won {
            self.core.header().hand_out();
        }
        won
    }

    /// Says that from now on a worker elsewhere may start the task, without this process knowing: until one of the
    /// methods below is called, its future asks the [`Remote`](crate::Remote) of its [pool](Self::set_pool) whether it has
    /// started, and has it taken back in order to be cancelled. False if it was cancelled or started before.
    #[must_use = "if false, the task must not be started elsewhere"]
    pub fn send(&self) -> bool {
        self.core.header().send()
    }

    /// Marks the future of a task that was [sent](Self::send) as running. True if the caller now owes it an outcome.
    #[must_use = "if true, the future waits for `complete`"]
    pub fn start_sent(&self) -> bool {
        let won = self.core.header().start_sent();
        if won {
            self.core.header().hand_out();
        }
        won
    }

    /// Makes a task that was [sent](Self::send) an ordinary pending one, which no worker elsewhere has started or will. False
    /// if it was cancelled.
    #[must_use = "if false, the task must not be started"]
    pub fn take_back(&self) -> bool {
        self.core.header().unsend()
    }

    /// Whether somebody waits for the future, or has left a callback with it.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.core.header().snapshot().has_waiters()
    }

    /// Completes a future that [`start`](Self::start) has marked as running; without effect on any other.
    pub fn complete(&self, outcome: Result<W::Output, TaskError>) {
        if !self.core.header().take_back() {
            drop_contained(|| drop(outcome));
            return;
        }
        // SAFETY: `start` was won, and kept no `Running`. The flag was set by that and cleared by this call alone, so
        // nobody else resumes it.
        let running = unsafe { self.core.resume() };
        self.core.header().drop_surround();
        drop_work(&running);
        running.finish(outcome);
    }

    /// As [`complete`](Self::complete) with a value, by a thread that is not to run callbacks: if somebody waits for the future, or
    /// has left a callback with it, nothing happens, and the value is returned.
    ///
    /// # Errors
    ///
    /// The value, if it is still to be completed with that.
    pub fn complete_unwatched(&self, value: W::Output) -> Result<(), W::Output> {
        let header = self.core.header();
        if !header.take_back() {
            drop_contained(|| drop(value));
            return Ok(());
        }
        // SAFETY: as in `complete`.
        let running = unsafe { self.core.resume() };
        header.drop_surround();
        drop_work(&running);
        running.finish_unwatched(value).map_err(|(_running, value)| {
            header.hand_out();
            value
        })
    }

    /// Completes the future with `error` and drops the work undone, unless it was started or cancelled before. False if it
    /// was started.
    pub fn fail(&self, error: TaskError) -> bool {
        match self.core.start() {
            Ok(running) => {
                self.core.header().drop_surround();
                drop_work(&running);
                running.finish(Err(error));
                true
            }
            Err(other) => matches!(other, Start::Cancelled),
        }
    }

    /// Cancels the future, as [`Future::cancel`] does.
    pub fn cancel(&self) -> bool {
        (self as &dyn AnyCell).cancel()
    }

    /// Lets `f` look at the work, if the future has not started, as to encode the work for another process.
    ///
    /// Nobody can start or cancel the future meanwhile; they wait.
    pub fn inspect<R>(&self, f: impl FnOnce(&W) -> R) -> Option<R> {
        self.core.inspect(f)
    }

    /// Takes the work back and cancels the future, as when an executor refused the task. `None` if it has started, or
    /// was cancelled before.
    #[must_use]
    pub fn take_work(&self) -> Option<W> {
        let mut taken = None;
        (self as &dyn AnyCell).cancel_with(|| {
            // SAFETY: called by whoever has won `cancel`.
            taken = unsafe { self.core.take_cancelled_work() };
            self.core.header().drop_surround();
        });
        taken
    }

    /// As [`take_work`](Self::take_work), by whoever has the future and has given the task away; also `None` if the future is
    /// not that of a packaged task with work of this type.
    ///
    /// So an executor need not keep a second reference to each task for the case that it is refused.
    #[must_use]
    pub fn take_work_of(future: &Future<W::Output>) -> Option<W> {
        let mut taken: Option<W> = None;
        future.cell().take_work(&mut taken);
        taken
    }

    /// Says which pool's queue the task goes into, so that a worker of that pool that waits for the future may do the
    /// work itself. To be called before the task is queued.
    pub fn set_pool(&self, pool: PoolId) {
        self.core.header().set_pool(pool);
    }

    /// Takes back what was said with [`set_pool`](Self::set_pool), as when the task is refused after all.
    pub fn unset_pool(&self) {
        self.core.header().set_pool(PoolId::from_number(PoolId::NONE));
    }

    /// Has `surround` called around the work, by whoever does it in this process; in place of what was set before. To be
    /// called before the task is queued.
    ///
    /// It is dropped if the work is never done.
    pub fn set_surround(&self, surround: Box<dyn Surround>) {
        drop(self.core.header().set_surround(Some(surround)));
    }

    /// Takes back what was set by [`set_surround`](Self::set_surround), as when the task is refused after all.
    #[must_use = "what is returned is no longer called around the work"]
    pub fn take_surround(&self) -> Option<Box<dyn Surround>> {
        self.core.header().set_surround(None)
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

/// Does the work of a future that was started just now.
pub(crate) fn call<W: Work>(running: &Running<'_, W, W::Output>) -> Result<W::Output, TaskError> {
    match running.take_work() {
        Some(work) => Panic::catch(|| work.call()).map_err(TaskError::Panicked),
        None => Err(TaskError::Abandoned),
    }
}

pub(crate) fn drop_work<W: Work>(running: &Running<'_, W, W::Output>) {
    if let Some(work) = running.take_work() {
        drop_contained(|| drop(work));
    }
}

impl<W: Work> AnyCell for PackagedTask<W> {
    fn header(&self) -> &Header {
        self.core.header()
    }

    fn error(&self) -> Option<TaskError> {
        self.core.header().failure()
    }

    fn run_in_place(&self) -> Ran {
        let Ok(running) = self.core.start() else { return Ran::Not };
        let outcome = surround::call(self.core.header(), &running, true);
        let ran = Ran::from_outcome(&outcome);
        running.finish(outcome);
        ran
    }

    unsafe fn drop_cancelled_work(&self) {
        self.core.header().drop_surround();
        // SAFETY: passed on to the caller.
        let work = unsafe { self.core.take_cancelled_work() };
        if work.is_some() {
            drop_contained(|| drop(work));
        }
    }

    fn take_work(&self, into: &mut dyn Any) {
        if let Some(into) = into.downcast_mut() {
            *into = Self::take_work(self);
        }
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

    fn take_and_abandon(&self) -> Result<W::Output, TaskError> {
        self.core.take_and_abandon()
    }
}

impl<W: Work> fmt::Debug for PackagedTask<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackagedTask").field("state", &self.state()).finish_non_exhaustive()
    }
}
