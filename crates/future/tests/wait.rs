//! Section E of Python's behaviours: waiting for several futures at once.

mod common;

use std::{sync::Barrier, thread, time::Duration};

use common::{Oops, ample, asleep, brief, counting_sleeps, guarded, ran};
use concurrent_futures_future::{
    AnyFuture, Future, FutureId, Promise, ReturnWhen, SharedFuture, TaskError, promise, wait,
    wait_timeout,
};

const WHENS: [ReturnWhen; 3] =
    [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted];

fn promises<const N: usize>() -> ([Promise<usize>; N], [Future<usize>; N]) {
    let pairs = [(); N].map(|()| promise());
    let mut futures = Vec::new();
    let promises = pairs.map(|(promise, future)| {
        futures.push(future);
        promise
    });
    (promises, futures.try_into().expect("as many as promises"))
}

fn ids<F: AnyFuture>(futures: &[F]) -> Vec<FutureId> {
    futures.iter().map(AnyFuture::id).collect()
}

fn fail<T: Send>(promise: Promise<T>) {
    promise.set_exception(TaskError::failed(Oops(1))).unwrap();
}

#[test]
fn f051_done_and_not_done_in_the_order_given() {
    guarded(|| {
        let ([first, second, third, fourth, _fifth], futures) = promises();
        let [_, _, _, _, e] = &futures;
        second.set_result(2).unwrap();
        fail(fourth);
        e.cancel();
        let before = ids(&futures);
        let waited = wait_timeout(futures, brief(), ReturnWhen::AllCompleted);
        assert_eq!(ids(&waited.done), [before[1], before[3], before[4]]);
        assert_eq!(ids(&waited.not_done), [before[0], before[2]]);
        // Nothing was raised, read or cancelled by that.
        let [b, d, e] = <[_; 3]>::try_from(waited.done).unwrap();
        assert_eq!(b.result().unwrap(), 2);
        assert_eq!(d.result().unwrap_err().downcast_ref(), Some(&Oops(1)));
        assert!(e.result().unwrap_err().is_cancelled());
        let [a, c] = <[_; 2]>::try_from(waited.not_done).unwrap();
        first.set_result(1).unwrap();
        third.set_result(3).unwrap();
        assert_eq!((a.result().unwrap(), c.result().unwrap()), (1, 3));
    });
}

#[test]
fn f052_any_iterable_of_handles_or_references() {
    guarded(|| {
        for when in WHENS {
            let done = || ran(|| 1);
            assert_eq!(wait([done(), done()], when).done.len(), 2);
            assert_eq!(wait(vec![done(), done()], when).done.len(), 2);
            assert_eq!(wait((0..3).map(|_| done()), when).done.len(), 3);
            let futures = [done(), done()];
            assert_eq!(wait(&futures, when).done.len(), 2);
            assert_eq!(wait(futures.each_ref(), when).done.len(), 2);
            let mut futures = futures;
            assert_eq!(wait(&mut futures, when).done.len(), 2);
            assert_eq!(wait(futures.into_iter().map(Box::new), when).done.len(), 2);
        }
    });
}

#[test]
fn f052_futures_of_different_types_together() {
    guarded(|| {
        let (first, number) = promise::<u8>();
        let (second, text) = promise::<String>();
        let nothing = ran(|| ()).share();
        let flat = ran(|| Err::<(), _>(Oops(1))).flatten();
        let all: [&dyn AnyFuture; 4] = [&number, &text, &nothing, &flat];
        thread::scope(|scope| {
            let waiter = asleep(scope, || {
                wait(all_of(&number, &text, &nothing), ReturnWhen::AllCompleted).done.len()
            });
            first.set_result(1).unwrap();
            second.set_result("two".to_owned()).unwrap();
            assert_eq!(waiter.join().unwrap(), 3);
        });
        assert_eq!(wait(all, ReturnWhen::AllCompleted).done.len(), 4);
        let boxed: Vec<Box<dyn AnyFuture>> = vec![Box::new(number), Box::new(text), Box::new(flat)];
        assert_eq!(wait(boxed, ReturnWhen::FirstException).done.len(), 3);
    });
}

fn all_of<'a>(
    number: &'a Future<u8>,
    text: &'a Future<String>,
    nothing: &'a SharedFuture<()>,
) -> [&'a dyn AnyFuture; 3] {
    [number, text, nothing]
}

