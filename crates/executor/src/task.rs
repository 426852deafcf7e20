//! What executors queue and run: a task whose function, argument and result have been forgotten about.

use std::{fmt, marker::PhantomData, sync::Arc};

use concurrent_futures_future::{
    Future, FutureId, PackagedTask, PoolId, Ran, State, Surround, TaskError, Work,
};

#[cfg(feature = "portable")]
use crate::{chunk::records::Kept, portable::Entry};

/// A task for an [`Executor`](crate::Executor): a function, its argument, and the obligation to complete a future.
///
/// Whoever holds it does one of these, after which the future has ended or will without further ado:
///
/// - [`run`](Self::run) it, here and now;
/// - [`fail`](Self::fail) or [`cancel`](Self::cancel) it;
/// - have it done elsewhere, for which there are methods with the feature `portable`;
/// - drop it: the future fails with [`TaskError::Abandoned`].
///
/// A future may be cancelled while its task waits in a queue. There is no need to look for that: running such a task
/// does nothing.
#[must_use = "dropping a task fails its future"]
pub struct Task {
    erased: Arc<dyn ErasedTask>,
}

impl Task {
    /// Runs the task in this thread and completes its future; does nothing if the future was cancelled.
    ///
    /// Never panics, whatever the task does. Says what this call has done.
    #[expect(
        clippy::must_use_candidate,
        reason = "running is the point; the answer is for statistics"
    )]
    pub fn run(self) -> Ran {
        self.run_here()
    }

    /// As [`run`](Self::run), keeping the task, which has nothing left to be run, to be looked at.
    #[expect(
        clippy::must_use_candidate,
        reason = "running is the point; the answer is for statistics"
    )]
    #[inline]
    pub fn run_here(&self) -> Ran {
        self.erased.run()
    }

    /// Completes the future with `error`, without running the task; does nothing if it has ended. False if the task had
    /// started.
    #[expect(
        clippy::must_use_candidate,
        reason = "failing it is the point; the answer is for statistics"
    )]
    pub fn fail(self, error: TaskError) -> bool {
        self.erased.fail(error)
    }

    /// Cancels the future. True if it is cancelled now; false if the task had started.
    #[expect(
        clippy::must_use_candidate,
        reason = "cancelling is the point; the answer is a courtesy"
    )]
    pub fn cancel(self) -> bool {
        self.erased.cancel()
    }

    /// Says which pool will run the task, so that a worker of that pool that waits for its future may run it in place.
    ///
    /// To be called before the task is queued, by pools that tell
    /// [`work_for`](concurrent_futures_future::work_for) about their workers.
    #[inline]
    pub fn set_pool(&self, pool: PoolId) {
        self.erased.set_pool(pool);
    }

    /// Takes back what was said with [`set_pool`](Self::set_pool), as when the task is refused after all: whoever runs it then
    /// does not do so for that pool.
    pub fn unset_pool(&self) {
        self.erased.unset_pool();
    }

    /// Has `surround` called around the task, by whoever runs it in this process; in place of what was set before.
    ///
    /// For executors that tell observers of their tasks, or carry a context from the submitter to the task. To be called
    /// before the task is queued.
    pub fn set_surround(&self, surround: Box<dyn Surround>) {
        self.erased.set_surround(surround);
    }

    /// Takes back what was set by [`set_surround`](Self::set_surround), as when the task is refused after all.
    #[must_use = "what is returned is no longer called around the task"]
    pub fn take_surround(&self) -> Option<Box<dyn Surround>> {
        self.erased.take_surround()
    }

    /// How many bytes dropping the task gives back to the allocator; `None` if something else keeps them, as a handle of its
    /// future does.
    ///
    /// For executors that choose when to do that. A task that has run and succeeded, and that nothing else keeps, has nothing
    /// of its function, argument or result left in it.
    #[must_use]
    #[inline]
    pub fn frees(&self) -> Option<usize> {
        (Arc::strong_count(&self.erased) == 1).then(|| size_of_val(&*self.erased))
    }

    /// The identity of the task's future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.erased.id()
    }

    /// Where the task's future is in its life.
    #[must_use]
    #[inline]
    pub fn state(&self) -> State {
        self.erased.state()
    }

    /// The type name of the task's function, for logs.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'static str {
        self.erased.name()
    }
}

