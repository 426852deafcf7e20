//! `map_vec`: a function over items that workers divide among themselves, into a vector.

use std::{
    cell::Cell,
    ops::RangeBounds,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use concurrent_futures::{
    Items, MapError, Refusal, Shutdown, TaskError, ThreadPoolExecutor, blocking,
};
use concurrent_futures_tests::{Gate, delays, drops::DropCounter, guarded, seed::Random};

use super::{occupy, pool};

const LENGTHS: [usize; 9] = [0, 1, 2, 3, 7, 64, 1000, 4097, 100_000];

/// The same as from an iterator, for every kind of items, any number of them, and any number of workers.
#[test]
fn results_are_in_the_order_of_the_items() {
    guarded(|| {
        for workers in 1..=4 {
            let pool = pool(workers);
            for length in LENGTHS {
                let expected: Vec<String> = (0..length).map(|n| n.to_string()).collect();
                let mut numbers: Vec<usize> = (0..length).collect();
                assert_eq!(pool.map_vec(|n| n.to_string(), 0..length).unwrap(), expected);
                assert_eq!(pool.map_vec(|n: &usize| n.to_string(), &numbers).unwrap(), expected);
                assert_eq!(pool.map_vec(|n| n.to_string(), &numbers[..]).unwrap(), expected);
                let taken = pool.map_vec(|n| std::mem::replace(n, 1).to_string(), &mut numbers[..]);
                assert_eq!(taken.unwrap(), expected);
                assert_eq!(numbers, vec![1; length]);
                let parsed = pool.map_vec(|text| text.parse::<usize>().unwrap(), expected);
                assert!((0..length).eq(parsed.unwrap()));
            }
        }
    });
}

/// Whatever else has items of which each part can be had by itself.
#[test]
fn arrays_and_boxes_have_items() {
    guarded(|| {
        let pool = pool(2);
        let expected = ["1", "2", "3"];
        let mut numbers = [1, 2, 3];
        assert_eq!(pool.map_vec(|n: i32| n.to_string(), numbers).unwrap(), expected);
        assert_eq!(pool.map_vec(|n: &i32| n.to_string(), &numbers).unwrap(), expected);
        assert_eq!(pool.map_vec(|n: i32| n.to_string(), Box::from(numbers)).unwrap(), expected);
        pool.map_vec(|n: &mut i32| *n += 1, &mut numbers).unwrap();
        let mut numbers = numbers.to_vec();
        pool.map_vec(|n: &mut i32| *n -= 1, &mut numbers).unwrap();
        assert_eq!(pool.map_vec(|n: &i32| n.to_string(), &numbers).unwrap(), expected);
        let tokens = DropCounter::new();
        pool.map_vec(drop, [tokens.token(), tokens.token()]).unwrap();
        pool.map_vec(drop, vec![tokens.token()].into_boxed_slice()).unwrap();
        assert_eq!((tokens.made(), tokens.alive()), (3, 0));
    });
}

/// What items borrow and what the function borrows may live on the caller's stack, and results may borrow both.
#[test]
fn items_function_and_results_borrow() {
    guarded(|| {
        let words = ["a", "b", "c"].map(str::to_owned);
        let endings = [String::from("x"), String::from("y")];
        let pairs = pool(2).map_vec(|word| (word.as_str(), &endings[word.len() - 1]), &words[..]);
        assert_eq!(pairs.unwrap()[2], ("c", &endings[0]));
    });
}

fn same_as_iterator<T, I>(pool: &ThreadPoolExecutor, range: I)
where
    T: Send + PartialEq + std::fmt::Debug,
    I: Items<Item = T> + Iterator<Item = T> + Clone + RangeBounds<T>,
{
    assert_eq!(pool.map_vec(|n| n, range.clone()).unwrap(), range.collect::<Vec<_>>());
}

/// Ranges of any integers, up to the limits of their types, those that are empty, and one that was begun.
#[test]
fn ranges_are_as_their_iterators() {
    guarded(|| {
        let pool = pool(2);
        same_as_iterator(&pool, i8::MIN..i8::MAX);
        same_as_iterator(&pool, i8::MIN..=i8::MAX);
        same_as_iterator(&pool, u8::MIN..=u8::MAX);
        same_as_iterator(&pool, i16::MIN..=i16::MAX);
        same_as_iterator(&pool, u32::MAX - 5..=u32::MAX);
        same_as_iterator(&pool, i32::MIN..i32::MIN + 5);
        same_as_iterator(&pool, u64::MAX - 5..=u64::MAX);
        same_as_iterator(&pool, -3_i64..=3);
        same_as_iterator(&pool, usize::MAX - 5..usize::MAX);
        same_as_iterator(&pool, isize::MIN..=isize::MIN);
        #[expect(clippy::reversed_empty_ranges, reason = "they are to be empty")]
        {
            same_as_iterator(&pool, 3..3_u8);
            same_as_iterator(&pool, 5..3_i32);
            same_as_iterator(&pool, 5..=3_u64);
        }
        let mut begun = 0..=2_u64;
        begun.next();
        same_as_iterator(&pool, begun.clone());
        begun.by_ref().for_each(drop);
        same_as_iterator(&pool, begun);
    });
}

/// Workers take part at the same time, all of them.
#[test]
fn all_workers_take_part() {
    guarded(|| {
        for workers in 2..=6 {
            let pool = pool(workers);
            for _ in 0..20 {
                let meeting = Barrier::new(workers);
                let met = pool.map_vec(|_| meeting.wait().is_leader(), 0..workers).unwrap();
                assert_eq!(met.iter().filter(|leads| **leads).count(), 1);
            }
        }
    });
}

/// Of several calls that panic, the error is that of the first in order, however they were divided; no item and no result is
/// dropped twice or leaked.
#[test]
fn the_first_panic_in_order_is_the_error() {
    guarded(|| {
        let mut random = Random::new(1);
        for workers in 1..=3 {
            let pool = pool(workers);
            for _ in 0..100 {
                let length = 1 + random.below(2000);
                let bad: Vec<u64> = (0..3).map(|_| random.below(length)).collect();
                let (items, results) = (DropCounter::new(), DropCounter::new());
                let input: Vec<_> = (0..length).map(|n| (n, items.token())).collect();
                let outcome = pool.map_vec(
                    |(n, _token)| {
                        assert!(!bad.contains(&n), "{n}");
                        results.token()
                    },
                    input,
                );
                let error = outcome.unwrap_err();
                let MapError::Task(TaskError::Panicked(panic)) = error else { panic!("{error:?}") };
                assert_eq!(panic.message(), bad.iter().min().unwrap().to_string());
                assert!(panic.location().is_some_and(|place| place.contains("map_vec.rs")));
                assert_eq!((items.made() as u64, items.alive(), results.alive()), (length, 0, 0));
            }
        }
    });
}

/// Without a panic every item is dropped once, and the results are the vector's.
#[test]
fn results_belong_to_the_vector() {
    guarded(|| {
        let pool = pool(3);
        for length in LENGTHS {
            let (items, results) = (DropCounter::new(), DropCounter::new());
            let input: Vec<_> = (0..length).map(|_| items.token()).collect();
            let output = pool.map_vec(|_token| results.token(), input).unwrap();
            assert_eq!((items.alive(), results.alive(), output.len()), (0, length, length));
            drop(output);
            assert_eq!(results.alive(), 0);
        }
    });
}

/// Items and results without size are counted like others.
#[test]
fn values_without_size_are_dropped_once() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    #[derive(Debug)]
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    guarded(|| {
        let pool = pool(2);
        let output =
            pool.map_vec(|_nothing| Nothing, (0..1000).map(|_| Nothing).collect::<Vec<_>>());
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 1000);
        assert_eq!(output.unwrap().len(), 1000);
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 1000);
        let called = AtomicUsize::new(0);
        let failed = pool.map_vec(
            |_nothing| {
                assert!(called.fetch_add(1, Ordering::SeqCst) != 500);
                Nothing
            },
            (0..1000).map(|_| Nothing).collect::<Vec<_>>(),
        );
        failed.unwrap_err();
        let results = called.into_inner() - 1;
        assert_eq!(DROPPED.load(Ordering::SeqCst), 1000 + results);
    });
}

