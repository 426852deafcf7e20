//! What reaches the event hook: failures that nobody looked at (P47), and what user code throws where no caller could be
//! told.

mod common;

use std::{
    sync::{Arc, Mutex},
    thread,
};

use common::{
    Call, Oops,
    drops::{Drops, Explosive},
    events::{self, Recorded, destructor_panics},
    guarded, ran,
    wakers::{Woken, poll},
};
use concurrent_futures_future::{
    BrokenExecutor, CompletionSet, Event, PackagedTask, Panic, Promise, Ran, ReturnWhen, TaskError,
    as_completed, promise, report, wait,
};

fn fail(promise: Promise<u8>) {
    promise.set_exception(TaskError::failed(Oops(1))).unwrap();
}

fn unread() -> Vec<Recorded> {
    vec![Recorded::FailureUnread("oops 1".to_owned())]
}

#[test]
fn p47_a_failure_that_nobody_looked_at_is_reported_once() {
    guarded(|| {
        events::record();
        // The handle is dropped after the end, or before it, in either order of the two threads.
        for after in [true, false] {
            let (kept, future) = promise();
            let id = future.id();
            if after {
                fail(kept);
                assert_eq!(events::of(id), []);
                drop(future);
            } else {
                drop(future);
                assert_eq!(events::of(id), []);
                fail(kept);
            }
            assert_eq!(events::of(id), unread());
        }
        for _ in 0..300 {
            let (kept, future) = promise();
            let id = future.id();
            thread::scope(|scope| {
                scope.spawn(move || fail(kept));
                drop(future);
            });
            assert_eq!(events::of(id), unread());
        }
    });
}

#[test]
fn p47_every_kind_of_handle_reports() {
    guarded(|| {
        events::record();
        let (kept, future) = promise();
        let id = future.id();
        fail(kept);
        let shared = future.share();
        drop(shared.clone());
        assert_eq!(events::of(id), []);
        drop(shared);
        assert_eq!(events::of(id), unread());

        let (kept, future) = promise();
        let id = future.id();
        fail(kept);
        drop(future.cancel_on_drop());
        assert_eq!(events::of(id), unread());

        let (kept, future) = promise();
        let id = future.id();
        fail(kept);
        drop(CompletionSet::from_iter([future]));
        assert_eq!(events::of(id), unread());

        // Polled, and dropped without an answer.
        let (kept, mut future) = promise();
        let id = future.id();
        assert!(poll(&mut future, &Woken::new().1).is_pending());
        fail(kept);
        drop(future);
        assert_eq!(events::of(id), unread());

        // Waited for, which is not looking.
        let (kept, future) = promise();
        let id = future.id();
        fail(kept);
        drop(wait([future], ReturnWhen::FirstException));
        assert_eq!(events::of(id), unread());
        let (kept, future) = promise();
        let id = future.id();
        fail(kept);
        assert_eq!(as_completed([future]).count(), 1);
        assert_eq!(events::of(id), unread());
    });
}

#[test]
fn p47_a_failure_that_was_looked_at_is_not_reported() {
    guarded(|| {
        events::record();
        type Look = fn(concurrent_futures_future::Future<u8>);
        let looks: [Look; 8] = [
            |future| drop(future.result().unwrap_err()),
            |future| drop(future.result_timeout(common::ample()).unwrap().unwrap_err()),
            |future| drop(future.try_result().unwrap().unwrap_err()),
            |future| drop(future.exception().unwrap()),
            |future| drop(future.exception_timeout(common::ample()).unwrap().unwrap()),
            |future| future.on_done(|outcome| drop(outcome.unwrap_err())),
            |future| future.add_done_callback(|it| drop(it.exception().unwrap())),
            |future| drop(future.share().result().unwrap_err()),
        ];
        for look in looks {
            let (kept, future) = promise();
            let id = future.id();
            fail(kept);
            look(future);
            assert_eq!(events::of(id), []);
        }
        let (kept, mut future) = promise();
        let id = future.id();
        fail(kept);
        assert!(poll(&mut future, &Woken::new().1).is_ready());
        drop(future);
        assert_eq!(events::of(id), []);
    });
}

#[test]
fn p47_neither_success_nor_cancellation_is_reported() {
    guarded(|| {
        events::record();
        let future = ran(|| 1);
        let (_promise, cancelled) = promise::<u8>();
        cancelled.cancel();
        let (kept, abandoned) = promise::<u8>();
        let ids = [future.id(), cancelled.id()];
        let id = abandoned.id();
        drop((future, cancelled, kept, abandoned));
        assert_eq!(ids.map(events::of), [vec![], vec![]]);
        // A promise that was not kept is a failure like any other.
        assert_eq!(events::of(id).len(), 1);
    });
}

