//! `map`: order, windows, failures, deadlines, and what becomes of items that never were submitted.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::sleep,
};

use concurrent_futures::{
    Executor, ExecutorExt, MapError, MapOptions, Progress, Refusal, Shutdown, TaskError,
};
use concurrent_futures_tests::{
    Gate, delays,
    drops::Tracked,
    functions::{
        Log, double, double_even, pass, pass_unless_zero, square, track, write, write_and_pass,
    },
};

/// Results come in the order of the items, whichever ends first.
pub(super) fn f077_results_come_in_the_order_of_the_items(executor: impl Executor) {
    let squares: Vec<_> = executor.map(square, 0..300).collect::<Result<_, _>>().unwrap();
    assert!(squares.into_iter().eq((0..300).map(square)));
}

/// No items, no results; an iterator that has ended stays so.
pub(super) fn f077_no_items_no_results(executor: impl Executor) {
    let mut none = executor.map(double, []);
    assert!(none.next().is_none());
    assert!(none.next().is_none());
}

/// Several inputs are zipped, and end with the shortest.
pub(super) fn f077_inputs_are_zipped_by_zip(executor: impl Executor) {
    let sums = executor.map(|(a, b): (u64, u64)| a + b, [1, 2, 3].into_iter().zip([10, 20]));
    assert_eq!(sums.collect::<Result<Vec<_>, _>>().unwrap(), [11, 22]);
}

/// Without options an endless input is read no further than some window, which is no larger than a bounded number of
/// bounded chunks for each worker.
pub(super) fn f078_the_default_window_is_bounded(executor: impl Executor) {
    let read = Cell::new(0_u64);
    let input = (0..).inspect(|_| read.set(read.get() + 1));
    let mut doubled = executor.map(double, input);
    let workers = executor.max_workers() as u64;
    assert!(read.get() >= workers, "{} items keep not even every worker busy", read.get());
    assert!(read.get() <= 100 * workers, "{} items before anything is known", read.get());
    for n in 0..10_000 {
        assert_eq!(doubled.next().unwrap().unwrap(), 2 * n);
    }
    assert!(read.get() - 10_000 <= 100_000 * workers, "{} items", read.get());
}

/// `unbounded` is Python's default: everything is read and submitted by the call.
pub(super) fn f078_unbounded_reads_everything_at_the_call(executor: impl Executor) {
    let read = Cell::new(0_usize);
    let input = (0..5000).inspect(|_| read.set(read.get() + 1));
    let doubled = executor.map_with(MapOptions::new().unbounded(), double, input).unwrap();
    assert_eq!(read.get(), 5000);
    assert!(doubled.map(Result::unwrap).eq((0..5000).map(double)));
}

/// What was submitted runs without anybody taking results.
pub(super) fn f078_everything_submitted_runs_unasked(executor: impl Executor) {
    let gate = Gate::closed();
    let items = vec![gate.key(); executor.max_workers()];
    let passing = executor.map(pass, items);
    gate.wait_for_arrivals(executor.max_workers());
    gate.open();
    assert_eq!(passing.count(), executor.max_workers());
}

/// An input that panics while the call of `map` reads it: the panic is the caller's, what was submitted is cancelled if
/// it has not started, and the executor is none the worse.
pub(super) fn f079_an_input_that_panics_at_the_call(executor: impl Executor) {
    let log = Log::new();
    let input = (0..).map(|n| {
        assert!(n < 3, "no item {n}");
        (log.key(), n)
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| executor.map(write, input).count()));
    let message = outcome.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*message, "no item 3");
    assert_eq!(executor.submit(double, 4).unwrap().result().unwrap(), 8);
    assert!(log.entries().len() <= 3);
}

