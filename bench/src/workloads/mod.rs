//! What is measured: each workload once, for every pool that can do it.

mod bursts;
mod fire;
mod fork_join;
mod idle;
mod map;
mod memory;
mod ping_pong;
mod producers;
mod recursive;
mod start_stop;
mod submit;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{goal::Goal, measure::Sample, pools::Fire};

/// By how much quick runs are smaller.
const QUICK: u64 = 10;

/// How long to wait for all workers to have something to do. Some pools may leave one idle.
const READY: Duration = Duration::from_millis(100);

/// What a sample is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) quick: bool,
    /// See [`crate::work`].
    pub(crate) steps_per_microsecond: u64,
}

impl Settings {
    /// A number of operations, less in quick runs.
    pub(crate) fn count(&self, full: u64) -> u64 {
        if self.quick { full / QUICK } else { full }
    }

    /// A span of time, less in quick runs.
    pub(crate) fn span(&self, full: Duration) -> Duration {
        if self.quick { full / 10 } else { full }
    }
}

/// In what a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Shown as ns, us or ms.
    Nanoseconds,
    Bytes,
    Number,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) goal: Option<Goal>,
}

/// Somebody who takes part in a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) pool: &'static str,
    /// Whether it does something else than what is asked, and is shown for comparison without counting as a peer.
    pub(crate) is_reference: bool,
    pub(crate) run: fn(&Settings) -> Sample,
}

impl Contender {
    pub(crate) fn peer(pool: &'static str, run: fn(&Settings) -> Sample) -> Self {
        Self { pool, is_reference: false, run }
    }

    pub(crate) fn reference(pool: &'static str, run: fn(&Settings) -> Sample) -> Self {
        Self { pool, is_reference: true, run }
    }
}

/// The contenders from pools that `$run` is generic over.
macro_rules! contenders {
    ($run:ident: $($pool:ident),+) => {
        vec![$($crate::workloads::Contender::peer(
            <$crate::pools::$pool as $crate::pools::Pool>::NAME,
            $run::<$crate::pools::$pool>,
        )),+]
    };
}
pub(crate) use contenders;

/// Something that pools are asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// As in filters.
    pub(crate) name: &'static str,
    /// For the reader of the report.
    pub(crate) about: &'static str,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) contenders: Vec<Contender>,
    /// Whether another repetition could only find the same.
    pub(crate) once: bool,
    /// For how long a sample may use no processor before it counts as deadlocked.
    pub(crate) patience: Duration,
    /// Instead of the workers that were asked for.
    pub(crate) workers: Option<usize>,
}

impl Workload {
    fn new(name: &'static str, about: &'static str, contenders: Vec<Contender>) -> Self {
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
    fn metric(mut self, title: &'static str, unit: Unit, goal: Option<Goal>) -> Self {
        self.metrics.push(Metric { title, unit, goal });
        self
    }
}

/// All workloads, in the order of the table.
pub(crate) fn all() -> Vec<Workload> {
    let groups = [
        submit::workloads(),
        fire::workloads(),
        ping_pong::workloads(),
        producers::workloads(),
        map::workloads(),
        fork_join::workloads(),
        recursive::workloads(),
        bursts::workloads(),
        idle::workloads(),
        start_stop::workloads(),
        memory::workloads(),
    ];
    groups.into_iter().flatten().collect()
}

/// The sum of all numbers below `n`.
fn sum_below(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Gives every worker a task at the same time, so that pools that start threads late have them all.
fn ready<P: Fire>(pool: &P, settings: &Settings) {
    let met = Arc::new(AtomicUsize::new(0));
    let workers = settings.workers;
    for _ in 0..workers {
        let met = Arc::clone(&met);
        pool.fire(move || {
            met.fetch_add(1, Ordering::SeqCst);
            let begin = Instant::now();
            while met.load(Ordering::SeqCst) < workers && begin.elapsed() < READY {
                thread::sleep(Duration::from_micros(50));
            }
        });
    }
    let begin = Instant::now();
    while met.load(Ordering::SeqCst) < workers && begin.elapsed() < 2 * READY {
        thread::sleep(Duration::from_micros(50));
    }
    // The tasks themselves end a moment later.
    thread::sleep(Duration::from_millis(2));
}
