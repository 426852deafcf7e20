//! The consumer's side: the one handle that can move the outcome out.

use std::{
    error::Error,
    fmt,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    any::{AnyFuture, Sealed, handle_methods},
    cell::{AnyCell, Cell},
    error::{TaskError, TimeoutError},
    flatten::Flatten,
    shared::SharedFuture,
    state::State,
    time::Deadline,
    wait::wait_for,
    waiter::{Waiter, WaiterKey, run_callback},
};

/// The outcome of work that may still be going on, as in [PEP 3148](https://peps.python.org/pep-3148/).
///
/// Executors hand it out when a task is submitted, and [`promise`](crate::promise) makes one that is completed by
/// hand. It can be
///
/// - waited for, with [`result`](Self::result) and its timed forms, or together with others, with
///   [`wait`](crate::wait), [`as_completed`](crate::as_completed) and a [`CompletionSet`](crate::CompletionSet);
/// - awaited, in any async runtime: it is a [`std::future::Future`];
/// - asked: [`done`](Self::done), [`running`](Self::running), [`cancelled`](Self::cancelled);
/// - given callbacks, with [`add_done_callback`](Self::add_done_callback) or [`on_done`](Self::on_done);
/// - shared among readers, with [`share`](Self::share).
///
/// Reading moves the value out: a future holds the only handle from which it can be read, and once read, nothing of
/// the task is kept alive. Futures compare and hash by identity, as in Python; [`id`](Self::id) is what outlives them.
///
/// # Cancellation
///
/// [`cancel`](Self::cancel) stops work that has not started. Work that runs is never interrupted: there is no safe way
/// to do that to a thread. Dropping a future does not cancel; [`cancel_on_drop`](Self::cancel_on_drop) makes it so.
///
/// # Panics
///
/// A panic of the task is caught and becomes [`TaskError::Panicked`]. It is thrown again only by
/// [`Panic::resume`](crate::Panic::resume).
///
/// # Dropping
///
/// Dropping a future neither cancels nor blocks. If it has failed, or fails later, and nobody has looked at the error,
/// the error goes to the [event hook](crate::set_event_hook).
#[must_use = "a future that is dropped loses its result; `drop` it if that is meant"]
pub struct Future<T> {
    cell: Arc<dyn Cell<T>>,
    /// The entry of the async task that awaits this future.
    waker: Option<WaiterKey>,
    /// Whether the outcome was moved out, or left to somebody else; then the drop of the handle has nothing to do.
    read: bool,
}

impl<T> Future<T> {
    pub(crate) fn new(cell: Arc<dyn Cell<T>>) -> Self {
        Self { cell, waker: None, read: false }
    }

    handle_methods!();

    /// Waits for the outcome and moves it out.
    ///
    /// # Errors
    ///
    /// [`TaskError`], if there is no value: the task panicked, was cancelled, and so on.
    pub fn result(self) -> Result<T, TaskError> {
        wait_for(&*self.cell, Deadline::NEVER);
        self.into_outcome()
    }

    /// Waits for the outcome for as long as `timeout`, and moves it out.
    ///
    /// A zero timeout asks whether the outcome is there. One that is too long for the clock is as good as none.
    ///
    /// # Errors
    ///
    /// [`TimeoutError`] if it is not there in time, with the future inside: neither the task nor its result is lost.
    /// What the task itself came to is the inner result.
    ///
    /// ```
    /// use std::time::Duration;
    /// use concurrent_futures_future::promise;
    ///
    /// let (promise, future) = promise();
    /// let future = match future.result_timeout(Duration::from_millis(1)) {
    ///     Ok(outcome) => panic!("already {outcome:?}"),
    ///     Err(timeout) => timeout.into_inner(),
    /// };
    /// promise.set_result("late").unwrap();
    /// assert_eq!(future.result()?, "late");
    /// # Ok::<(), concurrent_futures_future::TaskError>(())
    /// ```
    pub fn result_timeout(
        self,
        timeout: Duration,
    ) -> Result<Result<T, TaskError>, TimeoutError<Self>> {
        if wait_for(&*self.cell, Deadline::after(timeout)) {
            Ok(self.into_outcome())
        } else {
            Err(TimeoutError::new(self))
        }
    }

