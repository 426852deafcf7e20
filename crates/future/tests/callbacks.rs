//! Section D of Python's behaviours: done-callbacks, and the order in which everyone is told.

mod common;

use std::{
    panic::panic_any,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, ThreadId},
    time::Duration,
};

use common::{
    Call, Oops, ample, asleep,
    events::{self, Recorded},
    guarded,
    wakers::{Woken, poll},
};
use concurrent_futures_future::{
    CompletionSet, PackagedTask, Progress, Ran, ReturnWhen, TaskError, promise, wait,
};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    /// A callback that notes.
    fn noting<T: ?Sized>(&self, what: &'static str) -> impl FnOnce(&T) + Send + 'static {
        let log = self.clone();
        move |_| log.note(what)
    }

    fn read(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn f040_result_returns_while_callbacks_are_still_running() {
    guarded(|| {
        let (promise, future) = promise();
        let (may_end, wait_for_it) = mpsc::channel::<()>();
        let (inside, is_inside) = mpsc::channel();
        future.add_done_callback(move |_| {
            inside.send(()).unwrap();
            wait_for_it.recv().unwrap();
        });
        thread::scope(|scope| {
            let reader = asleep(scope, || future.result());
            let producer = scope.spawn(|| promise.set_result(1));
            is_inside.recv().unwrap();
            // The callback cannot end before this has returned.
            assert_eq!(reader.join().unwrap().unwrap(), 1);
            may_end.send(()).unwrap();
            producer.join().unwrap().unwrap();
        });
    });
}

#[test]
fn f040_everyone_is_told_before_the_first_callback() {
    guarded(|| {
        for cancel in [false, true] {
            let (promise, future) = promise::<u8>();
            let future = future.share();
            let progress = Progress::new();
            let (woken, waker) = Woken::new();
            let (seen, what_was_seen) = mpsc::channel();
            // The callback comes first in the list, and last in being told.
            let (counts, count) = (progress.clone(), Arc::clone(&woken));
            let (gate, at_the_gate) = mpsc::channel::<()>();
            future.add_done_callback(move |future| {
                let ended = counts.snapshot().done();
                seen.send((future.done(), ended, count.count())).unwrap();
                at_the_gate.recv().unwrap();
            });
            progress.watch(&future);
            let mut awaited = future.clone();
            assert!(poll(&mut awaited, &waker).is_pending());
            let mut set: CompletionSet<_> = [&future].into_iter().collect();
            thread::scope(|scope| {
                let result = asleep(scope, || future.result().is_ok());
                let all = asleep(scope, || wait([&future], ReturnWhen::AllCompleted).done.len());
                let first =
                    asleep(scope, || wait([&future], ReturnWhen::FirstCompleted).done.len());
                let failed =
                    asleep(scope, || wait([&future], ReturnWhen::FirstException).done.len());
                let next = asleep(scope, || set.next().is_some());
                scope.spawn(|| {
                    if cancel { assert!(future.cancel()) } else { promise.set_result(1).unwrap() }
                });
                // All of them end although the callback does not.
                assert_eq!(result.join().unwrap(), !cancel);
                assert_eq!([all, first, failed].map(|it| it.join().unwrap()), [1, 1, 1]);
                assert!(next.join().unwrap());
                gate.send(()).unwrap();
            });
            assert_eq!(what_was_seen.recv().unwrap(), (true, 1, 1));
        }
    });
}

#[test]
fn f043_callbacks_run_in_order_once_each() {
    guarded(|| {
        for cancel in [false, true] {
            let (promise, future) = promise::<u8>();
            let log = Log::default();
            for name in ["first", "second", "third", "second"] {
                future.add_done_callback(log.noting(name));
            }
            assert!(log.read().is_empty());
            if cancel {
                assert!(future.cancel())
            } else {
                promise.set_result(1).unwrap()
            }
            assert_eq!(log.read(), ["first", "second", "third", "second"]);
        }
    });
}

#[test]
fn f043_callbacks_keep_their_order_when_other_waiters_leave_the_list() {
    guarded(|| {
        let (promise, future) = promise::<u8>();
        let future = future.share();
        let log = Log::default();
        let waiters = ["first", "second", "third"].map(|name| {
            let mut awaited = future.clone();
            let (_, waker) = Woken::new();
            assert!(poll(&mut awaited, &waker).is_pending());
            future.add_done_callback(log.noting(name));
            awaited
        });
        // From the front, then the back, then the middle.
        let [first, second, third] = waiters;
        drop((first, third, second));
        promise.set_result(1).unwrap();
        assert_eq!(log.read(), ["first", "second", "third"]);
    });
}

#[test]
fn f043_a_callback_is_told_how_its_future_ended() {
    guarded(|| {
        let (sender, told) = mpsc::channel();
        let tell = |sender: &mpsc::Sender<_>| {
            let sender = sender.clone();
            move |completed: &concurrent_futures_future::Completed| {
                let error = completed.exception().map(|error| error.to_string());
                sender.send((completed.id(), completed.cancelled(), error)).unwrap();
            }
        };
        let (kept, future) = promise();
        future.add_done_callback(tell(&sender));
        kept.set_result(1).unwrap();
        assert_eq!(told.recv().unwrap(), (future.id(), false, None));

        let (kept, future) = promise::<u8>();
        future.add_done_callback(tell(&sender));
        kept.set_exception(TaskError::failed(Oops(1))).unwrap();
        let text = "oops 1".to_owned();
        assert_eq!(told.recv().unwrap(), (future.id(), false, Some(text)));

        let (_promise, future) = promise::<u8>();
        future.add_done_callback(tell(&sender));
        future.cancel();
        let text = "the task was cancelled before it started".to_owned();
        assert_eq!(told.recv().unwrap(), (future.id(), true, Some(text)));
    });
}

#[test]
fn f043_the_three_forms_of_callback() {
    guarded(|| {
        let (sender, told) = mpsc::channel();
        let (kept, future) = promise();
        let to = sender.clone();
        future.add_done_callback(move |completed| {
            to.send(format!("{completed:?}").replace(&completed.id().to_string(), "#")).unwrap();
        });
        // This one gets the value for itself, whoever asked before.
        future.on_done(move |outcome| sender.send(outcome.unwrap()).unwrap());
        kept.set_result("value".to_owned()).unwrap();
        assert_eq!(told.recv().unwrap(), "Completed(#, finished, returned alloc::string::String)");
        assert_eq!(told.recv().unwrap(), "value");

        // This one reads it beside others.
        let (kept, future) = promise::<String>();
        let future = future.share();
        let (sender, told) = mpsc::channel();
        future.add_done_callback(move |future| {
            sender.send(future.result().unwrap().clone()).unwrap();
        });
        kept.set_result("shared".to_owned()).unwrap();
        assert_eq!(
            (told.recv().unwrap().as_str(), future.result().unwrap().as_str()),
            ("shared", "shared")
        );
    });
}

#[test]
fn f044_on_a_future_that_has_ended_it_runs_at_once_here() {
    guarded(|| {
        let (sender, told) = mpsc::channel();
        let (kept, finished) = promise();
        kept.set_result(1).unwrap();
        let (_promise, cancelled) = promise::<u8>();
        cancelled.cancel();
        for future in [finished, cancelled] {
            let to = sender.clone();
            future.add_done_callback(move |_| to.send(thread::current().id()).unwrap());
            assert_eq!(told.try_recv().unwrap(), thread::current().id());
            let shared = future.share();
            let to = sender.clone();
            shared.add_done_callback(move |_| to.send(thread::current().id()).unwrap());
            assert_eq!(told.try_recv().unwrap(), thread::current().id());
            let to = sender.clone();
            let future = shared.unshare().expect("nobody else holds it");
            future.on_done(move |_| to.send(thread::current().id()).unwrap());
            assert_eq!(told.try_recv().unwrap(), thread::current().id());
        }
    });
}

#[test]
fn f045_it_runs_in_the_thread_that_ends_the_future() {
    guarded(|| {
        fn where_it_runs(
            end: impl FnOnce(concurrent_futures_future::Promise<u8>) + Send,
        ) -> (ThreadId, ThreadId) {
            let (promise, future) = promise();
            let (sender, told) = mpsc::channel();
            future.add_done_callback(move |_| sender.send(thread::current().id()).unwrap());
            thread::scope(|scope| {
                let ender = scope.spawn(move || {
                    end(promise);
                    thread::current().id()
                });
                (told.recv().unwrap(), ender.join().unwrap())
            })
        }
        let (ran_in, ended_in) = where_it_runs(|promise| promise.set_result(1).unwrap());
        assert_eq!(ran_in, ended_in);
        let (ran_in, ended_in) = where_it_runs(drop);
        assert_eq!(ran_in, ended_in);

        // A task: in whatever thread runs it. A cancellation: in the cancelling thread.
        let (task, future) = PackagedTask::new(Call(|| thread::current().id()));
        let (sender, told) = mpsc::channel();
        future.add_done_callback(move |_| sender.send(thread::current().id()).unwrap());
        thread::scope(|scope| {
            let worker = scope.spawn(|| assert_eq!(task.run(), Ran::Succeeded)).thread().id();
            assert_eq!((told.recv().unwrap(), future.result().unwrap()), (worker, worker));
        });

        let (_promise, future) = promise::<u8>();
        let (sender, told) = mpsc::channel();
        future.add_done_callback(move |_| sender.send(thread::current().id()).unwrap());
        thread::scope(|scope| {
            let canceller = scope.spawn(|| assert!(future.cancel())).thread().id();
            assert_eq!(told.recv().unwrap(), canceller);
        });
    });
}

#[test]
fn f046_p07_a_panic_in_a_callback_is_reported_and_the_next_one_runs() {
    guarded(|| {
        events::record();
        for cancel in [false, true] {
            let (promise, future) = promise::<u8>();
            let log = Log::default();
            future.add_done_callback(log.noting("before"));
            future.add_done_callback(|_| panic!("in the callback"));
            future.add_done_callback(log.noting("between"));
            future.add_done_callback(|_| panic_any(1));
            future.add_done_callback(log.noting("after"));
            if cancel {
                assert!(future.cancel())
            } else {
                promise.set_result(1).unwrap()
            }
            assert_eq!(log.read(), ["before", "between", "after"]);
            let panics = ["in the callback", "(a value that is not text)"];
            let panics = panics.map(|text| Recorded::CallbackPanicked(text.to_owned()));
            assert_eq!(events::of(future.id()), panics);
            // The outcome is what it was.
            assert_eq!(future.result().ok(), (!cancel).then_some(1));
        }
    });
}

#[test]
fn f046_p07_also_when_it_runs_at_once() {
    guarded(|| {
        events::record();
        let (promise, future) = promise();
        promise.set_result(1).unwrap();
        future.add_done_callback(|_| panic!("at once"));
        let id = future.id();
        future.on_done(|_| panic!("with the value"));
        let panics = ["at once", "with the value"];
        let panics = panics.map(|text| Recorded::CallbackPanicked(text.to_owned()));
        assert_eq!(events::of(id), panics);
    });
}

#[test]
fn f047_p07_nothing_that_a_callback_throws_leaves_the_completion() {
    guarded(|| {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a payload's destructor");
            }
        }
        let (promise, future) = promise();
        let log = Log::default();
        future.add_done_callback(|_| panic_any(Bomb));
        let captured = Bomb;
        future.add_done_callback(move |_| drop(captured));
        future.add_done_callback(log.noting("after"));
        promise.set_result(1).unwrap();
        assert_eq!(log.read(), ["after"]);
        assert_eq!(future.result().unwrap(), 1);
    });
}

