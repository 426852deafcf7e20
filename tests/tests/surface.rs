//! What is there, by name: section A of Python's behaviours, and the few that are about types rather than about what
//! happens.

use std::{error::Error, io, time::Duration};

use concurrent_futures::{
    BrokenExecutor, Executor, ExecutorExt, InlineExecutor, InvalidStateError, MapError, Refusal,
    ReturnWhen, Shutdown, SubmitError, TaskError, ThreadPoolExecutor, TimeoutError, as_completed,
    promise, wait,
};
use concurrent_futures_tests::guarded;

/// All that Python's module exports, and that has a counterpart, is exported by the facade under its name.
#[test]
fn f001_python_names_are_exported() {
    fn executor<E: Executor>(_: &E) {}

    executor(&ThreadPoolExecutor::new());
    let (promise, future) = promise::<u8>();
    promise.set_result(1).unwrap();
    let done = wait([future], ReturnWhen::AllCompleted).done;
    assert_eq!(as_completed(done).map(|future| future.result().unwrap()).sum::<u8>(), 1);
}

/// A feature brings its pool and nothing else; without that of processes there is nothing of what they need.
#[test]
fn f002_nothing_comes_that_was_not_asked_for() {
    let manifest = include_str!("../../crates/concurrent-futures/Cargo.toml");
    for feature in ["thread-pool", "process-pool"] {
        assert!(
            manifest.contains(&format!("\n{feature} = [\"dep:concurrent-futures-{feature}\"]"))
        );
    }
    let (_, dependencies) = manifest.split_once("\n[dependencies]").unwrap();
    let (dependencies, _) = dependencies.split_once("\n[").unwrap();
    for name in ["nix", "bincode", "libc", "process-pool"] {
        assert!(!dependencies.contains(name), "{name} is a dependency of the facade");
    }
}

/// The three ways to wait are the only three: an unknown value does not compile, so it cannot go unnoticed.
#[test]
fn f004_there_are_three_ways_to_wait() {
    for return_when in
        [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted]
    {
        let nothing: [concurrent_futures::Future<()>; 0] = [];
        assert!(wait(nothing, return_when).done.is_empty());
    }
    assert_eq!(ReturnWhen::default(), ReturnWhen::AllCompleted);
}

#[test]
fn f005_a_cancelled_future_answers_with_a_cancelled_error() {
    let (_promise, future) = promise::<()>();
    assert!(future.cancel());
    let error = future.result().unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.to_string(), "the task was cancelled before it started");
}

