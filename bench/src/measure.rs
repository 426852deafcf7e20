//! Clocks, counters of the kernel, and what to do with a handful of samples.

use std::{
    error::Error,
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeVal,
};

/// What one sample found: a value for each metric of its workload, in the metric's unit.
#[derive(Debug, PartialEq)]
pub struct Sample {
    /// In the order of the metrics.
    pub values: Vec<f64>,
    /// The processor time of the whole program for each operation, in nanoseconds; absent where it means nothing.
    pub cpu: Option<f64>,
}

impl Sample {
    /// The usual one: nanoseconds for each of `operations`.
    #[must_use]
    pub fn per_operation(cost: &Cost, operations: u64) -> Self {
        Self::new(vec![per(cost.wall, operations)], cost, operations)
    }

    /// With values of its own.
    #[must_use]
    pub fn new(values: Vec<f64>, cost: &Cost, operations: u64) -> Self {
        Self { values, cpu: Some(per(cost.cpu, operations)) }
    }
}

/// A line: the values, `cpu`, and the processor time or a dash.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for value in &self.values {
            write!(f, "{value} ")?;
        }
        match self.cpu {
            Some(cpu) => write!(f, "cpu {cpu}"),
            None => f.write_str("cpu -"),
        }
    }
}

impl FromStr for Sample {
    type Err = NotASample;

    fn from_str(line: &str) -> Result<Self, NotASample> {
        let (values, cpu) = line.trim().split_once(" cpu ").ok_or(NotASample)?;
        let number = |text: &str| text.parse().map_err(|_not_a_number| NotASample);
        let cpu = if cpu == "-" { None } else { Some(number(cpu)?) };
        Ok(Self { values: values.split(' ').map(number).collect::<Result<_, _>>()?, cpu })
    }
}

/// The line is not one that a [`Sample`] is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASample;

impl fmt::Display for NotASample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the line of a sample")
    }
}

impl Error for NotASample {}

/// What a stretch of the program has cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// As a clock on the wall shows it.
    pub wall: Duration,
    /// Of all threads, in user and system mode.
    pub cpu: Duration,
    /// How many times threads other than the caller have gone to sleep.
    pub sleeps_of_others: u64,
}

/// Takes the cost of a stretch of the program.
#[derive(Debug)]
pub struct Stopwatch {
    begin: Instant,
    cpu: Duration,
    sleeps_of_others: u64,
}

impl Stopwatch {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (cpu, sleeps_of_others) = usage();
        Self { cpu, sleeps_of_others, begin: Instant::now() }
    }

    /// The cost since the start.
    #[must_use]
    pub fn stop(self) -> Cost {
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
#[must_use]
pub fn per(duration: Duration, operations: u64) -> f64 {
    duration.as_secs_f64() * 1e9 / operations as f64
}

/// The median, and the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// What counts.
    pub median: f64,
    /// The best.
    pub least: f64,
    /// The worst.
    pub greatest: f64,
}

impl Summary {
    /// `None` without samples.
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (&least, &greatest) = (samples.first()?, samples.last()?);
        Some(Self { median: percentile(&samples, 50), least, greatest })
    }
}

/// Of samples in ascending order. Half-way between two where it falls between two.
#[must_use]
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let position = (sorted.len() - 1) * percent;
    let (index, rest) = (position / 100, position % 100);
    let low = sorted[index];
    let high = sorted[(index + 1).min(sorted.len() - 1)];
    low + (high - low) * rest as f64 / 100.0
}

#[cfg(test)]
mod tests {
    //! The arithmetic of medians, and samples as text.

    use super::{NotASample, Sample, Summary};

    #[test]
    fn what_a_process_prints_another_reads() {
        for cpu in [None, Some(0.1)] {
            let sample = Sample { values: vec![1.0 / 3.0, 12e9], cpu };
            assert_eq!(sample.to_string().parse(), Ok(sample));
        }
        assert_eq!("1 2".parse::<Sample>(), Err(NotASample));
        assert_eq!("1 x cpu -".parse::<Sample>(), Err(NotASample));
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        let of = |samples: &[f64]| Summary::of(samples.to_vec()).map(|summary| summary.median);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
