//! Waiting a moment before going to sleep.
//!
//! Waking a thread takes both sides tens of microseconds, whatever the mechanism; what a short task takes is a tenth of
//! that. So a thread that waits for a future first looks again and again for about as long as a wake-up would take, if
//! that has paid lately, and if there is a core to do it on. It yields in between, so that whoever could complete the
//! future on the same core comes first.

use std::{
    cell::Cell,
    hint,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// How many looks it takes, about 20 us of them.
const SPINS: u32 = 100;

/// After this many waits in which it did not pay, the thread sleeps at once, and tries again only now and then.
const PATIENCE: u32 = 4;
const RETRY_INTERVAL: u32 = 16;

thread_local! {
    /// Waits of this thread in which spinning did not pay, one after another.
    static DISAPPOINTMENTS: Cell<u32> = const { Cell::new(0) };
}

/// How many threads spin here. More than there are idle cores would only be in the way.
static SPINNING: AtomicUsize = AtomicUsize::new(0);

/// Looks for a while whether `done`, and says what it saw last.
pub(crate) fn until(done: impl Fn() -> bool) -> bool {
    // A loom model explores the sleep, and would not end with a spin before it.
    if cfg!(loom) {
        return false;
    }
    let disappointments = DISAPPOINTMENTS.get();
    if disappointments >= PATIENCE && !disappointments.is_multiple_of(RETRY_INTERVAL) {
        DISAPPOINTMENTS.set(disappointments.wrapping_add(1));
        return false;
    }
    // Relaxed: a limit, not a lock.
    if SPINNING.fetch_add(1, Ordering::Relaxed) >= spinners_max() {
        SPINNING.fetch_sub(1, Ordering::Relaxed);
        return false;
    }
    let paid = spin(done);
    SPINNING.fetch_sub(1, Ordering::Relaxed);
    DISAPPOINTMENTS.set(if paid { 0 } else { disappointments.wrapping_add(1) });
    paid
}

fn spin(done: impl Fn() -> bool) -> bool {
    for spin in 0..SPINS {
        if done() {
            return true;
        }
        for _ in 0..4 {
            hint::spin_loop();
        }
        if spin % 8 == 7 {
            thread::yield_now();
        }
    }
    done()
}

/// Half of the cores: for each thread that spins there should be one that does what is waited for.
fn spinners_max() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| thread::available_parallelism().map_or(0, |cores| cores.get() / 2))
}
