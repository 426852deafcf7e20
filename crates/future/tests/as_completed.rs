//! Section F of Python's behaviours: taking futures in the order in which they end.

mod common;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use common::{
    Oops, ample, asleep, brief, counting_sleeps,
    drops::Drops,
    guarded, ran,
    wakers::{OnDrop, Woken, block_on},
};
use concurrent_futures_future::{
    AnyFuture, AsCompletedTimeoutError, CompletionSet, Future, Promise, TaskError, as_completed,
    as_completed_timeout, promise,
};

fn promises(count: usize) -> (Vec<Promise<usize>>, Vec<Future<usize>>) {
    (0..count).map(|_| promise()).unzip()
}

#[test]
fn f061_finished_ones_first_then_in_the_order_in_which_they_end() {
    guarded(|| {
        let (promises, futures) = promises(6);
        let [a, b, c, d, e, f] = <[_; 6]>::try_from(promises).unwrap();
        c.set_result(2).unwrap();
        e.set_result(4).unwrap();
        let order: Vec<_> = futures.iter().map(Future::id).collect();
        let mut completed = as_completed(futures);
        assert_eq!(completed.len(), 6);
        let ready: HashSet<_> = completed.by_ref().take(2).map(|it| it.result().unwrap()).collect();
        assert_eq!(ready, HashSet::from([2, 4]));
        for (promise, index) in [(f, 5), (a, 0), (d, 3), (b, 1)] {
            promise.set_result(index).unwrap();
            assert_eq!(completed.next().unwrap().id(), order[index]);
        }
        assert!(completed.next().is_none() && completed.next().is_none());
    });
}

#[test]
fn f061_it_sleeps_until_the_next_one_ends() {
    guarded(|| {
        let (promises, futures) = promises(3);
        thread::scope(|scope| {
            let taken = asleep(scope, || {
                as_completed(futures).map(|future| future.result().unwrap()).collect::<Vec<_>>()
            });
            for (index, promise) in promises.into_iter().enumerate().rev() {
                promise.set_result(index).unwrap();
            }
            assert_eq!(taken.join().unwrap(), [2, 1, 0]);
        });
    });
}

#[test]
fn f062_each_once() {
    guarded(|| {
        let future = ran(|| 1);
        assert_eq!(as_completed([&future, &future]).count(), 1);
        let shared = future.share();
        assert_eq!(as_completed([shared.clone(), shared.clone(), shared]).count(), 1);
        // Any iterable, of handles or references, of different types together.
        assert_eq!(as_completed((0..3).map(|n| ran(move || n))).count(), 3);
        let (number, text) = (ran(|| 1), ran(|| "text"));
        let both: [&dyn AnyFuture; 2] = [&number, &text];
        assert_eq!(as_completed(both).count(), 2);
    });
}

#[test]
fn f063_failed_and_cancelled_futures_are_yielded_like_any_other() {
    guarded(|| {
        let (promises, futures) = promises(3);
        let [kept, failed, _cancelled] = <[_; 3]>::try_from(promises).unwrap();
        futures[2].cancel();
        failed.set_exception(TaskError::failed(Oops(1))).unwrap();
        kept.set_result(1).unwrap();
        let (mut values, mut failures, mut cancelled) = (0, 0, 0);
        for future in as_completed(futures) {
            match future.result() {
                Ok(_) => values += 1,
                Err(error) if error.is_cancelled() => cancelled += 1,
                Err(_) => failures += 1,
            }
        }
        assert_eq!((values, failures, cancelled), (1, 1, 1));
    });
}