#[test]
fn f052_duplicates_count_once() {
    guarded(|| {
        for when in WHENS {
            let (kept, future) = promise();
            let (_promise, other) = promise::<u8>();
            let waited = wait_timeout([&future, &other, &future], Duration::ZERO, when);
            assert_eq!((waited.done.len(), waited.not_done.len()), (0, 2));
            let shared = future.share();
            thread::scope(|scope| {
                let waiter = asleep(scope, || {
                    wait([shared.clone(), shared.clone(), shared.clone()], when).done.len()
                });
                kept.set_result(1).unwrap();
                assert_eq!(waiter.join().unwrap(), 1);
            });
        }
    });
}

#[test]
fn f053_nothing_is_waited_for_at_once() {
    guarded(|| {
        for when in WHENS {
            let waited = wait(Vec::<Future<u8>>::new(), when);
            assert!(waited.done.is_empty() && waited.not_done.is_empty());
            let waited = wait_timeout(Vec::<&dyn AnyFuture>::new(), Duration::MAX, when);
            assert!(waited.done.is_empty() && waited.not_done.is_empty());
        }
    });
}

#[test]
fn f054_running_out_of_time_returns_what_there_is() {
    guarded(|| {
        for when in WHENS {
            let ([first, second], futures) = promises();
            for timeout in [Duration::ZERO, brief()] {
                let waited = wait_timeout(&futures, timeout, when);
                assert_eq!((waited.done.len(), waited.not_done.len()), (0, 2));
            }
            // Too long for the clock, and so none at all.
            thread::scope(|scope| {
                let waiter =
                    asleep(scope, || wait_timeout(&futures, Duration::MAX, when).done.len());
                fail(first);
                second.set_result(2).unwrap();
                assert!(waiter.join().unwrap() >= 1);
            });
        }
    });
}

#[test]
fn f055_first_completed_returns_with_the_first_to_end_in_any_way() {
    guarded(|| {
        type End = fn(Promise<usize>, &Future<usize>);
        let ends: [End; 4] = [
            |promise, _| promise.set_result(1).unwrap(),
            |promise, _| fail(promise),
            |_promise, future| assert!(future.cancel()),
            |promise, _| drop(promise),
        ];
        for end in ends {
            let ([_first, second, _third], futures) = promises();
            let [_, middle, _] = &futures;
            thread::scope(|scope| {
                let waiter = asleep(scope, || wait(&futures, ReturnWhen::FirstCompleted).done);
                end(second, middle);
                assert_eq!(waiter.join().unwrap(), [middle]);
            });
            // Already ended: at once.
            assert_eq!(wait(&futures, ReturnWhen::FirstCompleted).done, [middle]);
        }
    });
}

#[test]
fn f056_first_exception_returns_with_the_first_failure() {
    guarded(|| {
        let ([first, second, _third], futures) = promises();
        let [a, b, _] = &futures;
        thread::scope(|scope| {
            let waiter = asleep(scope, || wait(&futures, ReturnWhen::FirstException).done);
            first.set_result(1).unwrap();
            fail(second);
            assert_eq!(waiter.join().unwrap(), [a, b]);
        });
        // Already failed: at once.
        assert_eq!(wait(&futures, ReturnWhen::FirstException).done, [a, b]);
        // A panic is a failure, and so is an error that was flattened.
        let (_promise, pending) = promise::<usize>();
        let panicked = ran(|| -> usize { panic!("a failure") });
        assert_eq!(wait([&pending, &panicked], ReturnWhen::FirstException).done, [&panicked]);
        let failed = ran(|| Err::<usize, _>(Oops(2))).flatten();
        assert_eq!(wait([&pending, &failed], ReturnWhen::FirstException).done, [&failed]);
    });
}

#[test]
fn f056_without_a_failure_first_exception_waits_for_all() {
    guarded(|| {
        let ([first, second, third], futures) = promises();
        thread::scope(|scope| {
            let waiter = asleep(scope, || wait(&futures, ReturnWhen::FirstException).done.len());
            second.set_result(1).unwrap();
            first.set_result(1).unwrap();
            third.set_result(1).unwrap();
            assert_eq!(waiter.join().unwrap(), 3);
        });
    });
}

