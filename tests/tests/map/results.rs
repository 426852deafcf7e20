//! What a map yields: each item's own result, in order or as they come.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use concurrent_futures::{Map, MapError, MapOptions, Progress, TaskError, promise};
use concurrent_futures_tests::{
    Gate, delays,
    drops::{DropCounter, Token},
    guarded, registry,
};

use super::pool;

/// Functions may capture, items and results need not cross any wire, and an item is called for once.
#[test]
fn f077_anything_can_be_mapped() {
    guarded(|| {
        let pool = pool(3);
        let calls = Arc::new(AtomicUsize::new(0));
        let suffix = String::from("!");
        let shout = {
            let calls = Arc::clone(&calls);
            move |word: &'static str| {
                calls.fetch_add(1, Ordering::Relaxed);
                Box::new(word.to_uppercase() + &suffix)
            }
        };
        let shouted: Vec<_> =
            pool.map(shout, ["one", "two", "three"]).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            shouted.into_iter().map(|text| *text).collect::<Vec<_>>(),
            ["ONE!", "TWO!", "THREE!"]
        );
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    });
}

/// A slow item holds up those behind it, and no call: they have long been made when their turn comes.
#[test]
fn f077_order_is_a_matter_of_yielding_alone() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let slow = registry::find::<Gate>(gate.key());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let called = Arc::clone(&calls);
        let progress = Progress::new();
        let options = MapOptions::new().progress(&progress);
        let mapped = pool
            .map_with(
                options,
                move |n| {
                    if n == 0 {
                        slow.pass();
                    }
                    called.lock().unwrap().push(n);
                    n
                },
                0..10_u64,
            )
            .unwrap();
        while progress.snapshot().succeeded < 9 {
            sleep(delays::poll());
        }
        gate.open();
        assert!(mapped.map(Result::unwrap).eq(0..10));
        assert_eq!(*calls.lock().unwrap().last().unwrap(), 0);
    });
}

/// Every item of a chunk has its own outcome, also if all fail, or all but one.
#[test]
fn f085_p12_an_item_fails_alone() {
    guarded(|| {
        let pool = pool(2);
        for chunksize in [1, 2, 5, 100] {
            for failing in [0_u64, 1, 0b10_0101, u64::MAX >> 40, u64::MAX] {
                let call = move |n: u64| {
                    assert!(failing >> n & 1 == 0, "item {n}");
                    n
                };
                let options = MapOptions::new().chunksize(chunksize);
                let mapped = pool.map_with(options, call, 0..60).unwrap();
                for (n, result) in (0..60).zip(mapped) {
                    match result {
                        Ok(value) => assert!(value == n && failing >> n & 1 == 0),
                        Err(MapError::Task(TaskError::Panicked(panic))) => {
                            assert_eq!(panic.message(), format!("item {n}"));
                            assert!(failing >> n & 1 == 1);
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        }
    });
}

/// The failure of an item is that of its call, with all that is known of it, and can be thrown again.
#[test]
fn f080_f154_an_error_says_what_happened() {
    guarded(|| {
        let pool = pool(1);
        let error =
            pool.map(|n: u64| assert!(n != 1, "number {n}"), [1]).next().unwrap().unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("the task panicked at ") && text.ends_with(": number 1"),
            "{text}"
        );
        let MapError::Task(TaskError::Panicked(panic)) = error else { panic!("{error:?}") };
        assert!(panic.location().unwrap().contains("results.rs"));
        let thrown = std::panic::catch_unwind(|| panic.resume()).unwrap_err();
        assert_eq!(*thrown.downcast::<String>().unwrap(), "number 1");
    });
}

/// A call that fails with a timeout of its own is a failed call, and the map goes on; only the deadline of the map ends
/// it.
#[test]
fn f155_p05_a_calls_own_timeout_is_an_error_like_any_other() {
    guarded(|| {
        let pool = pool(2);
        let call = |n: u64| {
            let (promise, future) = promise::<u64>();
            if n.is_multiple_of(2) {
                promise.set_result(n).unwrap();
                future.result_timeout(Duration::ZERO).expect("in time").unwrap()
            } else {
                let timeout = future.result_timeout(Duration::ZERO).unwrap_err();
                panic!("{timeout}")
            }
        };
        let options = MapOptions::new().timeout(delays::long()).chunksize(3);
        let results: Vec<_> = pool.map_with(options, call, 0..10).unwrap().collect();
        assert_eq!(results.len(), 10);
        assert!(results.iter().all(|result| !matches!(result, Err(MapError::Timeout(_)))));
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
    });
}

/// Results that were yielded are the caller's: the map holds none of them, nor anything of their tasks.
#[test]
fn f083_p48_nothing_is_retained() {
    guarded(|| {
        let pool = pool(2);
        for chunksize in [1, 4] {
            let counter = DropCounter::new();
            let tokens: Vec<_> = (0..100).map(|_| counter.token()).collect();
            let options = MapOptions::new().chunksize(chunksize).buffersize(4);
            let mapped = pool.map_with(options, |token: Token| token, tokens).unwrap();
            for (taken, result) in mapped.enumerate() {
                drop(result.unwrap());
                assert_eq!(counter.dropped(), taken + 1);
            }
            assert_eq!(counter.alive(), 0);
        }
    });
}

/// Dropping a map, at whatever point, leaves nothing behind.
#[test]
fn f082_p48_a_dropped_map_leaves_nothing() {
    guarded(|| {
        let pool = pool(2);
        for unordered in [false, true] {
            for taken in [0, 1, 7, 50] {
                for chunksize in [1, 3] {
                    let counter = DropCounter::new();
                    let tokens: Vec<_> = (0..50).map(|_| counter.token()).collect();
                    let options = MapOptions::new().chunksize(chunksize).buffersize(10);
                    let options = if unordered { options.unordered() } else { options };
                    let mapped = pool.map_with(options, |token: Token| token, tokens).unwrap();
                    assert_eq!(mapped.take(taken).filter(Result::is_ok).count(), taken);
                    // Those that were running may still be.
                    while counter.alive() > 0 {
                        sleep(delays::poll());
                    }
                }
            }
        }
    });
}

/// Without order, results come as they are there, and nothing is lost or doubled.
#[test]
fn unordered_results_come_as_they_are_there() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let slow = registry::find::<Gate>(gate.key());
        let options = MapOptions::new().unordered().buffersize(4);
        let call = move |n: u64| {
            if n == 0 {
                slow.pass();
            }
            n
        };
        let mut mapped = pool.map_with(options, call, 0..20).unwrap();
        let mut first: Vec<_> = mapped.by_ref().take(19).collect::<Result<_, _>>().unwrap();
        first.sort_unstable();
        assert!(first.into_iter().eq(1..20));
        gate.open();
        assert_eq!(mapped.next().unwrap().unwrap(), 0);
        assert!(mapped.next().is_none());
    });
}