/// Everyone is woken before the callbacks run, so whoever waits for a future and then drops it may do so before a
/// callback, added to deal with failures, has had its chance. That used to be reported as a failure that nobody looked
/// at, depending on who was faster. Here the first callback drops the handle, which is as early as can be.
#[test]
fn p47_a_handle_dropped_while_callbacks_run_waits_for_one_to_look() {
    guarded(|| {
        events::record();
        for looks in [true, false] {
            let (kept, future) = promise();
            let id = future.id();
            let holder = Arc::new(Mutex::new(None));
            let inside = Arc::clone(&holder);
            future.add_done_callback(move |_| drop(inside.lock().unwrap().take()));
            future.add_done_callback(move |it| {
                assert_eq!(events::of(id), [], "too early");
                if looks {
                    assert!(it.exception().is_some());
                }
            });
            *holder.lock().unwrap() = Some(future);
            fail(kept);
            assert_eq!(events::of(id), if looks { vec![] } else { unread() });
        }
    });
}

#[test]
fn p47_a_handle_dropped_in_another_thread_while_callbacks_run() {
    guarded(|| {
        events::record();
        for round in 0..300 {
            let looks = round % 2 == 0;
            let (kept, future) = promise();
            let id = future.id();
            future.add_done_callback(move |it| {
                if looks {
                    assert!(it.exception().is_some());
                }
            });
            thread::scope(|scope| {
                scope.spawn(move || fail(kept));
                future.wait();
                drop(future);
            });
            assert_eq!(events::of(id), if looks { vec![] } else { unread() });
        }
    });
}

#[test]
fn a_destructor_that_panics_in_a_worker_is_reported_and_survived() {
    guarded(|| {
        events::record();
        let drops = Drops::new();
        // The work of a task that is cancelled, that fails undone, or that is completed elsewhere.
        let explosive = |text| {
            let captured = Explosive(text, drops.value());
            PackagedTask::new(Call(move || drop(captured)))
        };
        let (_task, future) = explosive("work, cancelled");
        assert!(future.cancel() && future.result().unwrap_err().is_cancelled());
        let (task, future) = explosive("work, failed");
        task.fail(TaskError::Broken(BrokenExecutor::new("gone")));
        assert!(future.result().is_err());
        let (task, future) = explosive("work, completed");
        assert!(task.start());
        task.complete(Ok(()));
        future.result().unwrap();
        // A value that nobody can read any more, and one that comes too late.
        let (kept, future) = promise();
        drop(future);
        kept.set_result(Explosive("value, unread", drops.value())).unwrap();
        let (task, future) = PackagedTask::new(Call(|| ran(|| ()).id()));
        task.complete(Err(TaskError::Abandoned));
        drop((task, future));
        let reported = ["work, cancelled", "work, failed", "work, completed", "value, unread"];
        assert_eq!(reported.map(destructor_panics), [1; 4]);
        assert_eq!(drops.count(), 4);
    });
}

#[test]
fn a_destructor_that_panics_after_the_work_is_the_panic_of_the_task() {
    guarded(|| {
        let drops = Drops::new();
        let captured = Explosive("captured", drops.value());
        let (task, future) = PackagedTask::new(Call(move || {
            let _captured = captured;
            1
        }));
        assert_eq!(task.run(), Ran::Failed);
        assert!(future.result().unwrap_err().to_string().ends_with("captured"));
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_value_whose_destructor_panics_throws_at_whoever_drops_it() {
    guarded(|| {
        let drops = Drops::new();
        let value = Explosive("dropped by its reader", drops.value());
        let future = ran(move || value);
        let dropped = thread::spawn(move || drop(future)).join();
        assert_eq!(common::text_of(&*dropped.unwrap_err()), "dropped by its reader");
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn events_say_what_happened() {
    guarded(|| {
        let panic = Panic::catch(|| panic!("thrown")).unwrap_err();
        let error = TaskError::failed(Oops(7));
        let id = ran(|| 1).id();
        let broken = BrokenExecutor::new("its initializer failed");
        let texts = [
            Event::CallbackPanicked { future: id, panic: &panic },
            Event::FailureUnread { future: id, error: &error },
            Event::ExecutorBroken { executor: "pool", error: &broken },
            Event::DestructorPanicked { panic: &panic },
        ]
        .map(|event| {
            event.to_string().replace(&panic.to_string(), "PANICKED").replace(&id.to_string(), "#")
        });
        assert_eq!(
            texts,
            [
                "a done-callback of future # PANICKED",
                "future # failed and nobody looked: oops 7",
                "executor pool is broken: the executor is broken: its initializer failed",
                "a destructor in a worker PANICKED",
            ]
        );
    });
}

#[test]
fn events_of_executors_reach_the_hook_too() {
    guarded(|| {
        events::record();
        let id = ran(|| 1).id();
        report(&Event::FailureUnread { future: id, error: &TaskError::Abandoned });
        assert_eq!(events::of(id).len(), 1);
    });
}