#[test]
fn f048_a_callback_that_adds_one_runs_it_at_once_ahead_of_the_others() {
    guarded(|| {
        let (promise, future) = promise();
        let future = future.share();
        let log = Log::default();
        let inner = log.clone();
        future.add_done_callback(move |future| {
            inner.note("outer begins");
            future.add_done_callback(inner.noting("inner"));
            inner.note("outer ends");
        });
        future.add_done_callback(log.noting("last"));
        promise.set_result(1).unwrap();
        assert_eq!(log.read(), ["outer begins", "inner", "outer ends", "last"]);
    });
}

#[test]
fn f049_a_callback_and_what_it_captured_are_gone_once_it_has_run() {
    guarded(|| {
        let alive = Arc::new(());
        for cancel in [false, true] {
            let (promise, future) = promise::<u8>();
            let captured = Arc::clone(&alive);
            future.add_done_callback(move |_| drop(captured));
            let captured = Arc::clone(&alive);
            let future = future.share();
            future.add_done_callback(move |_| assert_eq!(*captured, ()));
            assert_eq!(Arc::strong_count(&alive), 3);
            if cancel {
                assert!(future.cancel())
            } else {
                promise.set_result(1).unwrap()
            }
            // The future is still held.
            assert_eq!(Arc::strong_count(&alive), 1);
            assert!(future.unshare().is_ok(), "the callback held a clone of the handle");
        }
    });
}

