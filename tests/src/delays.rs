//! The delays of all tests, by name, and scaled together for slow machines and slow checkers.
//!
//! None of them stands in for synchronisation. A test may wait for [`moment`] to give a mistake time to show, and then
//! passes for the wrong reason at worst; it never fails because a machine was slow.

use std::{sync::OnceLock, time::Duration};

/// Multiplies every delay; see [`scaled`].
pub const SCALE_VARIABLE: &str = "CONCURRENT_FUTURES_TIME_SCALE";

/// `duration`, times the value of [`SCALE_VARIABLE`] if that is set.
#[must_use]
pub fn scaled(duration: Duration) -> Duration {
    static SCALE: OnceLock<f64> = OnceLock::new();
    let scale = *SCALE.get_or_init(|| {
        let value = std::env::var(SCALE_VARIABLE).ok().and_then(|value| value.parse().ok());
        value.filter(|scale: &f64| scale.is_finite() && *scale > 0.0).unwrap_or(1.0)
    });
    duration.mul_f64(scale)
}

/// A deadline that is meant to pass, while somebody waits for it.
#[must_use]
pub fn short() -> Duration {
    scaled(Duration::from_millis(20))
}

/// Time for something to happen that must not.
#[must_use]
pub fn moment() -> Duration {
    scaled(Duration::from_millis(30))
}

/// A deadline that is not meant to pass.
#[must_use]
pub fn long() -> Duration {
    scaled(Duration::from_secs(120))
}

/// How long a test may take before it counts as hung.
#[must_use]
pub fn hang() -> Duration {
    scaled(Duration::from_secs(60))
}

/// Between two looks at something that cannot be waited for, such as the state of a thread.
#[must_use]
pub fn poll() -> Duration {
    scaled(Duration::from_millis(1))
}

/// Longer than a pool waits for the end of a worker that has closed its connection.
#[must_use]
pub fn after_hanging_up() -> Duration {
    scaled(Duration::from_millis(800))
}

/// What a task takes that takes its time. Nothing depends on how long that is.
#[must_use]
pub fn task() -> Duration {
    scaled(Duration::from_millis(2))
}

/// The moment number `n` of those that are `apart`, at which something happens in one round after the other. Any of them may
/// come before or after anything else.
#[must_use]
pub fn moment_number(n: u64, apart: Duration) -> Duration {
    scaled(apart.mul_f64(n as f64))
}
