//! `ping_pong`: submit one task, wait for it, and again.

use std::time::{Duration, Instant};

use super::{Settings, Unit, Workload, contenders, ready};
use crate::{
    family::FamilyStopwatch,
    goal::Goal,
    jobs::Empty,
    measure::{Sample, per, percentile},
    pools::{Named, Ours, Pool, Procspawn},
    python::{self, MultiprocessingPool, PythonExecutor},
};

const SPAN: Duration = Duration::from_millis(400);
/// In less time nothing has come to rest.
const SPAN_QUICK: Duration = Duration::from_millis(150);

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "ping_pong",
            "submit one empty task, wait for its result, repeat; each round includes one look at the clock",
            contenders!(ping_pong: Ours, Procspawn; in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("ping_pong, p50", Unit::Nanoseconds, Goal::best(0.3, 0.01))
        .metric("ping_pong, mean", Unit::Nanoseconds, Goal::best(0.3, 0.1)),
    ]
}

fn span(settings: &Settings) -> Duration {
    if settings.quick { SPAN_QUICK } else { SPAN }
}

fn ping_pong<P: Pool>(settings: &Settings) -> Sample {
    let pool: P = ready(settings);
    rounds(&pool, span(settings) / 10);
    let watch = FamilyStopwatch::start();
    let mut laps = rounds(&pool, span(settings));
    let cost = watch.stop();
    pool.stop();
    laps.sort_by(f64::total_cmp);
    let count = u64::try_from(laps.len()).expect("a number of rounds");
    Sample::new(vec![percentile(&laps, 50), per(cost.wall, count)], &cost, count)
}

fn in_python<P: Named>(settings: &Settings) -> Sample {
    let milliseconds = u64::try_from(span(settings).as_millis()).expect("a short time");
    python::sample::<P>("ping_pong", settings, &[milliseconds])
}

/// How long each round took, in nanoseconds.
fn rounds<P: Pool>(pool: &P, span: Duration) -> Vec<f64> {
    let mut laps = Vec::new();
    let begin = Instant::now();
    let mut last = begin;
    for round in 0.. {
        assert_eq!(pool.call::<Empty>(round), round);
        let now = Instant::now();
        laps.push((now - last).as_secs_f64() * 1e9);
        last = now;
        if now - begin > span {
            break;
        }
    }
    laps
}
