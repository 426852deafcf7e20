//! Tasks that borrow. That nothing borrowed is used after the scope is for a sanitizer to see, so these tests make every
//! task touch what it has borrowed, up to its last moment.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use concurrent_futures::{Future, ReturnWhen, Shutdown, TaskError, wait};
use concurrent_futures_tests::{Gate, delays, drops::DropCounter, guarded};

use super::{occupy, pool, share};

/// Touches what it borrows when it is dropped: if that is gone by then, the sanitizer sees it.
struct TouchesOnDrop<'a>(&'a Mutex<Vec<u64>>, u64);

impl TouchesOnDrop<'_> {
    fn touch(&self) {
        self.0.lock().unwrap().push(self.1);
    }
}

impl Drop for TouchesOnDrop<'_> {
    fn drop(&mut self) {
        self.touch();
    }
}

/// Tasks borrow, also mutably, and results borrow as well.
#[test]
fn tasks_and_results_borrow() {
    guarded(|| {
        let pool = pool(2);
        let words = ["one", "three", "five"].map(str::to_owned);
        let mut counts = [0; 3];
        let longest = pool.scope(|scope| {
            let futures: Vec<_> = words
                .iter()
                .zip(&mut counts)
                .map(|(word, count)| {
                    scope
                        .spawn(move || {
                            *count = word.len();
                            word.as_str()
                        })
                        .unwrap()
                })
                .collect();
            futures.into_iter().map(|future| future.result().unwrap()).max_by_key(|word| word.len())
        });
        assert_eq!(longest, Some("three"));
        assert_eq!(counts, [3, 5, 4]);
    });
}

/// The scope waits for tasks that nobody waits for.
#[test]
fn a_scope_waits_for_all_its_tasks() {
    guarded(|| {
        let pool = pool(3);
        let count = AtomicUsize::new(0);
        for round in 1..=100 {
            pool.scope(|scope| {
                for _ in 0..10 {
                    drop(scope.spawn(|| count.fetch_add(1, Ordering::Relaxed)).unwrap());
                }
            });
            assert_eq!(count.load(Ordering::Relaxed), 10 * round);
        }
    });
}

