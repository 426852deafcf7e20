//! What a future knows of the pool whose worker is asking for it.
//!
//! A task that waits for another task of its own pool would starve the pool if every worker did so: Python documents
//! the deadlock. Two things prevent it here, and both need to know that the thread which is about to sleep is a
//! worker, and whose.
//!
//! 1. If the awaited task belongs to the same pool and has not started, the worker runs it on the spot; unless it is
//!    deep inside of such runs already, each of which takes room on its stack.
//! 2. Otherwise the pool is told that one of its workers is out of action, so that another thread can stand in.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{remote, task::Ran};

/// Names a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(u32);

impl PoolId {
    /// A name that no other pool of this process has.
    ///
    /// # Panics
    ///
    /// If there have been two billion already.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every call answers something else")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // A task has 31 bits for the pool that it is queued in, see the header of its future; and half of the numbers are for
        // pools whose workers are elsewhere.
        match u32::try_from(NEXT.fetch_add(1, Ordering::Relaxed)) {
            Ok(number) if number < remote::FIRST => Self(number),
            _ => panic!("there are no more numbers for pools"),
        }
    }

    pub(crate) const NONE: u32 = 0;

    pub(crate) const fn from_number(number: u32) -> Self {
        Self(number)
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// Whether the calling thread is a worker of this pool.
    #[must_use]
    pub fn is_current(self) -> bool {
        current_pool() == Some(self)
    }
}

/// What a pool wants to know of its workers while they run tasks.
///
/// All are called by the worker itself, outside of any lock, and must not panic.
pub trait Host {
    /// The worker is about to sleep, for as long as it takes.
    fn blocked(&self);

    /// The worker is awake again. Comes after each [`blocked`](Self::blocked).
    fn unblocked(&self);

    /// The worker has done the work of its task, and is about to complete the future.
    ///
    /// Whoever learns of the completion and submits the next task must find this worker available, or the pool would
    /// start another thread for a task that this one is free to take. Not called for a task that the worker runs in
    /// the middle of another, nor for one that it runs for another executor.
    fn finishing(&self, _ran: Ran) {}

    /// The worker is about to run done-callbacks after all, for as long as these take. Comes after
    /// [`finishing`](Self::finishing), if there are any.
    fn running_callbacks(&self) {}

    /// The worker has run a task in place, in the middle of another. Its entry is still in some queue.
    fn ran_in_place(&self, _ran: Ran) {}
}

struct Current {
    pool: PoolId,
    host: Rc<dyn Host>,
    /// How many tasks this worker runs in the middle of one another.
    depth: Cell<usize>,
}

/// How deep a worker goes. Trees of tasks that wait for their children are rarely as deep as this; a longer chain, each
/// of which waits for the next, would overflow the stack, and goes on in another thread instead.
const DEPTH_MAX: usize = 64;

#[cfg(not(loom))]
thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

// Loom's macro does not know `const` blocks.
#[cfg(loom)]
loom::thread_local! {
    static CURRENT: RefCell<Option<Current>> = RefCell::new(None);
}

/// For executor authors: runs `f` in the knowledge that this thread is a worker of `pool`.
///
/// While `f` runs, waiting for a future of `pool` that has not started runs it in place, and any other sleep inside
/// this library is announced to `host`.
pub fn work_for<R>(pool: PoolId, host: Rc<dyn Host>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Current>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| drop(current.replace(self.0.take())));
        }
    }
    let current = Current { pool, host, depth: Cell::new(0) };
    let _restore = Restore(CURRENT.with(|slot| slot.replace(Some(current))));
    f()
}

/// What `f` finds of the pool that this thread works for, if any.
fn with_current<R>(f: impl FnOnce(&Current) -> R) -> Option<R> {
    // Not accessible while the thread is ending: then it is nobody's worker any more.
    CURRENT.try_with(|current| current.borrow().as_ref().map(f)).ok().flatten()
}

fn current_host() -> Option<Rc<dyn Host>> {
    with_current(|current| Rc::clone(&current.host))
}

/// Tells `pool`, if this thread works for it, that it is about to complete the future of one of its tasks.
pub(crate) fn finishing(pool: u32, ran: Ran) {
    with_current(|current| {
        // A task may run others with an executor of its own, which are none of the pool's business.
        if current.pool.get() == pool {
            // Borrowed for the call, which spares a count: a host does not come back to this module.
            current.host.finishing(ran);
        }
    });
}

/// Tells the pool that this thread works for, if any, that it is about to run callbacks.
pub(crate) fn running_callbacks() {
    if let Some(host) = current_host() {
        host.running_callbacks();
    }
}

/// Tells the pool that this thread works for, if any, that a task was run in place.
pub(crate) fn ran_in_place(ran: Ran) {
    if let Some(host) = current_host() {
        host.ran_in_place(ran);
    }
}

pub(crate) fn current_pool() -> Option<PoolId> {
    with_current(|current| current.pool)
}

/// A worker's leave to run another task in the middle of the present one, until dropped.
pub(crate) struct Nested(());

impl Nested {
    /// If the calling thread is a worker of `pool`, and not too deep in already.
    pub(crate) fn enter(pool: u32) -> Option<Self> {
        with_current(|current| {
            let depth = current.depth.get();
            (current.pool.get() == pool && depth < DEPTH_MAX).then(|| {
                current.depth.set(depth + 1);
                Self(())
            })
        })
        .flatten()
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        // What was entered is what is left: `work_for` puts back what it found.
        with_current(|current| current.depth.set(current.depth.get() - 1));
    }
}

/// For executor authors, and for locks and queues that wait: says that this thread is about to sleep, until dropped.
#[derive(Debug)]
#[must_use = "the worker counts as awake again when this is dropped"]
pub struct Blocked {
    host: Option<HostHandle>,
}

struct HostHandle(Rc<dyn Host>);

impl std::fmt::Debug for HostHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

impl Blocked {
    /// Tells the pool that this thread works for, if any.
    pub fn enter() -> Self {
        let host = current_host();
        if let Some(host) = &host {
            host.blocked();
        }
        Self { host: host.map(HostHandle) }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(HostHandle(host)) = &self.host {
            host.unblocked();
        }
    }
}

/// Runs `f`, which sleeps or may sleep for long, in the knowledge that this thread is out of action meanwhile.
///
/// Waits of this library say so by themselves. For any other, such as a lock, a channel, a socket or a child process, this
/// tells the pool whose worker the calling thread is, so that another thread can stand in for it; everywhere else it just
/// calls `f`. It costs about a microsecond, or starting a thread, so it is for what may take longer.
///
/// ```
/// use concurrent_futures_future::blocking;
///
/// let (sender, receiver) = std::sync::mpsc::channel();
/// std::thread::spawn(move || sender.send("news"));
/// assert_eq!(blocking(|| receiver.recv()), Ok("news"));
/// ```
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    let _out_of_action = Blocked::enter();
    f()
}
