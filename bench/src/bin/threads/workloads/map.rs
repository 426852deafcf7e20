//! Maps: many cheap items, many of a microsecond, and some of very different lengths.

use std::time::{Duration, Instant};

use super::{Contender, Settings, Unit, Workload, ready, sum_below};
use crate::{
    goal::Goal,
    measure::{Cost, Sample, Stopwatch},
    pools::{Fire, Map, Ours, OursIterator, Pool, Rayon, StdThreads, Submit, mapping, submitters},
    work::{sum_of_work, work},
};

const CHEAP_ITEMS: u64 = 10_000_000;
const SHORT_ITEMS: u64 = 100_000;
const RAMP_ITEMS: u64 = 1000;
/// The longest item of the ramp takes a millisecond, however many there are.
const RAMP_TOP: u64 = 1000;

/// A map that would take longer gets fewer items: 10M tasks are no fun for a pool that makes one of each.
const SPAN_MAX: Duration = Duration::from_millis(1500);
/// The part of the items that is mapped first, to know.
const TRIAL: u64 = 200;

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "map_cheap",
            "10M times x*x + 1 from a range into a new vector (fewer times for a pool that would take more than \
             1.5 s); chunks are up to the pool",
            with_iterator(mapping!(cheap), cheap::<OursIterator>),
        )
        .metric("map x*x+1, 10M", Unit::Nanoseconds, Goal::best(1.05, 0.6)),
        Workload::new(
            "map_short",
            "100k items of 1 us each; chunks are up to the pool",
            with_iterator(mapping!(short), short::<OursIterator>),
        )
        .metric("map 1 us x 100k", Unit::Nanoseconds, Goal::best(1.05, 1.01)),
        Workload::new(
            "map_short_tasks",
            "100k items of 1 us each, one task for each, submitted and collected one by one",
            submitters!(short_tasks),
        )
        .metric("map 1 us x 100k, one task per item", Unit::Nanoseconds, Goal::best(1.0, 0.68)),
        Workload::new(
            "map_ramp",
            "1000 items that take from 0 to 1 ms, in ascending order; by the pool's map if it has one that is meant for \
             this, otherwise one task for each",
            ramp_contenders(),
        )
        .metric("map 0–1 ms ramp x 1000", Unit::Nanoseconds, Goal::best(1.02, 0.99)),
    ]
}

/// Ours once more, for comparison, collecting what the iterator yields rather than having workers write into the vector.
fn with_iterator(mut contenders: Vec<Contender>, run: fn(&Settings) -> Sample) -> Vec<Contender> {
    contenders.push(Contender::reference(OursIterator::NAME, run));
    contenders
}

fn ramp_contenders() -> Vec<Contender> {
    let mut contenders = vec![
        Contender::peer(Ours::NAME, ramp::<Ours>),
        Contender::peer(Rayon::NAME, ramp::<Rayon>),
        Contender::peer(StdThreads::NAME, ramp::<StdThreads>),
        Contender::reference(OursIterator::NAME, ramp::<OursIterator>),
    ];
    contenders.extend(super::contenders!(
        ramp_tasks: RayonOneshot, Tokio, SpawnBlocking, AsyncExecutor, AsyncTask, Queue, Threadpool, RustyPool,
        Futures, Blocking
    ));
    contenders
}

fn cheap<P: Map + Fire>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = affordable(settings.count(CHEAP_ITEMS), |n| drop(pool.map(n, cheap_item)));
    let (results, cost) = timed(|| pool.map(n, cheap_item));
    assert!((0..n).map(cheap_item).eq(results), "every result in its place");
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn cheap_item(x: u64) -> u64 {
    x * x + 1
}

fn short<P: Map + Fire>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(SHORT_ITEMS);
    let steps = settings.steps_per_microsecond;
    let (results, cost) = timed(|| pool.map(n, move |item| work(item, steps)));
    assert_eq!(sum(results), sum_of_work(sum_below(n), n, steps));
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn short_tasks<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(SHORT_ITEMS);
    let steps = settings.steps_per_microsecond;
    let (results, cost) = timed(|| by_tasks(&pool, n, move |item| work(item, steps)));
    assert_eq!(sum(results), sum_of_work(sum_below(n), n, steps));
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn ramp<P: Map + Fire>(settings: &Settings) -> Sample {
    ramp_by::<P>(settings, |pool, n, per_item| pool.map(n, ramp_item(per_item)))
}

fn ramp_tasks<P: Submit>(settings: &Settings) -> Sample {
    ramp_by::<P>(settings, |pool, n, per_item| by_tasks(pool, n, ramp_item(per_item)))
}

fn ramp_by<P: Fire>(settings: &Settings, map: impl FnOnce(&P, u64, u64) -> Vec<u64>) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    let n = settings.count(RAMP_ITEMS);
    let per_item = settings.steps_per_microsecond * RAMP_TOP / n;
    let (results, cost) = timed(|| map(&pool, n, per_item));
    let expected = (0..n).map(|item| sum_of_work(item, 1, item * per_item));
    assert!(expected.eq(results), "every result in its place");
    pool.stop();
    Sample::per_operation(&cost, n)
}

fn ramp_item(per_item: u64) -> impl Fn(u64) -> u64 + Copy + Send + Sync + 'static {
    move |item| work(item, item * per_item)
}

fn by_tasks<P: Submit>(
    pool: &P,
    n: u64,
    function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
) -> Vec<u64> {
    let handles: Vec<_> = (0..n).map(|item| pool.submit(move || function(item))).collect();
    let mut results = Vec::with_capacity(handles.len());
    pool.collect_all(handles, |value| results.push(value));
    results
}

/// How many of `n` items there is time for.
fn affordable(n: u64, map: impl Fn(u64)) -> u64 {
    let trial = n / TRIAL;
    let begin = Instant::now();
    map(trial);
    let trials = SPAN_MAX.as_nanos() / begin.elapsed().as_nanos().max(1);
    trial * u64::try_from(trials).unwrap_or(u64::MAX).clamp(1, TRIAL)
}

fn timed<R>(f: impl FnOnce() -> R) -> (R, Cost) {
    let watch = Stopwatch::start();
    let result = std::hint::black_box(f());
    (result, watch.stop())
}

fn sum(results: Vec<u64>) -> u64 {
    results.into_iter().fold(0, u64::wrapping_add)
}
