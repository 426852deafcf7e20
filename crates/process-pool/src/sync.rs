//! The one place that chooses between the real synchronisation types and loom's models of them, for what is modelled: the
//! memory that two processes share, and the pool's backlog.
//!
//! The pool's other locks are the standard library's in both.

#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering, fence},
    },
    thread::yield_now,
};

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering, fence},
    },
    thread::yield_now,
};

use crate::sys;

/// A word to which both sides write.
pub(crate) trait Contended<V> {
    /// A relaxed store.
    ///
    /// To loom it is a swap. Stores of two threads are in no order there, also if one of them is a read-modify-write that has
    /// read what the other thread had stored before; so loom would go through orders that cannot be.
    fn put(&self, value: V);
}

impl Contended<u32> for AtomicU32 {
    fn put(&self, value: u32) {
        #[cfg(not(loom))]
        self.store(value, Ordering::Relaxed);
        #[cfg(loom)]
        self.swap(value, Ordering::Relaxed);
    }
}

impl Contended<u64> for AtomicU64 {
    fn put(&self, value: u64) {
        #[cfg(not(loom))]
        self.store(value, Ordering::Relaxed);
        #[cfg(loom)]
        self.swap(value, Ordering::Relaxed);
    }
}

/// A word on which a thread of another process sleeps, and from which it is woken.
///
/// No pointer and no lock: whatever the other process writes here, nothing comes of it but a wake-up too many or too few.
#[repr(C)]
pub(crate) struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    parked: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl Futex {
    /// In memory that is shared, all-zero bytes do as well.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            #[cfg(loom)]
            parked: Default::default(),
        }
    }

    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps while the word is `expected`, until somebody calls `wake`; or shorter.
    #[cfg(not(loom))]
    pub(crate) fn wait(&self, expected: u32) {
        sys::futex_wait(&self.word, expected);
    }

    /// Wakes one sleeper. To be called after the word was changed.
    #[cfg(not(loom))]
    pub(crate) fn wake(&self) {
        sys::futex_wake(&self.word);
    }

    #[cfg(loom)]
    pub(crate) fn wait(&self, expected: u32) {
        // As the kernel does: it looks and goes to sleep in one step.
        let guard = self.parked.0.lock().unwrap();
        if self.word.load(Ordering::Relaxed) == expected {
            drop(self.parked.1.wait(guard).unwrap());
        }
    }

    #[cfg(loom)]
    pub(crate) fn wake(&self) {
        let _guard = self.parked.0.lock().unwrap();
        self.parked.1.notify_one();
    }
}

#[cfg(loom)]
#[expect(unused_imports, reason = "the functions are not used in models")]
use sys as _;
