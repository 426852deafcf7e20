//! Wake bursts: a pool that sleeps gets a few tasks at once, again and again.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use super::{Settings, Unit, Workload, ready, submit::submit_collect, sum_below};
use crate::{
    goal::Goal,
    measure::{Sample, Stopwatch, per, percentile},
    pools::{Submit, submitters},
};

const TASKS: u64 = 64;
const BURSTS: u64 = 80;
const PERIOD: Duration = Duration::from_millis(10);

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "wake_bursts",
            "64 empty tasks every 10 ms, each burst submitted and collected; the median burst, and the processor time of \
             the whole program",
            submitters!(bursts),
        )
        .metric("wake bursts, completion per task", Unit::Nanoseconds, Goal::best(1.0, 0.8))
        .metric("wake bursts, CPU per task", Unit::Nanoseconds, Goal::best(1.1, 0.7)),
    ]
}

fn bursts<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let bursts = settings.count(BURSTS);
    let mut laps = Vec::new();
    let watch = Stopwatch::start();
    let mut next = Instant::now();
    for _ in 0..bursts {
        next += PERIOD;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let begin = Instant::now();
        let sum = submit_collect(&pool, black_box(TASKS));
        laps.push(per(begin.elapsed(), TASKS));
        assert_eq!(sum, sum_below(TASKS));
    }
    let cost = watch.stop();
    pool.stop();
    laps.sort_by(f64::total_cmp);
    let tasks = bursts * TASKS;
    Sample::new(vec![percentile(&laps, 50), per(cost.cpu, tasks)], &cost, tasks)
}
