//! `join`: two closures that borrow, at the same time if a worker has time.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use concurrent_futures::{TaskError, ThreadPoolExecutor, blocking, join};
use concurrent_futures_tests::{delays, guarded};

use super::pool;

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().expect("thrown by `panic!`")
}

/// A tree of forks gives the same with any number of workers, from outside and from inside of a task or a scope, and without
/// a pool.
#[test]
fn a_tree_of_forks_is_summed_up_everywhere() {
    guarded(|| {
        assert_eq!(fib(15), 610);
        for workers in 1..=4 {
            let pool = pool(workers);
            assert_eq!(pool.join(|| fib(15), || fib(14)), (610, 377));
            assert_eq!(pool.spawn(|| fib(15)).unwrap().result().unwrap(), 610);
            let (left, right) = pool.scope(|scope| {
                let left = scope.spawn(|| fib(15)).unwrap();
                let right = scope.spawn(|| join(|| fib(13), || fib(14))).unwrap();
                (left.result().unwrap(), right.result().unwrap())
            });
            assert_eq!((left, right), (610, (233, 377)));
        }
    });
}

/// Both closures borrow, also mutably, and what they return may borrow as well.
#[test]
fn closures_and_results_borrow() {
    guarded(|| {
        let mut words = ["b", "a", "d", "c"].map(str::to_owned);
        let (left, right) = words.split_at_mut(2);
        let (first, second) = pool(2).join(
            || {
                left.sort();
                &left[0]
            },
            || {
                right.sort();
                &right[0]
            },
        );
        assert_eq!((first.as_str(), second.as_str()), ("a", "c"));
        assert_eq!(words.concat(), "abcd");
    });
}

/// Another worker has nothing to do and takes the second closure: the first one waits until it has.
#[test]
fn a_worker_with_nothing_to_do_shares() {
    guarded(|| {
        let pool = pool(2);
        let meeting = Barrier::new(2);
        pool.join(|| blocking(|| meeting.wait()), || blocking(|| meeting.wait()));
    });
}

/// A worker that has nothing to do only when the first closure has long been running takes the second all the same.
#[test]
fn a_worker_that_is_free_later_shares() {
    guarded(|| {
        let pool = pool(2);
        let (busy, meeting) = (Barrier::new(2), Barrier::new(2));
        pool.scope(|scope| {
            let other = scope.spawn(|| busy.wait()).unwrap();
            pool.join(
                || {
                    busy.wait();
                    meeting.wait();
                },
                || meeting.wait(),
            );
            other.result().unwrap();
        });
    });
}

/// All forks of a left-leaning tree can be had while its innermost closure runs, as far as there are places for them, and more
/// as it comes back: two workers run the closures of one millisecond each, and neither is left with all of them.
#[test]
fn forks_that_wait_far_outside_are_shared() {
    const DEPTH: usize = 100;
    fn nest(depth: usize, owner: thread::ThreadId, elsewhere: &AtomicUsize) {
        let leaf = || {
            thread::sleep(delays::task() / 2);
            if thread::current().id() != owner {
                elsewhere.fetch_add(1, Ordering::Relaxed);
            }
        };
        if depth > 0 {
            join(|| nest(depth - 1, owner, elsewhere), leaf);
        }
    }
    guarded(|| {
        let elsewhere = AtomicUsize::new(0);
        pool(2).join(|| nest(DEPTH, thread::current().id(), &elsewhere), || ());
        let elsewhere = elsewhere.into_inner();
        assert!((DEPTH / 5..=DEPTH * 4 / 5).contains(&elsewhere), "{elsewhere} of {DEPTH}");
    });
}

/// Depth is limited by the stack and nothing else.
#[test]
fn forks_are_nested_thousands_deep() {
    fn count(depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let (a, b) = join(|| count(depth - 1), || 1);
        a + b
    }
    guarded(|| {
        let depth = 5000;
        let pool = ThreadPoolExecutor::builder().max_workers(3).stack_size(64 << 20).build();
        assert_eq!(pool.unwrap().join(|| count(depth), || count(depth)), (depth, depth));
    });
}

