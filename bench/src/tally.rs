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

/// More threads than any pool has that is measured with this.
const THREADS_MAX: usize = 64;

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
    // Release: pairs with the Acquire in `wait_for`; whoever sees the count sees the sum.
    slot.count.store(slot.count.load(Ordering::Relaxed) + 1, Ordering::Release);
}

#[cold]
fn claim() -> &'static Slot {
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    let slot = SLOTS.get(index).expect("no pool has that many threads");
    MINE.set(Some(slot));
    slot
}

/// Sleeps until that many tasks have been counted since the program began, and returns the sum of what came of them.
pub(crate) fn wait_for(count: u64, since: Instant) -> u64 {
    loop {
        let counted: u64 = SLOTS.iter().map(|slot| slot.count.load(Ordering::Acquire)).sum();
        assert!(counted <= count, "a task ran twice");
        if counted == count {
            return SLOTS
                .iter()
                .map(|slot| slot.sum.load(Ordering::Relaxed))
                .fold(0, u64::wrapping_add);
        }
        thread::sleep((since.elapsed() / NAP_PART).max(NAP_MIN));
    }
}
