//! Taking futures in the order in which they end.
//!
//! Python's `as_completed` installs a waiter on every future, and calling `wait(FIRST_COMPLETED)` again and again
//! installs them all each time, which is quadratic. Here each future is registered once and announces itself when it
//! ends, so that a set to which futures are added and from which they are taken one by one stays linear.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    error::Error,
    fmt,
    iter::FusedIterator,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    any::{AnyFuture, Sealed},
    error::TimeoutError,
    time::Deadline,
    wait::{help, identity},
    waiter::{ReadyQueue, Waiter, WaiterKey},
    worker,
};

/// Futures that are taken out in the order in which they end, while others are still being added.
///
/// Each future goes in once and comes out once. Dropping the set drops the futures in it and cancels nothing.
///
/// ```
/// use concurrent_futures_future::{CompletionSet, promise};
///
/// let mut set = CompletionSet::new();
/// let (slow, future) = promise();
/// set.insert(future);
/// let (quick, future) = promise();
/// set.insert(future);
///
/// quick.set_result("quick").unwrap();
/// assert_eq!(set.next().unwrap().result()?, "quick");
/// slow.set_result("slow").unwrap();
/// assert_eq!(set.next().unwrap().result()?, "slow");
/// assert!(set.next().is_none());
/// # Ok::<(), concurrent_futures_future::TaskError>(())
/// ```
pub struct CompletionSet<F: AnyFuture> {
    queue: Arc<ReadyQueue>,
    next_token: u64,
    entries: HashMap<u64, Entry<F>>,
    /// Tokens of futures that this thread, if it is a worker of their pool, may still find unstarted. Each is looked
    /// at once. Some may have left the set, but never many more than are in it.
    to_help: VecDeque<u64>,
}

struct Entry<F> {
    future: F,
    /// `None` if the future had ended when it was added.
    key: Option<WaiterKey>,
}

impl<F: AnyFuture> CompletionSet<F> {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: ReadyQueue::new(),
            next_token: 0,
            entries: HashMap::new(),
            to_help: VecDeque::new(),
        }
    }

    /// Adds a future, which may have ended already.
    pub fn insert(&mut self, future: F) {
        let token = self.next_token;
        self.next_token += 1;
        let waiter = Waiter::Set(Arc::clone(&self.queue), token);
        let key = match future.cell().header().register(waiter) {
            Ok(key) => Some(key),
            Err(_ended) => {
                self.queue.push(token);
                None
            }
        };
        self.entries.insert(token, Entry { future, key });
        if key.is_some() && worker::current_pool().is_some() {
            // A set that lives long and never has to wait would keep the tokens of all that was ever in it.
            if self.to_help.len() >= 2 * self.entries.len() + 8 {
                self.to_help.retain(|token| self.entries.contains_key(token));
            }
            self.to_help.push_back(token);
        }
    }

    /// How many futures are in the set, whether or not they have ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no future in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes out the next future that has ended, waiting until there is one; `None` if the set is empty.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the set, and nothing could be added"
    )]
    pub fn next(&mut self) -> Option<F> {
        self.next_until(Deadline::NEVER).ok().flatten()
    }

    /// As [`next`](Self::next), waiting for as long as `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimeoutError`] if no future has ended in time. All of them stay in the set.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<F>, TimeoutError> {
        self.next_until(Deadline::after(timeout))
    }

    /// Takes out the next future that has ended already, if any.
    pub fn try_next(&mut self) -> Option<F> {
        let token = self.queue.try_pop()?;
        self.remove(token)
    }

    /// As [`next`](Self::next), for async code: the task is woken when a future ends.
    ///
    /// Only the task that polled last is woken.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<F>> {
        if self.entries.is_empty() {
            return Poll::Ready(None);
        }
        match self.queue.poll_pop(cx.waker()) {
            Some(token) => Poll::Ready(self.remove(token)),
            None => Poll::Pending,
        }
    }

    pub(crate) fn next_until(&mut self, deadline: Deadline) -> Result<Option<F>, TimeoutError> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        if let Some(future) = self.try_next() {
            return Ok(Some(future));
        }
        if deadline.is_never() {
            while let Some(token) = self.to_help.pop_front() {
                if let Some(entry) = self.entries.get(&token) {
                    help(entry.future.cell());
                }
                if let Some(future) = self.try_next() {
                    return Ok(Some(future));
                }
            }
        } else if deadline.has_passed() {
            return Err(TimeoutError::new(()));
        }
        match self.queue.pop(deadline.instant()) {
            Some(token) => Ok(self.remove(token)),
            None => Err(TimeoutError::new(())),
        }
    }

    /// How many tokens are kept to help with.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn to_help(&self) -> usize {
        self.to_help.len()
    }

    fn remove(&mut self, token: u64) -> Option<F> {
        self.entries.remove(&token).map(|entry| entry.future)
    }

    /// All futures in the set, whether or not they have ended, in the order in which they were added.
    #[must_use = "dropping the futures gives up their results"]
    pub fn into_futures(mut self) -> Vec<F> {
        let mut entries: Vec<_> = self.entries.drain().collect();
        entries.sort_unstable_by_key(|(token, _)| *token);
        for (_, entry) in &entries {
            entry.deregister();
        }
        entries.into_iter().map(|(_, entry)| entry.future).collect()
    }
}

