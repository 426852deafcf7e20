//! The threads of the crew, from their start until they have ended for good, which is after they have left the crew.
//!
//! What comes in between are the thread-locals that callbacks have made, whose destructors take as long as they like. A thread
//! that is joined has done with them, but nobody can be joined with a deadline. So each thread has a thread-local of the pool's,
//! which counts it out. It is the first that the thread makes, and what was made last is dropped first, on Linux; where that
//! were not so, a deadline might pass while a thread is joined, and nothing else would go wrong.

use std::{
    cell::Cell,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::Instant,
};

use super::link::lock;

thread_local! {
    static ALIVE: Cell<Option<Alive>> = const { Cell::new(None) };
}

#[derive(Default)]
pub(super) struct Threads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// Held while joining, so that every waiting shutdown returns after it.
    joining: Mutex<()>,
    count: Arc<Count>,
}

/// Apart from the pool: what a thread drops last must not be the last handle of a pool.
#[derive(Default)]
struct Count {
    alive: Mutex<usize>,
    /// There is none left.
    ended: Condvar,
}

/// Counts a thread as one that has not ended, until it is dropped.
pub(super) struct Alive(Arc<Count>);

impl Threads {
    /// Counts a thread that is about to be started.
    pub(super) fn count_one(&self) -> Alive {
        *lock(&self.count.alive) += 1;
        Alive(Arc::clone(&self.count))
    }

    /// Keeps the thread to be joined at the end, and forgets those that have returned since.
    pub(super) fn keep(&self, handle: JoinHandle<()>) {
        let mut handles = lock(&self.handles);
        handles.retain(|thread| !thread.is_finished());
        handles.push(handle);
    }

    /// When none can come any more: waits until there is no thread left, and says whether that was in time.
    pub(super) fn end_by(&self, deadline: Option<Instant>) -> bool {
        let mut alive = lock(&self.count.alive);
        while *alive > 0 {
            let ended = &self.count.ended;
            alive = match deadline {
                None => ended.wait(alive).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    ended.wait_timeout(alive, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// As `end_by`, however long it takes; and for the system to have done with them, too.
    pub(super) fn join(&self) {
        let _joining = lock(&self.joining);
        let handles = std::mem::take(&mut *lock(&self.handles));
        for thread in handles {
            // None panics.
            drop(thread.join());
        }
        // One that has returned is forgotten, but may drop its thread-locals still.
        self.end_by(None);
    }
}

impl Alive {
    /// To be called by the thread itself, first of all.
    pub(super) fn until_the_end(self) {
        ALIVE.set(Some(self));
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut alive = lock(&self.0.alive);
        *alive -= 1;
        if *alive == 0 {
            self.0.ended.notify_all();
        }
    }
}
