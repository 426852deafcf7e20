//! `fire_and_forget`: one thread gives the pool many empty tasks without handles.

use std::hint::black_box;

use super::{Settings, Unit, Workload, ready, sum_below};
use crate::{
    goal::Goal,
    measure::{Sample, Stopwatch},
    pools::{Fire, firing},
    tally::{self, Tally},
};

const TASKS: u64 = 1_000_000;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "fire_and_forget",
            "one thread gives the pool 1M empty tasks without handles; until the last has run",
            firing!(fire),
        )
        .metric("fire_and_forget 1M", Unit::Nanoseconds, Goal::best(1.0, 0.4)),
    ]
}

fn fire<P: Fire>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(TASKS);
    let before = Tally::now();
    let watch = Stopwatch::start();
    for index in 0..n {
        pool.fire(move || tally::add(black_box(index)));
    }
    let sum = before.wait_for(n);
    let cost = watch.stop();
    assert_eq!(sum, sum_below(n));
    pool.stop();
    Sample::per_operation(&cost, n)
}
