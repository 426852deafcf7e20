//! A gate that tasks wait at until a test opens it, so that the test knows where they are without sleeping.

use std::sync::atomic::Ordering::SeqCst;

use crate::{
    arena::Slot,
    registry::{InSlot, Registered},
};

/// Closed at first, and once open, open for good.
///
/// A gate waits by means of the system, which no executor knows of: to a pool, a task that waits at a gate is a task that
/// computes. Tasks in other processes can wait at it as well.
///
/// A gate opens when the test drops it, so that a test that fails does not hang as well. For that to help, it is made
/// after the executor whose tasks wait at it.
#[derive(Debug)]
pub struct Gate {
    /// The first word counts arrivals, the second is 1 when it is open.
    slot: &'static Slot,
}

impl InSlot for Gate {
    fn in_slot(slot: &'static Slot) -> Self {
        Self { slot }
    }
}

impl Gate {
    /// A closed gate that tasks know by its key.
    #[must_use]
    pub fn closed() -> OpenOnDrop {
        OpenOnDrop(Registered::in_slot())
    }

    /// Arrives, and waits until the gate is open.
    pub fn pass(&self) {
        self.slot.words[0].fetch_add(1, SeqCst);
        self.slot.notify();
        self.slot.wait_until(|| self.slot.words[1].load(SeqCst) == 1);
    }

    /// Lets everyone pass.
    pub fn open(&self) {
        self.slot.words[1].store(1, SeqCst);
        self.slot.notify();
    }

    /// Waits until as many have arrived as this, whether or not they have passed.
    pub fn wait_for_arrivals(&self, count: usize) {
        self.slot.wait_until(|| self.arrived() >= count);
    }

    /// How many have arrived so far.
    #[must_use]
    pub fn arrived(&self) -> usize {
        usize::try_from(self.slot.words[0].load(SeqCst)).unwrap_or(usize::MAX)
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
