//! The producer's side: completes one future, once.

use std::{convert::Infallible, fmt, sync::Arc};

use crate::{
    cell::Core,
    error::{InvalidStateError, TaskError},
    future::Future,
    id::FutureId,
    state::{Start, State},
};

/// A promise and the future that it completes.
///
/// Python keeps both sides in one class and asks ordinary code to leave the producer's methods alone; here they are
/// two types. Executors make futures from tasks instead (see [`PackagedTask`](crate::PackagedTask)); a promise is for
/// results that come from elsewhere: a reply on a socket, a callback of a C library.
///
/// ```
/// use concurrent_futures_future::promise;
///
/// let (promise, future) = promise();
/// std::thread::spawn(move || promise.set_result(6 * 7));
/// assert_eq!(future.result()?, 42);
/// # Ok::<(), concurrent_futures_future::TaskError>(())
/// ```
pub fn promise<T: Send + 'static>() -> (Promise<T>, Future<T>) {
    let core = Arc::new(Core::without_work());
    let future = Future::new(Arc::clone(&core) as _);
    (Promise { core }, future)
}

/// Completes one [`Future`], once. Made by [`promise`].
///
/// Completing consumes the promise, so a second completion does not compile:
///
/// ```compile_fail,E0382
/// let (promise, future) = concurrent_futures_future::promise();
/// promise.set_result(1).unwrap();
/// promise.set_result(2).unwrap();
/// ```
///
/// A promise that is dropped without having been kept completes its future with [`TaskError::Abandoned`], so that
/// nobody waits for ever.
///
/// # Cancellation
///
/// The future can be cancelled until
/// [`set_running_or_notify_cancel`](Self::set_running_or_notify_cancel) or a completion comes first. A completion that
/// comes second gives the value back in its error.
pub struct Promise<T: Send + 'static> {
    core: Arc<Core<Infallible, T>>,
}

impl<T: Send + 'static> Promise<T> {
    /// Marks the future as running, after which it can no longer be cancelled; or learns that it was cancelled.
    ///
    /// Python's `Future.set_running_or_notify_cancel`: `true` means go ahead, `false` means that it was cancelled and
    /// there is nothing to do. There is no need to call it before a completion.
    ///
    /// # Errors
    ///
    /// [`InvalidStateError`] if this was called before and said `true`.
    pub fn set_running_or_notify_cancel(&self) -> Result<bool, InvalidStateError> {
        match self.core.header().start() {
            Start::Run(_) => Ok(true),
            Start::Cancelled => Ok(false),
            Start::Taken(_) => Err(InvalidStateError::new(())),
        }
    }

    /// Completes the future with a value.
    ///
    /// Threads that wait for the future are woken first; then its callbacks run, in this thread, before this returns.
    ///
    /// # Errors
    ///
    /// [`InvalidStateError`], with the value inside, if the future was cancelled.
    pub fn set_result(self, value: T) -> Result<(), InvalidStateError<T>> {
        self.complete(Ok(value)).map_err(|outcome| match outcome {
            Ok(value) => InvalidStateError::new(value),
            Err(_) => unreachable!("the outcome comes back as it went in"),
        })
    }

    /// Completes the future with an error; otherwise as [`set_result`](Self::set_result).
    ///
    /// An error of one's own is made into one with [`TaskError::failed`].
    ///
    /// # Errors
    ///
    /// [`InvalidStateError`], with the error inside, if the future was cancelled.
    pub fn set_exception(self, error: TaskError) -> Result<(), InvalidStateError<TaskError>> {
        self.complete(Err(error)).map_err(|outcome| match outcome {
            Err(error) => InvalidStateError::new(error),
            Ok(_) => unreachable!("the outcome comes back as it went in"),
        })
    }

    /// The id of the future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.core.header().id()
    }

    /// Whether the future was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.core.header().snapshot().state() == State::Cancelled
    }

    /// Called once: by a method that consumes the promise, or by its drop.
    fn complete(&self, outcome: Result<T, TaskError>) -> Result<(), Result<T, TaskError>> {
        // Starting it first takes it out of reach of `cancel`, so that storing the outcome races with nobody.
        let running = match self.core.start() {
            Ok(running) => running,
            // SAFETY: nobody but the promise starts its future, so it was `set_running_or_notify_cancel`, which keeps
            // no `Running`; and nobody has finished it, since that is what this one call is for.
            Err(Start::Taken(State::Running)) => unsafe { self.core.resume() },
            Err(_) => return Err(outcome),
        };
        running.finish(outcome);
        Ok(())
    }
}

impl<T: Send + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        // Not if the promise was kept, or its future cancelled.
        if !self.core.header().is_done() {
            drop(self.complete(Err(TaskError::Abandoned)));
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Promise({:?})", self.core.header().snapshot().state())
    }
}
