//! Submitting: what comes back, in which order tasks start, and what a refusal gives back.

use concurrent_futures::{
    Executor, ExecutorExt, InlineExecutor, MapOptions, Refusal, ReturnWhen, Shutdown, State, wait,
};
use concurrent_futures_tests::{
    Gate,
    functions::{Log, double, pass, write},
};

/// Everything that people call is provided for any executor, by three methods.
pub(super) fn f071_three_methods_carry_everything(executor: impl Executor) {
    assert!(executor.max_workers() >= 1);
    assert_eq!(executor.submit(double, 21).unwrap().result().unwrap(), 42);
    let mapped: Vec<_> = executor.map(double, [1, 2, 3]).collect::<Result<_, _>>().unwrap();
    assert_eq!(mapped, [2, 4, 6]);
    let options = MapOptions::new().chunksize(2).buffersize(3);
    let mapped = executor.map_with(options, double, [1, 2, 3]).unwrap();
    assert_eq!(mapped.collect::<Result<Vec<_>, _>>().unwrap(), [2, 4, 6]);
    executor.shutdown();
}

/// `submit` does not wait for the task.
pub(super) fn f072_submit_returns_a_future_at_once(executor: impl Executor) {
    let gate = Gate::closed();
    let future = executor.submit(pass, gate.key()).unwrap();
    gate.wait_for_arrivals(1);
    assert!(!future.done());
    gate.open();
    assert_eq!(future.result().unwrap(), gate.key());
}

/// One argument, which may be a tuple; the closure needs no annotations.
pub(super) fn f072_several_arguments_are_a_tuple(executor: impl Executor) {
    let future = executor
        .submit(
            |(text, times, last): (String, usize, Option<char>)| {
                text.repeat(times) + &last.map(String::from).unwrap_or_default()
            },
            ("ab".to_owned(), 2, Some('!')),
        )
        .unwrap();
    assert_eq!(future.result().unwrap(), "abab!");
    let future = executor.submit(|(base, exponent)| u64::pow(base, exponent), (2, 10)).unwrap();
    assert_eq!(future.result().unwrap(), 1024);
    let future = executor.submit(|()| 7, ()).unwrap();
    assert_eq!(future.result().unwrap(), 7);
}

/// The queue takes any number of tasks, however busy the workers are.
pub(super) fn f073_submit_never_blocks(executor: impl Executor) {
    let gate = Gate::closed();
    let busy: Vec<_> =
        (0..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(busy.len());
    let queued: Vec<_> = (0..1000).map(|n| executor.submit(double, n).unwrap()).collect();
    assert!(queued.iter().all(|future| future.state() == State::Pending));
    gate.open();
    for (n, future) in (0..).zip(queued) {
        assert_eq!(future.result().unwrap(), 2 * n);
    }
}

/// A refusal is typed, and function and argument can be submitted elsewhere.
pub(super) fn f075_a_refused_task_comes_back(executor: impl Executor) {
    executor.shutdown();
    let refused = executor.submit(double, 21).unwrap_err();
    assert!(matches!(refused.reason(), Refusal::ShutDown), "{refused:?}");
    assert_eq!(refused.to_string(), "cannot submit a task: the executor has been shut down");
    let (function, argument) = refused.into_inner();
    let elsewhere = InlineExecutor::new().submit(function, argument).unwrap();
    assert_eq!(elsewhere.result().unwrap(), 42);
}

/// Once a shutdown has begun nothing is accepted, also while what was accepted still runs.
pub(super) fn f075_shutdown_refuses_while_tasks_still_run(executor: impl Executor) {
    let gate = Gate::closed();
    let running = executor.submit(pass, gate.key()).unwrap();
    gate.wait_for_arrivals(1);
    executor.shutdown_with(Shutdown::no_wait()).unwrap();
    let refused = executor.submit(double, 1).unwrap_err();
    assert!(matches!(refused.reason(), Refusal::ShutDown), "{refused:?}");
    gate.open();
    assert_eq!(running.result().unwrap(), gate.key());
}

/// Tasks start in the order in which they were submitted. All workers but one are kept busy, so that the order in which
/// tasks run is the order in which they start.
pub(super) fn f076_first_in_first_out(executor: impl Executor) {
    let gate = Gate::closed();
    let log = Log::new();
    let busy: Vec<_> =
        (1..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(busy.len());
    let tasks: Vec<_> = (0..100).map(|n| executor.submit(write, (log.key(), n)).unwrap()).collect();
    assert!(wait(tasks, ReturnWhen::AllCompleted).not_done.is_empty());
    assert!(log.entries().into_iter().eq(0..100), "{:?}", log.entries());
}

/// The order holds for each thread that submits; between threads there is none.
pub(super) fn f076_each_thread_that_submits_keeps_its_order(executor: impl Executor) {
    const EACH: u64 = 100;
    let gate = Gate::closed();
    let log = Log::new();
    let busy: Vec<_> =
        (1..executor.max_workers()).map(|_| executor.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(busy.len());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (executor, log) = (&executor, &log);
            scope.spawn(move || {
                let tasks = (0..EACH)
                    .map(|n| executor.submit(write, (log.key(), thread * EACH + n)).unwrap());
                wait(tasks.collect::<Vec<_>>(), ReturnWhen::AllCompleted);
            });
        }
    });
    let entries = log.entries();
    assert_eq!(entries.len(), 300);
    for thread in 0..3 {
        let of_thread: Vec<_> = entries.iter().filter(|entry| *entry / EACH == thread).collect();
        assert!(of_thread.is_sorted(), "{of_thread:?}");
        assert_eq!(of_thread.len(), 100);
    }
}
