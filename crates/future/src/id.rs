//! Identities of futures, handed out when first asked for, so that a task whose id nobody wants does not pay for one.

use std::{
    fmt,
    num::NonZeroU64,
    sync::atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering},
};

use crate::sync::{AtomicU64, Ordering};

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

impl From<FutureId> for u64 {
    fn from(id: FutureId) -> Self {
        id.0.get()
    }
}

/// Room for an id that is chosen the first time it is read.
pub(crate) struct LazyId(AtomicU64);

impl LazyId {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> FutureId {
        // Relaxed throughout: the number itself is all that there is to agree on.
        if let Some(id) = NonZeroU64::new(self.0.load(Ordering::Relaxed)) {
            return FutureId(id);
        }
        let fresh = next();
        match self.0.compare_exchange(0, fresh.get(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => FutureId(fresh),
            // Somebody else was first; `fresh` is a number that no future will have.
            Err(theirs) => FutureId(NonZeroU64::new(theirs).unwrap_or(fresh)),
        }
    }
}

fn next() -> NonZeroU64 {
    static NEXT: StdAtomicU64 = StdAtomicU64::new(1);
    // At a billion a second the counter lasts for 584 years.
    NonZeroU64::new(NEXT.fetch_add(1, StdOrdering::Relaxed)).unwrap_or(NonZeroU64::MAX)
}
