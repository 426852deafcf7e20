//! Section C of Python's behaviours: completing futures, by promise and by task.

mod common;

use std::{
    any::Any,
    error::Error,
    fmt,
    panic::{panic_any, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use common::{Call, Oops, asleep, drops::Drops, guarded, ran, text_of};
use concurrent_futures_future::{BrokenExecutor, PackagedTask, Ran, State, TaskError, promise};

#[test]
fn f035_set_running_from_pending() {
    guarded(|| {
        let (promise, future) = promise();
        assert!(promise.set_running_or_notify_cancel().unwrap());
        assert!(future.running() && !promise.cancelled());
        promise.set_result(1).unwrap();
        assert_eq!(future.result().unwrap(), 1);
    });
}

#[test]
fn f036_set_running_learns_of_the_cancellation() {
    guarded(|| {
        let (promise, future) = promise::<u8>();
        future.cancel();
        assert!(!promise.set_running_or_notify_cancel().unwrap());
        // Asking again is no mistake here: there is no second stage that could be entered twice.
        assert!(!promise.set_running_or_notify_cancel().unwrap());
        assert!(promise.cancelled() && future.cancelled());
    });
}

#[test]
fn f037_set_running_twice_is_an_error() {
    guarded(|| {
        let (promise, future) = promise();
        assert!(promise.set_running_or_notify_cancel().unwrap());
        let error = promise.set_running_or_notify_cancel().unwrap_err();
        assert!(error.to_string().contains("not in a state that allows this"), "{error}");
        assert!(future.running());
        // Nothing has changed: the promise can be kept.
        promise.set_result(1).unwrap();
        assert_eq!(future.result().unwrap(), 1);
    });
}

#[test]
fn f038_set_result_from_pending_and_from_running() {
    guarded(|| {
        for running in [false, true] {
            let (promise, future) = promise();
            if running {
                promise.set_running_or_notify_cancel().unwrap();
            }
            promise.set_result("value").unwrap();
            assert_eq!(future.result().unwrap(), "value");
        }
    });
}

#[test]
fn f038_set_result_of_a_cancelled_future_gives_the_value_back() {
    guarded(|| {
        let (promise, future) = promise();
        future.cancel();
        let error = promise.set_result("precious".to_owned()).unwrap_err();
        assert_eq!(format!("{error:?}"), "InvalidStateError { .. }");
        assert_eq!(error.into_inner(), "precious");
        assert!(future.result().unwrap_err().is_cancelled());
    });
}

#[test]
fn f039_set_exception_follows_the_rules_of_set_result() {
    guarded(|| {
        for running in [false, true] {
            let (promise, future) = promise::<u8>();
            if running {
                promise.set_running_or_notify_cancel().unwrap();
            }
            promise.set_exception(TaskError::failed(Oops(3))).unwrap();
            assert_eq!(future.result().unwrap_err().downcast_ref(), Some(&Oops(3)));
        }
        let (promise, future) = promise::<u8>();
        future.cancel();
        let error = promise.set_exception(TaskError::failed(Oops(4))).unwrap_err();
        assert_eq!(error.into_inner().downcast_ref(), Some(&Oops(4)));
        assert!(future.cancelled());
    });
}

#[test]
fn f039_any_error_and_any_text_will_do() {
    guarded(|| {
        let errors = [
            TaskError::failed(Oops(1)),
            TaskError::failed("text"),
            TaskError::failed("owned text".to_owned()),
            TaskError::failed(Box::<dyn Error + Send + Sync>::from("boxed")),
            TaskError::Broken(BrokenExecutor::new("no threads")),
            TaskError::Abandoned,
            // Odd, but an outcome like any other: the state is finished, the error says cancelled.
            TaskError::Cancelled,
        ];
        for error in errors {
            let text = error.to_string();
            let (promise, future) = promise::<u8>();
            promise.set_exception(error).unwrap();
            assert_eq!(future.state(), State::Finished);
            assert!(!future.cancelled());
            assert_eq!(future.result().unwrap_err().to_string(), text);
        }
    });
}

/// Nothing to it: no size, no text.
#[derive(Debug)]
struct Nothing;

impl fmt::Display for Nothing {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl Error for Nothing {}

#[test]
fn f041_an_error_that_looks_like_nothing_is_still_an_error() {
    guarded(|| {
        let (promise, future) = promise::<()>();
        promise.set_exception(TaskError::failed(Nothing)).unwrap();
        assert!(future.exception().is_some());
        assert!(future.result().unwrap_err().downcast_ref::<Nothing>().is_some());
        let future = ran(|| Err::<(), _>(Nothing)).flatten();
        assert!(future.exception().is_some());
    });
}

#[test]
fn f042_whatever_a_task_throws_is_its_error_and_its_thread_lives_on() {
    guarded(|| {
        struct Odd;
        type Throw = fn() -> u8;
        let throws: [(Throw, &str); 6] = [
            (|| panic!("plain"), "plain"),
            (|| panic!("formatted {}", 1), "formatted 1"),
            (|| panic_any(7_u64), "(a value that is not text)"),
            (|| panic_any(Odd), "(a value that is not text)"),
            (|| resume_unwind(Box::new("resumed")), "resumed"),
            (|| "x".parse().ok().unwrap(), "called `Option::unwrap()` on a `None` value"),
        ];
        for (throw, message) in throws {
            let future = ran(throw);
            assert_eq!(future.state(), State::Finished);
            let TaskError::Panicked(panic) = future.result().unwrap_err() else {
                panic!("not a panic");
            };
            assert_eq!(panic.message(), message);
        }
        // The same thread, afterwards.
        assert_eq!(ran(|| 1).result().unwrap(), 1);
    });
}

#[test]
fn f042_a_panic_is_thrown_again_only_on_request_with_its_payload() {
    guarded(|| {
        let TaskError::Panicked(panic) =
            ran(|| -> u8 { panic_any(vec![1, 2]) }).result().unwrap_err()
        else {
            panic!("not a panic");
        };
        let again = panic.clone();
        let payload = thread::spawn(move || panic.resume()).join().unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&vec![1, 2]));
        // A payload cannot be cloned; who comes second gets the text.
        let payload = thread::spawn(move || again.resume()).join().unwrap_err();
        assert_eq!(text_of(&*payload), "(a value that is not text)");
    });
}

#[test]
fn f042_a_payload_whose_destructor_panics_is_survived() {
    // Of the next drops, so many panic.
    static FUSE: AtomicUsize = AtomicUsize::new(0);
    // Without a size: one that panics for ever is leaked in the end, which then is no leak.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            let burn = |left: usize| left.checked_sub(1);
            if FUSE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, burn).is_ok() {
                panic_any(Self);
            }
        }
    }
    guarded(|| {
        for fuse in [0, 1, 2, 100] {
            FUSE.store(fuse, Ordering::SeqCst);
            let future = ran(|| -> u8 { panic_any(Bomb) });
            let error = future.result().unwrap_err();
            assert!(error.is_panic());
            // Here the payload goes, and its destructor throws, whose payload throws, and so on.
            drop(error);
            FUSE.store(0, Ordering::SeqCst);
        }
    });
}

