//! The rest of the contract: what holds of any task and its future, whoever runs it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use concurrent_futures::{
    AnyFuture, Executor, ExecutorExt, InlineExecutor, ReturnWhen, State, TaskError, as_completed,
    promise, wait,
};
use concurrent_futures_tests::{
    Gate, delays,
    drops::Tracked,
    functions::{Log, double, fail, pass, pass_unless_zero, write},
    registry::{self, Registered},
};

/// Every task has run exactly once or was cancelled and has not run at all, whoever comes first.
pub(super) fn a_task_runs_once_or_is_cancelled(executor: impl Executor) {
    let log = Log::new();
    let futures: Vec<_> =
        (0..500).map(|n| executor.submit(write, (log.key(), n)).unwrap()).collect();
    let cancelled: Vec<bool> = futures.iter().rev().map(|future| future.cancel()).collect();
    executor.shutdown();
    let mut ran = log.entries();
    ran.sort_unstable();
    let mut expected = Vec::new();
    for ((n, future), cancelled) in (0..).zip(futures).zip(cancelled.into_iter().rev()) {
        assert_eq!(future.cancelled(), cancelled);
        match future.result() {
            Ok(value) => {
                assert_eq!(value, n);
                expected.push(n);
            }
            Err(error) => assert!(error.is_cancelled() && cancelled, "{error:?}"),
        }
    }
    assert_eq!(ran, expected);
}

/// What a thread did before it submitted happens before the task, and the task happens before the result is seen. The
/// accesses are relaxed, so that nothing but the executor orders them; a sanitizer sees more than this test does.
pub(super) fn what_was_done_before_is_seen_after(executor: impl Executor) {
    let cell = Registered::new(AtomicUsize::new(0));
    for round in 0..100 {
        cell.store(2 * round + 1, Ordering::Relaxed);
        let bump = |key: u64| {
            let cell = registry::find::<AtomicUsize>(key);
            let seen = cell.load(Ordering::Relaxed);
            cell.store(seen + 1, Ordering::Relaxed);
            seen
        };
        let future = executor.submit(bump, cell.key()).unwrap();
        assert_eq!(future.result().unwrap(), 2 * round + 1);
        assert_eq!(cell.load(Ordering::Relaxed), 2 * round + 2);
    }
}

/// Cancelling a task that waits in the queue ends its future at once and for everybody; the task never runs.
pub(super) fn f017_a_queued_task_can_be_cancelled(executor: impl Executor) {
    let gate = Gate::closed();
    let log = Log::new();
    let busy: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(busy.len());
    let queued = executor.submit(write, (log.key(), 1)).unwrap();
    assert_eq!(queued.state(), State::Pending);
    assert!(queued.cancel());
    assert!(queued.cancel(), "cancelling again says so again");
    assert!(queued.cancelled() && queued.done() && !queued.running());
    assert!(wait([&queued], ReturnWhen::AllCompleted).not_done.is_empty());
    assert!(matches!(queued.result(), Err(TaskError::Cancelled)));
    gate.open();
    executor.shutdown();
    assert!(log.entries().is_empty());
}

/// A task that runs, or has run, cannot be cancelled.
pub(super) fn f018_a_running_task_cannot_be_cancelled(executor: impl Executor) {
    let gate = Gate::closed();
    let future = executor.submit(pass, gate.key()).unwrap();
    gate.wait_for_arrivals(1);
    assert!(!future.cancel());
    assert!(!future.cancelled());
    gate.open();
    future.wait();
    assert!(!future.cancel());
    assert_eq!(future.result().unwrap(), gate.key());
}

/// A future runs while its task runs, not while the task waits for its turn, be it next in line.
pub(super) fn f022_running_means_running(executor: impl Executor) {
    let gate = Gate::closed();
    let busy: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(busy.len());
    let queued: Vec<_> = (0..5).map(|n| executor.submit(double, n).unwrap()).collect();
    assert!(busy.iter().all(|future| future.running()));
    assert!(queued.iter().all(|future| future.state() == State::Pending));
    assert!(queued.iter().all(|future| future.cancel()));
    gate.open();
}

