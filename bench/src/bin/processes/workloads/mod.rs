//! What is measured: each workload once, for every pool that can do it.

mod crash;
mod echo;
mod map;
mod memory;
mod ping_pong;
mod primes;
mod start;
mod submit;

use std::time::Duration;

use concurrent_futures_bench::workload::{Contender, Settings, Unit, Workload};

use crate::{jobs::Sleep, pools::Pool};

/// Python is slow to start and to end, and the process that takes the sample does nothing meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long each worker is kept busy so that the pool needs them all.
const READY: Duration = Duration::from_millis(30);

/// Peers: `contenders!(run: A, B; run_others: C)` takes samples of `A` by `run::<A>`, and of `C` by `run_others::<C>`.
macro_rules! contenders {
    ($($run:ident: $($pool:ty),+);+) => {
        vec![$($($crate::workloads::Contender::peer(
            <$pool as $crate::pools::Named>::NAME,
            $run::<$pool>,
        )),+),+]
    };
}
use contenders;

/// All workloads, in the order of the table.
pub(crate) fn all() -> Vec<Workload> {
    let groups = [
        submit::workloads(),
        ping_pong::workloads(),
        map::workloads(),
        echo::workloads(),
        start::workloads(),
        crash::workloads(),
        memory::workloads(),
        primes::workloads(),
    ];
    let mut workloads: Vec<_> = groups.into_iter().flatten().collect();
    for workload in &mut workloads {
        workload.patience = PATIENCE;
    }
    workloads
}

/// A pool all of whose workers are there and have run something.
fn ready<P: Pool>(settings: &Settings) -> P {
    let pool = P::start(settings.workers);
    let microseconds = u64::try_from(READY.as_micros()).expect("a short time");
    let tasks: Vec<_> = (0..settings.workers).map(|_| pool.submit::<Sleep>(microseconds)).collect();
    for task in tasks {
        P::collect(task).expect("the task does not fail");
    }
    pool
}