#[test]
fn f064_one_deadline_for_the_whole_iteration() {
    guarded(|| {
        let (promises, futures) = promises(3);
        let mut promises = promises.into_iter();
        let mut completed = as_completed_timeout(&futures, brief());
        promises.next().unwrap().set_result(0).unwrap();
        assert_eq!(completed.next().unwrap().unwrap().id(), futures[0].id());
        let error = completed.next().unwrap().unwrap_err();
        assert_eq!((error.unfinished, error.total), (2, 3));
        assert_eq!(error.to_string(), "2 (of 3) futures unfinished");
        // Once; and then it is over, although more end.
        promises.next().unwrap().set_result(1).unwrap();
        assert!(completed.next().is_none() && completed.next().is_none());
        assert_eq!(completed.into_unfinished(), [&futures[1], &futures[2]]);
    });
}

#[test]
fn f064_the_longest_timeout_is_none_at_all() {
    guarded(|| {
        let (mut promises, futures) = promises(1);
        thread::scope(|scope| {
            let taken =
                asleep(scope, || as_completed_timeout(futures, Duration::MAX).flatten().count());
            promises.pop().unwrap().set_result(1).unwrap();
            assert_eq!(taken.join().unwrap(), 1);
        });
    });
}

#[test]
fn f065_finished_ones_are_yielded_even_after_the_deadline() {
    guarded(|| {
        let (mut promises, futures) = promises(4);
        promises.remove(1).set_result(1).unwrap();
        promises.remove(2).set_result(3).unwrap();
        let yielded: Vec<_> = as_completed_timeout(&futures, Duration::ZERO).collect();
        let expired = AsCompletedTimeoutError::clone(yielded[2].as_ref().unwrap_err());
        assert_eq!((expired.unfinished, expired.total, yielded.len()), (2, 4, 3));
        let ended: HashSet<_> = yielded.into_iter().flatten().map(AnyFuture::id).collect();
        assert_eq!(ended, HashSet::from([futures[1].id(), futures[3].id()]));
    });
}

#[test]
fn f066_the_clock_starts_at_the_call() {
    guarded(|| {
        let (_promises, futures) = promises(1);
        let mut completed = as_completed_timeout(&futures, brief());
        assert!(futures[0].wait_timeout(2 * brief()).is_err());
        // The time is over by now. If it began here, this would have to sleep.
        let slept = counting_sleeps(|| {
            assert_eq!(completed.next().unwrap().unwrap_err().unfinished, 1);
        });
        assert_eq!(slept, 0);
    });
}

#[test]
fn f066_the_inputs_are_read_at_the_call() {
    guarded(|| {
        let mut read = 0;
        let completed = as_completed((0..3).map(|n| {
            read += 1;
            ran(move || n)
        }));
        assert_eq!(completed.count(), 3);
        assert_eq!(read, 3);
    });
}

#[test]
fn f067_nothing_is_cancelled() {
    guarded(|| {
        let (promises, futures) = promises(2);
        // By a timeout, by dropping the iterator before and after its first item, or by giving it up.
        assert!(as_completed_timeout(&futures, Duration::ZERO).next().unwrap().is_err());
        drop(as_completed(&futures));
        let mut completed = as_completed_timeout(&futures, brief());
        assert!(completed.next().unwrap().is_err());
        assert_eq!(completed.into_unfinished().len(), 2);
        assert!(futures.iter().all(|future| !future.done()));
        for promise in promises {
            promise.set_result(1).unwrap();
        }
        assert!(futures.into_iter().all(|future| future.result().is_ok()));
    });
}

#[test]
fn f068_what_was_handed_out_is_not_held_any_more() {
    guarded(|| {
        let drops = Drops::new();
        let futures: Vec<_> = (0..3)
            .map(|_| {
                let value = drops.value();
                ran(move || value).share()
            })
            .collect();
        for (taken, future) in as_completed(futures).enumerate() {
            // The only handle, or this would give it back.
            let future = future.unshare().expect("the iterator holds no clone");
            drop(future.result().unwrap());
            assert_eq!(drops.count(), taken + 1);
        }
    });
}

