//! Shutting down, in every way, and dropping.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use concurrent_futures::{
    Executor, ExecutorExt, Future, ReturnWhen, Shutdown, ShutdownError, TaskError, as_completed,
    wait,
};
use concurrent_futures_tests::{
    Gate, delays,
    functions::{Log, double, pass, write},
};

/// Everything that was submitted has run when `shutdown` returns.
pub(super) fn f091_shutdown_runs_everything_and_waits(executor: impl Executor) {
    let log = Log::new();
    let futures: Vec<_> =
        (0..100).map(|n| executor.submit(write, (log.key(), n)).unwrap()).collect();
    executor.shutdown();
    assert_eq!(log.entries().len(), 100);
    assert!(futures.iter().all(Future::done));
}

/// Without waiting it returns while tasks run, and what is queued runs all the same.
pub(super) fn f091_without_waiting_the_work_goes_on(executor: impl Executor) {
    let gate = Gate::closed();
    let running: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    let queued = executor.submit(double, 4).unwrap();
    gate.wait_for_arrivals(running.len());
    executor.shutdown_with(Shutdown::no_wait()).unwrap();
    assert!(!queued.done());
    gate.open();
    assert_eq!(queued.result().unwrap(), 8);
    assert!(running.into_iter().all(|future| future.result().is_ok()));
}

/// Cancelling cancels what waits, and lets what runs come to its end.
pub(super) fn f092_cancelling_spares_what_runs(executor: impl Executor) {
    let gate = Gate::closed();
    let running: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(running.len());
    let queued: Vec<_> = (0..20).map(|n| executor.submit(double, n).unwrap()).collect();
    executor.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
    assert!(queued.iter().all(Future::cancelled));
    assert!(running.iter().all(Future::running));
    gate.open();
    executor.shutdown();
    assert!(running.into_iter().all(|future| future.result().is_ok()));
}

/// Whoever waits for a future that a shutdown cancels is woken, in whatever way it waits, while other tasks still run.
pub(super) fn f092_cancelling_wakes_everyone_who_waits(executor: impl Executor) {
    let gate = Gate::closed();
    let running: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(running.len());
    let queued: Vec<_> = (0..3).map(|n| executor.submit(double, n).unwrap().share()).collect();
    thread::scope(|scope| {
        let result = scope.spawn(|| queued[0].result().map(|_| ()));
        let waited = scope.spawn(|| wait(&queued, ReturnWhen::AllCompleted).done.len());
        let completed = scope.spawn(|| as_completed(&queued).count());
        // Time for them to go to sleep; whether or not they have, the outcome is the same.
        thread::sleep(delays::moment());
        executor.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert!(matches!(result.join().unwrap(), Err(TaskError::Cancelled)));
        assert_eq!(waited.join().unwrap(), 3);
        assert_eq!(completed.join().unwrap(), 3);
    });
    assert!(running.iter().all(Future::running));
}

/// Shutting down again is harmless, in any way.
pub(super) fn f093_shutdown_can_be_repeated(executor: impl Executor) {
    let future = executor.submit(double, 1).unwrap();
    executor.shutdown();
    executor.shutdown();
    executor.shutdown_with(Shutdown::no_wait()).unwrap();
    executor.shutdown_with(Shutdown::wait().cancel_futures()).unwrap();
    executor.shutdown_with(Shutdown::timeout(delays::long())).unwrap();
    assert_eq!(future.result().unwrap(), 2);
}

/// A later shutdown may still cancel what an earlier one has left, and wait.
pub(super) fn f093_a_later_shutdown_cancels_the_rest(executor: impl Executor) {
    let gate = Gate::closed();
    let running: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(running.len());
    let queued = executor.submit(double, 1).unwrap();
    executor.shutdown_with(Shutdown::no_wait()).unwrap();
    assert!(!queued.done());
    executor.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
    assert!(queued.cancelled());
    gate.open();
    executor.shutdown_with(Shutdown::wait()).unwrap();
    assert!(running.iter().all(Future::done));
}

/// Many threads may shut down at once, and each returns after everything has ended.
pub(super) fn f093_many_threads_shut_down_at_once(executor: impl Executor) {
    let log = Log::new();
    for n in 0..50 {
        drop(executor.submit(write, (log.key(), n)).unwrap());
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                executor.shutdown();
                assert_eq!(log.entries().len(), 50);
            });
        }
    });
}

/// A shutdown with a timeout says what it has not waited for, and can be followed by one that waits.
pub(super) fn f095_a_timeout_says_what_is_left(executor: impl Executor) {
    let gate = Gate::closed();
    let workers = executor.max_workers();
    let running: Vec<_> =
        (0..workers).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(workers);
    let queued: Vec<_> = (0..3).map(|n| executor.submit(double, n).unwrap()).collect();
    let error = executor.shutdown_with(Shutdown::timeout(delays::short())).unwrap_err();
    let ShutdownError::Timeout(left) = &error else { panic!("{error:?}") };
    assert!(left.waited >= delays::short());
    assert_eq!((left.running.len(), left.queued), (workers, 3));
    assert!(left.running.iter().all(|name| name.ends_with("functions::pass")), "{left:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("{workers} tasks running, 3 queued")), "{text}");
    gate.open();
    executor.shutdown_with(Shutdown::timeout(delays::long())).unwrap();
    assert!(running.iter().chain(&queued).all(Future::done));
}

/// Dropping an executor runs what was submitted and waits for it, as leaving Python's `with` block does.
pub(super) fn f096_drop_runs_everything_and_waits(executor: impl Executor) {
    let log = Log::new();
    for n in 0..100 {
        drop(executor.submit(write, (log.key(), n)).unwrap());
    }
    drop(executor);
    assert_eq!(log.entries().len(), 100);
}

/// A drop while the thread panics cancels what has not started, so that the error is not held up by a long queue.
pub(super) fn f096_drop_while_panicking_cancels(executor: impl Executor) {
    let gate = Gate::closed();
    let workers = executor.max_workers();
    let running: Vec<_> =
        (0..workers).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(workers);
    let queued: Vec<_> = (0..20).map(|n| executor.submit(double, n).unwrap()).collect();
    let last = &queued[19];
    thread::scope(|scope| {
        // What runs is waited for, so somebody has to let it go; not before the queue has been cancelled.
        scope.spawn(|| {
            last.wait();
            gate.open();
        });
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _executor = executor;
            panic!("for the drop");
        }));
        assert!(unwound.is_err());
    });
    assert!(queued.iter().all(Future::cancelled));
    assert!(running.into_iter().all(|future| future.result().is_ok()));
}

/// The end of a block does nothing more to an executor that was shut down in it, and nothing hangs.
pub(super) fn f150_drop_after_shutdown_does_nothing(executor: impl Executor) {
    let future = executor.submit(double, 2).unwrap();
    executor.shutdown_with(Shutdown::no_wait()).unwrap();
    drop(executor);
    assert_eq!(future.result().unwrap(), 4);
}
