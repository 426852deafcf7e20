//! The one place that chooses between the standard library's synchronisation types and loom's models of them.
//!
//! `Arc` is the standard one in both: loom's cannot hold a trait object, and nothing here relies on the count of an
//! `Arc` for anything but freeing memory. Process-wide statics are standard too, since a loom model cannot outlive its
//! run.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
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