#[test]
fn f056_cancelled_is_no_failure() {
    guarded(|| {
        let ([_first, second], futures) = promises();
        let [a, b] = &futures;
        a.cancel();
        // One is cancelled already, and it goes on waiting.
        let waited = wait_timeout(&futures, brief(), ReturnWhen::FirstException);
        assert_eq!((waited.done, waited.not_done), (vec![a], vec![b]));
        thread::scope(|scope| {
            let waiter = asleep(scope, || wait(&futures, ReturnWhen::FirstException).done.len());
            second.set_result(1).unwrap();
            assert_eq!(waiter.join().unwrap(), 2);
        });
        // Also if it is cancelled during the wait.
        let ([_first, second], futures) = promises();
        thread::scope(|scope| {
            let waiter = asleep(scope, || wait(&futures, ReturnWhen::FirstException).done.len());
            assert!(futures[0].cancel());
            second.set_result(1).unwrap();
            assert_eq!(waiter.join().unwrap(), 2);
        });
    });
}

#[test]
fn f057_all_completed_waits_for_the_last() {
    guarded(|| {
        let ([first, second, third], futures) = promises();
        thread::scope(|scope| {
            let waiter = asleep(scope, || wait(&futures, ReturnWhen::default()).done.len());
            fail(second);
            third.set_result(1).unwrap();
            assert!(!waiter.is_finished());
            first.set_result(1).unwrap();
            assert_eq!(waiter.join().unwrap(), 3);
        });
    });
}

#[test]
fn f020_f058_p02_cancelling_wakes_every_wait_at_once() {
    guarded(|| {
        for when in WHENS {
            // No executor that could notice: cancelled is all that happens.
            let ([_first, _second], futures) = promises();
            thread::scope(|scope| {
                let untimed = asleep(scope, || wait(&futures, when).done.len());
                let timed = asleep(scope, || wait_timeout(&futures, ample(), when).done.len());
                for future in &futures {
                    assert!(future.cancel());
                }
                assert!(untimed.join().unwrap() >= 1 && timed.join().unwrap() >= 1);
            });
            // Cancelled before the wait: done.
            assert_eq!(wait(&futures, when).done.len(), 2);
        }
    });
}

#[test]
fn f059_concurrent_waits_on_the_same_futures_in_opposite_orders() {
    guarded(|| {
        for when in WHENS {
            for _ in 0..50 {
                let (promises, futures) = promises::<4>();
                let reversed: Vec<_> = futures.iter().rev().collect();
                let start = Barrier::new(3);
                thread::scope(|scope| {
                    let one = scope.spawn(|| {
                        start.wait();
                        wait(&futures, when).done.len()
                    });
                    let other = scope.spawn(|| {
                        start.wait();
                        wait(reversed.iter().copied(), when).done.len()
                    });
                    start.wait();
                    for promise in promises {
                        promise.set_result(1).unwrap();
                    }
                    assert!(one.join().unwrap() >= 1 && other.join().unwrap() >= 1);
                });
            }
        }
    });
}

#[test]
fn f059_a_completion_does_not_slip_between_the_look_and_the_registration() {
    guarded(|| {
        for when in WHENS {
            for _ in 0..200 {
                let ([first, second], futures) = promises();
                thread::scope(|scope| {
                    scope.spawn(|| first.set_result(1).unwrap());
                    scope.spawn(|| fail(second));
                    assert!(!wait(&futures, when).done.is_empty());
                });
            }
        }
    });
}

#[test]
fn f054_a_worker_that_only_looks_does_not_count_as_blocked() {
    guarded(|| {
        let slept = counting_sleeps(|| {
            let (_promises, futures) = promises::<2>();
            for when in WHENS {
                assert!(wait_timeout(&futures, Duration::ZERO, when).done.is_empty());
            }
            assert!(futures[0].wait_timeout(Duration::ZERO).is_err());
        });
        assert_eq!(slept, 0, "another thread would have been started to stand in for it");
    });
}

#[test]
fn p04_thousands_of_futures_at_once() {
    guarded(|| {
        // A wait that were quadratic in its futures would take minutes for these.
        const COUNT: usize = 20_000;
        let mut pairs: Vec<_> = (0..COUNT).map(|_| promise()).collect();
        let promises: Vec<_> =
            pairs.iter_mut().map(|pair| std::mem::replace(&mut pair.0, promise().0)).collect();
        let futures: Vec<_> = pairs.into_iter().map(|pair| pair.1).collect();
        thread::scope(|scope| {
            let all = asleep(scope, || wait(&futures, ReturnWhen::AllCompleted).done.len());
            let failure = asleep(scope, || wait(&futures, ReturnWhen::FirstException).done.len());
            for promise in promises {
                promise.set_result(1).unwrap();
            }
            assert_eq!((all.join().unwrap(), failure.join().unwrap()), (COUNT, COUNT));
        });
    });
}