#[test]
fn a_dropped_promise_fails_its_future() {
    guarded(|| {
        for running in [false, true] {
            let (promise, future) = promise::<u8>();
            if running {
                promise.set_running_or_notify_cancel().unwrap();
            }
            let reader = thread::spawn(move || future.result());
            drop(promise);
            assert!(matches!(reader.join().unwrap(), Err(TaskError::Abandoned)));
        }
        // One that was cancelled stays that.
        let (promise, future) = promise::<u8>();
        future.cancel();
        drop(promise);
        assert!(future.result().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_promise_dropped_by_a_panic_fails_its_future() {
    guarded(|| {
        let (promise, future) = promise::<u8>();
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        // The callback runs while the thread unwinds, and may panic itself without aborting the process.
        future.add_done_callback(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            panic!("during another panic");
        });
        let producer = thread::spawn(move || {
            let _promise = promise;
            panic!("before the promise was kept");
        });
        let payload = producer.join().unwrap_err();
        assert_eq!(text_of(&*payload), "before the promise was kept");
        assert!(matches!(future.result(), Err(TaskError::Abandoned)));
        assert_eq!(called.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn p03_exactly_one_of_cancel_and_completion_wins() {
    guarded(|| {
        for round in 0..200 {
            let (promise, future) = promise();
            let (kept, cancelled) = thread::scope(|scope| {
                let producer = scope.spawn(|| promise.set_result(round).is_ok());
                (producer.join_after(|| future.cancel()), future.cancelled())
            });
            let (kept, won) = kept;
            assert!(kept != won, "kept: {kept}, cancelled: {won}");
            assert_eq!(cancelled, won);
            assert_eq!(future.result().ok(), kept.then_some(round));
        }
    });
}

/// To do something of one's own before joining.
trait JoinAfter<T> {
    fn join_after<R>(self, f: impl FnOnce() -> R) -> (T, R);
}

impl<T> JoinAfter<T> for thread::ScopedJoinHandle<'_, T> {
    fn join_after<R>(self, f: impl FnOnce() -> R) -> (T, R) {
        let own = f();
        (self.join().unwrap(), own)
    }
}

#[test]
fn p03_exactly_one_of_many_runners_and_cancellers_wins() {
    guarded(|| {
        for _ in 0..100 {
            let drops = Drops::new();
            let captured = drops.value();
            let runs = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&runs);
            let (task, future) = PackagedTask::new(Call(move || {
                let _captured = captured;
                count.fetch_add(1, Ordering::SeqCst)
            }));
            let future = future.share();
            let (ran, cancelled) = thread::scope(|scope| {
                let runners = [(); 2].map(|()| scope.spawn(|| task.run() == Ran::Succeeded));
                let cancellers = [(); 2].map(|()| scope.spawn(|| future.cancel()));
                let ran = runners.map(|it| it.join().unwrap()).into_iter().filter(|it| *it).count();
                (ran, cancellers.map(|it| it.join().unwrap()))
            });
            // One ran it and no cancel succeeded, or nobody ran it and every cancel says so.
            assert_eq!(runs.load(Ordering::SeqCst), ran);
            assert_eq!(cancelled, [ran == 0; 2]);
            assert_eq!(future.result().is_ok(), ran == 1);
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn a_task_runs_once_and_ends_once() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| 1));
        assert_eq!((task.state(), task.id()), (State::Pending, future.id()));
        assert_eq!(task.run(), Ran::Succeeded);
        assert_eq!(task.run(), Ran::Not);
        assert!(!task.start() && !task.cancel());
        task.fail(TaskError::Abandoned);
        task.complete(Ok(2));
        assert!(task.take_work().is_none());
        assert_eq!(future.result().unwrap(), 1);
        assert_eq!(format!("{task:?}"), "PackagedTask { state: Finished, .. }");
    });
}

#[test]
fn a_task_that_is_started_here_and_completed_elsewhere() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| 1));
        // Not before it is started.
        task.complete(Ok(5));
        assert_eq!(future.state(), State::Pending);
        assert!(task.start() && !task.start());
        assert!(!future.cancel());
        task.complete(Ok(6));
        task.complete(Ok(7));
        assert_eq!(future.result().unwrap(), 6);
    });
}

