//! Counting what the pool does, without making it slower.
//!
//! Each worker counts in its own seat, with plain loads and stores, since it alone writes there. A snapshot reads the
//! counts backwards along a task's life: first those that have ended, then those that have started, last those that were
//! submitted. Each later count includes all that an earlier one has seen, so no difference is ever negative, and the parts
//! always add up.

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
};

use concurrent_futures_executor::future::Ran;

/// What a pool has done, and is doing, at one moment; from
/// [`ThreadPoolExecutor::stats`](crate::ThreadPoolExecutor::stats).
///
/// The parts add up at every moment: `submitted` is the sum of `queued`, `running`, `succeeded`, `failed` and `cancelled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Threads that the pool has.
    pub workers: usize,
    /// Workers that have nothing to do.
    pub idle: usize,
    /// Workers that sleep inside a task.
    pub blocked: usize,
    /// Tasks that the pool has accepted since it was made.
    pub submitted: u64,
    /// Tasks that wait to be run. One that is cancelled is counted here until its turn would have come.
    pub queued: u64,
    /// Tasks that are being run, those of blocked workers and those that were interrupted to run another in place included.
    pub running: u64,
    /// Tasks that returned.
    pub succeeded: u64,
    /// Tasks that panicked.
    pub failed: u64,
    /// Tasks that were not run, because they were cancelled or the pool broke.
    pub cancelled: u64,
    /// How often a worker took tasks from another's deque.
    pub steals: u64,
}

/// The counts of one worker. Only the worker writes them.
#[derive(Default)]
pub(crate) struct Tally {
    submitted: AtomicU64,
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    steals: AtomicU64,
}

impl Tally {
    /// Before the push, so that a thief that starts the task has seen it counted.
    pub(crate) fn submitted(&self) {
        bump(&self.submitted);
    }

    pub(crate) fn started(&self) {
        bump(&self.started);
    }

    pub(crate) fn ended(&self, ran: Ran) {
        match ran {
            Ran::Succeeded => bump(&self.succeeded),
            _ => bump(&self.failed),
        }
    }

    /// A task was run in the middle of another.
    pub(crate) fn ran_in_place(&self, ran: Ran) {
        self.started();
        self.ended(ran);
    }

    /// What was taken for a start was none: the task was cancelled, or run in place, just then.
    pub(crate) fn did_not_start(&self, was_cancelled: bool) {
        let started = self.started.load(Ordering::Relaxed);
        self.started.store(started - 1, Ordering::Release);
        if was_cancelled {
            self.cancelled();
        }
    }

    pub(crate) fn cancelled(&self) {
        bump(&self.cancelled);
    }

    pub(crate) fn stole(&self) {
        bump(&self.steals);
    }
}

/// Adds one to a count that nobody else writes. Release: pairs with the Acquire in `Totals`.
fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
}

/// Sums of tallies.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) submitted: u64,
    started: u64,
    succeeded: u64,
    failed: u64,
    pub(crate) cancelled: u64,
    steals: u64,
}

impl Totals {
    /// The sums over these tallies, read backwards along a task's life; see the head of this file.
    pub(crate) fn of<'a>(tallies: impl Iterator<Item = &'a Tally> + Clone) -> Self {
        let sum = |count: fn(&Tally) -> &AtomicU64| -> u64 {
            tallies.clone().map(|tally| count(tally).load(Ordering::Acquire)).sum()
        };
        let succeeded = sum(|tally| &tally.succeeded);
        let failed = sum(|tally| &tally.failed);
        let cancelled = sum(|tally| &tally.cancelled);
        let started = sum(|tally| &tally.started);
        let steals = sum(|tally| &tally.steals);
        let submitted = sum(|tally| &tally.submitted);
        Self { submitted, started, succeeded, failed, cancelled, steals }
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let ended = self.succeeded + self.failed;
        // A worker that takes an entry whose task is run in place at that moment counts a start too many, until it finds
        // out.
        let phantom = (self.started + self.cancelled).saturating_sub(self.submitted);
        let started = self.started - phantom;
        PoolStats {
            submitted: self.submitted,
            queued: self.submitted - started - self.cancelled,
            running: started.saturating_sub(ended),
            succeeded: self.succeeded,
            failed: self.failed,
            cancelled: self.cancelled,
            steals: self.steals,
            ..PoolStats::default()
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.submitted += other.submitted;
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.steals += other.steals;
    }
}