/// A panic is caught, with its message and place, and the executor lives on.
pub(super) fn f042_a_panic_is_the_futures_error(executor: impl Executor) {
    for round in 0..10 {
        let future = executor.submit(fail, format!("round {round}")).unwrap();
        let error = future.exception().expect("a panic");
        let TaskError::Panicked(panic) = error else { panic!("{error:?}") };
        assert_eq!(panic.message(), format!("round {round}"));
        assert!(panic.location().is_some_and(|place| place.contains("functions.rs")), "{panic}");
        assert!(future.result().unwrap_err().is_panic());
    }
    assert_eq!(executor.submit(double, 3).unwrap().result().unwrap(), 6);
}

/// Each callback runs once, in the order of registration, and is told how it ended.
pub(super) fn f044_callbacks_run_once(executor: impl Executor) {
    let calls = Arc::new(AtomicUsize::new(0));
    let futures = [
        executor.submit(fail, "for the callbacks".to_owned()).unwrap(),
        executor.submit(|text: String| text.len() as u64, "ok".to_owned()).unwrap(),
    ];
    for (future, fails) in futures.iter().zip([true, false]) {
        for _ in 0..3 {
            let calls = Arc::clone(&calls);
            future.add_done_callback(move |completed| {
                assert_eq!(completed.exception().is_some(), fails);
                calls.fetch_add(1, Ordering::SeqCst);
            });
        }
    }
    // Callbacks run in the thread that ends the future, which the end of the executor waits for.
    executor.shutdown();
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

/// One wait for futures of several executors, and of several types.
pub(super) fn f052_futures_of_several_executors_are_waited_for_together(executor: impl Executor) {
    let (promise, promised) = promise::<String>();
    let inline = InlineExecutor::new().submit(double, 1).unwrap();
    let here = executor.submit(double, 2).unwrap();
    promise.set_result("kept".to_owned()).unwrap();
    let all: [&dyn AnyFuture; 4] = [&inline, &here, &promised, &here];
    let waited = wait(all, ReturnWhen::AllCompleted);
    assert_eq!((waited.done.len(), waited.not_done.len()), (3, 0), "a duplicate counts once");
}

/// Futures are yielded as they end, each once.
pub(super) fn f061_as_completed_yields_in_order_of_completion(executor: impl Executor) {
    let gate = Gate::closed();
    let slow = executor.submit(pass_unless_zero, gate.key()).unwrap();
    let quick = executor.submit(pass_unless_zero, 0).unwrap();
    let mut completed = as_completed([slow, quick]);
    assert_eq!(completed.next().unwrap().result().unwrap(), 0);
    gate.open();
    assert_eq!(completed.next().unwrap().result().unwrap(), gate.key());
    assert!(completed.next().is_none());
}

/// A task that fails with a timeout of its own is a task that has failed, whatever the wait for it was.
pub(super) fn p05_a_tasks_own_timeout_is_no_timeout_of_the_wait(executor: impl Executor) {
    let fail = |()| Err::<(), _>("timed out".to_owned());
    let future = executor.submit(fail, ()).unwrap().flatten();
    let outcome = future.result_timeout(delays::long()).expect("in time");
    assert!(matches!(outcome, Err(TaskError::Failed(_))));
}

/// What the task was given is dropped before anybody sees its result.
pub(super) fn p48_the_argument_is_gone_before_the_result_is_there(executor: impl Executor) {
    let counter = Tracked::counter();
    for value in 0..50 {
        let argument = Tracked::new(counter.key(), value);
        let future = executor.submit(|tracked: Tracked| tracked.value, argument).unwrap();
        assert_eq!(future.result().unwrap(), value);
        // A wire keeps the sender's copy until the worker has started, and the worker drops its own.
        assert_eq!(counter.alive(), 0);
    }
}
