//! For any items, options, workers and failures: the same results as a sequential map, none lost and none doubled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use concurrent_futures::{ExecutorExt, InlineExecutor, MapError, MapOptions, Progress, TaskError};
use concurrent_futures_tests::{
    WireExecutor,
    drops::{DropCounter, Token},
    functions::double_even,
    guarded,
};
use proptest::{
    option,
    prelude::{ProptestConfig, Strategy, any},
    proptest,
};

use super::pool;

#[derive(Clone, Debug)]
struct Choices {
    count: u64,
    /// By item, whether its call panics.
    failing: u128,
    workers: usize,
    chunksize: Option<usize>,
    buffersize: Option<usize>,
    unbounded: bool,
    unordered: bool,
    /// How many results to take before the map is dropped.
    taken: usize,
}

impl Choices {
    fn fails(&self, n: u64) -> bool {
        self.failing >> n & 1 == 1
    }

    fn options(&self) -> MapOptions {
        let options = MapOptions::new();
        let options = self.chunksize.into_iter().fold(options, MapOptions::chunksize);
        let options = self.buffersize.into_iter().fold(options, MapOptions::buffersize);
        let options = if self.unbounded { options.unbounded() } else { options };
        if self.unordered { options.unordered() } else { options }
    }
}

fn choices() -> impl Strategy<Value = Choices> {
    let sizes = (option::of(1_usize..20), option::of(1_usize..40), any::<bool>());
    let items = (0_u64..120, any::<u128>(), any::<u128>());
    (items, 1_usize..5, sizes, any::<bool>(), 0_usize..150).prop_map(
        |((count, one, two), workers, (chunksize, buffersize, unbounded), unordered, taken)| {
            // A quarter of the items.
            let failing = one & two;
            Choices { count, failing, workers, chunksize, buffersize, unbounded, unordered, taken }
        },
    )
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() }
}

fn value_or_message(result: Result<u64, MapError>) -> Result<u64, String> {
    result.map_err(|error| match error {
        MapError::Task(TaskError::Panicked(panic)) => panic.message().to_owned(),
        error => panic!("{error:?}"),
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_map_is_a_map(choices in choices()) {
        guarded(move || {
            let pool = pool(choices.workers);
            let call = {
                let choices = choices.clone();
                move |n| {
                    assert!(!choices.fails(n), "item {n}");
                    n * 3
                }
            };
            let mut expected: Vec<_> = (0..choices.count)
                .map(|n| if choices.fails(n) { Err(format!("item {n}")) } else { Ok(n * 3) })
                .collect();
            let mut mapped = pool.map_with(choices.options(), call, 0..choices.count).unwrap();
            // Some by `next`, the others by `fold`.
            let first = mapped.by_ref().take(choices.taken);
            let mut results: Vec<_> = first.map(value_or_message).collect();
            mapped.for_each(|result| results.push(value_or_message(result)));
            if choices.unordered {
                results.sort_unstable();
                expected.sort_unstable();
            }
            assert_eq!(results, expected);
        });
    }

    #[test]
    fn nothing_is_lost_or_doubled(choices in choices()) {
        guarded(move || {
            let pool = pool(choices.workers);
            let counter = DropCounter::new();
            let calls = Arc::new(AtomicUsize::new(0));
            let progress = Progress::new();
            let call = {
                let (choices, calls) = (choices.clone(), Arc::clone(&calls));
                move |(n, token): (u64, Token)| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    assert!(!choices.fails(n), "item {n}");
                    (n, token)
                }
            };
            let items = (0..choices.count).map(|n| (n, counter.token()));
            let options = choices.options().progress(&progress);
            let mut mapped = pool.map_with(options, call, items).unwrap();
            let mut seen = 0;
            for result in mapped.by_ref().take(choices.taken) {
                seen += 1;
                drop(result);
            }
            assert_eq!(seen, choices.taken.min(usize::try_from(choices.count).unwrap()));
            let unsubmitted = mapped.into_unsubmitted().count();
            pool.shutdown();
            let counts = progress.snapshot();
            // Each item was submitted or came back; each that was submitted has ended, and its call was made once or not
            // at all.
            assert_eq!(counts.submitted + unsubmitted as u64, choices.count);
            assert_eq!(counts.done(), counts.submitted);
            assert_eq!(calls.load(Ordering::Relaxed) as u64, counts.submitted - counts.cancelled);
            assert_eq!((counter.made() as u64, counter.alive()), (choices.count, 0));
        });
    }

    #[test]
    fn all_executors_agree(choices in choices()) {
        guarded(move || {
            // Half of the items fail, and panics are slow.
            let choices = Choices { count: choices.count / 4, ..choices };
            let inline = InlineExecutor::new();
            let wire = WireExecutor::new(choices.workers);
            let sorted = |mut results: Vec<Result<u64, String>>| {
                results.sort_unstable();
                results
            };
            let there = wire.map_with(choices.options(), double_even, 0..choices.count).unwrap();
            let there = sorted(there.map(value_or_message).collect());
            let here = ExecutorExt::map(&inline, double_even, 0..choices.count);
            assert_eq!(there, sorted(here.map(value_or_message).collect()));
        });
    }
}
