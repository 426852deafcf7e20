//! `map`: a function that does next to nothing for many numbers, in chunks of several sizes.

use super::{Settings, Unit, Workload, contenders, ready};
use crate::{
    family::FamilyStopwatch,
    goal::Goal,
    jobs::square,
    measure::Sample,
    pools::{Map, Named, Ours, Procspawn},
    python::{self, MultiprocessingPool, PythonExecutor},
};

const ITEMS_ALONE: u64 = 10_000;
const ITEMS: u64 = 1_000_000;
const CHUNKSIZE: usize = 1000;
/// Before the clock starts, as a part of what follows.
const WARM_PART: u64 = 10;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "map_1",
            "the squares of 10k numbers, one task for each; procspawn, which has no `map`, by submitting and collecting; \
             per item",
            contenders!(alone: Ours, Procspawn; alone_in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("map, chunks of 1, per item", Unit::Nanoseconds, Goal::best(0.1, 0.02)),
        Workload::new(
            "map_1000",
            "the squares of 1M numbers in chunks of 1000; per item",
            contenders!(chunks: Ours, Procspawn; chunks_in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("map, chunks of 1000, per item", Unit::Nanoseconds, Goal::best(0.5, 0.15)),
        Workload::new(
            "map_auto",
            "the same with chunks that the pool chooses: ours as it goes, `multiprocessing.Pool` a quarter of each \
             worker's share; per item",
            contenders!(automatic: Ours; automatic_in_python: MultiprocessingPool),
        )
        .metric("map, chunks found, per item", Unit::Nanoseconds, None),
    ]
}

fn alone<P: Map>(settings: &Settings) -> Sample {
    map::<P>(settings, ITEMS_ALONE, Some(1))
}

fn chunks<P: Map>(settings: &Settings) -> Sample {
    map::<P>(settings, ITEMS, Some(CHUNKSIZE))
}

fn automatic<P: Map>(settings: &Settings) -> Sample {
    map::<P>(settings, ITEMS, None)
}

fn map<P: Map>(settings: &Settings, items: u64, chunksize: Option<usize>) -> Sample {
    let pool: P = ready(settings);
    let n = settings.count(items);
    pool.map(n / WARM_PART, chunksize);
    let watch = FamilyStopwatch::start();
    let sum = pool.map(n, chunksize);
    let cost = watch.stop();
    assert_eq!(sum, (0..n).map(square).fold(0, u64::wrapping_add));
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn alone_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, ITEMS_ALONE, 1)
}

fn chunks_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, ITEMS, CHUNKSIZE.try_into().expect("a small number"))
}

fn automatic_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, ITEMS, 0)
}

fn in_python<P: Named>(settings: &Settings, items: u64, chunksize: u64) -> Sample {
    let n = settings.count(items);
    python::sample::<P>("map", settings, &[n, n / WARM_PART, chunksize])
}