/// Counts of items at every moment: none ends that was not submitted, and in the end all have.
#[test]
fn p13_progress_adds_up() {
    guarded(|| {
        let pool = pool(3);
        for chunksize in [None, Some(1), Some(7)] {
            let progress = Progress::new();
            let options = MapOptions::new().progress(&progress).buffersize(30);
            let options = chunksize.into_iter().fold(options, MapOptions::chunksize);
            let call = |n: u64| assert!(!n.is_multiple_of(5), "a fifth");
            let mapped = pool.map_with(options, call, 0..500).unwrap();
            for (taken, _) in (1..).zip(mapped) {
                let counts = progress.snapshot();
                assert!(counts.done() >= taken && counts.done() <= counts.submitted, "{counts:?}");
                assert!(counts.submitted <= taken + 30, "{counts:?}");
            }
            let counts = progress.snapshot();
            assert_eq!((counts.submitted, counts.succeeded, counts.failed), (500, 400, 100));
        }
    });
}

/// Several maps may count together, and one may be inside another.
#[test]
fn p13_maps_may_share_their_counts() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let progress = Progress::new();
        let (inner, counts) = (Arc::clone(&pool), progress.clone());
        let outer = move |n: u64| {
            let options = MapOptions::new().progress(&counts);
            inner.map_with(options, move |m: u64| n * m, 0..5).unwrap().map(Result::unwrap).sum()
        };
        let sums: Vec<u64> = pool.map(outer, 0..5).collect::<Result<_, _>>().unwrap();
        assert_eq!(sums, [0, 10, 20, 30, 40]);
        assert_eq!(progress.snapshot().succeeded, 25);
        drop(pool);
    });
}

/// Calls of very different length, so that chunks that the library chooses grow and shrink on the way.
#[test]
fn p12_chunks_follow_the_calls() {
    guarded(|| {
        let pool = pool(2);
        let call = |n: u64| {
            if n.is_multiple_of(1000) {
                sleep(delays::task());
            }
            n
        };
        assert!(pool.map(call, 0..20_000).map(Result::unwrap).eq(0..20_000));
        let options = MapOptions::new().unordered();
        let mut results: Vec<_> =
            pool.map_with(options, call, 0..20_000).unwrap().collect::<Result<_, _>>().unwrap();
        results.sort_unstable();
        assert!(results.into_iter().eq(0..20_000));
    });
}

/// A map may go to another thread, and be described.
#[test]
fn a_map_is_a_value() {
    fn is_send<T: Send>(_: &T) {}

    guarded(|| {
        let pool = pool(1);
        let mapped: Map<'_, _, u64> = pool.map(|n| n, 0..3_u64);
        is_send(&mapped);
        assert!(format!("{mapped:?}").starts_with("Map { "), "{mapped:?}");
        let sum = std::thread::scope(|scope| {
            scope.spawn(|| mapped.map(Result::unwrap).sum::<u64>()).join().unwrap()
        });
        assert_eq!(sum, 3);
    });
}
