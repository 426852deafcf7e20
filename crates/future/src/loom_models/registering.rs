//! Somebody registers while the future ends: told, or turned away because it is too late, and never neither.

use std::sync::Arc;

use super::{Call, Count, model, poll, unpark, waiters};
use crate::{
    CompletionSet, PackagedTask, Progress, ReturnWhen,
    progress::{Observer, Outcome},
    promise,
    sync::thread,
    wait,
};

/// A callback runs exactly once: by whoever ends the future, or at once by whoever adds it.
#[test]
fn loom_add_done_callback_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let calls = Count::default();
        let counted = calls.clone();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        future.add_done_callback(move |_| counted.up());
        producer.join().unwrap();
        assert_eq!(calls.get(), 1);
        assert_eq!(waiters(&future), 0);
    });
}

/// The same when the future is ended by a thread that is not to run callbacks: it runs none, and either it ends the future, or
/// another thread does.
#[test]
fn loom_add_done_callback_vs_end_by_one_who_runs_none() {
    model(|| {
        let (task, future) = PackagedTask::new(Call(|| 7));
        assert!(task.start());
        let calls = Count::default();
        let other = thread::spawn({
            let (task, calls) = (Arc::clone(&task), calls.clone());
            move || {
                let left = task.complete_unwatched(7);
                // A callback that ran until now ran in the other thread, which adds it to a future that has ended.
                assert!(left.is_ok() || calls.get() == 0);
                left
            }
        });
        let (counted, here) = (calls.clone(), thread::current().id());
        future.add_done_callback(move |_| {
            assert_eq!(thread::current().id(), here);
            counted.up();
        });
        if let Err(value) = other.join().unwrap() {
            assert_eq!(calls.get(), 0);
            task.complete(Ok(value));
        }
        assert_eq!(calls.get(), 1);
        assert_eq!(future.result().unwrap(), 7);
    });
}

/// The same when another waiter has announced itself before, so that the list is looked into in any case.
#[test]
fn loom_second_callback_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let calls = Count::default();
        let counted = calls.clone();
        future.add_done_callback(move |_| counted.up());
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let counted = calls.clone();
        future.add_done_callback(move |_| counted.up());
        producer.join().unwrap();
        assert_eq!(calls.get(), 2);
        assert_eq!(waiters(&future), 0);
    });
}

/// Two callbacks from two threads while a third one ends the future.
#[test]
fn loom_two_callbacks_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let future = future.share();
        let calls = Count::default();
        let adder = thread::spawn({
            let (future, counted) = (future.clone(), calls.clone());
            move || future.add_done_callback(move |_| counted.up())
        });
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let counted = calls.clone();
        future.add_done_callback(move |_| counted.up());
        adder.join().unwrap();
        producer.join().unwrap();
        assert_eq!(calls.get(), 2);
    });
}

/// A callback while the future is cancelled.
#[test]
fn loom_add_done_callback_vs_cancel() {
    model(|| {
        let (_promise, future) = promise::<u8>();
        let future = future.share();
        let calls = Count::default();
        let counted = calls.clone();
        let canceller = thread::spawn({
            let future = future.clone();
            move || assert!(future.cancel())
        });
        future.add_done_callback(move |_| counted.up());
        canceller.join().unwrap();
        assert_eq!(calls.get(), 1);
    });
}

/// `on_done` moves the outcome into the callback, whoever runs it.
#[test]
fn loom_on_done_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let drops = Count::default();
        let value = drops.on_drop();
        let producer = thread::spawn(move || promise.set_result(value).unwrap());
        let calls = Count::default();
        let counted = calls.clone();
        future.on_done(move |outcome| {
            drop(outcome.unwrap());
            counted.up();
        });
        producer.join().unwrap();
        assert_eq!((calls.get(), drops.get()), (1, 1));
    });
}

/// A task that polled is woken exactly once, or has seen the outcome.
#[test]
fn loom_poll_vs_end() {
    model(|| {
        let (promise, mut future) = promise();
        let wakes = Count::default();
        let waker = wakes.waker();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let pending = poll(&mut future, &waker).is_pending();
        producer.join().unwrap();
        assert_eq!(wakes.get(), usize::from(pending));
        if pending {
            assert!(poll(&mut future, &waker).is_ready());
        }
    });
}

/// The task polls again with another waker while the future ends: if it is told to wait, the waker of that poll is
/// woken, and not only the first.
#[test]
fn loom_poll_with_another_waker_vs_end() {
    model(|| {
        let (promise, mut future) = promise();
        let (first, second) = (Count::default(), Count::default());
        assert!(poll(&mut future, &first.waker()).is_pending());
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let pending = poll(&mut future, &second.waker()).is_pending();
        producer.join().unwrap();
        if pending {
            assert_eq!((first.get(), second.get()), (0, 1));
            assert!(poll(&mut future, &second.waker()).is_ready());
        } else {
            assert_eq!(second.get(), 0);
        }
    });
}

