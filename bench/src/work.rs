//! Work of a known length whose result can be checked.
//!
//! A loop that looks at the clock would end on time even if its thread had been suspended, and two such loops on one
//! processor would take no longer than one. So the work is a number of steps of a linear congruential generator, and how
//! many of them make a microsecond is measured once, by the process that starts all samples. The result of any number of
//! steps has a closed form, linear in the seed, by which sums of results are checked.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const FACTOR: u64 = 6_364_136_223_846_793_005;
const SUMMAND: u64 = 1_442_695_040_888_963_407;

/// How many steps the calibration takes at once, and how often; the fastest counts, since all that can happen to it is to
/// be disturbed.
const CALIBRATION_STEPS: u64 = 1 << 17;
const CALIBRATION_ROUNDS: usize = 100;

/// Takes this many steps from `seed`.
#[inline(never)]
#[must_use]
pub fn work(seed: u64, steps: u64) -> u64 {
    let mut state = black_box(seed);
    for _ in 0..black_box(steps) {
        state = state.wrapping_mul(FACTOR).wrapping_add(SUMMAND);
    }
    black_box(state)
}

/// How many steps take a microsecond on this machine.
#[must_use]
pub fn steps_per_microsecond() -> u64 {
    let round = || {
        let begin = Instant::now();
        black_box(work(1, CALIBRATION_STEPS));
        begin.elapsed()
    };
    let fastest = (0..CALIBRATION_ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX);
    let nanoseconds = u64::try_from(fastest.as_nanos()).unwrap_or(u64::MAX).max(1);
    (CALIBRATION_STEPS * 1000 / nanoseconds).max(1)
}

/// The sum of `work(seed, steps)` over `count` seeds that add up to `seeds`.
#[must_use]
pub fn sum_of_work(seeds: u64, count: u64, steps: u64) -> u64 {
    // The powers of the map `x * factor + summand` by repeated squaring.
    let (mut factor, mut summand) = (FACTOR, SUMMAND);
    let (mut all_factor, mut all_summand) = (1_u64, 0_u64);
    let mut steps = steps;
    while steps > 0 {
        if steps & 1 == 1 {
            all_factor = all_factor.wrapping_mul(factor);
            all_summand = all_summand.wrapping_mul(factor).wrapping_add(summand);
        }
        summand = summand.wrapping_mul(factor).wrapping_add(summand);
        factor = factor.wrapping_mul(factor);
        steps >>= 1;
    }
    seeds.wrapping_mul(all_factor).wrapping_add(all_summand.wrapping_mul(count))
}

#[cfg(test)]
mod tests {
    //! The closed form against the loop.

    use super::{sum_of_work, work};

    #[test]
    fn the_closed_form_is_the_loop() {
        for steps in [0, 1, 2, 3, 7, 100, 1001] {
            let sum = (5..25).map(|seed| work(seed, steps)).fold(0, u64::wrapping_add);
            assert_eq!(sum_of_work((5..25).sum(), 20, steps), sum, "{steps} steps");
        }
    }
}
