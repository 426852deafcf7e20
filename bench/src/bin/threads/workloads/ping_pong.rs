//! `ping_pong`: submit one task, wait for it, and again.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::{Settings, Unit, Workload, ready};
use crate::{
    goal::Goal,
    measure::{Sample, Stopwatch, per, percentile},
    pools::{Submit, submitters},
};

/// As many rounds as there is time for, and no more than these.
const ROUNDS_MAX: u64 = 400_000;
const SPAN: Duration = Duration::from_millis(400);

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "ping_pong",
            "submit one empty task, wait for its result, repeat; each round includes one look at the clock",
            submitters!(ping_pong),
        )
        .metric("ping_pong, p50", Unit::Nanoseconds, Goal::best(2.0, 0.4))
        .metric("ping_pong, mean", Unit::Nanoseconds, Goal::best(5.0, 1.0)),
    ]
}

fn ping_pong<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    rounds(&pool, ROUNDS_MAX, settings.span(SPAN) / 10);
    let watch = Stopwatch::start();
    let mut laps = rounds(&pool, settings.count(ROUNDS_MAX), settings.span(SPAN));
    let cost = watch.stop();
    pool.stop();
    laps.sort_by(f64::total_cmp);
    let count = u64::try_from(laps.len()).expect("a number of rounds");
    Sample::new(vec![percentile(&laps, 50), per(cost.wall, count)], &cost, count)
}

/// How long each round took, in nanoseconds.
fn rounds<P: Submit>(pool: &P, rounds_max: u64, span: Duration) -> Vec<f64> {
    // Written once, so that no round meets a fresh page.
    let mut laps = vec![1.0; usize::try_from(rounds_max).expect("fits in memory")];
    laps.clear();
    let begin = Instant::now();
    let mut last = begin;
    for round in 0..rounds_max {
        let handle = pool.submit(move || black_box(round));
        assert_eq!(pool.collect(handle), round);
        let now = Instant::now();
        laps.push((now - last).as_secs_f64() * 1e9);
        last = now;
        if now - begin > span {
            break;
        }
    }
    laps
}
