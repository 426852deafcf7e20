//! `submit_collect`: one thread submits many empty tasks, keeps every handle, and collects the results in order.

use super::{Settings, Unit, Workload, contenders, ready};
use crate::{
    family::FamilyStopwatch,
    goal::Goal,
    jobs::Empty,
    measure::Sample,
    pools::{Ours, Pool, Procspawn},
    python::{self, MultiprocessingPool, PythonExecutor},
};

const TASKS: u64 = 10_000;
const TASKS_WARM: u64 = 1000;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "submit_collect",
            "one thread submits 10k empty tasks that return their number, keeps every handle, then collects in order",
            contenders!(submit: Ours, Procspawn; in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("submit_collect 10k", Unit::Nanoseconds, Goal::best(0.05, 0.01)),
    ]
}

fn submit<P: Pool>(settings: &Settings) -> Sample {
    let pool: P = ready(settings);
    submit_collect(&pool, TASKS_WARM);
    let n = settings.count(TASKS);
    let watch = FamilyStopwatch::start();
    let sum = submit_collect(&pool, n);
    let cost = watch.stop();
    assert_eq!(sum, n * (n - 1) / 2);
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn in_python<P: crate::pools::Named>(settings: &Settings) -> Sample {
    python::sample::<P>("submit_collect", settings, &[settings.count(TASKS), TASKS_WARM])
}

/// Returns the sum of the results.
fn submit_collect<P: Pool>(pool: &P, n: u64) -> u64 {
    let numbers: Vec<u64> = (0..n).collect();
    let mut sum = 0;
    for window in numbers.chunks(P::handles_max()) {
        let handles: Vec<_> = window.iter().map(|number| pool.submit::<Empty>(*number)).collect();
        for handle in handles {
            sum += P::collect(handle).expect("the task does not fail");
        }
    }
    sum
}