/// A result whose destructor panics when the map has failed: the panic is the caller's, and the items are dropped all the same.
#[test]
fn a_destructor_that_panics_is_the_callers() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("of the destructor");
        }
    }
    guarded(|| {
        let items = DropCounter::new();
        let input: Vec<_> = (0..100).map(|n| (n, items.token())).collect();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            drop(pool(1).map_vec(
                |(n, _token)| {
                    assert!(n < 1, "of the function");
                    Bad
                },
                input,
            ));
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "of the destructor");
        assert_eq!(items.alive(), 0);
    });
}

/// In a task of the pool, also of one that has a single worker, and in a function that is mapped.
#[test]
fn maps_nest() {
    guarded(|| {
        for workers in 1..=3 {
            let pool = Arc::new(pool(workers));
            let inner = Arc::clone(&pool);
            let sums = pool.spawn(move || {
                let sum = |n: u64| inner.map_vec(|m| n * m, 0..n).unwrap().into_iter().sum::<u64>();
                inner.map_vec(sum, 0..100)
            });
            let sums = sums.unwrap().result().unwrap().unwrap();
            assert!((0..100_u64).map(|n| n * (n * n - n) / 2).eq(sums));
        }
    });
}

/// A pool that has been shut down refuses, from outside and in one of its tasks; of nothing it makes nothing.
#[test]
fn a_pool_that_was_shut_down_refuses() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let items = DropCounter::new();
        let gate = Gate::closed();
        let running = {
            let (pool, gate, token) = (Arc::clone(&pool), super::share(&gate), items.token());
            let submitter = Arc::clone(&pool);
            submitter.spawn(move || {
                gate.pass();
                pool.map_vec(drop, vec![token])
            })
        };
        gate.wait_for_arrivals(1);
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        let outcomes = [pool.map_vec(drop, vec![items.token()]), {
            gate.open();
            running.unwrap().result().unwrap()
        }];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(MapError::Refused(Refusal::ShutDown))), "{outcome:?}");
        }
        assert_eq!((items.made(), items.alive()), (2, 0));
        assert_eq!(pool.map_vec(drop, Vec::<u8>::new()).unwrap(), []);
    });
}

