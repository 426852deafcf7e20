//! A handle that can be cloned, for outcomes with several readers.

use std::{
    fmt,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    any::{AnyFuture, Sealed, handle_methods},
    cell::AnyCell,
    error::{TaskError, TimeoutError},
    future::{Future, add_callback, describe},
    waiter::WaiterKey,
};

/// A [`Future`] with any number of readers, made by [`Future::share`].
///
/// Clones are handles of the same future, with the same id. Reading borrows the value, so it may be read any number of
/// times, as Python's futures may; it is dropped with the last clone.
///
/// ```
/// use concurrent_futures_future::promise;
///
/// let (promise, future) = promise();
/// let future = future.share();
/// let reader = std::thread::spawn({
///     let future = future.clone();
///     move || future.result().map(String::len)
/// });
/// promise.set_result("hello".to_owned()).unwrap();
/// assert_eq!(future.result()?, "hello");
/// assert_eq!(reader.join().unwrap()?, 5);
/// # Ok::<(), concurrent_futures_future::TaskError>(())
/// ```
///
/// # Cancellation
///
/// Any clone can [`cancel`](Self::cancel), for all of them. Dropping one does not.
pub struct SharedFuture<T> {
    shared: Arc<Shared<T>>,
    waker: Option<WaiterKey>,
}

struct Shared<T> {
    source: Future<T>,
    /// Filled from the source by the first reader.
    outcome: OnceLock<Result<T, TaskError>>,
}

impl<T> SharedFuture<T> {
    pub(crate) fn new(source: Future<T>) -> Self {
        Self { shared: Arc::new(Shared { source, outcome: OnceLock::new() }), waker: None }
    }

    handle_methods!();

    /// Waits for the outcome and lends it.
    ///
    /// # Errors
    ///
    /// [`TaskError`], if there is no value: the task panicked, was cancelled, and so on.
    pub fn result(&self) -> Result<&T, TaskError> {
        self.wait();
        self.outcome()
    }

    /// Waits for the outcome for as long as `timeout`, and lends it.
    ///
    /// # Errors
    ///
    /// [`TimeoutError`] if it is not there in time; what the task itself came to is the inner result.
    pub fn result_timeout(&self, timeout: Duration) -> Result<Result<&T, TaskError>, TimeoutError> {
        self.wait_timeout(timeout)?;
        Ok(self.outcome())
    }

    /// Calls `callback` with a clone of this handle when the future ends, or now if it has.
    ///
    /// As [`Future::add_done_callback`], except that the callback can read the value.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static)
    where
        T: Send + Sync + 'static,
    {
        let future = self.clone();
        add_callback(self.cell(), Box::new(move || callback(&future)));
    }

    /// Turns the handle back into the only one there is.
    ///
    /// # Errors
    ///
    /// The handle itself, if there are other clones or the value has been read already.
    pub fn unshare(self) -> Result<Future<T>, Self> {
        let mut this = self;
        // In this order: another reader may take the value and then let go of its handle at any moment.
        let only = Arc::get_mut(&mut this.shared);
        if only.is_none_or(|shared| shared.outcome.get().is_some()) {
            return Err(this);
        }
        this.forget_waker();
        let shared = Arc::clone(&this.shared);
        drop(this);
        match Arc::try_unwrap(shared) {
            Ok(shared) => Ok(shared.source),
            Err(shared) => Err(Self { shared, waker: None }),
        }
    }

    /// The outcome of a future that has ended.
    fn outcome(&self) -> Result<&T, TaskError> {
        self.shared.outcome.get_or_init(|| self.shared.source.take()).as_ref().map_err(Clone::clone)
    }

    fn forget_waker(&mut self) {
        if let Some(key) = self.waker.take() {
            self.cell().header().deregister(key);
        }
    }
}

impl<T> Clone for SharedFuture<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), waker: None }
    }
}

impl<T> Drop for SharedFuture<T> {
    fn drop(&mut self) {
        self.forget_waker();
    }
}

/// Any number of clones can be awaited, any number of times.
impl<T: Clone> std::future::Future for SharedFuture<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let header = this.shared.source.cell().header();
        if header.is_done() || !header.register_waker(&mut this.waker, cx.waker()) {
            this.waker = None;
            return Poll::Ready(this.outcome().cloned());
        }
        Poll::Pending
    }
}

impl<T> PartialEq for SharedFuture<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<T> Eq for SharedFuture<T> {}

impl<T> Hash for SharedFuture<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<T> fmt::Debug for SharedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "SharedFuture", self.cell())
    }
}

impl<T> Sealed for SharedFuture<T> {
    #[expect(private_interfaces, reason = "called from inside this crate alone")]
    fn cell(&self) -> &dyn AnyCell {
        &**self.shared.source.cell()
    }
}

impl<T> AnyFuture for SharedFuture<T> {}

impl<T> From<Future<T>> for SharedFuture<T> {
    fn from(future: Future<T>) -> Self {
        future.share()
    }
}
