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

use concurrent_futures_bench::workload::{Contender, Settings, Unit, Workload};

use crate::pools::Fire;

/// How long to wait for all workers to have something to do. Some pools may leave one idle.
const READY: Duration = Duration::from_millis(100);

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
