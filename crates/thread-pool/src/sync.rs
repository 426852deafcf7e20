//! The one place that chooses between the real synchronisation types and loom's models of them.
//!
//! What the pool builds on is the standard library's, and of crossbeam the deque and the parker. Loom has no model of the
//! latter two, so there are stand-ins for them below, which promise no more than the documentation of the originals does.
//!
//! Some things are the standard library's in both. `Arc`: loom's cannot hold a trait object, and nothing here relies on its
//! count for anything but freeing memory. Process-wide statics, which a loom model cannot outlive. And what only statistics
//! and descriptions are made of: the tallies, and the name of the task that a worker runs, whose lock nobody holds for
//! longer than an assignment.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

#[cfg(not(loom))]
pub(crate) use crossbeam_deque::{Stealer, Worker as Deque};
#[cfg(not(loom))]
pub(crate) use crossbeam_utils::sync::{Parker, Unparker};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence},
    },
    thread::{self, JoinHandle},
};

#[cfg(loom)]
pub(crate) use self::{
    deque::{Deque, Stealer},
    parker::{Parker, Unparker},
    time::Instant,
};

/// `thread_local!`, with values that are known when this is compiled; loom's does not know `const` blocks.
macro_rules! thread_locals {
    ($($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;)*) => {
        #[cfg(not(loom))]
        std::thread_local! { $($(#[$attribute])* static $name: $type = const { $value };)* }
        #[cfg(loom)]
        loom::thread_local! { $($(#[$attribute])* static $name: $type = $value;)* }
    };
}

pub(crate) use thread_locals;

/// Whether there is a core to search on while others work.
///
/// Asked once for the whole process: the standard library reads several files each time, which takes as long as starting
/// the thread that wants to know.
#[cfg(not(loom))]
pub(crate) fn may_spin() -> bool {
    static MAY_SPIN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *MAY_SPIN.get_or_init(|| thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
}

/// A model decides, with `set_may_spin`.
#[cfg(loom)]
pub(crate) fn may_spin() -> bool {
    MAY_SPIN.get()
}

#[cfg(all(loom, test))]
pub(crate) fn set_may_spin(may_spin: bool) {
    MAY_SPIN.set(may_spin);
}

#[cfg(loom)]
std::thread_local! {
    /// All threads of a model are one thread of the system, which other models may use later.
    static MAY_SPIN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A deque that orders as little as it may.
///
/// Its length is all that loom sees. A push releases and a removal acquires, so that an item comes with what was done
/// before it was pushed; whoever only looks is told a length that may be out of date. The items themselves are behind a
/// lock that loom knows nothing of, and so cannot take for an ordering. A thief takes as many as the original might.
#[cfg(loom)]
mod deque {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use crossbeam_deque::Steal;

    use super::{AtomicUsize, Ordering};

    struct Inner<T> {
        length: AtomicUsize,
        items: Mutex<VecDeque<T>>,
    }

    impl<T> Inner<T> {
        fn push(&self, items: impl IntoIterator<Item = T>) {
            let count = {
                let mut inside = self.items.lock().unwrap();
                let before = inside.len();
                inside.extend(items);
                inside.len() - before
            };
            if count > 0 {
                self.length.fetch_add(count, Ordering::Release);
            }
        }

        /// The first items: one, and as many more as `more` says of the length.
        fn take(&self, more: impl Fn(usize) -> usize) -> Steal<Vec<T>> {
            let length = self.length.load(Ordering::Relaxed);
            if length == 0 {
                return Steal::Empty;
            }
            let count = 1 + more(length);
            let taken = self.length.compare_exchange(
                length,
                length - count,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match taken {
                Ok(_) => Steal::Success(self.items.lock().unwrap().drain(..count).collect()),
                Err(_) => Steal::Retry,
            }
        }
    }

    pub(crate) struct Deque<T>(Arc<Inner<T>>);

    impl<T> Deque<T> {
        pub(crate) fn new_fifo() -> Self {
            let (length, items) = (AtomicUsize::new(0), Mutex::default());
            Self(Arc::new(Inner { length, items }))
        }

        pub(crate) fn stealer(&self) -> Stealer<T> {
            Stealer(Arc::clone(&self.0))
        }

        pub(crate) fn push(&self, item: T) {
            self.0.push([item]);
        }

        pub(crate) fn pop(&self) -> Option<T> {
            loop {
                match self.0.take(|_| 0) {
                    Steal::Success(items) => return items.into_iter().next(),
                    Steal::Empty => return None,
                    Steal::Retry => {}
                }
            }
        }

        pub(crate) fn len(&self) -> usize {
            self.0.length.load(Ordering::Relaxed)
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    pub(crate) struct Stealer<T>(Arc<Inner<T>>);

    impl<T> Stealer<T> {
        pub(crate) fn len(&self) -> usize {
            self.0.length.load(Ordering::Relaxed)
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(crate) fn steal(&self) -> Steal<T> {
            match self.0.take(|_| 0) {
                Steal::Success(mut items) => items.pop().map_or(Steal::Empty, Steal::Success),
                Steal::Empty => Steal::Empty,
                Steal::Retry => Steal::Retry,
            }
        }

        pub(crate) fn steal_batch_and_pop(&self, dest: &Deque<T>) -> Steal<T> {
            match self.0.take(|length| length / 2) {
                Steal::Success(items) => {
                    let mut items = items.into_iter();
                    let first = items.next();
                    // Between the two steps, these are in neither deque.
                    dest.0.push(items);
                    first.map_or(Steal::Empty, Steal::Success)
                }
                Steal::Empty => Steal::Empty,
                Steal::Retry => Steal::Retry,
            }
        }
    }
}

/// A parker as in crossbeam: a token, which `unpark` makes available and `park` waits for and consumes.
#[cfg(loom)]
mod parker {
    use std::{cell::Cell, sync::Arc};

    use super::{Condvar, Instant, Mutex};

    #[derive(Default)]
    struct Token {
        available: Mutex<bool>,
        changed: Condvar,
    }

    pub(crate) struct Parker {
        token: Arc<Token>,
        woke_for_nothing: Cell<bool>,
    }

    impl Parker {
        pub(crate) fn new() -> Self {
            Self { token: Arc::default(), woke_for_nothing: Cell::new(false) }
        }

        pub(crate) fn unparker(&self) -> Unparker {
            Unparker(Arc::clone(&self.token))
        }

        /// Every other call returns for no reason, which callers must bear.
        pub(crate) fn park(&self) {
            self.woke_for_nothing.set(!self.woke_for_nothing.get());
            if self.woke_for_nothing.get() {
                return;
            }
            let mut available = self.token.available.lock().unwrap();
            while !*available {
                available = self.token.changed.wait(available).unwrap();
            }
            *available = false;
        }

        /// A deadline is now, or it never comes; see `Instant`. If it is now, this returns at once, which may be after
        /// anything that other threads do meanwhile.
        pub(crate) fn park_deadline(&self, deadline: Instant) {
            if deadline.has_come() {
                *self.token.available.lock().unwrap() = false;
            } else {
                self.park();
            }
        }
    }

    #[derive(Clone)]
    pub(crate) struct Unparker(Arc<Token>);

    impl Unparker {
        pub(crate) fn unpark(&self) {
            *self.0.available.lock().unwrap() = true;
            self.0.changed.notify_one();
        }
    }
}

/// A clock that stands still, since a model must do the same each time it is run.
#[cfg(loom)]
mod time {
    use std::{ops::Sub, time::Duration};

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Instant(Duration);

    impl Instant {
        pub(crate) fn now() -> Self {
            Self(Duration::ZERO)
        }

        pub(crate) fn has_come(self) -> bool {
            self <= Self::now()
        }

        pub(crate) fn checked_add(self, duration: Duration) -> Option<Self> {
            self.0.checked_add(duration).map(Self)
        }

        pub(crate) fn elapsed(self) -> Duration {
            Self::now() - self
        }

        pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, other: Self) -> Duration {
            self.0 - other.0
        }
    }
}
