//! Functions for tasks that may run on any executor: they capture nothing, and find what they need by number.

use std::sync::atomic::Ordering::SeqCst;

use crate::{
    arena::{Slot, WORDS},
    drops::Tracked,
    gate::Gate,
    registry::{self, InSlot, Registered},
};

/// The simplest thing that has a result.
#[must_use]
pub fn double(n: u64) -> u64 {
    n * 2
}

/// Another simple thing, which is not told from [`double`] by the type of its result.
#[must_use]
pub fn square(n: u64) -> u64 {
    n * n
}

/// Waits at the gate with this key, and returns the key.
#[must_use]
pub fn pass(gate: u64) -> u64 {
    registry::reach::<Gate>(gate).pass();
    gate
}

/// As [`pass`], but for zero, which is no gate.
#[must_use]
pub fn pass_unless_zero(gate: u64) -> u64 {
    if gate == 0 { 0 } else { pass(gate) }
}

/// Panics with this message.
///
/// # Panics
///
/// Always.
#[must_use]
pub fn fail(message: String) -> u64 {
    panic!("{message}")
}

/// Doubles even numbers.
///
/// # Panics
///
/// For odd numbers, with a message that names the number.
#[must_use]
pub fn double_even(n: u64) -> u64 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n * 2
}

/// Makes a number that the counter with this key counts.
#[must_use]
pub fn track((counter, value): (u64, u64)) -> Tracked {
    Tracked::new(counter, value)
}

/// A list that tasks write to, in the order in which they run. It has room for about two thousand entries.
#[derive(Debug)]
pub struct Log {
    /// The first word counts entries. Each of the others is an entry plus one, or zero while it is not written.
    slot: &'static Slot,
}

impl InSlot for Log {
    fn in_slot(slot: &'static Slot) -> Self {
        Self { slot }
    }
}

impl Log {
    /// An empty list, which tasks know by its key.
    #[must_use]
    pub fn new() -> Registered<Self> {
        Registered::in_slot()
    }

    /// Adds an entry.
    ///
    /// # Panics
    ///
    /// If it is full.
    pub fn push(&self, entry: u64) {
        let index = usize::try_from(self.slot.words[0].fetch_add(1, SeqCst)).unwrap_or(WORDS);
        self.slot.words[index + 1].store(entry + 1, SeqCst);
    }

    /// What was written so far.
    #[must_use]
    pub fn entries(&self) -> Vec<u64> {
        let count = usize::try_from(self.slot.words[0].load(SeqCst)).unwrap_or(WORDS);
        let entries = self.slot.words[1..].iter().take(count);
        entries.filter_map(|entry| entry.load(SeqCst).checked_sub(1)).collect()
    }
}

/// Writes `value` to the list with this key, and returns it.
#[must_use]
pub fn write((log, value): (u64, u64)) -> u64 {
    registry::reach::<Log>(log).push(value);
    value
}

/// Writes `value` to the list, then waits at the gate.
#[must_use]
pub fn write_and_pass((log, gate, value): (u64, u64, u64)) -> u64 {
    registry::reach::<Log>(log).push(value);
    registry::reach::<Gate>(gate).pass();
    value
}
