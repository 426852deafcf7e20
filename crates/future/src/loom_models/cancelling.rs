//! Several threads want to take a future out of its pending state; one of them does.

use super::{Call, Count, model};
use crate::{PackagedTask, Ran, promise, sync::thread};

/// The executor asks whether it may go ahead while the user cancels: exactly one of them wins, and both know which.
#[test]
fn loom_cancel_vs_set_running() {
    model(|| {
        let (promise, future) = promise();
        let executor = thread::spawn(move || {
            let running = promise.set_running_or_notify_cancel().unwrap();
            assert_eq!(promise.set_result(7).is_ok(), running);
            running
        });
        let cancelled = future.cancel();
        assert_ne!(executor.join().unwrap(), cancelled);
        assert_eq!(future.cancelled(), cancelled);
        assert_eq!(future.result().is_err(), cancelled);
    });
}

/// A completion that comes without asking first.
#[test]
fn loom_cancel_vs_set_result() {
    model(|| {
        let drops = Count::default();
        let value = drops.on_drop();
        let (promise, future) = promise();
        let producer = thread::spawn(move || promise.set_result(value).is_ok());
        let cancelled = future.cancel();
        assert_ne!(producer.join().unwrap(), cancelled);
        assert_eq!(drops.get(), usize::from(cancelled));
        assert_eq!(future.result().is_err(), cancelled);
        assert_eq!(drops.get(), 1);
    });
}

/// Two threads cancel: both are told that it is cancelled, and the callbacks run once.
#[test]
fn loom_cancel_vs_cancel() {
    model(|| {
        let (_promise, future) = promise::<u8>();
        let calls = Count::default();
        let counted = calls.clone();
        future.add_done_callback(move |_| counted.up());
        let future = future.share();
        let other = thread::spawn({
            let future = future.clone();
            move || future.cancel()
        });
        assert!(future.cancel());
        assert!(future.cancelled());
        assert!(other.join().unwrap());
        assert_eq!(calls.get(), 1);
    });
}

/// Cancelling drops the work while a worker tries to run it: it is run or dropped, once, and never both.
#[test]
fn loom_cancel_vs_run() {
    model(|| {
        let (drops, runs) = (Count::default(), Count::default());
        let (captured, counted) = (drops.on_drop(), runs.clone());
        let (task, future) = PackagedTask::new(Call(move || {
            let _captured = captured;
            counted.up();
        }));
        let worker = thread::spawn({
            let task = std::sync::Arc::clone(&task);
            move || task.run()
        });
        let cancelled = future.cancel();
        let ran = worker.join().unwrap() != Ran::Not;
        assert_ne!(ran, cancelled);
        assert_eq!((runs.get(), drops.get()), (usize::from(ran), 1));
        assert_eq!(future.result().is_err(), cancelled);
    });
}

/// A refused task is taken back while its future is cancelled: the work comes back, or is dropped.
#[test]
fn loom_take_work_vs_cancel() {
    model(|| {
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || drop(captured)));
        let executor = thread::spawn(move || task.take_work());
        assert!(future.cancel());
        let work = executor.join().unwrap();
        assert_eq!(drops.get(), usize::from(work.is_none()));
        drop(work);
        assert_eq!(drops.get(), 1);
        assert!(future.result().unwrap_err().is_cancelled());
    });
}

/// Whoever encodes the work looks at it while somebody cancels: the cancelling thread waits for the loan to be returned,
/// and then drops the work, which must not be looked at any more.
#[test]
fn loom_inspect_vs_cancel() {
    model(|| {
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || drop(captured)));
        let encoder = thread::spawn({
            let drops = drops.clone();
            move || task.inspect(|_| assert_eq!(drops.get(), 0)).is_some()
        });
        assert!(future.cancel());
        encoder.join().unwrap();
        assert_eq!(drops.get(), 1);
    });
}

/// The same with a worker that runs it meanwhile.
#[test]
fn loom_inspect_vs_run() {
    model(|| {
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || drop(captured)));
        let encoder = thread::spawn({
            let (task, drops) = (std::sync::Arc::clone(&task), drops.clone());
            move || task.inspect(|_| assert_eq!(drops.get(), 0)).is_some()
        });
        assert_eq!(task.run(), Ran::Succeeded);
        encoder.join().unwrap();
        future.result().unwrap();
        assert_eq!(drops.get(), 1);
    });
}
