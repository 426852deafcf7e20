//! Counts tasks that nobody waits for, at a cost that does not drown what is measured.
//!
//! One counter for all would travel between the processors with every task, for 10 ns and more. So each thread has one of
//! its own, on cache lines of its own, which it alone writes; the reader adds them up.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// More threads than a program has that is measured with this, one after the other.
const THREADS_MAX: usize = 1024;

/// The shortest nap of the reader. Each costs as much as dozens of tasks.
const NAP_MIN: Duration = Duration::from_micros(100);

/// Naps are as long as this part of the time that has passed, so that waking late falsifies nothing by much more.
const NAP_PART: u32 = 200;

#[repr(align(128))]
struct Slot {
    count: AtomicU64,
    sum: AtomicU64,
}

static SLOTS: [Slot; THREADS_MAX] =
    [const { Slot { count: AtomicU64::new(0), sum: AtomicU64::new(0) } }; THREADS_MAX];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

/// Counts one task of the calling thread, and adds what came of it.
pub(crate) fn add(value: u64) {
    let slot = MINE.get().unwrap_or_else(claim);
    // Nobody else writes here, so loads and stores do.
    slot.sum.store(slot.sum.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
    // Release: pairs with the Acquire in `now`; whoever sees the count sees the sum.
    slot.count.store(slot.count.load(Ordering::Relaxed) + 1, Ordering::Release);
}

#[cold]
fn claim() -> &'static Slot {
    let index = NEXT.fetch_add(1, Ordering::AcqRel);
    let slot = SLOTS.get(index).expect("no pool has that many threads");
    MINE.set(Some(slot));
    slot
}

/// What has been counted at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    count: u64,
    sum: u64,
    at: Instant,
}

impl Tally {
    /// Of all threads, up to now.
    pub(crate) fn now() -> Self {
        let at = Instant::now();
        let slots = &SLOTS[..NEXT.load(Ordering::Acquire).min(THREADS_MAX)];
        let count = slots.iter().map(|slot| slot.count.load(Ordering::Acquire)).sum();
        let sums = slots.iter().map(|slot| slot.sum.load(Ordering::Relaxed));
        Self { count, sum: sums.fold(0, u64::wrapping_add), at }
    }

    /// Sleeps until that many tasks have been counted since then, and returns the sum of what came of them.
    pub(crate) fn wait_for(self, count: u64) -> u64 {
        loop {
            let now = Self::now();
            let counted = now.count - self.count;
            assert!(counted <= count, "a task ran twice");
            if counted == count {
                return now.sum.wrapping_sub(self.sum);
            }
            thread::sleep(((now.at - self.at) / NAP_PART).max(NAP_MIN));
        }
    }
}
