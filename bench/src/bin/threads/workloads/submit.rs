//! `submit_collect`: one thread submits many empty tasks, keeps every handle, and collects the results in order.

use std::hint::black_box;

use super::{Settings, Unit, Workload, ready, sum_below};
use crate::{
    goal::Goal,
    measure::{Sample, Stopwatch},
    pools::{Submit, submitters},
};

const MANY: u64 = 1_000_000;
const FEW: u64 = 10_000;
const ROUNDS: u64 = 40;
const ROUNDS_WARM: u64 = 10;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "submit_collect_1m",
            "one thread submits 1M empty tasks that return a number, keeps every handle, then collects in order; in \
             memory that nobody has used before",
            submitters!(fresh),
        )
        .metric("submit_collect 1M, fresh memory", Unit::Nanoseconds, Goal::best(1.0, 0.55)),
        Workload::new(
            "submit_collect_10k",
            "the same with 10k tasks, over and over",
            submitters!(warm),
        )
        .metric("submit_collect 10k, warm", Unit::Nanoseconds, Goal::best(1.0, 0.55)),
    ]
}

fn fresh<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(MANY);
    let watch = Stopwatch::start();
    let sum = submit_collect(&pool, n);
    let cost = watch.stop();
    assert_eq!(sum, sum_below(n));
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn warm<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    for _ in 0..settings.count(ROUNDS_WARM) {
        submit_collect(&pool, FEW);
    }
    let rounds = settings.count(ROUNDS);
    let watch = Stopwatch::start();
    let sum: u64 = (0..rounds).map(|_| submit_collect(&pool, FEW)).sum();
    let cost = watch.stop();
    assert_eq!(sum, rounds * sum_below(FEW));
    pool.stop();
    Sample::per_operation(&cost, rounds * FEW)
}

/// Returns the sum of the results.
pub(super) fn submit_collect<P: Submit>(pool: &P, n: u64) -> u64 {
    let handles: Vec<_> = (0..n).map(|index| pool.submit(move || black_box(index))).collect();
    let mut sum = 0;
    pool.collect_all(handles, |value| sum += value);
    black_box(sum)
}