    /// Moves the outcome out if it is there.
    ///
    /// # Errors
    ///
    /// The future itself, if it has not ended.
    pub fn try_result(self) -> Result<Result<T, TaskError>, Self> {
        if self.done() { Ok(self.into_outcome()) } else { Err(self) }
    }

    /// Calls `callback` with the outcome when the future ends, in place of anybody who would wait for it.
    ///
    /// Otherwise as [`add_done_callback`](Self::add_done_callback), which leaves the outcome where it is. The task goes
    /// on without a handle, so it can no longer be cancelled.
    pub fn on_done(self, callback: impl FnOnce(Result<T, TaskError>) + Send + 'static)
    where
        T: 'static,
    {
        let cell = Arc::clone(&self.cell);
        let future = self;
        add_callback(&*cell, Box::new(move || callback(future.into_outcome())));
    }

    /// Calls `callback` when the future ends, or now if it has.
    ///
    /// Callbacks run once each, in the order in which they were added, in the thread that ends the future: a worker of
    /// the executor, or whoever cancels. By then everyone who waits for the future has been woken, so a slow callback
    /// holds up nobody but the callbacks after it; it may also run after `result` has returned elsewhere. If the
    /// future has ended already, the callback runs in this thread before the call returns.
    ///
    /// The callback is told how the future ended, not the value, which another thread may be moving out at that moment:
    /// [`on_done`](Self::on_done) is for a callback that wants the value for itself, and [`share`](Self::share) for
    /// one that wants to read it beside others.
    ///
    /// # Panics
    ///
    /// A panic of the callback is caught and goes to the [event hook](crate::set_event_hook); the next callback runs.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Completed) + Send + 'static)
    where
        T: 'static,
    {
        let completed = Completed { cell: Arc::<dyn Cell<T>>::clone(&self.cell) };
        add_callback(&*self.cell, Box::new(move || callback(&completed)));
    }

    /// Turns this into a handle that can be cloned, whose readers borrow the value instead of moving it.
    #[must_use]
    pub fn share(self) -> SharedFuture<T> {
        SharedFuture::new(self)
    }

    /// Makes dropping the handle cancel the task, if it has not started; for async code in particular, where dropping
    /// is how one loses interest.
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop { future: Some(self) }
    }

    pub(crate) fn cell(&self) -> &Arc<dyn Cell<T>> {
        &self.cell
    }

    /// Moves the outcome out of a future that has ended.
    pub(crate) fn take(&self) -> Result<T, TaskError> {
        let outcome = self.cell.take();
        if outcome.is_err() {
            self.cell.header().observe_failure();
        }
        outcome
    }

    fn into_outcome(mut self) -> Result<T, TaskError> {
        self.hand_over()
    }

    /// Makes the drop of this handle do nothing but that, for somebody who sees to the outcome in its stead.
    pub(crate) fn relinquish(&mut self) {
        if let Some(key) = self.waker.take() {
            self.cell.header().deregister(key);
        }
        self.read = true;
    }

    /// Moves the outcome out of a future that has ended, and lets go of it.
    fn hand_over(&mut self) -> Result<T, TaskError> {
        self.read = true;
        if self.waker.is_some() {
            // Its entry is gone with the list, which is emptied when the future ends.
            self.waker = None;
        }
        if self.cell.header().snapshot().is_failed() {
            // First of all: whoever ended the future may be about to report a failure that nobody looked at, and must
            // not see the handle gone and this not done.
            self.cell.header().observe_failure();
        }
        let outcome = self.cell.take_and_abandon();
        if outcome.is_err() {
            self.cell.header().observe_failure();
        }
        outcome
    }
}

impl<T, E> Future<Result<T, E>>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    /// Makes an error that the task returns the future's own error, [`TaskError::Failed`].
    ///
    /// A Python task fails by raising; a Rust task fails by returning `Err`, which to its future is a value like any
    /// other. Flattening makes the two one, so that `exception`, `ReturnWhen::FirstException` and callbacks see it.
    /// The id and everything else about the future stay the same.
    ///
    /// ```
    /// use concurrent_futures_future::promise;
    ///
    /// let (promise, future) = promise();
    /// promise.set_result("forty-two".parse::<u64>()).unwrap();
    /// let error = future.flatten().result().unwrap_err();
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn flatten(self) -> Future<T> {
        Future::new(Flatten::new(self) as _)
    }
}