/// For threads that are not to run callbacks.
#[test]
fn a_task_that_is_completed_unless_somebody_waits() {
    guarded(|| {
        let drops = Drops::new();
        let (task, future) = PackagedTask::new(Call(|| unreachable!("it is done elsewhere")));
        assert!(task.start());
        assert!(task.complete_unwatched(drops.value()).is_ok());
        // Not twice.
        assert!(task.complete_unwatched(drops.value()).is_ok());
        assert_eq!(drops.count(), 1);
        drop(future.result().unwrap());
        assert_eq!(drops.count(), 2);

        let (task, future) = PackagedTask::new(Call(|| 1));
        assert!(task.start());
        let (sender, seen) = mpsc::channel();
        future.add_done_callback(move |_| sender.send(thread::current().id()).unwrap());
        let value = thread::scope(|scope| scope.spawn(|| task.complete_unwatched(5)).join());
        assert_eq!(value.unwrap(), Err(5));
        assert!(future.running());
        task.complete(Ok(5));
        assert_eq!(seen.recv().unwrap(), thread::current().id());
        assert_eq!(future.result().unwrap(), 5);
    });
}

#[test]
fn a_task_is_completed_by_one_of_those_who_try() {
    guarded(|| {
        for _ in 0..200 {
            let drops = Drops::new();
            let captured = drops.value();
            let (task, future) = PackagedTask::new(Call(move || {
                drop(captured);
                0
            }));
            thread::scope(|scope| {
                // These may come too early, and are without effect then.
                let others = [1, 2].map(|n| {
                    scope.spawn({
                        let task = &task;
                        move || task.complete(Ok(n))
                    })
                });
                assert!(task.start());
                task.complete(Ok(3));
                for other in others {
                    other.join().unwrap();
                }
            });
            assert!((1..=3).contains(&future.try_result().unwrap().unwrap()));
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn a_task_that_fails_drops_its_work_first() {
    guarded(|| {
        let drops = Drops::new();
        let captured = drops.value();
        let (task, future) = PackagedTask::new(Call(move || drop(captured)));
        let (sender, seen) = mpsc::channel();
        let counted = drops.clone();
        future.add_done_callback(move |_| sender.send(counted.count()).unwrap());
        task.fail(TaskError::Broken(BrokenExecutor::new("gone")));
        task.fail(TaskError::Abandoned);
        let error = future.result().unwrap_err();
        assert!(matches!(error, TaskError::Broken(_)), "{error}");
        assert_eq!((seen.recv().unwrap(), drops.count()), (1, 1));
    });
}

#[test]
fn a_task_that_was_started_or_cancelled_does_not_fail() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| 1));
        assert!(task.start());
        task.fail(TaskError::Abandoned);
        assert!(future.running());
        task.complete(Ok(2));
        assert_eq!(future.result().unwrap(), 2);

        let (task, future) = PackagedTask::new(Call(|| 1));
        assert!(task.cancel());
        task.fail(TaskError::Abandoned);
        assert!(future.result().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_task_completed_elsewhere_drops_its_work_first() {
    guarded(|| {
        let drops = Drops::new();
        let captured = drops.value();
        let (task, future) = PackagedTask::new(Call(move || drop(captured)));
        let (sender, seen) = mpsc::channel();
        let counted = drops.clone();
        future.add_done_callback(move |_| sender.send(counted.count()).unwrap());
        assert!(task.start());
        assert_eq!(drops.count(), 0);
        task.complete(Ok(()));
        assert_eq!((seen.recv().unwrap(), drops.count()), (1, 1));
        future.result().unwrap();
    });
}

#[test]
fn work_that_is_taken_back_cancels_its_future() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| 3));
        thread::scope(|scope| {
            let reader = asleep(scope, || future.result());
            let work = task.take_work().expect("it has not started");
            assert_eq!((work.0)(), 3);
            assert!(reader.join().unwrap().unwrap_err().is_cancelled());
        });
        assert!(task.take_work().is_none());
        assert_eq!(task.run(), Ran::Not);

        let (task, future) = PackagedTask::new(Call(|| 4));
        assert_eq!(task.run(), Ran::Succeeded);
        assert!(task.take_work().is_none());
        assert_eq!(future.result().unwrap(), 4);
    });
}