/// If one panics, the other is finished before the panic goes on, wherever it runs; if both do, it is the first one's.
#[test]
fn a_panic_goes_on_when_both_have_ended() {
    guarded(|| {
        for workers in 1..=2 {
            let pool = pool(workers);
            for (a_panics, b_panics) in [(true, false), (false, true), (true, true)] {
                // Both have begun before either ends, if there are two workers.
                let meeting = Barrier::new(workers);
                let ended = AtomicUsize::new(0);
                let half = |panics: bool, message: &'static str| {
                    blocking(|| meeting.wait());
                    ended.fetch_add(1, Ordering::Relaxed);
                    if panics {
                        std::panic::panic_any(message);
                    }
                };
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    pool.join(|| half(a_panics, "of a"), || half(b_panics, "of b"))
                }));
                let expected = if a_panics { "of a" } else { "of b" };
                assert_eq!(message(&*caught.unwrap_err()), expected);
                assert_eq!(ended.into_inner(), 2);
            }
            // The workers live on, and so do their forks.
            assert_eq!(pool.join(|| fib(10), || fib(11)), (55, 89));
        }
    });
}

/// A panic deep inside of forks that were taken by others comes out of the task, with its message.
#[test]
fn a_panic_comes_out_of_the_task() {
    fn nest(depth: usize) {
        match depth {
            0 => panic!("at the bottom"),
            _ => drop(join(|| fib(10), || nest(depth - 1))),
        }
    }
    guarded(|| {
        let outcome = pool(3).spawn(|| nest(20)).unwrap().result();
        let Err(TaskError::Panicked(panic)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(panic.message(), "at the bottom");
        assert!(panic.location().is_some_and(|location| location.contains("join.rs")), "{panic}");
    });
}

/// Without a pool, and in one that takes no tasks any more, the caller runs both in turn.
#[test]
fn the_caller_runs_both_where_no_pool_does() {
    guarded(|| {
        let here = thread::current().id();
        let id = || thread::current().id();
        assert_eq!(join(id, id), (here, here));
        let pool = pool(2);
        pool.shutdown();
        assert_eq!(pool.join(id, id), (here, here));
        let ran = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            join(|| panic!("of a"), || ran.fetch_add(1, Ordering::Relaxed))
        }));
        assert_eq!(message(&*caught.unwrap_err()), "of a");
        assert_eq!(ran.into_inner(), 1);
    });
}

/// The context of the task that forks is there in both closures, also if another worker takes one.
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
        let half = || {
            blocking(|| meeting.wait());
            REQUEST.get()
        };
        assert_eq!(pool.join(half, half), (7, 7));
        assert_eq!(pool.join(|| (), || ()), ((), ()));
    });
}

/// To the context, a half that another worker takes is like a task: its panic does not go through, so that what was set up is
/// taken down, and a second call does nothing.
#[test]
fn the_context_of_what_another_worker_takes_is_taken_down() {
    guarded(|| {
        let inside = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&inside);
        let builder = ThreadPoolExecutor::builder().max_workers(2).context(
            || (),
            move |(), task| {
                counted.fetch_add(1, Ordering::Relaxed);
                task();
                task();
                counted.fetch_sub(1, Ordering::Relaxed);
            },
        );
        let pool = builder.build().unwrap();
        let meeting = Barrier::new(2);
        let meet = || blocking(|| meeting.wait());
        let half = |n| {
            meet();
            n
        };
        assert_eq!(pool.join(|| half(1), || half(2)), (1, 2));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.join(meet, || {
                meet();
                panic!("of b");
            })
        }));
        assert_eq!(message(&*caught.unwrap_err()), "of b");
        assert_eq!(inside.load(Ordering::Relaxed), 0);
    });
}