/// A task may fail with an operating system's time-out; that is another type than a wait's.
#[test]
fn f006_a_time_out_of_the_wait_is_no_error_of_the_task() {
    let (promise, future) = promise::<()>();
    let timeout: TimeoutError<_> = future.result_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(timeout.to_string(), "the wait timed out");
    promise.set_exception(TaskError::failed(io::Error::from(io::ErrorKind::TimedOut))).unwrap();
    let error: TaskError = timeout.into_inner().result().unwrap_err();
    assert_eq!(error.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn f007_completing_a_cancelled_future_is_an_invalid_state() {
    let (promise, future) = promise();
    future.cancel();
    let error: InvalidStateError<&str> = promise.set_result("too late").unwrap_err();
    assert!(error.to_string().contains("state"), "{error}");
    assert_eq!(error.into_inner(), "too late");
}

/// One type says that an executor is broken, to those who wait and to those who submit, and both find out why.
#[test]
fn f008_f009_broken_executors_say_why() {
    guarded(|| {
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .try_initializer(|| Err::<(), _>(io::Error::other("no licence")))
            .build()
            .unwrap();
        let failed = pool.spawn(|| ()).unwrap().result().unwrap_err();
        assert!(matches!(failed, TaskError::Broken(_)), "{failed:?}");
        let refused = pool.spawn(|| ()).unwrap_err();
        assert!(matches!(refused.reason(), Refusal::Broken(_)), "{refused:?}");
        for error in [&failed as &dyn Error, &refused as &dyn Error] {
            let broken = error.source().unwrap().downcast_ref::<BrokenExecutor>().unwrap();
            assert!(broken.to_string().contains("initializer"), "{broken}");
            assert_eq!(broken.source().unwrap().to_string(), "no licence");
        }
    });
}

#[test]
fn f012_a_refused_submission_has_a_type_and_the_task() {
    let pool = ThreadPoolExecutor::new();
    pool.shutdown();
    let refused: SubmitError<_> = pool.submit(|n: u8| n + 1, 41).unwrap_err();
    assert!(matches!(refused.reason(), Refusal::ShutDown));
    let (function, argument) = refused.into_inner();
    assert_eq!(function(argument), 42);
}

/// Every error is one for `?`, also from another thread.
#[test]
fn f013_errors_are_errors() {
    fn error<E: Error + Send + Sync + 'static>() {}

    error::<TaskError>();
    error::<TimeoutError>();
    error::<InvalidStateError>();
    error::<SubmitError<()>>();
    error::<MapError>();
    error::<BrokenExecutor>();
    error::<concurrent_futures::ShutdownError>();
    error::<concurrent_futures::BuildError>();
    error::<concurrent_futures::InvalidMapOptions>();
}

/// What a thread keeps for itself is neither seen by its tasks nor changed by them.
#[test]
fn f109_thread_locals_stay_where_they_are() {
    use std::cell::Cell;

    thread_local! {
        static CONTEXT: Cell<u32> = const { Cell::new(0) };
    }

    guarded(|| {
        CONTEXT.set(7);
        let pool = ThreadPoolExecutor::with_max_workers(1).unwrap();
        let seen = pool.spawn(|| CONTEXT.replace(9)).unwrap();
        assert_eq!(seen.result().unwrap(), 0);
        assert_eq!(pool.spawn(|| CONTEXT.get()).unwrap().result().unwrap(), 9);
        assert_eq!(CONTEXT.get(), 7);
    });
}

/// Where Python 3.14 has a context for each worker, there is a state: built in it, lent to its tasks, dropped at its end.
#[test]
fn f110_each_worker_has_a_state_of_its_own() {
    use std::{cell::Cell, sync::mpsc};

    struct Context(Cell<u32>, mpsc::Sender<u32>);
    impl Drop for Context {
        fn drop(&mut self) {
            self.1.send(self.0.get()).unwrap();
        }
    }

    guarded(|| {
        let (sender, ended) = mpsc::channel();
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .initializer(move || Context(Cell::new(0), sender.clone()))
            .build()
            .unwrap();
        for by in [1, 2, 3] {
            let add = |context: &Context, by| context.0.set(context.0.get() + by);
            pool.submit_with_state(add, by).unwrap().result().unwrap();
        }
        pool.shutdown();
        assert_eq!(ended.try_recv(), Ok(6));
    });
}

/// The bridge to async code is that a future is one; losing interest there can cancel here.
#[test]
fn f152_a_future_is_awaited_and_cancelled_by_drop() {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    let (promise, future) = promise();
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut context).is_pending());
    promise.set_result(5).unwrap();
    assert!(matches!(future.poll(&mut context), Poll::Ready(Ok(5))));

    let (promise, future) = concurrent_futures::promise::<()>();
    drop(future.cancel_on_drop());
    assert!(promise.cancelled());
}

/// What is still discussed for Python: a cancelling shutdown wakes those who wait, refusals have a type, and a shutdown
/// has a time-out.
#[test]
fn f156_what_python_still_discusses_is_there() {
    guarded(|| {
        let pool = ThreadPoolExecutor::with_max_workers(1).unwrap();
        let (release, blocker) = promise::<()>();
        let running = pool.spawn(move || blocker.result().unwrap()).unwrap();
        while !running.running() {
            std::thread::yield_now();
        }
        let queued = pool.spawn(|| ()).unwrap();
        let how = Shutdown::timeout(Duration::ZERO).cancel_futures();
        assert!(pool.shutdown_with(how).is_err(), "a task is still running");
        assert_eq!(wait([queued], ReturnWhen::AllCompleted).done.len(), 1);
        assert!(matches!(pool.spawn(|| ()).unwrap_err().reason(), Refusal::ShutDown));
        release.set_result(()).unwrap();
        running.result().unwrap();
    });
}

/// A failing item is an item like any other, on any executor.
#[test]
fn p09_f154_a_map_outlives_its_failing_items() {
    let results: Vec<Result<u64, MapError>> =
        InlineExecutor::new().map(|n: u64| 12 / n, [3, 0, 4]).collect();
    assert!(matches!(results[..], [Ok(4), Err(MapError::Task(_)), Ok(3)]), "{results:?}");
    let executor: &dyn Executor = &InlineExecutor::new();
    assert_eq!(executor.map(|n: u64| 12 / n, [3, 0, 4]).filter(Result::is_ok).count(), 2);
}
