//! Callbacks of futures run in threads of the pool, and may do there whatever they like.

use std::sync::{Arc, mpsc};

use concurrent_futures::{Shutdown, ShutdownError};
use concurrent_futures_tests::{
    Gate,
    functions::{double, pass},
    registry,
};

use super::{beside, builder, leaks::Baseline, pool};

/// A callback that takes long holds up neither results nor other callbacks, however many do.
#[test]
fn slow_callbacks_hold_up_nothing() {
    beside(|| {
        let pool = pool(2);
        let (start, gate) = (Gate::closed(), Gate::closed());
        for _ in 0..5 {
            let waits = registry::find::<Gate>(gate.key());
            // A callback of a future that is done already would run here, and wait for ever.
            let future = pool.submit(pass, start.key()).unwrap();
            future.add_done_callback(move |_| waits.pass());
            drop(future);
        }
        start.open();
        let futures: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
        let (sender, receiver) = mpsc::channel();
        for future in &futures {
            let sender = sender.clone();
            future.add_done_callback(move |_| sender.send(()).unwrap());
        }
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().unwrap(), 2 * n);
            receiver.recv().unwrap();
        }
        gate.open();
    });
}

/// A callback may submit to its pool, and wait for the result.
#[test]
fn a_callback_may_wait_for_another_task() {
    beside(|| {
        let pool = Arc::new(pool(1));
        let gate = Gate::closed();
        let future = pool.submit(pass, gate.key()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let inner = Arc::clone(&pool);
        future.add_done_callback(move |_| {
            let result = inner.submit(double, 21).unwrap().result().unwrap();
            sender.send(result).unwrap();
        });
        gate.open();
        assert_eq!(receiver.recv().unwrap(), 42);
    });
}

/// A callback that shuts its pool down, and would wait for itself, is told so; the pool is shut down all the same.
#[test]
fn a_callback_may_shut_the_pool_down() {
    beside(|| {
        let pool = Arc::new(pool(1));
        let gate = Gate::closed();
        let future = pool.submit(pass, gate.key()).unwrap();
        let queued = pool.submit(double, 4).unwrap();
        let (sender, receiver) = mpsc::channel();
        let inner = Arc::clone(&pool);
        future.add_done_callback(move |_| {
            sender.send(inner.shutdown_with(Shutdown::wait())).unwrap()
        });
        gate.open();
        assert!(matches!(receiver.recv().unwrap(), Err(ShutdownError::CalledFromWorker)));
        assert!(pool.submit(double, 4).is_err());
        assert_eq!(queued.result().unwrap(), 8);
        pool.shutdown();
    });
}

/// A callback may have the last hold of the pool.
#[test]
fn a_callback_may_drop_the_pool() {
    super::alone(|| {
        let (baseline, choices) = Baseline::take(builder(1));
        let pool = choices.build().unwrap();
        let gate = Gate::closed();
        let future = pool.submit(pass, gate.key()).unwrap();
        let queued = pool.submit(double, 4).unwrap();
        future.add_done_callback(move |_| drop(pool));
        gate.open();
        assert_eq!(queued.result().unwrap(), 8);
        future.result().unwrap();
        drop(gate);
        baseline.wait_and_check();
    });
}
