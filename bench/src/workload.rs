//! What a workload is: what is asked of the contenders, who they are, and what is found out of it.

use std::time::Duration;

use crate::{goal::Goal, measure::Sample};

/// The name of our own pool in tables and filters.
pub const OURS: &str = "ours";

/// By how much quick runs are smaller.
const QUICK: u64 = 10;

/// What a sample is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many workers a pool has.
    pub workers: usize,
    /// Whether little is to be done.
    pub quick: bool,
    /// See [`crate::work`].
    pub steps_per_microsecond: u64,
}

impl Settings {
    /// A number of operations, less in quick runs.
    #[must_use]
    pub fn count(&self, full: u64) -> u64 {
        if self.quick { full / QUICK } else { full }
    }

    /// A span of time, less in quick runs.
    #[must_use]
    pub fn span(&self, full: Duration) -> Duration {
        if self.quick { full / 10 } else { full }
    }
}

/// In what a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Shown as ns, us or ms.
    Nanoseconds,
    /// Shown as B or KiB.
    Bytes,
    /// Of whatever the title says.
    Number,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As in the table.
    pub title: &'static str,
    /// In what it is counted.
    pub unit: Unit,
    /// What ours is to reach.
    pub goal: Option<Goal>,
}

/// Somebody who takes part in a workload.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// Its name in tables and filters.
    pub pool: &'static str,
    /// Whether it does something else than what is asked, and is shown for comparison without counting as a peer.
    pub is_reference: bool,
    /// Takes a sample.
    pub run: fn(&Settings) -> Sample,
}

impl Contender {
    /// One that does what is asked.
    #[must_use]
    pub fn peer(pool: &'static str, run: fn(&Settings) -> Sample) -> Self {
        Self::new(pool, false, run)
    }

    /// One that is shown for comparison.
    #[must_use]
    pub fn reference(pool: &'static str, run: fn(&Settings) -> Sample) -> Self {
        Self::new(pool, true, run)
    }

    fn new(pool: &'static str, is_reference: bool, run: fn(&Settings) -> Sample) -> Self {
        // Filters would take it for two, and the sample for that of another contender.
        assert!(!pool.contains(','), "the name `{pool}` looks like a list of names");
        Self { pool, is_reference, run }
    }
}

/// Something that pools are asked to do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// As in filters.
    pub name: &'static str,
    /// For the reader of the report.
    pub about: &'static str,
    /// What is found out, in the order of the sample's values.
    pub metrics: Vec<Metric>,
    /// Who takes part, ours first.
    pub contenders: Vec<Contender>,
    /// Whether another repetition could only find the same.
    pub once: bool,
    /// For how long a sample may use no processor before it counts as deadlocked.
    pub patience: Duration,
    /// Instead of the workers that were asked for.
    pub workers: Option<usize>,
}

impl Workload {
    /// One without metrics.
    #[must_use]
    pub fn new(name: &'static str, about: &'static str, contenders: Vec<Contender>) -> Self {
        Self {
            name,
            about,
            metrics: Vec::new(),
            contenders,
            once: false,
            patience: Duration::from_secs(5),
            workers: None,
        }
    }

    /// Adds a metric, in the order of the sample's values.
    #[must_use]
    pub fn metric(mut self, title: &'static str, unit: Unit, goal: Option<Goal>) -> Self {
        self.metrics.push(Metric { title, unit, goal });
        self
    }
}