/// Tasks may spawn tasks in their scope, which outlive them.
#[test]
fn tasks_may_spawn_in_their_scope() {
    guarded(|| {
        let pool = pool(2);
        let count = AtomicUsize::new(0);
        pool.scope(|scope| {
            for _ in 0..10 {
                let outer = scope.spawn(|| {
                    for _ in 0..10 {
                        drop(scope.spawn(|| count.fetch_add(1, Ordering::Relaxed)).unwrap());
                    }
                });
                drop(outer.unwrap());
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 100);
    });
}

/// A scope inside a task, also if there is one worker alone, and a scope inside a scope.
#[test]
fn p01_a_scope_inside_a_task() {
    for workers in [1, 2] {
        guarded(move || {
            let pool = Arc::new(pool(workers));
            let inner = Arc::clone(&pool);
            let outer = pool.spawn(move || {
                let numbers: Vec<u64> = (0..20).collect();
                let sum = Mutex::new(0);
                inner.scope(|scope| {
                    for n in &numbers {
                        let sum = &sum;
                        let add = move || *sum.lock().unwrap() += n;
                        drop(scope.spawn(add).unwrap());
                    }
                    let nested = inner.scope(|nested| {
                        let first = nested.spawn(|| numbers[0]).unwrap();
                        first.result().unwrap()
                    });
                    assert_eq!(nested, 0);
                });
                sum.into_inner().unwrap()
            });
            assert_eq!(outer.unwrap().result().unwrap(), 190);
        });
    }
}

/// A panic of a task is its future's error, and the scope goes on.
#[test]
fn a_panic_of_a_task_is_its_futures_error() {
    guarded(|| {
        let pool = pool(2);
        let text = "borrowed".to_owned();
        let outcome = pool.scope(|scope| {
            let failing = scope.spawn(|| -> u64 { panic!("{text}") }).unwrap();
            let fine = scope.spawn(|| text.len()).unwrap();
            (failing.result(), fine.result().unwrap())
        });
        let (Err(TaskError::Panicked(panic)), 8) = outcome else { panic!("{outcome:?}") };
        assert_eq!(panic.message(), "borrowed");
    });
}

/// A panic of the scope's body: what has not started is dropped without being run, what has is waited for, then the
/// panic goes on. All of it borrows from outside.
#[test]
fn p38_a_panic_in_the_body_cancels_the_rest() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let log = Mutex::new(Vec::new());
        let ran = AtomicUsize::new(0);
        let ended = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|scope| {
                let (gate, ended) = (&gate, &ended);
                let running = scope.spawn(move || {
                    gate.pass();
                    ended.fetch_add(1, Ordering::SeqCst);
                });
                drop(running.unwrap());
                gate.wait_for_arrivals(1);
                for n in 0..10 {
                    let touches = TouchesOnDrop(&log, n);
                    let waiting = scope.spawn(|| {
                        ran.fetch_add(1, Ordering::SeqCst);
                        drop(touches);
                    });
                    drop(waiting.unwrap());
                }
                // When the body has unwound; the scope waits until then.
                let opens = share(gate);
                thread::spawn(move || {
                    thread::sleep(delays::moment());
                    opens.open();
                });
                // Without the panic hook, which would take longer than that to print a backtrace.
                resume_unwind(Box::new("in the body"))
            })
        }));
        let message = caught.map(|(): ()| ()).unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(*message, "in the body");
        assert_eq!((ended.into_inner(), ran.into_inner()), (1, 0));
        let mut log = log.into_inner().unwrap();
        log.sort_unstable();
        assert!(log.into_iter().eq(0..10));
        assert_eq!(pool.spawn(|| 3).unwrap().result().unwrap(), 3);
    });
}

/// Cancelling in the scope drops the closure in the thread that cancels, before the scope ends.
#[test]
fn cancelling_drops_the_closure() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let log = Mutex::new(Vec::new());
        pool.scope(|scope| {
            let futures: Vec<_> = (0..5)
                .map(|n| {
                    let touches = TouchesOnDrop(&log, n);
                    scope.spawn(move || touches.touch()).unwrap()
                })
                .collect();
            for (n, future) in (0..).zip(&futures) {
                assert!(future.cancel());
                assert!(future.done() && future.as_future().cancelled());
                assert_eq!(log.lock().unwrap().len(), n + 1);
            }
            for future in futures {
                assert!(matches!(future.result(), Err(TaskError::Cancelled)));
            }
            gate.open();
        });
        drop(busy);
    });
}

/// Another thread cancels a scope's tasks, so that futures are done while their closures are still being dropped there.
/// The scope does not return before they are gone; the destructors touch what it has borrowed, after a while.
#[test]
fn a_scope_waits_for_closures_that_others_are_dropping() {
    struct SlowToDrop<'a>(TouchesOnDrop<'a>);
    impl Drop for SlowToDrop<'_> {
        fn drop(&mut self) {
            thread::sleep(delays::moment());
            self.0.touch();
        }
    }

    guarded(|| {
        for _ in 0..5 {
            let pool = Arc::new(pool(1));
            let gate = Gate::closed();
            let busy = occupy(&pool, &gate, 1);
            let log = Mutex::new(Vec::new());
            let cancels = pool.scope(|scope| {
                let slow = SlowToDrop(TouchesOnDrop(&log, 1));
                let future = scope.spawn(move || slow.0.touch()).unwrap();
                let other = Arc::clone(&pool);
                let cancels = thread::spawn(move || {
                    other.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
                });
                // Cancelled as far as its future knows, while its closure is being dropped.
                while !future.done() {
                    thread::yield_now();
                }
                cancels
            });
            assert_eq!(log.into_inner().unwrap(), [1, 1]);
            cancels.join().unwrap();
            gate.open();
            drop(busy);
        }
    });
}