/// Polling while it ends, with a waker that is the same: the entry is there, or the outcome is.
#[test]
fn loom_poll_again_vs_end() {
    model(|| {
        let (promise, mut future) = promise();
        let wakes = Count::default();
        let waker = wakes.waker();
        assert!(poll(&mut future, &waker).is_pending());
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let pending = poll(&mut future, &waker).is_pending();
        producer.join().unwrap();
        assert!(!pending || wakes.get() == 1);
    });
}

/// A pending future is dropped while it ends: its waker is woken or let go of, and the value is dropped once.
#[test]
fn loom_drop_of_a_polled_future_vs_end() {
    model(|| {
        let (promise, mut future) = promise();
        let (wakes, drops) = (Count::default(), Count::default());
        let value = drops.on_drop();
        assert!(poll(&mut future, &wakes.waker()).is_pending());
        let producer = thread::spawn(move || promise.set_result(value).unwrap());
        drop(future);
        producer.join().unwrap();
        assert!(wakes.get() <= 1);
        assert_eq!(drops.get(), 1);
    });
}

/// The countdown of `wait` reaches zero only when its future has ended, and always then.
#[test]
fn loom_countdown_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        assert_eq!(wait([&future], ReturnWhen::AllCompleted).done.len(), 1);
        producer.join().unwrap();
    });
}

/// The set's queue gets the token exactly once: from the end, or from the registration that came too late.
#[test]
fn loom_completion_set_insert_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let mut set = CompletionSet::new();
        set.insert(future);
        assert_eq!(set.next().unwrap().result().unwrap(), 7);
        assert!(set.next().is_none());
        producer.join().unwrap();
    });
}

/// A consumer that polls the set while the future ends is woken, or is given the future.
#[test]
fn loom_completion_set_poll_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let mut set = CompletionSet::from_iter([future]);
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let waker = unpark();
        let mut cx = std::task::Context::from_waker(&waker);
        let future = loop {
            match set.poll_next(&mut cx) {
                std::task::Poll::Ready(future) => break future.unwrap(),
                std::task::Poll::Pending => thread::park(),
            }
        };
        assert_eq!(future.result().unwrap(), 7);
        producer.join().unwrap();
    });
}

/// A set is dropped while one of its futures ends.
#[test]
fn loom_completion_set_drop_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let drops = Count::default();
        let value = drops.on_drop();
        let set = CompletionSet::from_iter([future]);
        let producer = thread::spawn(move || promise.set_result(value).unwrap());
        drop(set);
        producer.join().unwrap();
        assert_eq!(drops.get(), 1);
    });
}

/// Starting, ending and watching at once: every future is counted once at each step.
#[test]
fn loom_progress_vs_start_and_end() {
    model(|| {
        let (promise, future) = promise();
        let progress = Progress::new();
        let executor = thread::spawn(move || {
            assert!(promise.set_running_or_notify_cancel().unwrap());
            promise.set_result(7).unwrap();
        });
        progress.watch(&future);
        executor.join().unwrap();
        let counts = progress.snapshot();
        assert_eq!((counts.started, counts.succeeded, counts.done()), (1, 1, 1));
    });
}

/// Whoever sees that a future has finished, without waiting for it, finds it counted.
#[test]
fn loom_done_vs_progress() {
    model(|| {
        let (promise, future) = promise();
        let progress = Progress::new();
        progress.watch(&future);
        let executor = thread::spawn(move || promise.set_result(7).unwrap());
        if future.done() {
            assert_eq!(progress.snapshot().succeeded, 1);
        }
        executor.join().unwrap();
        assert_eq!(progress.snapshot().succeeded, 1);
    });
}

/// The same with a cancellation.
#[test]
fn loom_progress_vs_cancel_and_start() {
    model(|| {
        let (promise, future) = promise();
        let progress = Progress::new();
        progress.watch(&future);
        let executor = thread::spawn(move || promise.set_result(7).is_ok());
        let cancelled = u64::from(future.cancel());
        assert_eq!(executor.join().unwrap(), cancelled == 0);
        let counts = progress.snapshot();
        assert_eq!((counts.succeeded, counts.cancelled), (1 - cancelled, cancelled));
        assert_eq!((counts.started, counts.done()), (1 - cancelled, 1));
    });
}

struct Watching {
    started: Count,
    ended: Count,
}

impl Observer for Watching {
    fn started(&self) {
        self.started.up();
    }

    fn ended(&self, _: Outcome) {
        self.ended.up();
    }
}

/// An observer is told of the end once, and of the start unless the end came first.
#[test]
fn loom_observer_vs_start_and_end() {
    model(|| {
        let (promise, future) = promise();
        let (started, ended) = (Count::default(), Count::default());
        let watching = Watching { started: started.clone(), ended: ended.clone() };
        let observer: Arc<dyn Observer> = Arc::new(watching);
        let executor = thread::spawn(move || {
            assert!(promise.set_running_or_notify_cancel().unwrap());
            // Still running when the observer has been registered, if that was early enough.
            promise
        });
        crate::any::Sealed::cell(&future).observe(&observer);
        let promise = executor.join().unwrap();
        assert!(started.get() >= 1, "it started before, and has not ended");
        promise.set_result(7).unwrap();
        assert_eq!(ended.get(), 1);
    });
}
