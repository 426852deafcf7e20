//! Things of a test that tasks find by number.
//!
//! A task that may run on any executor captures nothing, and its argument is all that it is given. A number crosses
//! any wire. In the process of the test a task looks up what is meant; in another process it looks at the same
//! [slot](crate::arena), if the thing is one that lives there.

use std::{
    any::Any,
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::arena::{self, Slot};

type Entries = HashMap<u64, Arc<dyn Any + Send + Sync>>;

static ENTRIES: LazyLock<Mutex<Entries>> = LazyLock::new(Mutex::default);

/// Keys end in the number of a slot, and begin with one that is never used again.
const SLOT_BITS: u32 = 16;

/// Something that tasks can look up by its [`key`](Self::key) until this is dropped.
#[derive(Debug)]
pub struct Registered<T> {
    key: u64,
    value: Arc<T>,
}

/// Something that is nowhere but in its slot, so that it can be looked at from other processes.
pub trait InSlot: Send + Sync + 'static {
    /// What is in this slot.
    fn in_slot(slot: &'static Slot) -> Self;
}

impl<T: Send + Sync + 'static> Registered<T> {
    /// Registers `value`, for tasks in this process.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self::with(|_| value)
    }

    fn with(make: impl FnOnce(&'static Slot) -> T) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (number, slot) = arena::take();
        let key = NEXT.fetch_add(1, Ordering::Relaxed) << SLOT_BITS | number as u64;
        let value = Arc::new(make(slot));
        let erased: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&value);
        let previous = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner).insert(key, erased);
        assert!(previous.is_none(), "keys are used once");
        Self { key, value }
    }

    /// What tasks look it up by.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }
}

impl<T: InSlot> Registered<T> {
    /// A new one, for tasks in any process.
    #[must_use]
    pub fn in_slot() -> Self {
        Self::with(T::in_slot)
    }
}

impl<T> Deref for Registered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        let removed = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        drop(removed);
        arena::give_back(slot_number(self.key));
    }
}

fn slot_number(key: u64) -> usize {
    usize::try_from(key & ((1 << SLOT_BITS) - 1)).unwrap_or(usize::MAX)
}

/// What was registered under this key, in this process.
///
/// # Panics
///
/// If it is gone, or of another type.
#[must_use]
pub fn find<T: Send + Sync + 'static>(key: u64) -> Arc<T> {
    let found = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let found = found.unwrap_or_else(|| panic!("nothing is registered under {key}"));
    found.downcast().unwrap_or_else(|_| panic!("{key} is not a {}", std::any::type_name::<T>()))
}

/// What was registered under this key, in this process or in the one that this is a worker of.
///
/// # Panics
///
/// If it is known to be gone, or of another type.
#[must_use]
pub fn reach<T: InSlot>(key: u64) -> Arc<T> {
    if arena::is_foreign() { Arc::new(T::in_slot(arena::at(slot_number(key)))) } else { find(key) }
}