#[test]
fn work_can_be_looked_at_until_it_starts() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| 3));
        assert_eq!(task.inspect(|work| (work.0)()), Some(3));
        assert_eq!(future.state(), State::Pending);
        // A panic of whoever looks does not lose it, nor lock it.
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            task.inspect(|_| panic!("while encoding"));
        }));
        assert!(looked.is_err());
        assert_eq!(task.run(), Ran::Succeeded);
        assert!(task.inspect(|_| ()).is_none());
        assert_eq!(future.result().unwrap(), 3);
    });
}

#[test]
fn whoever_starts_or_cancels_waits_while_the_work_is_looked_at() {
    guarded(|| {
        for cancel in [false, true] {
            let drops = Drops::new();
            let captured = drops.value();
            let (task, future) = PackagedTask::new(Call(move || drop(captured)));
            thread::scope(|scope| {
                let other = task.inspect(|_| {
                    let other = scope.spawn(|| {
                        if cancel { future.cancel() } else { task.run() == Ran::Succeeded }
                    });
                    // Not a proof that it waits, only a chance to find that it does not.
                    thread::yield_now();
                    assert_eq!((future.state(), drops.count()), (State::Pending, 0));
                    other
                });
                assert!(other.unwrap().join().unwrap());
            });
            assert_eq!((future.cancelled(), drops.count()), (cancel, 1));
        }
    });
}

#[test]
fn an_error_can_be_read_by_anybody_who_holds_a_clone() {
    guarded(|| {
        let future = ran(|| -> u8 { panic!("for everybody") });
        let errors = [future.exception().unwrap(), future.exception().unwrap()];
        let last = future.result().unwrap_err();
        for error in errors.iter().chain([&last]) {
            assert!(error.to_string().ends_with("for everybody"), "{error}");
        }
        let any: Box<dyn Any + Send + Sync> = Box::new(last);
        assert!(any.is::<TaskError>());
    });
}