#[test]
fn f050_p06_a_slow_callback_holds_up_no_other_future() {
    guarded(|| {
        let (slow, one) = promise();
        let (quick, two) = promise();
        let (may_end, wait_for_it) = mpsc::channel::<()>();
        one.add_done_callback(move |_| wait_for_it.recv().unwrap());
        thread::scope(|scope| {
            let producer = scope.spawn(|| slow.set_result(1));
            quick.set_result(2).unwrap();
            // Both are there although the callback has not ended.
            let results = wait([&one, &two], ReturnWhen::AllCompleted).done.len();
            assert_eq!((results, one.result().unwrap(), two.result().unwrap()), (2, 1, 2));
            may_end.send(()).unwrap();
            producer.join().unwrap().unwrap();
        });
    });
}

#[test]
fn f050_p06_a_callback_may_wait_for_other_futures() {
    guarded(|| {
        let (first, one) = promise();
        let (second, two) = promise::<u8>();
        let (sender, told) = mpsc::channel();
        one.add_done_callback(move |_| sender.send(two.result_timeout(ample()).unwrap()).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| first.set_result(1).unwrap());
            one.wait();
            second.set_result(2).unwrap();
            assert_eq!(told.recv().unwrap().unwrap(), 2);
        });
    });
}

#[test]
fn a_callback_that_drops_the_last_handle_of_its_own_future() {
    guarded(|| {
        let (promise, future) = promise();
        let holder = Arc::new(Mutex::new(None));
        let inside = Arc::clone(&holder);
        let ran = Arc::new(AtomicBool::new(false));
        let after = Arc::clone(&ran);
        future.add_done_callback(move |_| drop(inside.lock().unwrap().take()));
        future.add_done_callback(move |completed| {
            assert!(completed.exception().is_none());
            after.store(true, Ordering::SeqCst);
        });
        *holder.lock().unwrap() = Some(future);
        promise.set_result(vec![1]).unwrap();
        assert!(ran.load(Ordering::SeqCst) && holder.lock().unwrap().is_none());
    });
}

#[test]
fn a_callback_added_while_the_future_ends_runs_exactly_once() {
    guarded(|| {
        for round in 0..300 {
            let (promise, future) = promise();
            let calls = Arc::new(Mutex::new(0));
            thread::scope(|scope| {
                let producer = scope.spawn(|| promise.set_result(round).unwrap());
                for _ in 0..3 {
                    let calls = Arc::clone(&calls);
                    future.add_done_callback(move |_| *calls.lock().unwrap() += 1);
                }
                producer.join().unwrap();
            });
            assert_eq!(*calls.lock().unwrap(), 3);
            assert_eq!(future.result_timeout(Duration::ZERO).unwrap().unwrap(), round);
        }
    });
}
