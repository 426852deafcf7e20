//! Somebody waits for the result while somebody else completes the future.

use std::sync::Arc;

use super::{Call, Count, Oops, block_on, model};
use crate::{PackagedTask, TaskError, promise, sync::thread};

/// The reader may look before the value is stored, register before or after the end, and sleep or not; the value it
/// finds must be the one that was stored, all of it.
#[test]
fn loom_result_vs_set_result() {
    model(|| {
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        assert_eq!(future.result().unwrap(), 7);
        producer.join().unwrap();
    });
}

/// The same for an error, which lies elsewhere.
#[test]
fn loom_result_vs_set_exception() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let producer = thread::spawn(move || {
            promise.set_exception(TaskError::failed(Oops)).unwrap();
        });
        assert!(future.result().unwrap_err().downcast_ref::<Oops>().is_some());
        producer.join().unwrap();
    });
}

/// Whoever returns from a wait finds that the future has ended, by any method: the wake-up carries the state with it.
#[test]
fn loom_wait_then_done() {
    model(|| {
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        future.wait();
        assert!(future.done());
        assert!(future.exception().is_none());
        assert_eq!(future.try_result().unwrap().unwrap(), 7);
        producer.join().unwrap();
    });
}

/// Polling `done` and then reading, without any waiter: the state word alone publishes the value.
#[test]
fn loom_try_result_vs_set_result() {
    model(|| {
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        let outcome = future.try_result();
        producer.join().unwrap();
        match outcome {
            Ok(outcome) => assert_eq!(outcome.unwrap(), 7),
            Err(future) => assert_eq!(future.try_result().unwrap().unwrap(), 7),
        }
    });
}

/// A promise that is dropped ends its future while a reader goes to sleep.
#[test]
fn loom_result_vs_dropped_promise() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let producer = thread::spawn(move || drop(promise));
        assert!(matches!(future.result(), Err(TaskError::Abandoned)));
        producer.join().unwrap();
    });
}

/// A reader sleeps while the future is cancelled; there is no second stage in which it could be missed.
#[test]
fn loom_result_vs_cancel() {
    model(|| {
        let (_promise, future) = promise::<u8>();
        let future = future.share();
        let reader = thread::spawn({
            let future = future.clone();
            move || future.result().is_err()
        });
        assert!(future.cancel());
        assert!(reader.join().unwrap());
    });
}

/// Two threads sleep on one future: both are woken by the one end.
#[test]
fn loom_two_waiters_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let future = future.share();
        let waiter = thread::spawn({
            let future = future.clone();
            move || {
                future.wait();
                assert!(future.done());
            }
        });
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        future.wait();
        assert_eq!(*future.result().unwrap(), 7);
        waiter.join().unwrap();
        producer.join().unwrap();
    });
}

/// An async task polls while the future ends: it sees the outcome or is woken.
#[test]
fn loom_await_vs_set_result() {
    model(|| {
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        assert_eq!(block_on(future).unwrap(), 7);
        producer.join().unwrap();
    });
}

/// An async task and a thread wait for one future through clones; only one of them reads (see the head of the models).
#[test]
fn loom_await_and_wait_vs_end() {
    model(|| {
        let (promise, future) = promise();
        let future = future.share();
        let awaited = future.clone();
        let task = thread::spawn(move || block_on(awaited).unwrap());
        let producer = thread::spawn(move || promise.set_result(7).unwrap());
        future.wait();
        assert!(future.done());
        assert_eq!(task.join().unwrap(), 7);
        producer.join().unwrap();
    });
}

/// What the task did before it ended is visible to whoever reads the result, also if nothing of it is in the result.
#[test]
fn loom_effects_of_the_task_are_visible() {
    model(|| {
        let place = Arc::new(Place(loom::cell::UnsafeCell::new(0)));
        let written = Arc::clone(&place);
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || {
            let _captured = captured;
            written.write(7);
        }));
        let worker = thread::spawn(move || task.run());
        future.result().unwrap();
        // The work is gone by now, which is not only known to whoever runs it.
        assert_eq!(drops.get(), 1);
        assert_eq!(place.read(), 7);
        worker.join().unwrap();
    });
}

/// Seeing that a future is done is enough to see what was done before; nobody waits or reads here.
#[test]
fn loom_done_publishes_the_effects_of_the_task() {
    model(|| {
        let place = Arc::new(Place(loom::cell::UnsafeCell::new(0)));
        let written = Arc::clone(&place);
        let (promise, future) = promise();
        let producer = thread::spawn(move || {
            written.write(7);
            promise.set_result(()).unwrap();
        });
        if future.done() {
            assert_eq!(place.read(), 7);
        }
        producer.join().unwrap();
    });
}

/// The same for whoever is told that it comes too late, or that somebody else was first.
#[test]
fn loom_refusals_publish_the_effects_of_the_winner() {
    model(|| {
        let place = Arc::new(Place(loom::cell::UnsafeCell::new(0)));
        let written = Arc::clone(&place);
        let (promise, future) = promise();
        let producer = thread::spawn(move || {
            written.write(7);
            promise.set_result(()).is_ok()
        });
        let cancelled = future.cancel();
        if !cancelled {
            assert_eq!(place.read(), 7);
        }
        assert_ne!(producer.join().unwrap(), cancelled);
    });
}

/// Memory that loom checks for races.
struct Place(loom::cell::UnsafeCell<u8>);

#[expect(unsafe_code, reason = "a model of what user code does with its own memory")]
mod access {
    use super::Place;

    // SAFETY: loom ends the model if two threads are inside at once.
    unsafe impl Sync for Place {}

    impl Place {
        pub(super) fn write(&self, value: u8) {
            // SAFETY: as above.
            self.0.with_mut(|place| unsafe { *place = value });
        }

        pub(super) fn read(&self) -> u8 {
            // SAFETY: as above.
            self.0.with(|place| unsafe { *place })
        }
    }
}
