//! Counting futures as they start and end.

mod common;

use std::thread;

use common::{Call, Oops, asleep, guarded, ran};
use concurrent_futures_future::{
    PackagedTask, Progress, ProgressSnapshot, ReturnWhen, TaskError, promise, wait,
};

/// `(pending, running, succeeded, failed, cancelled)`
fn counts(progress: &Progress) -> (u64, u64, u64, u64, u64) {
    let counts = progress.snapshot();
    (counts.pending(), counts.running(), counts.succeeded, counts.failed, counts.cancelled)
}

#[test]
fn a_future_is_counted_along_its_life() {
    guarded(|| {
        let progress = Progress::new();
        assert_eq!(progress.snapshot(), ProgressSnapshot::default());
        let (kept, future) = promise();
        progress.watch(&future);
        assert_eq!(counts(&progress), (1, 0, 0, 0, 0));
        kept.set_running_or_notify_cancel().unwrap();
        assert_eq!(counts(&progress), (0, 1, 0, 0, 0));
        kept.set_result(1).unwrap();
        assert_eq!(counts(&progress), (0, 0, 1, 0, 0));
        let (kept, future) = promise::<u8>();
        progress.watch(&future);
        kept.set_exception(TaskError::failed(Oops(1))).unwrap();
        assert!(future.exception().is_some());
        assert_eq!(counts(&progress), (0, 0, 1, 1, 0));
        let (_promise, future) = promise::<u8>();
        progress.watch(&future);
        future.cancel();
        assert_eq!(counts(&progress), (0, 0, 1, 1, 1));
        let totals = progress.snapshot();
        assert_eq!((totals.submitted, totals.started, totals.done()), (3, 2, 3));
        assert!(format!("{progress:?}").starts_with("Progress(ProgressSnapshot {"));
    });
}

#[test]
fn a_future_is_counted_from_whichever_state_it_is_in() {
    guarded(|| {
        let progress = Progress::new();
        let (running, one) = promise::<u8>();
        running.set_running_or_notify_cancel().unwrap();
        progress.watch(&one);
        assert_eq!(counts(&progress), (0, 1, 0, 0, 0));
        progress.watch(&ran(|| 1));
        let panicked = ran(|| -> u8 { panic!("a failure") });
        progress.watch(&panicked);
        assert!(panicked.exception().is_some());
        let (_promise, cancelled) = promise::<u8>();
        cancelled.cancel();
        progress.watch(&cancelled);
        assert_eq!(counts(&progress), (0, 1, 1, 1, 1));
        // One whose value has been read is still a success.
        let shared = ran(|| 1).share();
        assert_eq!(shared.result().unwrap(), &1);
        progress.watch(&shared);
        assert_eq!(counts(&progress), (0, 1, 2, 1, 1));
    });
}

#[test]
fn weights_and_clones_count_together() {
    guarded(|| {
        let progress = Progress::new();
        let clone = progress.clone();
        let (kept, future) = promise();
        progress.watch_as(&future, 10);
        clone.watch(&future);
        assert_eq!(counts(&progress), (11, 0, 0, 0, 0));
        kept.set_result(1).unwrap();
        assert_eq!(counts(&clone), (0, 0, 11, 0, 0));
        progress.found_failed(3);
        progress.found_failed(0);
        assert_eq!(counts(&progress), (0, 0, 8, 3, 0));
        assert_eq!(progress.snapshot().done(), 11);
    });
}

/// Whoever reads the result of a future may find that some of its items failed before the thread that completed it has
/// counted the success. The count used to wrap around then.
#[test]
fn failures_may_be_found_before_the_success_is_counted() {
    guarded(|| {
        let progress = Progress::new();
        let (kept, future) = promise();
        progress.watch_as(&future, 5);
        progress.found_failed(2);
        assert_eq!(counts(&progress), (5, 0, 0, 0, 0));
        assert_eq!(progress.snapshot().done(), 0);
        kept.set_result(1).unwrap();
        assert_eq!(counts(&progress), (0, 0, 3, 2, 0));
    });
}

#[test]
fn whoever_was_woken_finds_the_count_up_to_date() {
    guarded(|| {
        for _ in 0..50 {
            let progress = Progress::new();
            let (task, future) = PackagedTask::new(Call(|| 1));
            progress.watch(&future);
            thread::scope(|scope| {
                let waiter = asleep(scope, || {
                    wait([&future], ReturnWhen::AllCompleted);
                    counts(&progress)
                });
                task.run();
                assert_eq!(waiter.join().unwrap(), (0, 0, 1, 0, 0));
            });
        }
    });
}

#[test]
fn whoever_sees_that_it_has_finished_finds_it_counted() {
    guarded(|| {
        for fails in [false, true] {
            for _ in 0..200 {
                let progress = Progress::new();
                let (kept, future) = promise();
                progress.watch_as(&future, 3);
                thread::scope(|scope| {
                    scope.spawn(|| if fails { drop(kept) } else { kept.set_result(1).unwrap() });
                    while !future.done() {
                        thread::yield_now();
                    }
                    let counted = if fails { (0, 0, 0, 3, 0) } else { (0, 0, 3, 0, 0) };
                    assert_eq!(counts(&progress), counted);
                });
                assert_eq!(future.result().is_err(), fails);
            }
        }
    });
}

#[test]
fn starts_and_ends_race_with_watching() {
    guarded(|| {
        for _ in 0..200 {
            let progress = Progress::new();
            let (kept, future) = promise();
            thread::scope(|scope| {
                scope.spawn(|| {
                    kept.set_running_or_notify_cancel().unwrap();
                    kept.set_result(1).unwrap();
                });
                progress.watch(&future);
                progress.watch(&future);
                let now = progress.snapshot();
                assert!(now.done() <= now.submitted && now.running() <= now.submitted);
            });
            let totals = progress.snapshot();
            assert_eq!((totals.submitted, totals.started, totals.succeeded), (2, 2, 2));
        }
    });
}
