//! Pools with a bounded queue: submitting waits, or not, or not for long; and never for a worker of the pool itself.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use concurrent_futures::{BuildError, Future, Refusal, Shutdown, ThreadPoolExecutor, promise};
use concurrent_futures_tests::guarded;

const CAPACITY: usize = 3;

/// A pool of one worker that is busy until the sender is dropped, with a full queue.
///
/// The worker waits on a channel: if it waited for a future, another thread would stand in for it.
fn full() -> (ThreadPoolExecutor, mpsc::Sender<()>, Vec<Future<usize>>) {
    let pool =
        ThreadPoolExecutor::builder().max_workers(1).queue_capacity(CAPACITY).build().unwrap();
    let (release, blocker) = mpsc::channel();
    let busy = pool.spawn(move || blocker.recv().map_or(0, |()| 0)).unwrap();
    while !busy.running() {
        thread::yield_now();
    }
    let mut futures = vec![busy];
    futures.extend((1..=CAPACITY).map(|n| pool.try_submit(|n| n, n).unwrap()));
    (pool, release, futures)
}

fn results(futures: Vec<Future<usize>>) -> Vec<usize> {
    futures.into_iter().map(|future| future.result().unwrap()).collect()
}

#[test]
fn p40_a_full_queue_refuses_those_who_do_not_wait() {
    guarded(|| {
        let (pool, release, futures) = full();
        let refused = pool.try_submit(|n| n, 9_usize).unwrap_err();
        assert!(matches!(refused.reason(), Refusal::Full), "{refused:?}");
        assert_eq!(refused.into_inner().1, 9);
        let late = pool.submit_timeout(Duration::from_millis(1), |n| n, 9_usize).unwrap_err();
        assert!(matches!(late.reason(), Refusal::Full), "{late:?}");
        drop(release);
        assert_eq!(results(futures), [0, 1, 2, 3]);
        assert_eq!(pool.submit_timeout(Duration::MAX, |n| n, 9).unwrap().result().unwrap(), 9);
    });
}

#[test]
fn p40_submitting_waits_for_room() {
    guarded(|| {
        let (pool, release, mut futures) = full();
        let (started, has_started) = promise::<()>();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                started.set_result(()).unwrap();
                pool.submit(|n| n, 4).unwrap()
            });
            has_started.result().unwrap();
            assert!(!waiting.is_finished());
            drop(release);
            futures.push(waiting.join().unwrap());
        });
        assert_eq!(results(futures), [0, 1, 2, 3, 4]);
    });
}

/// Producers that are faster than the workers never have more than the capacity waiting.
#[test]
fn p40_many_producers_share_the_room() {
    guarded(|| {
        let pool =
            ThreadPoolExecutor::builder().max_workers(2).queue_capacity(CAPACITY).build().unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let done = Arc::clone(&done);
                        drop(pool.spawn(move || done.fetch_add(1, Ordering::Relaxed)).unwrap());
                        // A worker that has taken a task counts it as started a moment later.
                        let queued = pool.stats().queued;
                        assert!(queued <= CAPACITY as u64 + 2, "{queued} tasks are queued");
                    }
                });
            }
        });
        pool.shutdown();
        assert_eq!(done.load(Ordering::Relaxed), 2000);
    });
}

/// A worker that waited for room in its own pool would wait for itself.
#[test]
fn p40_a_worker_does_not_wait_for_itself() {
    guarded(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1).build().unwrap();
        let pool = Arc::new(pool);
        let submitter = Arc::clone(&pool);
        let sum = pool.spawn(move || {
            let futures: Vec<_> = (0..50).map(|n| submitter.submit(|n| n, n).unwrap()).collect();
            results(futures).into_iter().sum::<usize>()
        });
        assert_eq!(sum.unwrap().result().unwrap(), 49 * 50 / 2);
    });
}

/// Nor does one that is not ready yet: the task that it was started for is what fills the queue.
#[test]
fn p40_an_initializer_does_not_wait_for_its_own_worker() {
    guarded(|| {
        let (pass_on, passed_on) = mpsc::channel::<Arc<ThreadPoolExecutor>>();
        let passed_on = Mutex::new(passed_on);
        let (tell, told) = mpsc::channel();
        let initializer = move || {
            let pool = passed_on.lock().unwrap().recv().unwrap();
            tell.send(pool.submit(|n| n, 1).unwrap()).unwrap();
        };
        let builder = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1);
        let pool = Arc::new(builder.initializer(initializer).build().unwrap());
        let first = pool.submit_with_state(|(), n| n, 0).unwrap();
        pass_on.send(pool).unwrap();
        assert_eq!(results(vec![first, told.recv().unwrap()]), [0, 1]);
    });
}

/// Who waits for room is told of a shutdown, and gets the task back.
#[test]
fn p40_a_shutdown_ends_the_wait_for_room() {
    guarded(|| {
        let (pool, release, futures) = full();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.submit(|n| n, 4).map(drop));
            pool.shutdown_with(Shutdown::no_wait()).unwrap();
            let refused = waiting.join().unwrap().unwrap_err();
            assert!(matches!(refused.reason(), Refusal::ShutDown), "{refused:?}");
        });
        drop(release);
        assert_eq!(results(futures), [0, 1, 2, 3]);
    });
}

#[test]
fn p40_a_queue_without_room_is_refused() {
    let error = ThreadPoolExecutor::builder().queue_capacity(0).build().unwrap_err();
    assert_eq!(error, BuildError::ZeroCapacity);
    assert_eq!(error.to_string(), "queue_capacity must be at least 1");
}

/// The parts of a snapshot add up whenever it is taken.
#[test]
fn p50_statistics_are_consistent() {
    guarded(|| {
        const TASKS: u64 = 5000;
        let pool = ThreadPoolExecutor::with_max_workers(2).unwrap();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                loop {
                    let stats = pool.stats();
                    let parts = stats.queued
                        + stats.running
                        + stats.succeeded
                        + stats.failed
                        + stats.cancelled;
                    assert_eq!(stats.submitted, parts, "{stats:?}");
                    if stats.submitted == TASKS && stats.queued + stats.running == 0 {
                        return stats;
                    }
                }
            });
            for n in 0..TASKS {
                let future = pool.submit(|n| n, n).unwrap();
                if n % 10 == 0 {
                    future.cancel();
                }
                drop(future);
            }
            let stats = watcher.join().unwrap();
            assert_eq!(stats.succeeded + stats.cancelled, TASKS);
            assert_eq!((stats.failed, stats.blocked), (0, 0));
        });
    });
}
