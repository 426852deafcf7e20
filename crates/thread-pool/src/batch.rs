//! How many tasks a worker takes out of the queue at once, and whether it lets some gather there first.
//!
//! The more it takes, the less of the lock and of the lines of the queue each costs. But what lies in a deque is started out of
//! order if others steal, and behind a long task, if they do not; so only short tasks are taken several at once.
//!
//! A worker that keeps up with whoever submits finds tasks one by one. Then for each of them both wait for the lock, the lines
//! go to and fro, and the worker, between two tasks, calls for another, which comes when there is nothing left. Where tasks come that
//! quickly, the worker is better off with more tasks a little later.

use std::time::Duration;

use crate::sync::Instant;

/// The most tasks that a worker takes out of the queue at once: enough to make the lock's share of a task small.
const BATCH_MAX: usize = 32;

/// Tasks that take longer than this, on average, are taken one by one, so that they start in the order in which they were
/// submitted, and none lies behind a long one. The lock costs a hundredth of it.
const BATCH_TASK_TIME: Duration = Duration::from_micros(5);

/// Tasks that come and go within this of each other are let gather, ...
const GATHER_INTERVAL: Duration = Duration::from_nanos(500);
/// ... for so long (no time passes in a loom model), ...
pub(crate) const GATHER_TIME: Duration = Duration::from_micros(if cfg!(loom) { 0 } else { 4 });
/// ... if a worker has found fewer than this, ...
const GATHER_BELOW: usize = BATCH_MAX * 3 / 4;
/// ... unless it found no more than this when it did so last: somebody may submit one when the one before is done, ...
const GATHER_IN_VAIN: usize = 2;
/// ... and is waited for again only after so many more.
const GATHER_RETRY_INTERVAL: u32 = 64;

/// What a worker knows of the tasks that it takes out of the queue.
#[derive(Clone, Copy)]
pub(crate) struct Batches {
    size: usize,
    /// When the size was chosen, and how many tasks the worker had run by then.
    since: Instant,
    tasks: u32,
    frequent: bool,
    gathers: bool,
    /// How many batches to take before tasks are let gather again.
    patience: u32,
}

impl Batches {
    /// Nothing is known of the tasks before the first was run: that one is taken alone.
    pub(crate) fn new(now: Instant) -> Self {
        Self { size: 0, since: now, tasks: 0, frequent: false, gathers: false, patience: 0 }
    }

    /// Chooses how many tasks to take now, judging by how long the last ones took.
    pub(crate) fn choose_size(&mut self, now: Instant, tasks: u32) -> usize {
        let each = (now - self.since) / tasks.wrapping_sub(self.tasks).max(1);
        self.size = if each < BATCH_TASK_TIME { (self.size * 2).clamp(1, BATCH_MAX) } else { 1 };
        self.frequent = each < GATHER_INTERVAL;
        self.since = now;
        self.tasks = tasks;
        self.size
    }

    /// Whether to let tasks gather before the next look. Says yes once.
    pub(crate) fn gather(&mut self) -> bool {
        std::mem::take(&mut self.gathers)
    }

    /// So many were taken; with none, no size was chosen.
    pub(crate) fn took(&mut self, count: usize, gathered: bool) {
        if gathered && count <= GATHER_IN_VAIN {
            self.patience = GATHER_RETRY_INTERVAL;
        } else if count > 0 && self.patience > 0 {
            self.patience -= 1;
        } else {
            self.gathers = self.frequent && (1..GATHER_BELOW).contains(&count);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Clock {
        batches: Batches,
        now: Instant,
        tasks: u32,
    }

    impl Clock {
        fn new() -> Self {
            let now = Instant::now();
            Self { batches: Batches::new(now), now, tasks: 0 }
        }

        /// The worker runs so many tasks, each in so many nanoseconds, and chooses.
        fn run(&mut self, tasks: u32, nanoseconds: u64) -> usize {
            self.now += tasks * Duration::from_nanos(nanoseconds);
            self.tasks = self.tasks.wrapping_add(tasks);
            self.batches.choose_size(self.now, self.tasks)
        }

        /// Takes so many out of the queue; says whether it let them gather.
        fn take(&mut self, count: usize) -> bool {
            let gathered = self.batches.gather();
            self.batches.took(count, gathered);
            gathered
        }
    }

    /// The first is alone; then, as long as they are short, twice as many each time; and again one when one was long.
    #[test]
    fn batches_grow_while_tasks_are_short() {
        let mut clock = Clock::new();
        let mut sizes: Vec<_> = (0..8).map(|_| clock.run(1, 1000)).collect();
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 32, 32]);
        sizes = vec![clock.run(32, 6000), clock.run(1, 1000)];
        assert_eq!(sizes, [1, 2]);
    }

    /// Few quick tasks are let gather, again and again while that brings more; many, or slow ones, are not.
    #[test]
    fn few_quick_tasks_are_let_gather() {
        let mut clock = Clock::new();
        for (count, nanoseconds, gathers) in
            [(1, 100, true), (3, 100, true), (23, 100, true), (24, 100, false), (32, 100, false)]
        {
            clock.run(100, nanoseconds);
            clock.take(count);
            assert_eq!(clock.batches.gathers, gathers, "{count} tasks");
        }
        clock.run(100, 600);
        clock.take(3);
        assert!(!clock.take(3), "they are slow");
    }

    /// A worker that gets one task after another from somebody who waits for each is hardly ever late.
    #[test]
    fn a_lone_task_is_not_kept_waiting() {
        let mut clock = Clock::new();
        let mut late = 0;
        for _ in 0..1000 {
            clock.run(1, 300);
            late += u32::from(clock.take(1));
        }
        assert!((1..=1000 / GATHER_RETRY_INTERVAL + 1).contains(&late), "{late} of 1000");
    }

    /// What was let gather in vain, since nothing came at all, was so once.
    #[test]
    fn an_empty_queue_ends_it() {
        let mut clock = Clock::new();
        clock.run(100, 100);
        clock.take(5);
        assert!(clock.take(0));
        assert!(!clock.take(0));
    }
}
