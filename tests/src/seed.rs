//! Randomness that can be had again: a seed, printed on failure, decides all choices.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// Sets the seed; without it every run has another.
pub const SEED_VARIABLE: &str = "CONCURRENT_FUTURES_STRESS_SEED";

/// The seed of this run.
///
/// # Panics
///
/// If the variable is set to something else than a number.
#[must_use]
pub fn of_this_run() -> u64 {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE} is `{text}`")),
        // The standard library's hash maps are seeded by the system.
        Err(_) => RandomState::new().build_hasher().finish(),
    }
}

/// A generator of numbers that are random enough for tests: xorshift64*, by Vigna.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator that belongs to this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Self { state: seed ^ 0x9E37_79B9_7F4A_7C15 };
        if random.state == 0 {
            random.state = 1;
        }
        // Seeds that are close to each other begin alike.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high bits are the better ones.
        (self.next() >> 16) % bound
    }

    /// An index into something of this length, which must not be zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Another generator, for another thread.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }
}
