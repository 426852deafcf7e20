//! Functions for tasks that may run on any executor: they capture nothing, and find what they need by number.

use std::sync::Mutex;

use crate::{
    drops::Tracked,
    gate::Gate,
    registry::{self, Registered},
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
    registry::find::<Gate>(gate).pass();
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

/// A list that tasks write to, in the order in which they run.
#[derive(Debug, Default)]
pub struct Log {
    entries: Mutex<Vec<u64>>,
}

impl Log {
    /// An empty list, which tasks know by its key.
    #[must_use]
    pub fn new() -> Registered<Self> {
        Registered::new(Self::default())
    }

    /// Adds an entry.
    ///
    /// # Panics
    ///
    /// If another task panicked in the middle of this.
    pub fn push(&self, entry: u64) {
        self.entries.lock().expect("nothing panics here").push(entry);
    }

    /// What was written so far.
    ///
    /// # Panics
    ///
    /// If a task panicked while it wrote.
    #[must_use]
    pub fn entries(&self) -> Vec<u64> {
        self.entries.lock().expect("nothing panics here").clone()
    }
}

/// Writes `value` to the list with this key, and returns it.
#[must_use]
pub fn write((log, value): (u64, u64)) -> u64 {
    registry::find::<Log>(log).push(value);
    value
}

/// Writes `value` to the list, then waits at the gate.
#[must_use]
pub fn write_and_pass((log, gate, value): (u64, u64, u64)) -> u64 {
    registry::find::<Log>(log).push(value);
    registry::find::<Gate>(gate).pass();
    value
}
