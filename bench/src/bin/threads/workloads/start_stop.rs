//! The life of a short-lived pool: start, one task, stop.

use std::hint::black_box;

use super::{Settings, Unit, Workload};
use crate::{
    goal::Goal,
    measure::{Sample, Stopwatch, per, percentile},
    pools::{Submit, startable},
};

const ROUNDS: u64 = 300;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "start_stop",
            "start a pool, submit one task, collect its result, and stop the pool, waiting for its threads where it \
             offers that (rayon, threadpool and futures do not); the median round",
            startable!(start_stop),
        )
        .metric("pool start, one task, stop", Unit::Nanoseconds, Goal::best(1.1, 0.9)),
    ]
}

fn start_stop<P: Submit>(settings: &Settings) -> Sample {
    let rounds = settings.count(ROUNDS);
    let mut laps = Vec::new();
    let all = Stopwatch::start();
    for round in 0..rounds {
        let watch = Stopwatch::start();
        let pool = P::start(settings.workers);
        let handle = pool.submit(move || black_box(round));
        assert_eq!(pool.collect(handle), round);
        pool.stop();
        laps.push(per(watch.stop().wall, 1));
    }
    let cost = all.stop();
    laps.sort_by(f64::total_cmp);
    Sample::new(vec![percentile(&laps, 50)], &cost, rounds)
}
