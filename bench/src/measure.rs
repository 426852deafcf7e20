//! Clocks, counters of the kernel, and what to do with a handful of samples.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeVal,
};

/// What one sample found: a value for each metric of its workload, in the metric's unit.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) values: Vec<f64>,
    /// The processor time of the whole program for each operation, in nanoseconds; absent where it means nothing.
    pub(crate) cpu: Option<f64>,
}

impl Sample {
    /// The usual one: nanoseconds for each of `operations`.
    pub(crate) fn per_operation(cost: &Cost, operations: u64) -> Self {
        Self::new(vec![per(cost.wall, operations)], cost, operations)
    }

    /// With values of its own.
    pub(crate) fn new(values: Vec<f64>, cost: &Cost, operations: u64) -> Self {
        Self { values, cpu: Some(per(cost.cpu, operations)) }
    }
}

/// What a stretch of the program has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Of all threads, in user and system mode.
    pub(crate) cpu: Duration,
    /// How many times threads other than the caller have gone to sleep.
    pub(crate) sleeps_of_others: u64,
}

/// Takes the cost of a stretch of the program.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    begin: Instant,
    cpu: Duration,
    sleeps_of_others: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let (cpu, sleeps_of_others) = usage();
        Self { cpu, sleeps_of_others, begin: Instant::now() }
    }

    pub(crate) fn stop(self) -> Cost {
        let wall = self.begin.elapsed();
        let (cpu, sleeps_of_others) = usage();
        Cost {
            wall,
            cpu: cpu.saturating_sub(self.cpu),
            sleeps_of_others: sleeps_of_others.saturating_sub(self.sleeps_of_others),
        }
    }
}

fn usage() -> (Duration, u64) {
    let of = |who| getrusage(who).expect("the arguments are valid");
    let (all, own) = (of(UsageWho::RUSAGE_SELF), of(UsageWho::RUSAGE_THREAD));
    let cpu = duration(all.user_time()) + duration(all.system_time());
    let sleeps = |usage: Usage| u64::try_from(usage.voluntary_context_switches()).unwrap_or(0);
    (cpu, sleeps(all).saturating_sub(sleeps(own)))
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let microseconds = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(microseconds)
}

/// Nanoseconds for each of `operations`.
pub(crate) fn per(duration: Duration, operations: u64) -> f64 {
    duration.as_secs_f64() * 1e9 / operations as f64
}

/// The median, and the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Summary {
    /// `None` without samples.
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (&least, &greatest) = (samples.first()?, samples.last()?);
        Some(Self { median: percentile(&samples, 50), least, greatest })
    }
}

/// Of samples in ascending order. Half-way between two where it falls between two.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let position = (sorted.len() - 1) * percent;
    let (index, rest) = (position / 100, position % 100);
    let low = sorted[index];
    let high = sorted[(index + 1).min(sorted.len() - 1)];
    low + (high - low) * rest as f64 / 100.0
}

#[cfg(test)]
mod tests {
    //! The arithmetic of medians.

    use super::Summary;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let of = |samples: &[f64]| Summary::of(samples.to_vec()).map(|summary| summary.median);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
