//! Identities of futures.

use std::{
    fmt,
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// The identity of a future: unique in this process, also after the future is gone.
///
/// Python programs use futures as dictionary keys to remember what each was for. Reading a result moves the
/// [`Future`](crate::Future), so the key to keep is its id:
///
/// ```
/// use std::collections::HashMap;
/// use concurrent_futures_future::{as_completed, promise};
///
/// let (first, future_one) = promise();
/// let (second, future_two) = promise();
/// let names = HashMap::from([(future_one.id(), "one"), (future_two.id(), "two")]);
///
/// second.set_result(2).unwrap();
/// first.set_result(1).unwrap();
/// for future in as_completed([future_one, future_two]) {
///     println!("{}: {}", names[&future.id()], future.result()?);
/// }
/// # Ok::<(), concurrent_futures_future::TaskError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FutureId(NonZeroU64);

impl fmt::Debug for FutureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FutureId({})", self.0)
    }
}

impl fmt::Display for FutureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FutureId {
    /// One that no future has had yet.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: the number itself is all that there is to agree on. At a billion a second the counter lasts for 584 years.
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
}
