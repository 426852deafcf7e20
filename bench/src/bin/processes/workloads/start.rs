//! The start: how long until a new pool has its first result, and until a running one has that of another worker.

use super::{READY, Settings, Unit, Workload, contenders};
use crate::{
    goal::{Bound, Goal},
    jobs::{Empty, Sleep},
    measure::{Sample, Stopwatch, per, percentile},
    pools::{Named, Ours, OursSpawned, Pool, Procspawn},
    python::{self, MultiprocessingPool, PythonExecutor},
    workload::Contender,
};

const ROUNDS: u64 = 20;
const ROUNDS_QUICK: u64 = 5;

pub(super) fn workloads() -> Vec<Workload> {
    let mut contenders =
        contenders!(start: Ours, Procspawn; in_python: PythonExecutor, MultiprocessingPool);
    contenders.push(Contender::reference(OursSpawned::NAME, start_spawned));
    let of_running_server = Goal { must: Bound::Best(0.6), moonshot: Bound::Best(0.1) };
    vec![
        Workload::new(
            "start",
            "make a pool, submit one task, collect its result; the median round. Stopping the pool is not counted",
            contenders,
        )
        .metric("start to first result", Unit::Nanoseconds, Goal::best(0.6, 0.35)),
        Workload::new(
            "start_worker",
            "of a pool whose only worker is busy, submit a task, for which ours has its fork server start another \
             worker, and collect its result; the median round. procspawn starts workers only with the pool: the first \
             result of a new one",
            contenders!(start_worker: Ours; start: Procspawn),
        )
        .metric("start of another worker", Unit::Nanoseconds, Some(of_running_server)),
    ]
}

fn rounds(settings: &Settings) -> u64 {
    if settings.quick { ROUNDS_QUICK } else { ROUNDS }
}

fn start<P: Pool>(settings: &Settings) -> Sample {
    median(rounds(settings), |round| {
        let watch = Stopwatch::start();
        let pool = P::start(settings.workers);
        assert_eq!(pool.call::<Empty>(round), round);
        let cost = watch.stop();
        pool.stop();
        per(cost.wall, 1)
    })
}

/// The same; a name of its own for a contender of another kind.
fn start_spawned(settings: &Settings) -> Sample {
    start::<OursSpawned>(settings)
}

fn start_worker<P: Pool>(settings: &Settings) -> Sample {
    let busy_us = u64::try_from(READY.as_micros()).expect("a short time");
    median(rounds(settings), |round| {
        let pool = P::start(2);
        assert_eq!(pool.call::<Empty>(round), round);
        let busy = pool.submit::<Sleep>(busy_us);
        let watch = Stopwatch::start();
        assert_eq!(pool.call::<Empty>(round), round);
        let cost = watch.stop();
        P::collect(busy).expect("the task does not fail");
        pool.stop();
        per(cost.wall, 1)
    })
}

fn median(rounds: u64, each: impl Fn(u64) -> f64) -> Sample {
    let mut laps: Vec<_> = (0..rounds).map(each).collect();
    laps.sort_by(f64::total_cmp);
    Sample { values: vec![percentile(&laps, 50)], cpu: None }
}

fn in_python<P: Named>(settings: &Settings) -> Sample {
    python::sample::<P>("start", settings, &[rounds(settings)])
}