/// An input that panics later: `next` panics once, and what was submitted is still to be had.
pub(super) fn f079_an_input_that_panics_later_loses_nothing(executor: impl Executor) {
    for chunksize in [1, 2, 3] {
        let input = (0..).inspect(|n| assert!(*n < 10, "no item {n}"));
        let options = MapOptions::new().chunksize(chunksize).buffersize(4);
        let mut doubled = executor.map_with(options, double, input).unwrap();
        let mut results = Vec::new();
        let mut panics = 0;
        loop {
            match catch_unwind(AssertUnwindSafe(|| doubled.next())) {
                Ok(Some(result)) => results.push(result.unwrap()),
                Ok(None) => break,
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 1);
        assert!(results.into_iter().eq((0..10).map(double)));
    }
}

/// A call that fails is the error of its item, and the iterator goes on.
pub(super) fn f080_a_failing_call_fails_its_item_alone(executor: impl Executor) {
    let results: Vec<_> = executor.map(double_even, 0..20).collect();
    assert_eq!(results.len(), 20);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, 2 * n),
            Err(MapError::Task(TaskError::Panicked(panic))) => {
                assert_eq!(panic.message(), format!("{n} is odd"));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// When the deadline passes, one error comes out, what has not started is cancelled, and the iterator ends.
pub(super) fn f081_the_deadline_cancels_what_has_not_started(executor: impl Executor) {
    let gate = Gate::closed();
    let workers = executor.max_workers();
    let options = MapOptions::new().timeout(delays::short());
    let mut passing = executor.map_with(options, pass, vec![gate.key(); workers + 10]).unwrap();
    gate.wait_for_arrivals(workers);
    assert!(matches!(passing.next(), Some(Err(MapError::Timeout(_)))));
    assert!(passing.next().is_none());
    assert!(passing.next().is_none());
    gate.open();
    executor.shutdown();
    assert_eq!(gate.arrived(), workers);
}

/// After the deadline, results that are there and next in line are yielded before the error. The deadline counts from
/// the call of `map`, so it has passed by the first `next`.
pub(super) fn f081_what_exists_is_yielded_after_the_deadline(executor: impl Executor) {
    let gate = Gate::closed();
    let progress = Progress::new();
    let options = MapOptions::new().timeout(delays::short()).progress(&progress);
    let mut passing = executor.map_with(options, pass_unless_zero, [0, 0, gate.key(), 0]).unwrap();
    while progress.snapshot().succeeded < 2 {
        sleep(delays::poll());
    }
    sleep(2 * delays::short());
    assert_eq!(passing.next().unwrap().unwrap(), 0);
    assert_eq!(passing.next().unwrap().unwrap(), 0);
    assert!(matches!(passing.next(), Some(Err(MapError::Timeout(_)))));
    assert!(passing.next().is_none());
}

/// Nothing is submitted after the deadline, or an executor that always has the next result at hand, such as one that
/// runs tasks in the caller's thread, would keep an endless map going for ever. Nothing is lost either.
pub(super) fn f081_an_endless_map_ends_at_its_deadline(executor: impl Executor) {
    for chunksize in [1, 4] {
        let options = MapOptions::new().timeout(delays::short()).chunksize(chunksize).buffersize(8);
        let mut doubled = executor.map_with(options, double, 0..).unwrap();
        let mut yielded = 0;
        let last = loop {
            match doubled.next() {
                Some(Ok(value)) => {
                    assert_eq!(value, 2 * yielded);
                    yielded += 1;
                }
                other => break other,
            }
        };
        assert!(matches!(last, Some(Err(MapError::Timeout(_)))), "{last:?}");
        assert!(doubled.next().is_none());
        let next = doubled.into_unsubmitted().next().expect("the input is endless");
        assert!((yielded..=yielded + 8).contains(&next), "{next} after {yielded}");
    }
    // An input that had ended in time is not cut short, though nobody looked before the deadline.
    let options = MapOptions::new().timeout(delays::short()).buffersize(3);
    let progress = Progress::new();
    let mapped = executor.map_with(options.progress(&progress), double, 0..3).unwrap();
    while progress.snapshot().succeeded < 3 {
        sleep(delays::poll());
    }
    sleep(2 * delays::short());
    assert_eq!(mapped.collect::<Result<Vec<_>, _>>().unwrap(), [0, 2, 4]);
}

/// Dropping the iterator cancels what has not started.
pub(super) fn f082_dropping_the_iterator_cancels(executor: impl Executor) {
    let gate = Gate::closed();
    let workers = executor.max_workers();
    let items = [0].into_iter().chain(vec![gate.key(); workers + 10]);
    let mut passing = executor.map(pass_unless_zero, items);
    assert_eq!(passing.next().unwrap().unwrap(), 0);
    gate.wait_for_arrivals(workers);
    drop(passing);
    gate.open();
    executor.shutdown();
    assert_eq!(gate.arrived(), workers);
}

/// The rule is the same if nothing has been taken from it.
pub(super) fn f082_dropping_it_before_the_first_item_cancels(executor: impl Executor) {
    let gate = Gate::closed();
    let workers = executor.max_workers();
    let passing = executor.map(pass, vec![gate.key(); workers + 10]);
    gate.wait_for_arrivals(workers);
    drop(passing);
    gate.open();
    executor.shutdown();
    assert_eq!(gate.arrived(), workers);
}

/// Unless it is told to leave that running. What had not been read is not read.
pub(super) fn f082_detach_leaves_it_running(executor: impl Executor) {
    let gate = Gate::closed();
    let log = Log::new();
    let items = (0..1000).map(|n| (log.key(), gate.key(), n));
    let options = MapOptions::new().buffersize(executor.max_workers() + 10);
    let writing = executor.map_with(options, write_and_pass, items).unwrap();
    gate.wait_for_arrivals(executor.max_workers());
    writing.detach();
    gate.open();
    executor.shutdown();
    let mut entries = log.entries();
    entries.sort_unstable();
    assert!(entries.into_iter().eq(0..executor.max_workers() as u64 + 10));
}

/// The iterator keeps no hold of what it has yielded.
pub(super) fn f083_yielded_results_are_not_retained(executor: impl Executor) {
    let counter = Tracked::counter();
    let items = (0..20).map(|n| (counter.key(), n));
    // With room for one item there is at no time more than one result.
    let options = MapOptions::new().buffersize(1);
    let mut tracked = executor.map_with(options, track, items).unwrap();
    for value in 0..20 {
        let result = tracked.next().unwrap().unwrap();
        assert_eq!(result.value, value);
        drop(result);
        assert_eq!(counter.alive(), 0);
    }
    assert!(tracked.next().is_none());
    assert!(counter.made() >= 20);
}

/// A map whose executor is shut down meanwhile yields what was taken, then says why there is no more; items that were
/// not submitted come back.
pub(super) fn f089_shutdown_ends_a_map_without_losing_items(executor: impl Executor) {
    for chunksize in [1, 2] {
        let options = MapOptions::new().chunksize(chunksize).buffersize(2);
        let mut doubled = executor.map_with(options, double, 0..10).unwrap();
        let mut yielded = Vec::new();
        if chunksize == 1 {
            yielded.push(doubled.next().unwrap().unwrap());
            executor.shutdown();
        }
        let refusal = loop {
            match doubled.next() {
                Some(Ok(value)) => yielded.push(value),
                Some(Err(error)) => break error,
                None => panic!("it ended without saying why"),
            }
        };
        assert!(matches!(refusal, MapError::Refused(Refusal::ShutDown)), "{refusal:?}");
        assert!(doubled.next().is_none());
        let taken = yielded.len() as u64;
        assert!(yielded.into_iter().eq((0..taken).map(double)));
        assert!(doubled.into_unsubmitted().eq(taken..10));
        // The second round begins with the executor shut down.
        assert_eq!(taken, if chunksize == 1 { 2 } else { 0 });
    }
}

/// After a shutdown, a map without items is empty, and one with items is refused.
pub(super) fn f097_map_after_shutdown_refuses_items_alone(executor: impl Executor) {
    executor.shutdown_with(Shutdown::wait()).unwrap();
    assert!(executor.map(double, []).next().is_none());
    let mut refused = executor.map(double, [1, 2, 3]);
    assert!(matches!(refused.next(), Some(Err(MapError::Refused(Refusal::ShutDown)))));
    assert!(refused.next().is_none());
    assert!(refused.into_unsubmitted().eq([1, 2, 3]));
    // Without having asked for a result, too.
    assert!(executor.map(double, [1, 2]).into_unsubmitted().eq([1, 2]));
}