/// For executors whose workers do not share the caller's memory.
#[cfg(feature = "portable")]
impl Task {
    /// How to run the task in another process. `None` if it was made for this process alone, or has started.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        self.erased.entry()
    }

    /// Appends the encoded argument to `buffer`.
    ///
    /// # Errors
    ///
    /// [`CodecError`](concurrent_futures_future::CodecError) if the argument cannot be encoded, or the task is not
    /// portable or has started; `buffer` is then as long as it was.
    pub fn encode_argument(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError> {
        let length = buffer.len();
        let outcome = self.erased.encode_argument(buffer);
        if outcome.is_err() {
            buffer.truncate(length);
        }
        outcome
    }

    /// Marks the future as running, because a worker elsewhere has started; from now on it cannot be cancelled.
    ///
    /// `None` if it was cancelled before: then it must not be run.
    #[must_use = "a task that was cancelled must not be run"]
    pub fn start(self) -> Option<StartedTask> {
        self.erased.start().then(|| StartedTask::new(&self.erased))
    }

    /// Sends the task to a worker that may start it later on, without this process knowing; see
    /// [`PackagedTask::send`](concurrent_futures_future::PackagedTask::send).
    ///
    /// `None` if it was cancelled before.
    #[must_use = "a task that was cancelled must not be run"]
    pub fn send(self) -> Option<SentTask> {
        self.erased.send().then(|| SentTask { erased: Arc::clone(&self.erased) })
    }
}

impl Drop for Task {
    #[inline]
    fn drop(&mut self) {
        // Without effect on a task that was started: whoever did that completes it. It need not have been through this
        // handle, since a worker that waits for the future may run the task in place.
        if self.erased.state() == State::Pending {
            self.erased.fail(TaskError::Abandoned);
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name()).field("state", &self.state()).finish()
    }
}

/// A task that was sent to a worker elsewhere and may or may not have been started there.
///
/// Dropping it fails the future with [`TaskError::Abandoned`].
#[cfg(feature = "portable")]
#[must_use = "dropping a task that was sent fails its future"]
pub struct SentTask {
    erased: Arc<dyn ErasedTask>,
}

#[cfg(feature = "portable")]
impl SentTask {
    /// Marks the future as running, because the worker has started. `None` if it was taken back and cancelled.
    #[must_use = "a task that has started is owed an outcome"]
    pub fn start(self) -> Option<StartedTask> {
        self.erased.start_sent().then(|| StartedTask::new(&self.erased))
    }

    /// The task as it was before it was sent, because the worker has not started it and will not. `None` if it was
    /// cancelled.
    #[must_use = "a task that is dropped fails its future"]
    pub fn take_back(self) -> Option<Task> {
        self.erased.take_back().then(|| Task { erased: Arc::clone(&self.erased) })
    }

    /// The identity of the task's future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.erased.id()
    }
}

#[cfg(feature = "portable")]
impl Drop for SentTask {
    fn drop(&mut self) {
        // Without effect on one that was started, taken back or cancelled.
        if self.erased.start_sent() {
            self.erased.fail_started(TaskError::Abandoned);
        }
    }
}

#[cfg(feature = "portable")]
impl fmt::Debug for SentTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentTask").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A task that a worker elsewhere has started; the obligation to complete its future.
///
/// Dropping it fails the future with [`TaskError::Abandoned`].
#[cfg(feature = "portable")]
#[must_use = "dropping a started task fails its future"]
pub struct StartedTask {
    erased: Arc<dyn ErasedTask>,
    /// Of a chunk whose worker died: what that had done of it.
    kept: Option<Box<Kept>>,
}

/// For executors that have another worker go on with a [chunk](Entry::chunk) whose worker died.
#[cfg(feature = "portable")]
impl StartedTask {
    /// Keeps what came of the next `items` of a chunk, which has `of` altogether: the values and the failures that its
    /// [journal](crate::wire::Journal) was told of. What completes the task later on is then about the items that are left.
    ///
    /// False if it cannot be what a journal was told; then nothing is kept.
    #[must_use = "if false, nothing is kept"]
    pub fn keep_items(&mut self, values: &[u8], failures: &[u8], items: usize, of: usize) -> bool {
        let mut kept = self.kept.take().unwrap_or_else(|| Box::new(Kept::new(of)));
        let is_kept = kept.add(values, failures, items);
        if is_kept || kept.has_any() {
            self.kept = Some(kept);
        }
        is_kept
    }