/// Results that nobody takes are dropped before the scope ends, wherever that happens.
#[test]
fn results_that_nobody_takes_are_dropped_in_time() {
    guarded(|| {
        let pool = pool(2);
        for round in 0..200 {
            let log = Mutex::new(Vec::new());
            pool.scope(|scope| {
                let taken = scope.spawn(|| TouchesOnDrop(&log, 1)).unwrap();
                // Before the task, after it, or at the same time.
                let dropped = scope.spawn(|| TouchesOnDrop(&log, 2)).unwrap();
                if round % 2 == 0 {
                    dropped.as_future().wait();
                }
                drop(dropped);
                drop(taken.result().unwrap());
            });
            assert_eq!(log.into_inner().unwrap().len(), 2);
        }
    });
}

/// A scope whose tasks are refused drops their closures, and has nothing to wait for.
#[test]
fn a_scope_of_a_pool_that_was_shut_down() {
    guarded(|| {
        let pool = pool(1);
        pool.shutdown();
        let log = Mutex::new(Vec::new());
        pool.scope(|scope| {
            let touches = TouchesOnDrop(&log, 1);
            assert!(scope.spawn(move || touches.touch()).is_err());
            assert_eq!(*log.lock().unwrap(), [1]);
        });
    });
}

/// A scope that another thread's shutdown overtakes: what was cancelled says so, the rest has run.
#[test]
fn a_scope_while_the_pool_is_shut_down() {
    guarded(|| {
        for _ in 0..100 {
            let pool = Arc::new(pool(2));
            let counter = DropCounter::new();
            let ran = AtomicUsize::new(0);
            let other = Arc::clone(&pool);
            let ends = thread::spawn(move || {
                other.shutdown_with(Shutdown::wait().cancel_futures()).unwrap();
            });
            let succeeded = pool.scope(|scope| {
                let mut succeeded = 0;
                for _ in 0..50 {
                    let token = counter.token();
                    let ran = &ran;
                    let Ok(future) = scope.spawn(move || {
                        let _token = token;
                        ran.fetch_add(1, Ordering::SeqCst)
                    }) else {
                        break;
                    };
                    match future.result() {
                        Ok(_) => succeeded += 1,
                        Err(error) => assert!(error.is_cancelled(), "{error:?}"),
                    }
                }
                succeeded
            });
            assert_eq!((counter.alive(), ran.into_inner()), (0, succeeded));
            ends.join().unwrap();
        }
    });
}

/// A scoped future waits in all the ways that a future can, through the one it lends.
#[test]
fn a_scoped_future_is_a_future() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let number = 5;
        pool.scope(|scope| {
            let slow = scope.spawn(|| gate.pass()).unwrap();
            let quick = scope.spawn(|| number + 1).unwrap();
            assert_ne!(slow.id(), quick.id());
            let both = [slow.as_future(), quick.as_future()];
            let waited = wait(both, ReturnWhen::FirstCompleted);
            assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
            let slow = slow.result_timeout(delays::short()).unwrap_err().into_inner();
            assert!(!slow.done());
            gate.open();
            slow.result_timeout(delays::long()).unwrap().unwrap();
            assert!(quick.done() && !quick.cancel());
            assert_eq!(quick.result().unwrap(), 6);
        });
    });
}

/// A scope returns what its body returns, errors included.
#[test]
fn a_scope_returns_what_its_body_returns() {
    guarded(|| {
        let pool = pool(1);
        let parsed = |text: &'static str| {
            pool.scope(|scope| -> Result<u64, Box<dyn std::error::Error>> {
                Ok(scope.spawn(|| text.parse::<u64>())?.result()??)
            })
        };
        assert_eq!(parsed("12").unwrap(), 12);
        assert!(parsed("twelve").is_err());
        let not_run: Option<Future<()>> = pool.scope(|_| None);
        assert!(not_run.is_none());
    });
}
