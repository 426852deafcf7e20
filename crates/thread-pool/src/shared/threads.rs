//! The threads of a pool, from their start until they have ended for good, which is after their worker has left.
//!
//! What comes in between are the thread-locals of the user, whose destructors take as long as they like. A thread that is joined
//! has done with them, but nobody can be joined with a deadline. So each thread has a thread-local of the pool's, which counts
//! it out. It is the first that the thread makes, and what was made last is dropped first, on all platforms that we know of;
//! where that were not so, a deadline might pass while a thread is joined, and nothing else would go wrong.

use std::sync::{Arc, PoisonError};

use crate::sync::{Condvar, Instant, JoinHandle, Mutex};

#[derive(Default)]
pub(super) struct Threads {
    /// Those to be joined. Not locked while joining: a thread that is joined may first have to start another.
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Held while joining, so that every waiting shutdown returns after it.
    joining: Mutex<()>,
    count: Arc<Count>,
}

/// Apart from the pool: what a thread drops last must not be the last handle of a pool, and with it what is the user's.
#[derive(Default)]
struct Count {
    alive: Mutex<usize>,
    /// There is none left.
    ended: Condvar,
}

/// Counts a thread as one that has not ended, until it is dropped.
pub(crate) struct Alive(Arc<Count>);

impl Threads {
    /// Counts a thread that is about to be started.
    pub(super) fn count_one(&self) -> Alive {
        *self.count.alive.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Alive(Arc::clone(&self.count))
    }

    /// Keeps the thread to be joined at the end, and forgets those that have returned since.
    pub(super) fn keep(&self, handle: JoinHandle<()>) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        // Loom's threads cannot be asked.
        #[cfg(not(loom))]
        handles.retain(|thread| !thread.is_finished());
        handles.push(handle);
    }

    /// Waits until there is no thread left, and none can come any more; says whether that was in time.
    pub(super) fn end_by(&self, deadline: Instant) -> bool {
        let mut alive = self.count.alive.lock().unwrap_or_else(PoisonError::into_inner);
        while *alive > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let ended = &self.count.ended;
            alive = ended.wait_timeout(alive, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// As `end_by`, however long it takes; and for the system to have done with them, too.
    pub(super) fn join(&self) {
        let _joining = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let handles =
                std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
            if handles.is_empty() {
                // None can come any more: only a worker starts one after the shutdown, and all workers have been joined.
                break;
            }
            for thread in handles {
                // Its panic, if any, was contained before; the thread itself cannot panic.
                drop(thread.join());
            }
        }
        // One that has returned is forgotten, but may drop its thread-locals still.
        let mut alive = self.count.alive.lock().unwrap_or_else(PoisonError::into_inner);
        while *alive > 0 {
            alive = self.count.ended.wait(alive).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut alive = self.0.alive.lock().unwrap_or_else(PoisonError::into_inner);
        *alive -= 1;
        if *alive == 0 {
            self.0.ended.notify_all();
        }
    }
}
