//! Counting what is made and what is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    arena::Slot,
    registry::{self, InSlot, Registered},
};

/// Counts the [`Token`]s that it has made, and those that are gone.
#[derive(Clone, Debug, Default)]
pub struct DropCounter {
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Counts {
    /// For values that stay in this process: what was made, and what was dropped.
    Here(AtomicU64, AtomicU64),
    /// For those that may be dropped in another one: the same in the first two words.
    InSlot(&'static Slot),
}

impl Default for Counts {
    fn default() -> Self {
        Self::Here(AtomicU64::new(0), AtomicU64::new(0))
    }
}

impl Counts {
    fn made(&self) -> &AtomicU64 {
        match self {
            Self::Here(made, _) => made,
            Self::InSlot(slot) => &slot.words[0],
        }
    }

    fn dropped(&self) -> &AtomicU64 {
        match self {
            Self::Here(_, dropped) => dropped,
            Self::InSlot(slot) => &slot.words[1],
        }
    }
}

impl InSlot for DropCounter {
    fn in_slot(slot: &'static Slot) -> Self {
        Self { counts: Arc::new(Counts::InSlot(slot)) }
    }
}

/// Something whose drop is counted, once.
#[derive(Debug)]
pub struct Token {
    counts: Arc<Counts>,
}

impl DropCounter {
    /// Both counts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more to be counted.
    #[must_use]
    pub fn token(&self) -> Token {
        self.counts.made().fetch_add(1, Ordering::SeqCst);
        Token { counts: Arc::clone(&self.counts) }
    }

    /// How many tokens were made.
    #[must_use]
    pub fn made(&self) -> usize {
        count(self.counts.made())
    }

    /// How many tokens were dropped.
    #[must_use]
    pub fn dropped(&self) -> usize {
        count(self.counts.dropped())
    }

    /// How many tokens there are.
    #[must_use]
    pub fn alive(&self) -> usize {
        // In this order, so that a token made meanwhile is not counted as gone before it was there.
        let dropped = self.dropped();
        self.made() - dropped
    }
}

fn count(of: &AtomicU64) -> usize {
    usize::try_from(of.load(Ordering::SeqCst)).unwrap_or(usize::MAX)
}

impl Clone for Token {
    fn clone(&self) -> Self {
        self.counts.made().fetch_add(1, Ordering::SeqCst);
        Self { counts: Arc::clone(&self.counts) }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.counts.dropped().fetch_add(1, Ordering::SeqCst);
    }
}

/// A number that is counted wherever it is, also after it has crossed a wire: the copy made there is one more.
#[derive(Debug)]
pub struct Tracked {
    /// The number.
    pub value: u64,
    key: u64,
    _token: Token,
}

impl Tracked {
    /// `value`, counted by the counter that is registered under `key`.
    #[must_use]
    pub fn new(key: u64, value: u64) -> Self {
        let counter = registry::reach::<DropCounter>(key);
        Self { value, key, _token: counter.token() }
    }

    /// A counter, and the key under which it is registered.
    #[must_use]
    pub fn counter() -> Registered<DropCounter> {
        Registered::in_slot()
    }
}

impl Serialize for Tracked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.key, self.value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tracked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (key, value) = <(u64, u64)>::deserialize(deserializer)?;
        Ok(Self::new(key, value))
    }
}
