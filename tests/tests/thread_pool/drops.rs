//! Dropping a pool: what becomes of its tasks, and for how long it is waited for, is a choice made at construction.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use concurrent_futures::{Builder, DropPolicy, Future, TaskError};
use concurrent_futures_tests::{Gate, delays, guarded, threads};

use super::{named, occupy, share};

const POLICIES: [DropPolicy; 5] = [
    DropPolicy::Wait,
    DropPolicy::CancelAndWait,
    DropPolicy::WaitFor(Duration::MAX),
    DropPolicy::WaitFor(Duration::ZERO),
    DropPolicy::Detach,
];

fn with(policy: DropPolicy) -> (Builder, String) {
    let (builder, prefix) = named();
    (builder.drop_policy(policy), prefix)
}

/// The default: everything runs, and is waited for.
#[test]
fn f108_by_default_a_drop_waits() {
    assert_eq!(DropPolicy::default(), DropPolicy::Wait);
    guarded(|| {
        let (builder, prefix) = named();
        let pool = builder.max_workers(2).build().unwrap();
        let futures: Vec<_> = (0..100).map(|n| pool.spawn(move || n).unwrap()).collect();
        drop(pool);
        threads::wait_for_count(&prefix, 0);
        assert!(futures.into_iter().map(|future| future.try_result().unwrap().unwrap()).eq(0..100));
    });
}

/// Queued tasks are cancelled, the running one is waited for.
#[test]
fn f150_cancel_and_wait() {
    guarded(|| {
        let (builder, prefix) = with(DropPolicy::CancelAndWait);
        let pool = builder.max_workers(1).build().unwrap();
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 1);
        let queued: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
        thread::scope(|scope| {
            let dropped = scope.spawn(move || drop(pool));
            assert!(
                queued
                    .iter()
                    .all(|future| matches!(future.exception(), Some(TaskError::Cancelled)))
            );
            assert!(!running[0].done() && !dropped.is_finished());
            gate.open();
        });
        assert!(running.iter().all(Future::done));
        threads::wait_for_count(&prefix, 0);
    });
}

/// What has not ended in time goes on in the background.
#[test]
fn p35_waiting_has_a_limit() {
    guarded(|| {
        let (builder, prefix) = with(DropPolicy::WaitFor(delays::short()));
        let pool = builder.max_workers(1).build().unwrap();
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 1);
        let queued = pool.spawn(|| 5).unwrap();
        let begin = Instant::now();
        drop(pool);
        assert!(begin.elapsed() >= delays::short());
        assert!(!running[0].done() && !queued.done());
        gate.open();
        assert_eq!(queued.result().unwrap(), 5);
        threads::wait_for_count(&prefix, 0);
    });
}

/// Nothing is waited for, and everything runs.
#[test]
fn p35_detached_tasks_run_in_the_background() {
    guarded(|| {
        let (builder, prefix) = with(DropPolicy::Detach);
        let pool = builder.max_workers(2).build().unwrap();
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 2);
        let queued: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
        drop(pool);
        assert!(running.iter().all(Future::running));
        gate.open();
        assert!(queued.into_iter().map(|future| future.result().unwrap()).eq(0..10));
        threads::wait_for_count(&prefix, 0);
    });
}

/// While the thread panics, whatever the policy, what has not started is cancelled, so that the error does not wait
/// behind a long queue.
#[test]
fn p38_a_drop_while_unwinding_cancels() {
    for policy in POLICIES {
        guarded(move || {
            let (builder, prefix) = with(policy);
            let pool = builder.max_workers(1).build().unwrap();
            let gate = Gate::closed();
            let running = occupy(&pool, &gate, 1);
            let queued: Vec<_> = (0..100).map(|n| pool.spawn(move || n).unwrap()).collect();
            thread::scope(|scope| {
                scope.spawn(|| {
                    queued[99].wait();
                    gate.open();
                });
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    let _pool = pool;
                    panic!("an error in the block");
                }));
                assert!(caught.is_err());
            });
            assert!(queued.iter().all(Future::cancelled), "{policy:?}");
            running.into_iter().for_each(|future| future.result().unwrap());
            threads::wait_for_count(&prefix, 0);
        });
    }
}

/// The policy is about the end of the handle: a pool that has been shut down before is dropped at once if nothing is
/// left, and according to its policy if something is.
#[test]
fn f150_a_drop_after_a_shutdown_follows_the_policy() {
    for policy in POLICIES {
        guarded(move || {
            let (builder, prefix) = with(policy);
            let pool = builder.max_workers(1).build().unwrap();
            let gate = Gate::closed();
            let passing = share(&gate);
            let running = pool.spawn(move || passing.pass()).unwrap();
            gate.open();
            pool.shutdown();
            drop(pool);
            running.try_result().unwrap().unwrap();
            threads::wait_for_count(&prefix, 0);
        });
    }
}

/// A pool without threads is dropped without further ado, under every policy.
#[test]
fn f150_an_unused_pool_is_dropped_at_once() {
    for policy in POLICIES {
        guarded(move || drop(with(policy).0.build().unwrap()));
    }
}

/// Futures outlive their pool, and so does everything that was waiting for them.
#[test]
fn f108_futures_outlive_their_pool() {
    guarded(|| {
        let (builder, _) = with(DropPolicy::Detach);
        let pool = builder.max_workers(1).build().unwrap();
        let gate = Gate::closed();
        let passing = share(&gate);
        let future = pool
            .spawn(move || {
                passing.pass();
                Arc::new(7)
            })
            .unwrap();
        let waits = thread::spawn(move || future.result().unwrap());
        gate.wait_for_arrivals(1);
        drop(pool);
        gate.open();
        assert_eq!(*waits.join().unwrap(), 7);
    });
}
