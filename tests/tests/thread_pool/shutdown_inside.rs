//! Shutting a pool down, or dropping it, in one of its own threads: in a task, in a callback, in a destructor.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, mpsc},
};

use concurrent_futures::{Executor, Future, Refusal, Shutdown, ShutdownError, ThreadPoolExecutor};
use concurrent_futures_tests::{Gate, delays, guarded, threads};

use super::{named, occupy, pool, share};

/// A worker cannot wait for its own pool, and is told so; the pool is shut down all the same.
#[test]
fn f094_a_task_cannot_wait_for_its_own_pool() {
    guarded(|| {
        for how in [
            Shutdown::wait(),
            Shutdown::wait().cancel_futures(),
            Shutdown::timeout(delays::long()),
            Shutdown::timeout(delays::short()).cancel_futures(),
        ] {
            let pool = Arc::new(pool(2));
            let inner = Arc::clone(&pool);
            let outcome = pool
                .spawn(move || {
                    let outcome = inner.shutdown_with(how);
                    // F075: also its own tasks are refused from now on.
                    let refused = inner.spawn(|| ()).map(drop).unwrap_err();
                    (outcome, refused.reason().clone())
                })
                .unwrap();
            let (outcome, reason) = outcome.result().unwrap();
            assert!(matches!(outcome, Err(ShutdownError::CalledFromWorker)), "{outcome:?}");
            assert!(matches!(reason, Refusal::ShutDown));
            pool.shutdown();
            assert_eq!(pool.thread_count(), 0);
        }
    });
}

/// `shutdown()` in a worker does not wait, and says nothing; nor does a shutdown that does not wait anyway.
#[test]
fn f094_a_task_can_shut_down_without_waiting() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let inner = Arc::clone(&pool);
        let queued = {
            let gate = Gate::closed();
            let passing = share(&gate);
            let first = pool.spawn(move || {
                passing.pass();
                inner.shutdown();
                Executor::shutdown(&*inner);
                inner.shutdown_with(Shutdown::no_wait()).unwrap();
            });
            let queued = pool.spawn(|| 5).unwrap();
            gate.open();
            first.unwrap().result().unwrap();
            queued
        };
        assert_eq!(queued.result().unwrap(), 5, "what was accepted runs");
        pool.shutdown();
    });
}

/// A task that cancels everything does not cancel itself, nor hang, and those behind it see it.
#[test]
fn f094_a_task_can_cancel_the_rest() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let gate = Gate::closed();
        let (inner, passing) = (Arc::clone(&pool), share(&gate));
        let first = pool
            .spawn(move || {
                passing.pass();
                inner.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
                1
            })
            .unwrap();
        let queued: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
        gate.open();
        assert_eq!(first.result().unwrap(), 1);
        assert!(queued.into_iter().all(|future| future.result().unwrap_err().is_cancelled()));
    });
}

/// A callback that runs in a worker is in the same place as a task; one that runs in the thread that cancels is not, and
/// may wait.
#[test]
fn f094_callbacks_are_where_they_run() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let (told, outcomes) = mpsc::channel();
        let gate = Gate::closed();
        let passing = share(&gate);
        let future = pool.spawn(move || passing.pass()).unwrap();
        let (inner, tell) = (Arc::clone(&pool), told.clone());
        future.add_done_callback(move |_| {
            tell.send(inner.shutdown_with(Shutdown::wait())).unwrap();
        });
        gate.open();
        let outcome = outcomes.recv().unwrap();
        assert!(matches!(outcome, Err(ShutdownError::CalledFromWorker)), "{outcome:?}");

        let pool = Arc::new(self::pool(1));
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 1);
        let queued = pool.spawn(|| ()).unwrap();
        let (inner, opens) = (Arc::clone(&pool), share(&gate));
        queued.add_done_callback(move |_| {
            opens.open();
            told.send(inner.shutdown_with(Shutdown::wait())).unwrap();
        });
        assert!(queued.cancel());
        assert!(outcomes.recv().unwrap().is_ok());
        assert_eq!(pool.thread_count(), 0);
        running.into_iter().for_each(|future| future.result().unwrap());
    });
}

/// A worker of one pool may wait for the end of another.
#[test]
fn f094_a_task_can_wait_for_another_pool() {
    guarded(|| {
        let (one, other) = (pool(1), Arc::new(pool(1)));
        let gate = Gate::closed();
        let running = occupy(&other, &gate, 1);
        let ends = Arc::clone(&other);
        let waits = one.spawn(move || ends.shutdown_with(Shutdown::wait())).unwrap();
        // While it waits, another thread stands in for it.
        let opens = share(&gate);
        one.spawn(move || opens.open()).unwrap().result().unwrap();
        assert!(waits.result().unwrap().is_ok());
        running.into_iter().for_each(|future| future.result().unwrap());
    });
}

/// The last handle of a pool may be in a task, and is then dropped by a worker. The pool ends when its tasks have.
#[cfg_attr(not(target_os = "linux"), ignore = "counts threads in /proc")]
#[test]
fn f108_a_pool_may_be_dropped_by_its_own_worker() {
    guarded(|| {
        for round in 0..50 {
            let (builder, prefix) = named();
            let pool = Arc::new(builder.max_workers(2).build().unwrap());
            let gate = Gate::closed();
            let (inner, passing) = (Arc::clone(&pool), share(&gate));
            let last = pool
                .spawn(move || {
                    passing.pass();
                    drop(inner);
                    round
                })
                .unwrap();
            gate.wait_for_arrivals(1);
            let queued: Vec<_> = (0..10).map(|n| pool.submit(|n| n, n).unwrap()).collect();
            drop(pool);
            gate.open();
            assert_eq!(last.result().unwrap(), round);
            assert!(queued.into_iter().map(|future| future.result().unwrap()).eq(0..10));
            threads::wait_for_count(&prefix, 0);
        }
    });
}