#[test]
fn f020_f069_p02_a_cancelled_future_wakes_the_iteration_and_is_yielded() {
    guarded(|| {
        let (_promises, futures) = promises(2);
        thread::scope(|scope| {
            let taken =
                asleep(scope, || as_completed(&futures).filter(|it| it.cancelled()).count());
            for future in &futures {
                assert!(future.cancel());
            }
            assert_eq!(taken.join().unwrap(), 2);
        });
        assert_eq!(as_completed(&futures).count(), 2);
        assert_eq!(as_completed_timeout(&futures, Duration::ZERO).flatten().count(), 2);
    });
}

#[test]
fn f070_no_future_no_item() {
    guarded(|| {
        assert!(as_completed(Vec::<Future<u8>>::new()).next().is_none());
        assert!(as_completed_timeout(Vec::<Future<u8>>::new(), Duration::ZERO).next().is_none());
        assert!(CompletionSet::<Future<u8>>::new().next().is_none());
        let mut set = CompletionSet::<Future<u8>>::default();
        assert!(set.next_timeout(Duration::ZERO).unwrap().is_none());
        assert!(set.try_next().is_none() && set.is_empty());
        assert!(set.poll_next(&mut Context::from_waker(Waker::noop())).is_ready());
    });
}

#[test]
fn f070_futures_can_be_added_while_taking() {
    guarded(|| {
        let mut set = CompletionSet::new();
        let mut taken = Vec::new();
        set.extend([ran(|| 3), ran(|| 2)]);
        while let Some(future) = set.next() {
            let n = future.result().unwrap();
            taken.push(n);
            // Each brings another one.
            if n > 1 {
                set.insert(ran(move || n - 1));
            }
        }
        taken.sort_unstable();
        assert_eq!(taken, [1, 1, 2, 2, 3]);
    });
}

#[test]
fn a_set_gives_back_what_has_not_ended() {
    guarded(|| {
        let (mut promises, futures) = promises(3);
        let order: Vec<_> = futures.iter().map(Future::id).collect();
        let mut set: CompletionSet<_> = futures.into_iter().collect();
        assert_eq!(format!("{set:?}"), "CompletionSet { len: 3, .. }");
        assert!(set.try_next().is_none());
        assert!(set.next_timeout(brief()).is_err());
        promises.remove(1).set_result(1).unwrap();
        assert_eq!(set.try_next().unwrap().id(), order[1]);
        assert_eq!(set.len(), 2);
        let rest: Vec<_> = set.into_futures().iter().map(Future::id).collect();
        assert_eq!(rest, [order[0], order[2]]);
    });
}

#[test]
fn a_set_takes_the_same_future_as_often_as_it_is_given() {
    guarded(|| {
        let (kept, future) = promise();
        let mut set: CompletionSet<_> = [&future, &future].into_iter().collect();
        kept.set_result(1).unwrap();
        assert_eq!(
            (set.len(), set.next(), set.next(), set.next()),
            (2, Some(&future), Some(&future), None)
        );
    });
}

#[test]
fn a_set_is_polled() {
    guarded(|| {
        let (mut promises, futures) = promises(3);
        let mut set: CompletionSet<_> = futures.iter().collect();
        let (first, earlier) = Woken::new();
        let (second, later) = Woken::new();
        assert!(set.poll_next(&mut Context::from_waker(&earlier)).is_pending());
        assert!(set.poll_next(&mut Context::from_waker(&later)).is_pending());
        // Only the task that polled last is woken, once for all that ends until it polls again.
        promises.remove(0).set_result(0).unwrap();
        promises.remove(0).set_result(1).unwrap();
        assert_eq!((first.count(), second.count()), (0, 1));
        let mut cx = Context::from_waker(&later);
        assert_eq!(set.poll_next(&mut cx), Poll::Ready(Some(&futures[0])));
        assert_eq!(set.poll_next(&mut cx), Poll::Ready(Some(&futures[1])));
        assert!(set.poll_next(&mut cx).is_pending());
        promises.remove(0).set_result(2).unwrap();
        assert_eq!(second.count(), 2);
        assert_eq!(set.poll_next(&mut cx), Poll::Ready(Some(&futures[2])));
        assert_eq!(set.poll_next(&mut cx), Poll::Ready(None));
    });
}

