//! Section B of Python's behaviours: what the holder of a future sees.

mod common;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Call, Oops, ample, asleep, brief, guarded};
use concurrent_futures_future::{
    AnyFuture, Future, PackagedTask, Promise, Ran, State, TaskError, promise,
};

/// A future in each of the four states, with the promise of the two that can still change.
fn one_of_each() -> [(State, Future<u8>, Option<Promise<u8>>); 4] {
    let (promise, future) = promise();
    let pending = (State::Pending, future, Some(promise));
    let (promise, future) = concurrent_futures_future::promise();
    assert!(promise.set_running_or_notify_cancel().unwrap());
    let running = (State::Running, future, Some(promise));
    let (promise, future) = concurrent_futures_future::promise();
    assert!(future.cancel());
    let cancelled = (State::Cancelled, future, Some(promise));
    let (promise, future) = concurrent_futures_future::promise();
    promise.set_result(7).unwrap();
    [pending, running, cancelled, (State::Finished, future, None)]
}

#[test]
fn f015_four_states() {
    guarded(|| {
        for (state, future, _promise) in one_of_each() {
            assert_eq!(future.state(), state);
        }
        // Being told of the cancellation, which is a state of its own in Python, changes nothing here.
        let (promise, future) = promise::<u8>();
        assert!(future.cancel());
        assert!(!promise.set_running_or_notify_cancel().unwrap());
        assert_eq!(future.state(), State::Cancelled);
    });
}

#[test]
fn f016_a_future_made_by_hand_is_pending_until_completed() {
    guarded(|| {
        let (promise, future) = promise();
        assert!(future.wait_timeout(brief()).is_err());
        assert_eq!(future.state(), State::Pending);
        promise.set_result(1).unwrap();
        assert_eq!(future.result().unwrap(), 1);
    });
}

#[test]
fn f017_cancel_wakes_every_kind_of_reader_then_calls_back() {
    guarded(|| {
        let (_promise, future) = promise::<u8>();
        let future = future.share();
        let called_in = Arc::new(Mutex::new(None));
        let note = Arc::clone(&called_in);
        future.add_done_callback(move |future| {
            *note.lock().unwrap() = Some((thread::current().id(), future.cancelled()));
        });
        thread::scope(|scope| {
            let result = asleep(scope, || future.result().err());
            let timed_result = asleep(scope, || future.result_timeout(ample()).unwrap().err());
            let exception = asleep(scope, || future.exception());
            let timed_exception = asleep(scope, || future.exception_timeout(ample()).unwrap());
            let wait = asleep(scope, || future.wait());
            let timed_wait = asleep(scope, || future.wait_timeout(ample()));
            assert!(future.cancel());
            for woken in [result, timed_result, exception, timed_exception] {
                assert!(woken.join().unwrap().is_some_and(|error| error.is_cancelled()));
            }
            wait.join().unwrap();
            timed_wait.join().unwrap().unwrap();
        });
        let called_in = called_in.lock().unwrap().take();
        assert_eq!(called_in, Some((thread::current().id(), true)));
    });
}

#[test]
fn f018_cancel_changes_nothing_about_a_running_or_finished_future() {
    guarded(|| {
        let (promise, future) = promise();
        assert!(promise.set_running_or_notify_cancel().unwrap());
        assert!(!future.cancel());
        assert!(future.running());
        promise.set_result(3).unwrap();
        assert!(!future.cancel());
        assert_eq!(future.state(), State::Finished);
        assert_eq!(future.result().unwrap(), 3);
    });
}

