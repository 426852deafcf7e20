//! `stress [seconds] [seed]`: the stress tests for longer than `test` gives them, optimised.
//!
//! The test binary reads both values from the environment, and without them runs a short round. This
//! verb only sets them, so a failure can be repeated with plain `cargo test` as well.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::outcome::{Failure, Outcome};
use crate::step::Step;

const SECONDS: &str = "CONCURRENT_FUTURES_STRESS_SECONDS";
const SEED: &str = "CONCURRENT_FUTURES_STRESS_SEED";

const SECONDS_DEFAULT: u64 = 60;

/// The binary may spend the time once per test, so the hang guard waits for that many of them.
const TESTS_MAX: u64 = 20;

pub(super) fn run(args: &[String]) -> Outcome {
    let seconds = args.first().map_or(Ok(SECONDS_DEFAULT), |arg| number(arg))?;
    let seed = args.get(1).map_or_else(|| Ok(random()), |arg| number(arg))?;
    Step::cargo("stress", ["test", "--release", "-p", "concurrent-futures-tests"])
        .args(["--test", "stress", "--", "--nocapture"])
        .env(SECONDS, seconds.to_string())
        .env(SEED, seed.to_string())
        .extend_limit(Duration::from_secs(seconds.saturating_mul(TESTS_MAX)))
        .run_some_tests()
}

fn number(arg: &str) -> Result<u64, Failure> {
    arg.parse().map_err(|error| Failure::Usage(format!("`{arg}`: {error}")))
}

/// A seed from the randomness that the standard library gives its hash maps.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
