//! Counting futures as they start and end, for a progress bar or a log line.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// How a future ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

/// Somebody who counts.
pub(crate) trait Observer: Send + Sync {
    fn started(&self);
    fn ended(&self, outcome: Outcome);

    /// Told before a future finishes, if the observer is registered by then, so that whoever sees that it has finished
    /// finds it counted. `ended` comes as well, after.
    fn ending(&self, _outcome: Outcome) {}
}

/// Counts of futures by where they are in their lives, readable at any time and from any thread.
///
/// Clones count together. Give it the futures with [`watch`](Self::watch), or give it to a `map` in its options.
///
/// ```
/// use concurrent_futures_future::{Progress, promise};
///
/// let progress = Progress::new();
/// let (promise, future) = promise();
/// progress.watch(&future);
/// assert_eq!(progress.snapshot().pending(), 1);
///
/// promise.set_result("done").unwrap();
/// assert_eq!(progress.snapshot().succeeded, 1);
/// ```
#[derive(Clone, Default)]
pub struct Progress {
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    submitted: AtomicU64,
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    /// Of those that succeeded: how many were found to have failed. A count of its own, because whoever reads a
    /// result may find this before the thread that completed the future has counted the success.
    found_failed: AtomicU64,
}

impl Progress {
    /// All counts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts this future from now on, as one; in whichever state it is.
    pub fn watch<F: crate::AnyFuture + ?Sized>(&self, future: &F) {
        self.watch_as(future, 1);
    }

    /// Counts this future as `weight`, for one that stands for several items.
    pub fn watch_as<F: crate::AnyFuture + ?Sized>(&self, future: &F, weight: u64) {
        self.counts.submitted.fetch_add(weight, Ordering::Relaxed);
        let counts = Arc::clone(&self.counts);
        let observer: Arc<dyn Observer> = Arc::new(Weighted {
            counts,
            weight,
            started: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        future.cell().observe(&observer);
    }

    /// Moves `count` from the successes to the failures: for items that share a future, some of which failed.
    pub fn found_failed(&self, count: u64) {
        if count > 0 {
            self.counts.found_failed.fetch_add(count, Ordering::Release);
        }
    }

    /// The counts as they are now. Each is exact; they are read one after another.
    #[must_use]
    pub fn snapshot(&self) -> ProgressSnapshot {
        // Backwards along a future's life, so that one that moves on meanwhile is never counted as having ended
        // without having been submitted.
        let counts = &*self.counts;
        let cancelled = counts.cancelled.load(Ordering::Acquire);
        let failed = counts.failed.load(Ordering::Acquire);
        let succeeded = counts.succeeded.load(Ordering::Acquire);
        let started = counts.started.load(Ordering::Acquire);
        let submitted = counts.submitted.load(Ordering::Acquire);
        let moved = counts.found_failed.load(Ordering::Acquire).min(succeeded);
        let (succeeded, failed) = (succeeded - moved, failed + moved);
        ProgressSnapshot { submitted, started, succeeded, failed, cancelled }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.snapshot()).finish()
    }
}

/// The counts of a [`Progress`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProgressSnapshot {
    /// All that were given to be counted.
    pub submitted: u64,
    /// Those that were started, whether or not they have ended.
    pub started: u64,
    /// Those that ended with a value.
    pub succeeded: u64,
    /// Those that ended with an error, cancelled ones not included.
    pub failed: u64,
    /// Those that were cancelled before they started.
    pub cancelled: u64,
}

impl ProgressSnapshot {
    /// Those that have ended in one way or another.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// Those that are being run.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.started.saturating_sub(self.succeeded + self.failed)
    }

    /// Those that wait to be run.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.submitted.saturating_sub(self.started + self.cancelled)
    }
}

struct Weighted {
    counts: Arc<Counts>,
    weight: u64,
    /// A start may be reported by the thread that starts the future, by the one that registers this observer just
    /// then, and by the end; it counts once.
    started: AtomicBool,
    /// So does an end, which is announced and then reported.
    ended: AtomicBool,
}

impl Observer for Weighted {
    fn started(&self) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.counts.started.fetch_add(self.weight, Ordering::Release);
        }
    }

    fn ending(&self, outcome: Outcome) {
        self.ended(outcome);
    }

    fn ended(&self, outcome: Outcome) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        if outcome != Outcome::Cancelled {
            self.started();
        }
        let count = match outcome {
            Outcome::Succeeded => &self.counts.succeeded,
            Outcome::Failed => &self.counts.failed,
            Outcome::Cancelled => &self.counts.cancelled,
        };
        count.fetch_add(self.weight, Ordering::Release);
    }
}
