//! Workers that leave because there is nothing to do, and tasks that come just then.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::sleep,
    time::Duration,
};

use concurrent_futures::{ThreadPoolExecutor, promise};
use concurrent_futures_tests::{Gate, delays, guarded, threads};

use super::{named, occupy, pool, share};

/// Without an idle timeout, workers stay.
#[test]
fn f102_workers_stay_unless_told_otherwise() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        drop(occupy(&pool, &gate, 2));
        gate.open();
        sleep(delays::moment());
        assert_eq!(pool.thread_count(), 2);
    });
}

/// With one, workers that have nothing to do leave one by one until there is none; the pool goes on, and starts new ones
/// when there are tasks again.
#[cfg_attr(not(target_os = "linux"), ignore = "counts threads in /proc")]
#[test]
fn f102_idle_workers_leave_and_come_back() {
    guarded(|| {
        let (builder, prefix) = named();
        let pool = builder.max_workers(3).idle_timeout(delays::short()).build().unwrap();
        for _ in 0..3 {
            let gate = Gate::closed();
            drop(occupy(&pool, &gate, 3));
            assert_eq!((pool.thread_count(), threads::count(&prefix)), (3, 3));
            gate.open();
            threads::wait_for_count(&prefix, 0);
            while pool.thread_count() > 0 {
                sleep(delays::poll());
            }
        }
        assert_eq!(pool.spawn(|| 5).unwrap().result().unwrap(), 5);
    });
}

/// A timeout counts the time without a task: a worker that is used all the time does not leave.
#[test]
fn f102_a_worker_in_use_stays() {
    guarded(|| {
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .idle_timeout(delays::long())
            .build()
            .unwrap();
        let id = || std::thread::current().id();
        let first = pool.spawn(id).unwrap().result().unwrap();
        for _ in 0..100 {
            assert_eq!(pool.spawn(id).unwrap().result().unwrap(), first);
        }
    });
}

/// Timeouts beyond the clock, and of nothing.
#[test]
fn f102_any_timeout_will_do() {
    guarded(|| {
        for timeout in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_nanos(1)] {
            let pool =
                ThreadPoolExecutor::builder().max_workers(2).idle_timeout(timeout).build().unwrap();
            for n in 0..50 {
                assert_eq!(pool.spawn(move || n).unwrap().result().unwrap(), n);
            }
        }
    });
}

/// With a timeout of nothing every worker is on its way out when the next task comes. Each round goes through the window
/// between a worker's decision to leave and the end of its thread; a task that counted on it would wait for ever.
#[test]
fn p42_a_worker_that_leaves_is_not_counted_on() {
    for workers in [1, 2] {
        guarded(move || {
            let pool = ThreadPoolExecutor::builder()
                .max_workers(workers)
                .idle_timeout(Duration::ZERO)
                .build()
                .unwrap();
            for n in 0..5_000 {
                let (one, two) = (pool.spawn(move || n).unwrap(), pool.spawn(move || n).unwrap());
                assert_eq!((one.result().unwrap(), two.result().unwrap()), (n, n));
            }
        });
    }
}

/// What a worker holds while it leaves, for as long as the test likes.
struct SlowToDrop {
    begun: mpsc::Sender<()>,
    may_end: Arc<Gate>,
}

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        // Nobody listens any more at the end of the test.
        self.begun.send(()).unwrap_or_default();
        self.may_end.pass();
    }
}

fn slow_to_drop(begun: mpsc::Sender<()>, may_end: Arc<Gate>) -> impl Fn() -> SlowToDrop {
    let begun = Mutex::new(begun);
    move || SlowToDrop { begun: begun.lock().unwrap().clone(), may_end: Arc::clone(&may_end) }
}

/// The same window, held open by the destructor of the worker's state: the only worker has decided to leave, and takes
/// its time. It was once still counted as one that will take a task, and nobody took it.
#[test]
fn p42_a_slow_destructor_does_not_strand_a_task() {
    guarded(|| {
        let (begun, leaving) = mpsc::channel();
        // Opened by the test, before the pool waits for its workers.
        let gate = Gate::closed();
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .idle_timeout(delays::short())
            .initializer(slow_to_drop(begun, share(&gate)))
            .build()
            .unwrap();
        assert_eq!(pool.spawn(|| 1).unwrap().result().unwrap(), 1);
        leaving.recv().unwrap();
        assert_eq!(pool.spawn(|| 2).unwrap().result().unwrap(), 2);
        gate.open();
    });
}

/// A stand-in that is not needed any more leaves as well. It has given up its place when it begins to: if the worker that
/// it stood in for blocks again meanwhile, another one takes the task that this one waits for.
#[test]
fn p42_a_stand_in_that_leaves_is_not_counted_on() {
    guarded(|| {
        let (begun, leaving) = mpsc::channel();
        let gate = Gate::closed();
        let again = Gate::closed();
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .idle_timeout(delays::short())
            .initializer(slow_to_drop(begun, share(&gate)))
            .build()
            .unwrap();
        let (first, first_promised) = promise::<()>();
        let (second, second_promised) = promise::<()>();
        let outer = {
            let again = share(&again);
            pool.spawn(move || {
                first_promised.result().unwrap();
                again.pass();
                second_promised.result().unwrap();
            })
            .unwrap()
        };
        // Runs in a stand-in, which has no place when the first is awake again.
        pool.spawn(move || first.set_result(()).unwrap()).unwrap().result().unwrap();
        again.wait_for_arrivals(1);
        leaving.recv().unwrap();
        let keeps = pool.spawn(move || second.set_result(()).unwrap()).unwrap();
        again.open();
        outer.result().unwrap();
        keeps.result().unwrap();
        gate.open();
    });
}
