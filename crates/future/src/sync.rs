//! The one place that chooses between the standard library's synchronisation types and loom's models of them.
//!
//! `Arc` is the standard one in both: loom's cannot hold a trait object, and nothing here relies on the count of an
//! `Arc` for anything but freeing memory. Process-wide statics are standard too, since a loom model cannot outlive its
//! run.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicUsize, Ordering},
    },
    thread,
};

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicUsize, Ordering},
    },
    thread,
};

/// Locks, whether or not a panic has passed through the lock before.
///
/// No user code ever runs under one of our locks, so a poisoned one can only mean that a thread died of a bug or of a
/// failed allocation between two plain assignments; the data behind it is still what its owner wrote last.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `std::cell::UnsafeCell` with the access methods of loom's, which notices when two threads are inside at once.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
