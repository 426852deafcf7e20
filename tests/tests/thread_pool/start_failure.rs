//! When the operating system gives no more threads. A stack that fits into no address space stands for that.

use std::{sync::Arc, thread};

use concurrent_futures::{
    Executor, InlineExecutor, MapError, MapOptions, Refusal, Shutdown, ThreadPoolExecutor,
};
use concurrent_futures_tests::{drops::DropCounter, guarded};

const TOO_LARGE: [usize; 3] = [usize::MAX, usize::MAX / 2, usize::MAX / 8];

fn without_threads(stack_size: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder().max_workers(2).stack_size(stack_size).build().unwrap()
}

/// Without any worker, and none to be had, a task is not accepted: it comes back, with the reason, and can be run
/// elsewhere. It does not run later, behind everyone's back.
#[test]
fn f107_without_a_worker_the_task_comes_back() {
    for stack_size in TOO_LARGE {
        guarded(move || {
            let pool = without_threads(stack_size);
            let counter = DropCounter::new();
            let token = counter.token();
            let refused = pool.submit(move |n: u64| (drop(token), n + 1).1, 41).unwrap_err();
            let Refusal::NoWorker(error) = refused.reason() else { panic!("{refused:?}") };
            assert!(error.raw_os_error().is_some(), "{error:?}");
            assert!(std::error::Error::source(&refused).is_some());
            assert_eq!(refused.to_string(), Refusal::NoWorker(Arc::clone(error)).to_string());
            assert_eq!((pool.thread_count(), counter.alive()), (0, 1));
            let (function, argument) = refused.into_inner();
            let elsewhere = InlineExecutor::new().submit(function, argument).unwrap();
            assert_eq!(elsewhere.result().unwrap(), 42);
            assert_eq!(counter.dropped(), 1);
        });
    }
}

/// The pool is neither broken nor shut down by it, and ends at once.
#[test]
fn p44_the_pool_is_otherwise_well() {
    guarded(|| {
        let pool = without_threads(usize::MAX / 2);
        for _ in 0..3 {
            let refused = pool.spawn(|| ()).unwrap_err();
            assert!(matches!(refused.reason(), Refusal::NoWorker(_)));
        }
        let debug = format!("{pool:?}");
        assert!(debug.contains("queued: 0") && debug.contains("shut_down: false"), "{debug}");
        pool.shutdown_with(Shutdown::wait()).unwrap();
        assert!(matches!(pool.spawn(|| ()).unwrap_err().reason(), Refusal::ShutDown));
    });
}

/// A map is refused with its items, and so is a scope's closure.
#[test]
fn p44_maps_and_scopes_are_refused_as_well() {
    guarded(|| {
        let pool = without_threads(usize::MAX / 2);
        let mut refused = pool.map_with(MapOptions::new().chunksize(2), |n: u64| n, 0..5).unwrap();
        assert!(matches!(refused.next(), Some(Err(MapError::Refused(Refusal::NoWorker(_))))));
        assert!(refused.into_unsubmitted().eq(0..5));

        let counter = DropCounter::new();
        let token = counter.token();
        let refused = pool.scope(|scope| scope.spawn(move || drop(token)).map(drop).unwrap_err());
        assert!(matches!(refused.reason(), Refusal::NoWorker(_)));
        assert_eq!(counter.alive(), 0);
        assert!(Executor::max_workers(&pool) == 2);
    });
}

/// From many threads at once, none is accepted and forgotten.
#[test]
fn p44_nothing_is_accepted_by_accident() {
    guarded(|| {
        let pool = without_threads(usize::MAX / 2);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert!(pool.spawn(|| unreachable!("there is no thread")).is_err());
                    }
                });
            }
        });
        pool.shutdown();
    });
}
