//! The crash of a worker: what it costs its neighbours, and how soon the pool is of use again.

use super::{Settings, Unit, Workload, contenders, ready};
use crate::{
    goal::{Bound, Goal},
    jobs::{Crash, Empty, Moment, Sleep},
    measure::{Sample, per, percentile},
    pools::{Named, Ours, OursSpawned, Pool, Procspawn},
    python::{self, PythonExecutor},
    workload::Contender,
};

const ROUNDS: u64 = 9;
const ROUNDS_QUICK: u64 = 3;

/// Half of them submitted before the task that crashes, half after it.
const NEIGHBOURS: usize = 20;
/// How long each takes: long enough that some run, wait and come at the moment of the crash.
const NEIGHBOUR_US: u64 = 500;
/// How long the tasks take that find out whether all workers are there: longer than starting one.
const MUSTER_US: u64 = 20_000;

pub(super) fn workloads() -> Vec<Workload> {
    let nobody = Goal { must: Bound::Absolute(0.0), moonshot: Bound::Absolute(0.0) };
    let mut contenders = contenders!(crash: Ours, Procspawn; in_python: PythonExecutor);
    contenders.push(Contender::reference(OursSpawned::NAME, crash_spawned));
    vec![
        Workload::new(
            "crash",
            "one task kills its worker: how many of 20 others fail that are submitted around it; and with no others, from \
             submitting it until its failure is known and another task, in a new pool if need be, has returned, and \
             until a task has begun on every worker; median rounds. `multiprocessing.Pool` is not there because it never \
             tells of the failure",
            contenders,
        )
        .metric("crash, others of 20 that fail", Unit::Number, Some(nobody))
        .metric("crash to next result", Unit::Nanoseconds, Goal::best(2.0, 0.5))
        .metric("crash to all workers", Unit::Nanoseconds, None),
    ]
}

fn rounds(settings: &Settings) -> u64 {
    if settings.quick { ROUNDS_QUICK } else { ROUNDS }
}

fn crash<P: Pool>(settings: &Settings) -> Sample {
    let rounds = rounds(settings);
    let (mut failed, mut next, mut all) = (0, Vec::new(), Vec::new());
    for _ in 0..rounds {
        let pool: P = ready(settings);
        let others = || (0..NEIGHBOURS / 2).map(|_| pool.submit::<Sleep>(NEIGHBOUR_US));
        let before: Vec<_> = others().collect();
        let crash = pool.submit::<Crash>(());
        let after: Vec<_> = others().collect();
        // In this order, because a worker of procspawn with a result takes no other task until that is collected.
        failed += before.into_iter().map(P::collect).filter(Result::is_err).count();
        P::collect(crash).expect_err("it kills its worker");
        failed += after.into_iter().map(P::collect).filter(Result::is_err).count();
        pool.stop();

        let pool: P = ready(settings);
        let begin = Moment::now();
        let crash = pool.submit::<Crash>(());
        P::collect(crash).expect_err("it kills its worker");
        assert_eq!(pool.call::<Empty>(7), 7);
        next.push(per(Moment::now().since(begin), 1));
        let muster: Vec<_> =
            (0..settings.workers).map(|_| pool.submit::<Sleep>(MUSTER_US)).collect();
        let begun = muster.into_iter().map(|task| P::collect(task).expect("nobody crashes"));
        let last = begun.max().expect("there are workers");
        all.push(per(last.since(begin), 1));
        pool.stop();
    }
    let median = |mut laps: Vec<f64>| {
        laps.sort_by(f64::total_cmp);
        percentile(&laps, 50)
    };
    Sample { values: vec![failed as f64 / rounds as f64, median(next), median(all)], cpu: None }
}

/// The same; a name of its own for a contender of another kind.
fn crash_spawned(settings: &Settings) -> Sample {
    crash::<OursSpawned>(settings)
}

fn in_python<P: Named>(settings: &Settings) -> Sample {
    let others = u64::try_from(NEIGHBOURS).expect("a small number");
    let numbers = [rounds(settings), others, NEIGHBOUR_US, MUSTER_US];
    python::sample::<P>("crash", settings, &numbers)
}