#[test]
fn f019_cancel_again_is_true_and_calls_back_once() {
    guarded(|| {
        let (_promise, future) = promise::<u8>();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        future.add_done_callback(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert!(future.cancel());
        assert!(future.cancel());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(future.result().unwrap_err().is_cancelled());
    });
}

#[test]
fn f021_f022_f023_the_three_questions_in_every_state() {
    guarded(|| {
        for (state, future, _promise) in one_of_each() {
            assert_eq!(future.cancelled(), state == State::Cancelled, "{state:?}");
            assert_eq!(future.running(), state == State::Running, "{state:?}");
            let ended = matches!(state, State::Cancelled | State::Finished);
            assert_eq!(future.done(), ended, "{state:?}");
            // The same through the trait, and through the handle that can be cloned.
            let any: &dyn AnyFuture = &future;
            assert_eq!((any.state(), any.id(), any.done()), (state, future.id(), ended));
            let id = future.id();
            let shared = future.share();
            assert_eq!((shared.state(), shared.id(), shared.done()), (state, id, ended));
        }
    });
}

#[test]
fn f024_outcome_order() {
    guarded(|| {
        // Cancelled, finished and failed are answered at once, whatever the timeout.
        let (_promise, cancelled) = promise::<u8>();
        cancelled.cancel();
        let outcome = cancelled.result_timeout(Duration::ZERO).unwrap();
        assert!(outcome.unwrap_err().is_cancelled());

        let (kept, finished) = promise();
        kept.set_result(5).unwrap();
        assert_eq!(finished.result_timeout(Duration::ZERO).unwrap().unwrap(), 5);

        let (kept, failed) = promise::<u8>();
        kept.set_exception(TaskError::failed(Oops(1))).unwrap();
        let error = failed.result_timeout(Duration::ZERO).unwrap().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Oops(1)));

        // Otherwise the call sleeps, and answers with what it was woken for.
        thread::scope(|scope| {
            let (promise, future) = promise();
            let reader = asleep(scope, || future.result());
            promise.set_result(6).unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), 6);
        });
    });
}

#[test]
fn f025_zero_polls_and_the_longest_timeout_waits() {
    guarded(|| {
        let (promise, future) = promise();
        let future = future.result_timeout(Duration::ZERO).unwrap_err().into_inner();
        assert!(future.wait_timeout(Duration::ZERO).is_err());
        assert!(future.exception_timeout(Duration::ZERO).is_err());
        // Farther away than the clock can express.
        thread::scope(|scope| {
            let reader = asleep(scope, || future.result_timeout(Duration::MAX));
            promise.set_result(8).unwrap();
            assert_eq!(reader.join().unwrap().unwrap().unwrap(), 8);
        });
    });
}

#[test]
fn f025_the_longest_times_that_the_clock_can_express() {
    guarded(|| {
        // Between these two lies the last moment that an `Instant` can name.
        for seconds in [u64::from(u32::MAX), i64::MAX as u64 / 2, i64::MAX as u64 - 1, u64::MAX] {
            let (promise, future) = promise();
            thread::scope(|scope| {
                let reader = asleep(scope, || future.wait_timeout(Duration::from_secs(seconds)));
                promise.set_result(()).unwrap();
                reader.join().unwrap().unwrap();
            });
            future.result().unwrap();
        }
    });
}

#[test]
fn f025_a_timeout_affects_neither_the_task_nor_the_future() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| 9));
        let future = future.result_timeout(brief()).unwrap_err().into_inner();
        assert!(future.wait_timeout(brief()).is_err());
        assert_eq!(future.state(), State::Pending);
        assert_eq!(task.run(), Ran::Succeeded);
        assert_eq!(future.result().unwrap(), 9);
    });
}

#[test]
fn f024_try_result_gives_the_future_back() {
    guarded(|| {
        let (promise, future) = promise();
        let future = future.try_result().unwrap_err();
        promise.set_result(2).unwrap();
        assert_eq!(future.try_result().unwrap().unwrap(), 2);
    });
}

