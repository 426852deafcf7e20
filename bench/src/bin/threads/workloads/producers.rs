//! Many producers: several threads submit at the same time, with and without handles.

use std::{hint::black_box, sync::Barrier, thread};

use super::{Settings, Unit, Workload, ready, submit::submit_collect, sum_below};
use crate::{
    goal::Goal,
    measure::{Cost, Sample, Stopwatch},
    pools::{Fire, Submit, firing, submitters},
    tally::{self, Tally},
};

const PRODUCERS: u64 = 4;
const TASKS_EACH: u64 = 250_000;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "producers_fire",
            "4 threads give the pool 250k empty tasks each, without handles; until the last has run",
            firing!(fire),
        )
        .metric("many producers, fire", Unit::Nanoseconds, Goal::best(1.2, 0.7)),
        Workload::new(
            "producers_collect",
            "4 threads submit 250k empty tasks each, keep every handle, and collect in order",
            submitters!(collect),
        )
        .metric("many producers, collect", Unit::Nanoseconds, Goal::best(1.0, 0.7)),
    ]
}

fn fire<P: Fire>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(TASKS_EACH);
    let (before, mut sum) = (Tally::now(), 0);
    let cost = produce(
        || {
            for index in 0..n {
                pool.fire(move || tally::add(black_box(index)));
            }
        },
        || sum = before.wait_for(PRODUCERS * n),
    );
    assert_eq!(sum, PRODUCERS * sum_below(n));
    pool.stop();
    Sample::per_operation(&cost, PRODUCERS * n)
}

fn collect<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(TASKS_EACH);
    let cost = produce(|| assert_eq!(submit_collect(&pool, n), sum_below(n)), || {});
    pool.stop();
    Sample::per_operation(&cost, PRODUCERS * n)
}

/// Calls `each` on all producers at once. The cost is that until all have returned, and `last` has.
fn produce(each: impl Fn() + Sync, last: impl FnOnce()) -> Cost {
    let start = Barrier::new(usize::try_from(PRODUCERS).expect("a few") + 1);
    let watch = thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                start.wait();
                each();
            });
        }
        let watch = Stopwatch::start();
        start.wait();
        watch
    });
    last();
    watch.stop()
}
