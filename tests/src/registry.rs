//! Things of a test that tasks find by number.
//!
//! A task that may run on any executor captures nothing, and its argument is all that it is given. A number crosses
//! any wire, and since the executors of these tests all run in this process, the task can look up what is meant.

use std::{
    any::Any,
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

type Entries = HashMap<u64, Arc<dyn Any + Send + Sync>>;

static ENTRIES: LazyLock<Mutex<Entries>> = LazyLock::new(Mutex::default);

/// Something that tasks can look up by its [`key`](Self::key) until this is dropped.
#[derive(Debug)]
pub struct Registered<T> {
    key: u64,
    value: Arc<T>,
}

impl<T: Send + Sync + 'static> Registered<T> {
    /// Registers `value`.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "keys are used once")]
    pub fn new(value: T) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let value = Arc::new(value);
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
    }
}

/// What was registered under this key.
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
