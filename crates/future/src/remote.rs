//! What a future knows of a pool whose workers are elsewhere: who can say whether a task has started there, take it back,
//! and look for its result.
//!
//! Such a pool may send a worker more tasks than the one that it runs, so that it does not have to wait for the next. A task
//! that was sent and not started can still be cancelled; but whether it has been started is for the worker to say, in memory
//! that it shares with the pool. So the future of such a task, and no other, asks the pool.
//!
//! The pool is found by its number, which the task has anyway. Tasks of other pools pay nothing.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{id::FutureId, worker::PoolId};

/// For executor authors: the pool's side of tasks that were sent to workers ahead of time.
///
/// None of its methods may be called with a lock held that it takes itself.
pub trait Remote: Send + Sync {
    /// Sees to it that no worker starts a task that was [sent](crate::PackagedTask::send), if that is still possible; and
    /// if so, calls `cancel`, before anything else may happen to the task. True if it has called it; `None` if the task is
    /// not sent at the moment, because it was taken back or has ended.
    fn revoke(&self, task: FutureId, cancel: &mut dyn FnMut()) -> Option<bool>;

    /// Whether a worker has started a task that was [sent](crate::PackagedTask::send).
    fn has_started(&self, task: FutureId) -> bool;

    /// Looks for results, in the place of a thread that would sleep until one is there, for as long as that is likely to be
    /// quicker. True if `done` says so.
    ///
    /// The calling thread waits for a future and may hold any lock, so this must not run callbacks.
    fn poll_until(&self, done: &dyn Fn() -> bool) -> bool;
}

/// The first number of such a pool, so that futures of others need not look. There are 31 bits for all of them.
pub(crate) const FIRST: u32 = 1 << 30;
const LAST: u32 = u32::MAX >> 1;

static NEXT: AtomicU32 = AtomicU32::new(FIRST);
static POOLS: RwLock<BTreeMap<u32, Weak<dyn Remote>>> = RwLock::new(BTreeMap::new());

/// A pool's entry where the futures of its tasks look for it. Dropping it removes the entry.
pub struct RemotePool {
    number: u32,
}

impl RemotePool {
    /// Makes the pool known.
    ///
    /// # Panics
    ///
    /// If there have been a billion of them.
    #[must_use]
    pub fn new(remote: Weak<dyn Remote>) -> Self {
        // Relaxed: only the number counts.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!((FIRST..=LAST).contains(&number), "there are no more numbers for pools");
        POOLS.write().unwrap_or_else(PoisonError::into_inner).insert(number, remote);
        Self { number }
    }

    /// What tasks are told with [`set_pool`](crate::PackagedTask::set_pool).
    #[must_use]
    pub fn id(&self) -> PoolId {
        PoolId::from_number(self.number)
    }
}

impl Drop for RemotePool {
    fn drop(&mut self) {
        POOLS.write().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl fmt::Debug for RemotePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemotePool").field(&self.number).finish()
    }
}

/// The pool of this number, if it is such a pool and is still there.
pub(crate) fn find(number: u32) -> Option<Arc<dyn Remote>> {
    if number < FIRST {
        return None;
    }
    POOLS.read().unwrap_or_else(PoisonError::into_inner).get(&number)?.upgrade()
}