/// It may be in what a task has captured and does not use, in its argument, in its result, or in a callback.
#[cfg_attr(not(target_os = "linux"), ignore = "counts threads in /proc")]
#[test]
fn f108_wherever_the_last_handle_is() {
    type Pool = ThreadPoolExecutor;
    fn captured(pool: Arc<Pool>, gate: Arc<Gate>) {
        let inner = Arc::clone(&pool);
        drop(
            pool.spawn(move || {
                let _inner = inner;
                gate.pass();
            })
            .unwrap(),
        );
    }
    fn argument(pool: Arc<Pool>, gate: Arc<Gate>) {
        let inner = Arc::clone(&pool);
        drop(pool.submit(move |_pool: Arc<Pool>| gate.pass(), inner).unwrap());
    }
    fn result(pool: Arc<Pool>, gate: Arc<Gate>) {
        let inner = Arc::clone(&pool);
        drop(
            pool.submit(
                move |pool: Arc<Pool>| {
                    gate.pass();
                    pool
                },
                inner,
            )
            .unwrap(),
        );
    }
    fn callback(pool: Arc<Pool>, gate: Arc<Gate>) {
        let future = pool.spawn(move || gate.pass()).unwrap();
        future.add_done_callback(move |_| drop(pool));
    }
    fn panicking(pool: Arc<Pool>, gate: Arc<Gate>) {
        let inner = Arc::clone(&pool);
        let future = pool
            .spawn(move || {
                let _inner = inner;
                gate.pass();
                panic!("with the last handle on the stack");
            })
            .unwrap();
        future.on_done(|outcome: Result<(), _>| assert!(outcome.unwrap_err().is_panic()));
    }

    guarded(|| {
        for leave in [captured, argument, result, callback, panicking] {
            let (builder, prefix) = named();
            let pool = Arc::new(builder.max_workers(2).build().unwrap());
            let gate = Gate::closed();
            leave(pool, share(&gate));
            gate.wait_for_arrivals(1);
            assert_eq!(threads::count(&prefix), 1);
            gate.open();
            threads::wait_for_count(&prefix, 0);
        }
    });
}

/// A callback in the cancelling thread may hold the last handle: then that thread waits.
#[cfg_attr(not(target_os = "linux"), ignore = "counts threads in /proc")]
#[test]
fn f108_the_last_handle_may_be_in_a_cancelled_task() {
    guarded(|| {
        let (builder, prefix) = named();
        let pool = Arc::new(builder.max_workers(1).build().unwrap());
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 1);
        let inner = Arc::clone(&pool);
        let queued = pool.spawn(move || drop(inner)).unwrap();
        drop(pool);
        gate.open();
        // Drops what the task had captured, and with it the pool; unless the task was quicker.
        let cancelled = queued.cancel();
        if cancelled {
            assert!(running.iter().all(Future::done));
        }
        threads::wait_for_count(&prefix, 0);
        running.into_iter().for_each(|future| future.result().unwrap());
    });
}

/// Thread-locals of the user are dropped as a worker's thread ends, when the worker has left. They are in a worker of the
/// pool all the same: it must not wait for itself, and nothing is accepted.
#[test]
fn f094_a_thread_local_may_shut_its_pool_down() {
    type Outcome = (Result<(), ShutdownError>, bool);
    struct AtEnd {
        pool: Arc<ThreadPoolExecutor>,
        tell: mpsc::Sender<Outcome>,
    }
    impl Drop for AtEnd {
        fn drop(&mut self) {
            let refused = self.pool.spawn(|| ()).is_err();
            self.tell.send((self.pool.shutdown_with(Shutdown::wait()), refused)).unwrap();
        }
    }
    thread_local! {
        static AT_END: Mutex<Option<AtEnd>> = const { Mutex::new(None) };
    }

    guarded(|| {
        let pool = Arc::new(pool(1));
        let (tell, told) = mpsc::channel();
        let at_end = AtEnd { pool: Arc::clone(&pool), tell };
        pool.spawn(move || AT_END.with(|slot| *slot.lock().unwrap() = Some(at_end)))
            .unwrap()
            .result()
            .unwrap();
        pool.shutdown();
        let (outcome, refused) = told.recv().unwrap();
        assert!(matches!(outcome, Err(ShutdownError::CalledFromWorker)), "{outcome:?}");
        assert!(refused);
    });
}

/// A pool that a panicking task shuts down, or that is shut down while a task panics.
#[test]
fn f094_panics_and_shutdowns_do_not_get_in_each_others_way() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let inner = Arc::clone(&pool);
        let future = pool
            .spawn(move || {
                inner.shutdown();
                panic!("after the shutdown");
            })
            .unwrap();
        let outcome: Result<(), _> = future.result();
        assert!(outcome.unwrap_err().is_panic());
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _pool = pool;
            panic!("with a pool on the stack");
        }));
        assert!(caught.is_err());
    });
}
