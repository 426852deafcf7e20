//! The last handle is dropped while the future ends: the value is dropped once, and a failure that nobody looked at is
//! reported once.

use super::{Call, Count, Oops, count_reports, model, reports};
use crate::{PackagedTask, TaskError, promise, sync::thread};

/// Whoever comes second of the handle's drop and the end drops the value.
#[test]
fn loom_drop_vs_set_result() {
    model(|| {
        let drops = Count::default();
        let value = drops.on_drop();
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(value).unwrap());
        drop(future);
        producer.join().unwrap();
        assert_eq!(drops.get(), 1);
    });
}

/// The same for a task, in whose stage the value replaces the work.
#[test]
fn loom_drop_vs_run() {
    model(|| {
        let (captures, values) = (Count::default(), Count::default());
        let (captured, value) = (captures.on_drop(), values.on_drop());
        let (task, future) = PackagedTask::new(Call(move || {
            drop(captured);
            value
        }));
        let worker = thread::spawn({
            let task = std::sync::Arc::clone(&task);
            move || task.run()
        });
        drop(future);
        worker.join().unwrap();
        assert_eq!((captures.get(), values.get()), (1, 1));
    });
}

/// The same for a task that is ended by a thread that runs no callbacks, or has begun to and gives the value to one that does.
#[test]
fn loom_drop_vs_end_by_one_who_runs_no_callbacks() {
    model(|| {
        let (captures, values) = (Count::default(), Count::default());
        let (captured, value) = (captures.on_drop(), values.on_drop());
        let (task, future) = PackagedTask::new(Call(move || -> super::OnDrop {
            drop(captured);
            unreachable!("it is done elsewhere")
        }));
        assert!(task.start());
        let worker = thread::spawn({
            let task = std::sync::Arc::clone(&task);
            move || {
                if let Err(value) = task.complete_unwatched(value) {
                    task.complete(Ok(value));
                }
            }
        });
        future.add_done_callback(|_| {});
        drop(future);
        worker.join().unwrap();
        assert_eq!((captures.get(), values.get()), (1, 1));
    });
}

/// Whoever comes second reports the failure.
#[test]
fn loom_drop_vs_failure_is_reported_once() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let id = count_reports(&future);
        let producer = thread::spawn(move || {
            promise.set_exception(TaskError::failed(Oops)).unwrap();
        });
        drop(future);
        producer.join().unwrap();
        assert_eq!(reports(id), 1);
    });
}

/// With a callback that does not look: the handle may be dropped before the end, while the callback is still to come,
/// while it runs, or after it.
#[test]
fn loom_drop_vs_failure_with_a_callback_is_reported_once() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let id = count_reports(&future);
        future.add_done_callback(|_| {});
        let producer = thread::spawn(move || {
            promise.set_exception(TaskError::failed(Oops)).unwrap();
        });
        drop(future);
        producer.join().unwrap();
        assert_eq!(reports(id), 1);
    });
}

/// With a callback that looks, it is not reported, whenever the handle is dropped.
#[test]
fn loom_drop_vs_failure_that_a_callback_looks_at() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let id = count_reports(&future);
        future.add_done_callback(|completed| drop(completed.exception()));
        let producer = thread::spawn(move || {
            promise.set_exception(TaskError::failed(Oops)).unwrap();
        });
        drop(future);
        producer.join().unwrap();
        assert_eq!(reports(id), 0);
    });
}

/// A reader that has the error is not taken for a handle that was dropped, although it lets go of the future while
/// callbacks still run.
#[test]
fn loom_result_vs_failure_with_a_callback_is_not_reported() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let id = count_reports(&future);
        future.add_done_callback(|_| {});
        let producer = thread::spawn(move || {
            promise.set_exception(TaskError::failed(Oops)).unwrap();
        });
        assert!(future.result().is_err());
        producer.join().unwrap();
        assert_eq!(reports(id), 0);
    });
}

/// A flattened future's own failure is a value to whoever completes it.
#[test]
fn loom_drop_of_flattened_vs_failure_is_reported_once() {
    model(|| {
        let (promise, future) = promise();
        let id = count_reports(&future);
        let future = future.flatten();
        let producer = thread::spawn(move || promise.set_result(Err::<u8, _>(Oops)).unwrap());
        drop(future);
        producer.join().unwrap();
        assert_eq!(reports(id), 1);
    });
}

/// The same with a callback that holds on to the flattened future for longer than the handle, and looks or not.
#[test]
fn loom_drop_of_flattened_vs_callback() {
    for looks in [false, true] {
        model(move || {
            let (promise, future) = promise();
            let id = count_reports(&future);
            let future = future.flatten();
            future.add_done_callback(move |completed| {
                if looks {
                    drop(completed.exception());
                }
            });
            let producer = thread::spawn(move || promise.set_result(Err::<u8, _>(Oops)).unwrap());
            drop(future);
            producer.join().unwrap();
            assert_eq!(reports(id), usize::from(!looks));
        });
    }
}

/// The value of a flattened future goes through a second place on its way.
#[test]
fn loom_drop_of_flattened_vs_value() {
    model(|| {
        let drops = Count::default();
        let value = drops.on_drop();
        let (promise, future) = promise();
        let future = future.flatten();
        let producer = thread::spawn(move || promise.set_result(Ok::<_, Oops>(value)).unwrap());
        drop(future);
        producer.join().unwrap();
        assert_eq!(drops.get(), 1);
    });
}

/// Two clones are dropped while the future fails: the last one, or the end, reports.
#[test]
fn loom_drop_of_clones_vs_failure_is_reported_once() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let id = count_reports(&future);
        let future = future.share();
        let other = thread::spawn({
            let future = future.clone();
            move || drop(future)
        });
        let producer = thread::spawn(move || drop(promise));
        drop(future);
        other.join().unwrap();
        producer.join().unwrap();
        assert_eq!(reports(id), 1);
    });
}

/// A handle that cancels when dropped, while a worker runs the task.
#[test]
fn loom_cancel_on_drop_vs_run() {
    model(|| {
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || captured));
        let worker = thread::spawn(move || task.run());
        drop(future.cancel_on_drop());
        worker.join().unwrap();
        assert_eq!(drops.get(), 1);
    });
}