#[test]
fn a_set_is_awaited_by_a_task_on_another_thread() {
    guarded(|| {
        let (promises, futures) = promises(100);
        let mut set: CompletionSet<_> = futures.into_iter().collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for promise in promises {
                    promise.set_result(1).unwrap();
                }
            });
            let mut sum = 0;
            while let Some(future) = block_on(std::future::poll_fn(|cx| set.poll_next(cx))) {
                sum += future.result().unwrap();
            }
            assert_eq!(sum, 100);
        });
    });
}

/// The set's lock used to be held while the waker of an earlier poll was dropped. The last waker of a task that is
/// gone drops the task, which may hold the very promise of another future of the set: keeping it takes the lock again.
#[test]
fn a_waker_whose_drop_ends_a_future_of_the_set_does_not_lock_up() {
    guarded(|| {
        let (mut promises, futures) = promises(2);
        let mut set: CompletionSet<_> = futures.into_iter().collect();
        let promise = Mutex::new(promises.pop());
        let waker = OnDrop::waker(move || drop(promise.lock().unwrap().take()));
        assert!(set.poll_next(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        // Sleeping on the set replaces the waker.
        let future = set.next_timeout(ample()).unwrap().unwrap();
        assert!(matches!(future.result(), Err(TaskError::Abandoned)));
        // And so does polling it with another one.
        let promise = Mutex::new(promises.pop());
        let waker = OnDrop::waker(move || drop(promise.lock().unwrap().take()));
        assert!(set.poll_next(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let (woken, waker) = Woken::new();
        assert!(set.poll_next(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(woken.count(), 1);
        assert!(set.try_next().is_some());
    });
}

#[test]
fn a_set_is_handed_from_thread_to_thread() {
    guarded(|| {
        let (promises, futures) = promises(2);
        let mut set: CompletionSet<_> = futures.into_iter().collect();
        let mut promises = promises.into_iter();
        promises.next().unwrap().set_result(0).unwrap();
        assert!(set.next().is_some());
        thread::scope(|scope| {
            let other = asleep(scope, move || set.next().is_some());
            promises.next().unwrap().set_result(1).unwrap();
            assert!(other.join().unwrap());
        });
    });
}

#[test]
fn f067_a_dropped_set_lets_go_of_its_futures() {
    guarded(|| {
        let drops = Drops::new();
        let (kept, future) = promise();
        let ended = {
            let value = drops.value();
            ran(move || value)
        };
        drop(CompletionSet::from_iter([future, ended]));
        assert_eq!(drops.count(), 1);
        // Nobody is left to read this one.
        kept.set_result(drops.value()).unwrap();
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn p04_taking_one_by_one_is_linear() {
    guarded(|| {
        // `wait(FirstCompleted)` again and again registers with all that are left: two hundred million registrations
        // for these. The set registers once with each.
        const COUNT: usize = 20_000;
        let (promises, futures) = promises(COUNT);
        let mut completed = as_completed(futures);
        for (index, promise) in promises.into_iter().enumerate().rev() {
            promise.set_result(index).unwrap();
            assert_eq!(completed.next().unwrap().result().unwrap(), index);
        }
        assert!(completed.next().is_none());
    });
}

#[test]
fn p04_ending_at_the_same_time_as_being_taken() {
    guarded(|| {
        for _ in 0..50 {
            let (promises, futures) = promises(16);
            let finished = Arc::new(Drops::new());
            thread::scope(|scope| {
                scope.spawn(|| {
                    promises.into_iter().for_each(|promise| promise.set_result(1).unwrap())
                });
                for future in as_completed(futures) {
                    assert_eq!(future.result().unwrap(), 1);
                    drop(finished.value());
                }
            });
            assert_eq!(finished.count(), 16);
        }
    });
}
