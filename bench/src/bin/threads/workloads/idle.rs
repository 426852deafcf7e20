//! An idle pool: what it costs to have one and not use it.

use std::{thread, time::Duration};

use super::{Settings, Unit, Workload, ready};
use crate::{
    goal::{Bound, Goal},
    measure::{Sample, Stopwatch},
    pools::{Fire, firing},
};

const SPAN: Duration = Duration::from_millis(1000);
/// In a shorter span a single wake-up would look like many in a second.
const SPAN_QUICK: Duration = Duration::from_millis(150);
/// How long a pool may take to come to rest after its last task.
const SETTLE: Duration = Duration::from_millis(100);

pub(super) fn workloads() -> Vec<Workload> {
    let goal = Goal { must: Bound::Absolute(0.0), moonshot: Bound::Absolute(0.0) };
    vec![
        Workload::new(
            "idle",
            "a pool whose workers have all run something and have nothing to do; processor time of the whole program, \
             and how often its other threads wake up",
            firing!(idle),
        )
        .metric("idle pool, CPU per s", Unit::Nanoseconds, None)
        .metric("idle pool, wake-ups per s", Unit::Number, Some(goal)),
    ]
}

fn idle<P: Fire>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    thread::sleep(SETTLE);
    let watch = Stopwatch::start();
    thread::sleep(if settings.quick { SPAN_QUICK } else { SPAN });
    let cost = watch.stop();
    pool.stop();
    let seconds = cost.wall.as_secs_f64();
    let values =
        vec![cost.cpu.as_secs_f64() * 1e9 / seconds, cost.sleeps_of_others as f64 / seconds];
    Sample { values, cpu: None }
}
