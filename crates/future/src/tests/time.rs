//! Deadlines at both ends of what a clock can say.

use std::time::{Duration, Instant};

use crate::time::Deadline;

#[test]
fn a_zero_timeout_has_passed() {
    let deadline = Deadline::after(Duration::ZERO);
    assert!(deadline.has_passed() && !deadline.is_never());
    assert!(deadline.instant().is_some_and(|at| at <= Instant::now()));
}

#[test]
fn a_long_one_has_not() {
    let deadline = Deadline::after(Duration::from_secs(3600));
    assert!(!deadline.has_passed() && !deadline.is_never());
}

#[test]
fn no_timeout_and_one_that_the_clock_cannot_express_never_pass() {
    for deadline in [Deadline::NEVER, Deadline::after(Duration::MAX)] {
        assert!(deadline.is_never() && !deadline.has_passed());
        assert!(deadline.instant().is_none());
    }
}

#[test]
fn everything_in_between_is_one_or_the_other() {
    for shift in 0..64 {
        let deadline = Deadline::after(Duration::from_secs(1 << shift));
        assert!(!deadline.has_passed(), "2^{shift} seconds");
        assert_eq!(deadline.is_never(), deadline.instant().is_none());
    }
}
