//! Counting what is made and what is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::registry::{self, Registered};

/// Counts the [`Token`]s that it has made, and those that are gone.
#[derive(Clone, Debug, Default)]
pub struct DropCounter {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
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
        self.counts.made.fetch_add(1, Ordering::SeqCst);
        Token { counts: Arc::clone(&self.counts) }
    }

    /// How many tokens were made.
    #[must_use]
    pub fn made(&self) -> usize {
        self.counts.made.load(Ordering::SeqCst)
    }

    /// How many tokens were dropped.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.counts.dropped.load(Ordering::SeqCst)
    }

    /// How many tokens there are.
    #[must_use]
    pub fn alive(&self) -> usize {
        // In this order, so that a token made meanwhile is not counted as gone before it was there.
        let dropped = self.dropped();
        self.made() - dropped
    }
}

impl Clone for Token {
    fn clone(&self) -> Self {
        self.counts.made.fetch_add(1, Ordering::SeqCst);
        Self { counts: Arc::clone(&self.counts) }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.counts.dropped.fetch_add(1, Ordering::SeqCst);
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
        let counter = registry::find::<DropCounter>(key);
        Self { value, key, _token: counter.token() }
    }

    /// A counter, and the key under which it is registered.
    #[must_use]
    pub fn counter() -> Registered<DropCounter> {
        Registered::new(DropCounter::new())
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
