//! A gate that tasks wait at until a test opens it, so that the test knows where they are without sleeping.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::registry::Registered;

/// Closed at first, and once open, open for good.
///
/// A gate waits by a lock of the standard library, which no executor knows of: to a pool, a task that waits at a gate is
/// a task that computes.
///
/// A gate opens when the test drops it, so that a test that fails does not hang as well. For that to help, it is made
/// after the executor whose tasks wait at it.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    open: bool,
}

impl Gate {
    /// A closed gate that tasks know by its key.
    #[must_use]
    pub fn closed() -> OpenOnDrop {
        OpenOnDrop(Registered::new(Self::default()))
    }

    /// Arrives, and waits until the gate is open.
    pub fn pass(&self) {
        let mut state = self.lock();
        state.arrived += 1;
        self.changed.notify_all();
        while !state.open {
            state = self.wait(state);
        }
    }

    /// Lets everyone pass.
    pub fn open(&self) {
        self.lock().open = true;
        self.changed.notify_all();
    }

    /// Waits until as many have arrived as this, whether or not they have passed.
    pub fn wait_for_arrivals(&self, count: usize) {
        let mut state = self.lock();
        while state.arrived < count {
            state = self.wait(state);
        }
    }

    /// How many have arrived so far.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.lock().arrived
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The test's handle of a [`Gate`].
#[derive(Debug)]
pub struct OpenOnDrop(Registered<Gate>);

impl OpenOnDrop {
    /// What tasks find the gate by.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.0.key()
    }
}

impl std::ops::Deref for OpenOnDrop {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        self.open();
    }
}