#[test]
fn f027_p05_a_task_that_timed_out_is_no_wait_that_timed_out() {
    guarded(|| {
        let (kept, failed) = promise::<u8>();
        let own = std::io::Error::from(std::io::ErrorKind::TimedOut);
        kept.set_exception(TaskError::failed(own)).unwrap();
        let error = failed.result_timeout(brief()).expect("the wait did not").unwrap_err();
        let own: &std::io::Error = error.downcast_ref().expect("the task did");
        assert_eq!(own.kind(), std::io::ErrorKind::TimedOut);

        let (_promise, pending) = promise::<u8>();
        let timeout = pending.result_timeout(brief()).expect_err("the wait did");
        assert_eq!(timeout.to_string(), "the wait timed out");
        assert!(!timeout.into_inner().done());
    });
}

#[test]
fn f028_exception_follows_the_rules_of_result() {
    guarded(|| {
        let (kept, future) = promise();
        kept.set_result(1).unwrap();
        assert!(future.exception().is_none());
        // It has read nothing.
        assert_eq!(future.result().unwrap(), 1);

        let (kept, future) = promise::<u8>();
        thread::scope(|scope| {
            let reader = asleep(scope, || future.exception());
            kept.set_exception(TaskError::failed(Oops(2))).unwrap();
            assert_eq!(reader.join().unwrap().unwrap().downcast_ref(), Some(&Oops(2)));
        });

        let (_promise, future) = promise::<u8>();
        assert!(future.exception_timeout(brief()).is_err());
        future.cancel();
        // An answer, where Python raises.
        assert!(future.exception().unwrap().is_cancelled());
    });
}

#[test]
fn f029_descriptions_name_the_state_and_the_type_and_never_the_value() {
    guarded(|| {
        let secret = || "hunter2".to_owned();
        let (kept, future) = promise::<String>();
        let id = future.id();
        assert_eq!(format!("{future:?}"), format!("Future({id}, pending)"));
        assert_eq!(format!("{kept:?}"), "Promise(Pending)");
        kept.set_running_or_notify_cancel().unwrap();
        assert_eq!(format!("{future:?}"), format!("Future({id}, running)"));
        kept.set_result(secret()).unwrap();
        let returned = "finished, returned alloc::string::String";
        assert_eq!(format!("{future:?}"), format!("Future({id}, {returned})"));
        let shared = future.share();
        assert_eq!(format!("{shared:?}"), format!("SharedFuture({id}, {returned})"));

        let (_promise, future) = promise::<String>();
        future.cancel();
        assert_eq!(format!("{future:?}"), format!("Future({}, cancelled)", future.id()));

        let (kept, future) = promise::<String>();
        kept.set_exception(TaskError::failed(secret())).unwrap();
        let failed = "finished, failed with alloc::string::String";
        assert_eq!(format!("{future:?}"), format!("Future({}, {failed})", future.id()));

        let (kept, future) = promise::<String>();
        kept.set_exception(TaskError::Abandoned).unwrap();
        let abandoned = "finished, failed: the task was dropped without ever being run to its end";
        assert_eq!(format!("{future:?}"), format!("Future({}, {abandoned})", future.id()));

        let future = common::ran(move || -> String { panic!("{}", secret()) });
        assert_eq!(format!("{future:?}"), format!("Future({}, finished, panicked)", future.id()));
        let cancelling = future.cancel_on_drop();
        assert!(format!("{cancelling:?}").starts_with("CancelOnDrop(Some(Future(#"));
    });
}

#[test]
fn f030_futures_compare_and_hash_by_identity() {
    guarded(|| {
        let (first, one) = promise();
        let (second, two) = promise();
        assert_ne!(one, two);
        assert_eq!(one, one);
        assert_eq!(first.id(), one.id());
        let purpose = HashMap::from([(one.id(), "one"), (two.id(), "two")]);
        first.set_result(1).unwrap();
        second.set_result(1).unwrap();
        // Equal values do not make equal futures, nor does sharing make another one.
        assert_ne!(one, two);
        let (id, shared) = (one.id(), one.share());
        assert_eq!(shared.clone(), shared);
        assert_eq!(purpose[&shared.id()], "one");
        assert_eq!(HashSet::from([shared.clone(), shared]).len(), 1);
        // The id stays taken when the future is gone.
        drop(two);
        let (_promise, three) = promise::<u8>();
        assert!(three.id() != id && !purpose.contains_key(&three.id()));
    });
}