/// Runs a callback when the future ends, or now if it has.
pub(crate) fn add_callback(cell: &(impl AnyCell + ?Sized), callback: Box<dyn FnOnce() + Send>) {
    let header = cell.header();
    if let Err(Waiter::Callback(callback)) = header.register(Waiter::Callback(callback)) {
        run_callback(&|| header.id(), callback);
    }
}

/// How a future ended; what a done-callback is told.
pub struct Completed {
    cell: Arc<dyn AnyCell>,
}

impl Completed {
    /// The id of the future.
    #[must_use]
    pub fn id(&self) -> crate::FutureId {
        self.cell.header().id()
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.cell.header().snapshot().state() == State::Cancelled
    }

    /// Why there is no value, cancellation included; `None` if there is one.
    #[must_use]
    pub fn exception(&self) -> Option<TaskError> {
        let error = self.cell.error();
        if error.is_some() {
            self.cell.header().observe_failure();
        }
        error
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "Completed", &*self.cell)
    }
}

/// Polling after the outcome has been handed out panics, as with any other async computation.
impl<T> std::future::Future for Future<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.read, "polled a future that has handed out its outcome already");
        let this = &mut *self;
        let header = this.cell.header();
        if !header.is_done() && header.register_waker(&mut this.waker, cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(this.hand_over())
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        if self.read {
            return;
        }
        let header = self.cell.header();
        if let Some(key) = self.waker.take() {
            header.deregister(key);
        }
        let before = self.cell.abandon();
        if !before.is_done() {
            // Whoever ends it sees that nobody is left.
            return;
        }
        if !before.is_observed()
            && let Some(error) = self.cell.error()
            && !header.has_callbacks_to_come()
        {
            header.report_unread(&error);
        }
        // In this thread, whether or not the executor still holds the task for a moment.
        self.cell.drop_outcome();
    }
}

impl<T> PartialEq for Future<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<T> Eq for Future<T> {}

impl<T> Hash for Future<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "Future", &*self.cell)
    }
}

/// Identity, state, and of an outcome the type: never the value, which may be large, or secret.
pub(crate) fn describe(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    cell: &(impl AnyCell + ?Sized),
) -> fmt::Result {
    let header = cell.header();
    write!(f, "{name}({}, ", header.id())?;
    match header.state() {
        State::Pending => f.write_str("pending)"),
        State::Running => f.write_str("running)"),
        State::Cancelled => f.write_str("cancelled)"),
        State::Finished => match cell.error() {
            Some(TaskError::Panicked(_)) => f.write_str("finished, panicked)"),
            // Its words are as much a value as what the task might have returned.
            Some(TaskError::Failed(failure)) => {
                write!(f, "finished, failed with {})", failure.type_name())
            }
            Some(error) => write!(f, "finished, failed: {error})"),
            None => write!(f, "finished, returned {})", cell.value_type()),
        },
    }
}

impl<T> Sealed for Future<T> {
    #[expect(private_interfaces, reason = "called from inside this crate alone")]
    fn cell(&self) -> &dyn AnyCell {
        &*self.cell
    }
}

impl<T> AnyFuture for Future<T> {}

/// A future whose drop cancels the task, if it has not started. Made by [`Future::cancel_on_drop`].
///
/// Work that runs already goes on, and its outcome is dropped.
#[must_use = "dropping this cancels the task"]
pub struct CancelOnDrop<T> {
    /// Present until taken by `into_inner`.
    future: Option<Future<T>>,
}

impl<T> CancelOnDrop<T> {
    /// The future, which cancels nothing when dropped.
    #[expect(clippy::missing_panics_doc, reason = "the future is there until this consumes it")]
    pub fn into_inner(mut self) -> Future<T> {
        self.future.take().expect("present until now")
    }

    /// Waits for the outcome and moves it out, as [`Future::result`].
    ///
    /// # Errors
    ///
    /// As [`Future::result`].
    pub fn result(self) -> Result<T, TaskError> {
        self.into_inner().result()
    }
}

impl<T> std::future::Future for CancelOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.future {
            Some(future) => Pin::new(future).poll(cx),
            None => Poll::Ready(Err(TaskError::Abandoned)),
        }
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            future.cancel();
        }
    }
}

impl<T> fmt::Debug for CancelOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelOnDrop").field(&self.future).finish()
    }
}