    /// Fails the next item of a chunk some of which, even if that is nothing, was [kept](Self::keep_items).
    pub fn fail_item(&mut self, error: TaskError) {
        if let Some(kept) = &mut self.kept {
            kept.lose(error);
        }
    }

    /// Whether [an item has failed](Self::fail_item).
    #[must_use]
    pub fn has_failed_items(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.has_lost())
    }
}

#[cfg(feature = "portable")]
impl StartedTask {
    fn new(erased: &Arc<dyn ErasedTask>) -> Self {
        Self { erased: Arc::clone(erased), kept: None }
    }

    /// Completes the future with the result that a worker encoded.
    ///
    /// A result that cannot be decoded becomes the future's error. Of a chunk no item of which is left, the result does not
    /// matter.
    pub fn complete_encoded(mut self, result: &[u8]) {
        let kept = self.kept.take();
        self.erased.complete_encoded(result, kept);
    }

    /// As [`complete_encoded`](Self::complete_encoded), by a thread that is not to run the callbacks of the future: if there may be
    /// any, or somebody waits for it, or it fails, then what is left to be done is returned.
    #[must_use = "what is returned is to be completed by another thread"]
    pub fn complete_encoded_unwatched(mut self, result: &[u8]) -> Option<DecodedTask> {
        let erased = Arc::clone(&self.erased);
        let kept = self.kept.take();
        let complete = erased.complete_encoded_unwatched(result, kept)?;
        Some(DecodedTask { complete, _task: self })
    }

    /// Completes the future with `error`; or, of a chunk, fails the items that are left.
    pub fn fail(mut self, error: TaskError) {
        match &mut self.kept {
            None => self.erased.fail_started(error),
            Some(kept) => {
                kept.lose_rest(&error);
                self.complete_encoded(&[]);
            }
        }
    }

    /// Whether neither the work nor its result owns anything, so that dropping the one and decoding the other takes next to
    /// no time.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.erased.is_plain()
    }

    /// Whether somebody waits for the future, or has left a callback with it, which whoever completes it then wakes or
    /// runs.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.erased.has_waiters()
    }

    /// The identity of the task's future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.erased.id()
    }

    /// The type name of the task's function, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.erased.name()
    }
}

#[cfg(feature = "portable")]
impl Drop for StartedTask {
    fn drop(&mut self) {
        if self.erased.state() == State::Running {
            self.erased.fail_started(TaskError::Abandoned);
        }
    }
}

#[cfg(feature = "portable")]
impl fmt::Debug for StartedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartedTask").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A task that has its outcome, and whose future is still to be told.
///
/// Dropping it fails the future with [`TaskError::Abandoned`].
#[cfg(feature = "portable")]
#[must_use = "dropping a started task fails its future"]
pub struct DecodedTask {
    complete: Box<dyn FnOnce() + Send>,
    /// Fails the future if it is dropped before.
    _task: StartedTask,
}

#[cfg(feature = "portable")]
impl DecodedTask {
    /// Completes the future.
    pub fn complete(self) {
        (self.complete)();
    }
}

#[cfg(feature = "portable")]
impl fmt::Debug for DecodedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodedTask").finish_non_exhaustive()
    }
}