#[test]
fn f030_racing_readers_agree_on_the_id() {
    guarded(|| {
        for _ in 0..100 {
            let (promise, future) = promise::<u8>();
            let (a, b) = thread::scope(|scope| {
                let a = scope.spawn(|| promise.id());
                (future.id(), a.join().unwrap())
            });
            assert_eq!(a, b);
        }
    });
}

#[test]
fn f031_every_method_from_many_threads_at_once() {
    guarded(|| {
        let rounds = 50;
        for round in 0..rounds {
            let (promise, future) = promise();
            let calls = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        future.add_done_callback(|completed| {
                            assert!(completed.exception().is_none())
                        });
                        assert!(!future.cancelled());
                        assert!(!format!("{future:?}").is_empty());
                        assert!(future.exception().is_none());
                        assert!(future.done());
                        calls.fetch_add(1, Ordering::SeqCst);
                    });
                }
                scope.spawn(|| {
                    promise.set_running_or_notify_cancel().unwrap();
                    promise.set_result(round).unwrap();
                });
            });
            assert_eq!(calls.into_inner(), 2);
            assert_eq!(future.result().unwrap(), round);
        }
    });
}

#[test]
fn f031_every_method_from_inside_a_callback() {
    guarded(|| {
        let (promise, future) = promise();
        let future = future.share();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&seen);
        future.add_done_callback(move |future| {
            future.wait();
            assert!(future.wait_timeout(Duration::ZERO).is_ok());
            assert!(future.done() && !future.cancel() && !future.running());
            assert!(future.exception().is_none());
            note.lock().unwrap().push(*future.result().unwrap());
            let note = Arc::clone(&note);
            future.add_done_callback(move |future| {
                note.lock().unwrap().push(*future.result().unwrap() + 1);
            });
        });
        promise.set_result(1).unwrap();
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
    });
}

#[test]
fn f032_any_sendable_type_is_the_result() {
    guarded(|| {
        // One that is not `Sync`, one that is not `Clone`, one without a size, one that is borrowed for ever.
        assert_eq!(common::ran(|| std::cell::Cell::new(1)).result().unwrap().get(), 1);
        assert_eq!(common::ran(|| Box::new([0_u8; 4096])).result().unwrap().len(), 4096);
        common::ran(|| ()).result().unwrap();
        assert_eq!(common::ran(|| "text").result().unwrap(), "text");
        // A result is a value like any other until it is flattened.
        assert_eq!(common::ran(|| Err::<u8, Oops>(Oops(4))).result().unwrap(), Err(Oops(4)));
        // A future of a future.
        let (inner, future) = promise();
        let outer = common::ran(move || future);
        inner.set_result(11).unwrap();
        assert_eq!(outer.result().unwrap().result().unwrap(), 11);
    });
}

#[test]
fn f033_one_call_answers_consistently() {
    guarded(|| {
        let (promise, pending) = promise::<u8>();
        let pending = pending.try_result().unwrap_err();
        assert!(pending.cancel());
        assert!(pending.try_result().unwrap().unwrap_err().is_cancelled());
        assert!(promise.set_result(1).is_err());

        // Against a completion at the same time: either nothing yet or all of it, never a part.
        for round in 0..100_u64 {
            let (promise, future) = concurrent_futures_future::promise();
            thread::scope(|scope| {
                scope.spawn(move || promise.set_result([round; 16]).unwrap());
                let mut future = future;
                loop {
                    match future.try_result() {
                        Ok(outcome) => break assert_eq!(outcome.unwrap(), [round; 16]),
                        Err(not_yet) => future = not_yet,
                    }
                    thread::yield_now();
                }
            });
        }
    });
}
