//! Refusals: whoever refuses and why, nothing of what was to be submitted is lost.

use std::{error::Error as _, io, sync::Arc};

use concurrent_futures::{
    BrokenExecutor, Executor, ExecutorExt, MapError, MapOptions, Progress, Refusal, Shutdown,
    SubmitError, local,
};
use concurrent_futures_tests::{
    RefusingExecutor,
    drops::{DropCounter, Tracked},
    functions::double,
    guarded,
};

fn reasons() -> [Refusal; 5] {
    [
        Refusal::Broken(BrokenExecutor::new("no more workers")),
        Refusal::ShutDown,
        Refusal::NoWorker(Arc::new(io::ErrorKind::OutOfMemory.into())),
        Refusal::Full,
        Refusal::NotPortable,
    ]
}

/// Every reason is a variant, says in words what was attempted, and keeps its cause.
#[test]
fn p37_a_refusal_has_a_type() {
    for reason in reasons() {
        let has_cause = matches!(reason, Refusal::Broken(_) | Refusal::NoWorker(_));
        let executor = RefusingExecutor::new(reason);
        let refused = executor.submit(double, 1).unwrap_err();
        assert!(refused.to_string().starts_with("cannot submit a task: "), "{refused}");
        assert_eq!(refused.source().is_some(), has_cause, "{refused:?}");
        assert_eq!(Refusal::from(refused).source().is_some(), has_cause);
    }
}

/// Function and argument come back, through each of the ways to submit, and none is dropped or doubled on the way.
#[test]
fn p37_a_refused_task_comes_back_whole() {
    let executor = RefusingExecutor::new(Refusal::Full);
    let counter = Tracked::counter();

    let refused = executor.submit(|t: Tracked| t.value, Tracked::new(counter.key(), 1));
    let (function, argument) = refused.unwrap_err().into_inner();
    assert_eq!(function(argument), 1);

    let captured = counter.token();
    let refused = local::submit(&executor, move |n: u64| (captured, n).1, 2);
    let (function, argument) = refused.unwrap_err().into_inner();
    assert_eq!((counter.made(), counter.alive()), (2, 1));
    assert_eq!(function(argument), 2);

    let captured = counter.token();
    let refused = local::spawn(&executor, move || drop(captured));
    let error = refused.unwrap_err();
    assert_eq!((counter.made(), counter.alive()), (3, 1));
    drop(error);
    assert_eq!(counter.alive(), 0);
}

/// A map that is refused yields one error, and gives all items back, of which none was counted as submitted.
#[test]
fn f097_a_refused_map_gives_everything_back() {
    guarded(|| {
        let executor = RefusingExecutor::new(Refusal::Full);
        for chunksize in [1, 3] {
            let progress = Progress::new();
            let options = MapOptions::new().chunksize(chunksize).progress(&progress);
            let mut refused = executor.map_with(options, double, 0..10).unwrap();
            assert!(matches!(refused.next(), Some(Err(MapError::Refused(Refusal::Full)))));
            assert!(refused.next().is_none());
            assert!(refused.into_unsubmitted().eq(0..10));
            assert_eq!(progress.snapshot().submitted, 0);
        }
        // Local ones, with items that are counted.
        let counter = DropCounter::new();
        let tokens: Vec<_> = (0..10).map(|_| counter.token()).collect();
        let refused = local::map(&executor, drop, tokens);
        assert_eq!(refused.into_unsubmitted().count(), 10);
        assert_eq!((counter.made(), counter.alive()), (10, 0));
    });
}

/// The contract of the trait for executors that only refuse, and for errors that are passed on.
#[test]
fn p37_a_refusal_can_be_passed_on() {
    let executor = RefusingExecutor::new(Refusal::ShutDown);
    executor.shutdown();
    assert!(executor.shutdown_with(Shutdown::wait()).is_ok());
    let refused: SubmitError<u64> =
        executor.submit(double, 7).map_err(|refused| refused.map(|(_, n)| n)).unwrap_err();
    let (reason, n) = refused.into_parts();
    assert!(matches!(reason, Refusal::ShutDown));
    assert_eq!(n, 7);
}