/// A map that has not begun is cancelled with everything else, and its items are dropped.
#[test]
fn a_map_that_has_not_begun_is_cancelled_by_a_shutdown() {
    guarded(|| {
        let pool = pool(1);
        let items = DropCounter::new();
        let gate = Gate::closed();
        let occupied = occupy(&pool, &gate, 1);
        thread::scope(|scope| {
            let input = vec![items.token(), items.token()];
            let mapping = scope.spawn(|| pool.map_vec(drop, input));
            while pool.stats().queued == 0 {
                thread::sleep(delays::poll());
            }
            let how = Shutdown::no_wait().cancel_futures();
            pool.shutdown_with(how).unwrap();
            let outcome = mapping.join().unwrap();
            assert!(matches!(outcome, Err(MapError::Task(TaskError::Cancelled))), "{outcome:?}");
        });
        assert_eq!((items.made(), items.alive()), (2, 0));
        gate.open();
        drop(occupied);
    });
}

/// Tasks that are submitted meanwhile do not wait until the map has ended.
#[test]
fn tasks_get_in_between() {
    guarded(|| {
        for workers in 2..=3 {
            let pool = pool(workers);
            let (begun, ran) = (Barrier::new(2), Arc::new(AtomicBool::new(false)));
            let waits = AtomicUsize::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    begun.wait();
                    let ran = Arc::clone(&ran);
                    drop(pool.spawn(move || ran.store(true, Ordering::SeqCst)).unwrap());
                });
                let item = |n: u64| {
                    if n == 0 {
                        begun.wait();
                    }
                    if !ran.load(Ordering::SeqCst) {
                        waits.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(delays::poll() / 10);
                    }
                    n
                };
                assert!((0..1_000_000).eq(pool.map_vec(item, 0..1_000_000).unwrap()));
            });
            assert!(waits.into_inner() < 900_000, "the task came last");
        }
    });
}

/// The whole is one task, from outside, and none in a task.
#[test]
fn it_counts_as_one_task() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        pool.map_vec(|n| n, 0..1000).unwrap();
        let inner = Arc::clone(&pool);
        pool.spawn(move || inner.map_vec(|n| n, 0..1000).map(drop))
            .unwrap()
            .result()
            .unwrap()
            .unwrap();
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.succeeded), (2, 2));
    });
}

/// The context of the call is there in every call of the function.
#[test]
fn the_context_goes_along() {
    thread_local!(static REQUEST: Cell<u64> = const { Cell::new(0) });
    guarded(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(2).context(
            || REQUEST.get(),
            |request, task| {
                let before = REQUEST.replace(request);
                task();
                REQUEST.set(before);
            },
        );
        let pool = builder.build().unwrap();
        REQUEST.set(7);
        let meeting = Barrier::new(2);
        let request = |_| {
            blocking(|| meeting.wait());
            REQUEST.get()
        };
        assert_eq!(pool.map_vec(request, 0..2).unwrap(), [7, 7]);
    });
}