trait ErasedTask: Send + Sync {
    fn run(&self) -> Ran;
    fn fail(&self, error: TaskError) -> bool;
    fn cancel(&self) -> bool;
    fn set_pool(&self, pool: PoolId);
    fn unset_pool(&self);
    fn set_surround(&self, surround: Box<dyn Surround>);
    fn take_surround(&self) -> Option<Box<dyn Surround>>;
    fn id(&self) -> FutureId;
    fn state(&self) -> State;
    fn name(&self) -> &'static str;
    #[cfg(feature = "portable")]
    fn start(&self) -> bool;
    #[cfg(feature = "portable")]
    fn send(&self) -> bool;
    #[cfg(feature = "portable")]
    fn start_sent(&self) -> bool;
    #[cfg(feature = "portable")]
    fn take_back(&self) -> bool;
    #[cfg(feature = "portable")]
    fn has_waiters(&self) -> bool;
    #[cfg(feature = "portable")]
    fn is_plain(&self) -> bool;
    #[cfg(feature = "portable")]
    fn fail_started(&self, error: TaskError);
    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<Entry>;
    #[cfg(feature = "portable")]
    fn encode_argument(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError>;
    #[cfg(feature = "portable")]
    fn complete_encoded(&self, result: &[u8], kept: Option<Box<Kept>>);
    /// Returns how to complete it, if it has not done so.
    #[cfg(feature = "portable")]
    fn complete_encoded_unwatched(
        self: Arc<Self>,
        result: &[u8],
        kept: Option<Box<Kept>>,
    ) -> Option<Box<dyn FnOnce() + Send>>;
}

/// What a kind of work adds to being callable.
pub(crate) trait TaskWork: Work {
    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<Entry>;

    #[cfg(feature = "portable")]
    fn encode_argument(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError>;

    #[cfg(feature = "portable")]
    fn decode_result(result: &[u8]) -> Result<Self::Output, concurrent_futures_future::CodecError>;

    /// The same for the items of a chunk that were left, if what came of others was `kept`.
    #[cfg(feature = "portable")]
    fn decode_rest(
        result: &[u8],
        kept: Option<Kept>,
    ) -> Result<Self::Output, concurrent_futures_future::CodecError> {
        drop(kept);
        Self::decode_result(result)
    }
}

impl<W: TaskWork> ErasedTask for PackagedTask<W> {
    fn run(&self) -> Ran {
        Self::run(self)
    }

    fn fail(&self, error: TaskError) -> bool {
        Self::fail(self, error)
    }

    fn cancel(&self) -> bool {
        Self::cancel(self)
    }

    fn set_pool(&self, pool: PoolId) {
        Self::set_pool(self, pool);
    }

    fn unset_pool(&self) {
        Self::unset_pool(self);
    }

    fn set_surround(&self, surround: Box<dyn Surround>) {
        Self::set_surround(self, surround);
    }

    fn take_surround(&self) -> Option<Box<dyn Surround>> {
        Self::take_surround(self)
    }

    fn id(&self) -> FutureId {
        Self::id(self)
    }

    fn state(&self) -> State {
        Self::state(self)
    }

    fn name(&self) -> &'static str {
        W::name()
    }

    #[cfg(feature = "portable")]
    fn start(&self) -> bool {
        Self::start(self)
    }

    #[cfg(feature = "portable")]
    fn send(&self) -> bool {
        Self::send(self)
    }

    #[cfg(feature = "portable")]
    fn start_sent(&self) -> bool {
        Self::start_sent(self)
    }

    #[cfg(feature = "portable")]
    fn take_back(&self) -> bool {
        Self::take_back(self)
    }

    #[cfg(feature = "portable")]
    fn has_waiters(&self) -> bool {
        Self::has_waiters(self)
    }

    #[cfg(feature = "portable")]
    fn is_plain(&self) -> bool {
        !std::mem::needs_drop::<W>() && !std::mem::needs_drop::<W::Output>()
    }

    #[cfg(feature = "portable")]
    fn fail_started(&self, error: TaskError) {
        self.complete(Err(error));
    }

    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<Entry> {
        self.inspect(W::entry).flatten()
    }