impl<F: AnyFuture> Entry<F> {
    fn deregister(&self) {
        let header = self.future.cell().header();
        if let Some(key) = self.key
            && !header.is_done()
        {
            header.deregister(key);
        }
    }
}

impl<F: AnyFuture> Drop for CompletionSet<F> {
    fn drop(&mut self) {
        for entry in self.entries.values() {
            entry.deregister();
        }
    }
}

impl<F: AnyFuture> Default for CompletionSet<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: AnyFuture> Extend<F> for CompletionSet<F> {
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.insert(future);
        }
    }
}

impl<F: AnyFuture> FromIterator<F> for CompletionSet<F> {
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}

impl<F: AnyFuture> fmt::Debug for CompletionSet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The futures given, each once, as they end; Python's `concurrent.futures.as_completed`.
///
/// Those that have ended already come first. Takes futures by value or by reference, of one executor or of several. The
/// iterator keeps no hold of a future that it has handed out. It yields futures rather than values, so that a failure
/// is found where its future is read, and [`Future::id`](crate::Future::id) tells which one it is.
///
/// # Cancellation
///
/// A cancelled future has ended, and is yielded. Dropping the iterator cancels nothing.
///
/// ```
/// use concurrent_futures_future::{as_completed, promise};
///
/// let (first, one) = promise();
/// let (second, two) = promise();
/// second.set_result(2).unwrap();
/// let mut completed = as_completed([one, two]);
/// assert_eq!(completed.next().unwrap().result()?, 2);
/// first.set_result(1).unwrap();
/// assert_eq!(completed.next().unwrap().result()?, 1);
/// assert!(completed.next().is_none());
/// # Ok::<(), concurrent_futures_future::TaskError>(())
/// ```
pub fn as_completed<I>(futures: I) -> AsCompleted<I::Item>
where
    I: IntoIterator<Item: AnyFuture>,
{
    AsCompleted { set: collect_once(futures) }
}

/// As [`as_completed`], with one deadline for the whole iteration, counted from this call.
///
/// Futures that have ended are yielded even after the deadline. When it has passed and none is left that has, the
/// iterator yields the error once and then ends; [`AsCompletedTimeout::into_unfinished`] returns the futures that are
/// still going.
pub fn as_completed_timeout<I>(futures: I, timeout: Duration) -> AsCompletedTimeout<I::Item>
where
    I: IntoIterator<Item: AnyFuture>,
{
    let deadline = Deadline::after(timeout);
    let set = collect_once(futures);
    let total = set.len();
    AsCompletedTimeout { set, deadline, total, expired: false }
}

fn collect_once<I>(futures: I) -> CompletionSet<I::Item>
where
    I: IntoIterator<Item: AnyFuture>,
{
    let mut seen = HashSet::new();
    futures.into_iter().filter(|future| seen.insert(identity(future.cell().header()))).collect()
}

/// The iterator of [`as_completed`].
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct AsCompleted<F: AnyFuture> {
    set: CompletionSet<F>,
}

impl<F: AnyFuture> Iterator for AsCompleted<F> {
    type Item = F;

    fn next(&mut self) -> Option<F> {
        self.set.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.set.len(), Some(self.set.len()))
    }
}

impl<F: AnyFuture> ExactSizeIterator for AsCompleted<F> {}
impl<F: AnyFuture> FusedIterator for AsCompleted<F> {}

/// The iterator of [`as_completed_timeout`].
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct AsCompletedTimeout<F: AnyFuture> {
    set: CompletionSet<F>,
    deadline: Deadline,
    total: usize,
    expired: bool,
}

impl<F: AnyFuture> AsCompletedTimeout<F> {
    /// The futures that have not been yielded, in the order in which they were given.
    #[must_use = "dropping the futures gives up their results"]
    pub fn into_unfinished(self) -> Vec<F> {
        self.set.into_futures()
    }
}

impl<F: AnyFuture> Iterator for AsCompletedTimeout<F> {
    type Item = Result<F, AsCompletedTimeoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.expired {
            return None;
        }
        match self.set.next_until(self.deadline) {
            Ok(future) => future.map(Ok),
            Err(_timeout) => {
                self.expired = true;
                let unfinished = self.set.len();
                Some(Err(AsCompletedTimeoutError { unfinished, total: self.total }))
            }
        }
    }
}

impl<F: AnyFuture> FusedIterator for AsCompletedTimeout<F> {}

/// The deadline of [`as_completed_timeout`] passed before all futures had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AsCompletedTimeoutError {
    /// How many futures had not ended.
    pub unfinished: usize,
    /// How many there were.
    pub total: usize,
}

impl fmt::Display for AsCompletedTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (of {}) futures unfinished", self.unfinished, self.total)
    }
}

impl Error for AsCompletedTimeoutError {}