    #[cfg(feature = "portable")]
    fn encode_argument(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError> {
        self.inspect(|work| work.encode_argument(buffer)).unwrap_or_else(|| {
            Err(concurrent_futures_future::CodecError::new(
                concurrent_futures_future::Crossing::EncodeArgument,
                W::name(),
                "the task has started already",
            ))
        })
    }

    #[cfg(feature = "portable")]
    fn complete_encoded(&self, result: &[u8], kept: Option<Box<Kept>>) {
        self.complete(decode::<W>(result, kept));
    }

    #[cfg(feature = "portable")]
    fn complete_encoded_unwatched(
        self: Arc<Self>,
        result: &[u8],
        kept: Option<Box<Kept>>,
    ) -> Option<Box<dyn FnOnce() + Send>> {
        let outcome = match decode::<W>(result, kept) {
            Ok(value) => Ok(self.complete_unwatched(value).err()?),
            // Nobody may be there to read it, and then it is reported, by the user's code.
            Err(error) => Err(error),
        };
        Some(Box::new(move || self.complete(outcome)))
    }
}

#[cfg(feature = "portable")]
fn decode<W: TaskWork>(result: &[u8], kept: Option<Box<Kept>>) -> Result<W::Output, TaskError> {
    // This runs the user's code, too.
    let decoded =
        concurrent_futures_future::Panic::catch(|| W::decode_rest(result, kept.map(|kept| *kept)));
    // Callbacks, which come next, are not to find what was for this.
    crate::out_of_band::release();
    match decoded {
        Ok(decoded) => decoded.map_err(TaskError::Codec),
        Err(panic) => Err(TaskError::Panicked(panic)),
    }
}

/// A call that is made in this process. `N` is the type that it is known by in logs.
pub(crate) struct LocalCall<F, A, N> {
    pub(crate) function: F,
    pub(crate) argument: A,
    pub(crate) name: PhantomData<fn() -> N>,
}

impl<F, A, R, N> Work for LocalCall<F, A, N>
where
    F: FnOnce(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
    N: 'static,
{
    type Output = R;

    fn call(self) -> R {
        (self.function)(self.argument)
    }

    fn name() -> &'static str {
        std::any::type_name::<N>()
    }
}

impl<F, A, R, N> TaskWork for LocalCall<F, A, N>
where
    F: FnOnce(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
    N: 'static,
{
    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<Entry> {
        None
    }

    #[cfg(feature = "portable")]
    fn encode_argument(
        &self,
        _buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError> {
        Err(not_portable::<A>(concurrent_futures_future::Crossing::EncodeArgument))
    }

    #[cfg(feature = "portable")]
    fn decode_result(_result: &[u8]) -> Result<R, concurrent_futures_future::CodecError> {
        Err(not_portable::<R>(concurrent_futures_future::Crossing::DecodeResult))
    }
}

#[cfg(feature = "portable")]
fn not_portable<T>(
    what: concurrent_futures_future::Crossing,
) -> concurrent_futures_future::CodecError {
    concurrent_futures_future::CodecError::new(
        what,
        std::any::type_name::<T>(),
        "the task was made for this process alone",
    )
}

/// A call that can be made in another process: the function is known by its type, the argument goes by value.
pub(crate) struct PortableCall<F, A, R> {
    pub(crate) function: F,
    pub(crate) argument: A,
    pub(crate) result: PhantomData<fn() -> R>,
}

impl<F, A, R> Work for PortableCall<F, A, R>
where
    F: Fn(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    type Output = R;

    fn call(self) -> R {
        (self.function)(self.argument)
    }

    fn name() -> &'static str {
        std::any::type_name::<F>()
    }
}

/// A call of a function that is known by its pointer.
pub(crate) struct PointerCall<A, R> {
    pub(crate) function: fn(A) -> R,
    pub(crate) argument: A,
}

impl<A: Send + 'static, R: Send + 'static> Work for PointerCall<A, R> {
    type Output = R;

    fn call(self) -> R {
        (self.function)(self.argument)
    }

    fn name() -> &'static str {
        std::any::type_name::<fn(A) -> R>()
    }
}

/// A task and the future of its result, for work of any kind.
pub(crate) fn package<W: TaskWork>(work: W) -> (Task, Future<W::Output>) {
    let (task, future) = PackagedTask::new(work);
    (Task { erased: task }, future)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only when the handle of the future is gone does dropping the task free it.
    #[test]
    fn a_task_is_freed_by_the_last_to_hold_it() {
        let call = LocalCall { function: |n| n, argument: 7_u64, name: PhantomData::<fn() -> u64> };
        let (task, future) = package(call);
        assert_eq!(task.frees(), None);
        assert_eq!(task.run_here(), Ran::Succeeded);
        assert_eq!(task.frees(), None);
        assert_eq!(future.result().ok(), Some(7));
        assert!(task.frees().is_some_and(|bytes| bytes >= size_of::<u64>()));
    }
}
