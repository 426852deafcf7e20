//! Callbacks of futures run in threads of the pool, and may do there whatever they like.

use std::{
    cell::Cell,
    collections::HashMap,
    ptr,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use concurrent_futures::{Shutdown, ShutdownError};
use concurrent_futures_tests::{
    Gate, delays,
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

/// A thread that waits for a result finds another one, whose callback it leaves to the crew, and stops looking. So somebody is
/// woken for two reasons at once: to run the callback, which takes long, and to look now and then for answers for which no bell
/// rings, as tasks are sent ahead. The latter is done as well, or else a result would wait for what runs behind it.
#[test]
fn a_slow_callback_holds_up_no_result_for_which_no_bell_rings() {
    fn spin((micros, n): (u64, u64)) -> u64 {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(micros) {}
        n
    }

    beside(|| {
        for round in 0..200 {
            let pool = pool(1);
            let gate = Gate::closed();
            // So that tasks are taken to be short.
            let short: Vec<_> = (0..500).map(|n| pool.submit(double, n).unwrap()).collect();
            for future in short {
                future.result().unwrap();
            }
            let (release, released) = mpsc::channel::<()>();
            let (sender, receiver) = mpsc::channel();
            // While it runs the others are sent.
            let first = pool.submit(spin, (300 + round % 20 * 20, 0)).unwrap();
            let slow = pool.submit(spin, (1, 1)).unwrap();
            let this = thread::current().id();
            slow.add_done_callback(move |_| {
                // This thread may have been held up until the task was done, and then it runs the callback itself.
                if thread::current().id() != this {
                    assert!(released.recv().is_err());
                }
            });
            let between: Vec<_> = (0..5).map(|n| pool.submit(spin, (60, n)).unwrap()).collect();
            let silent = pool.submit(spin, (60, 5)).unwrap();
            silent.add_done_callback(move |_| sender.send(()).unwrap());
            let long = pool.submit(pass, gate.key()).unwrap();
            let behind: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
            first.result().unwrap();
            let mut between = between.into_iter();
            between.next().unwrap().result().unwrap();
            // Nobody looks for this one from here.
            let came = receiver.recv_timeout(delays::scaled(Duration::from_secs(5)));
            gate.open();
            drop(release);
            long.result().unwrap();
            assert!(came.is_ok());
            assert!(between.chain(behind).all(|future| future.result().is_ok()));
        }
    });
}

/// What callbacks leave in the thread-locals of a thread of the pool is dropped when it ends. It is waited for by all shutdowns
/// that wait, but no longer than they are to. The thread was once joined without looking at the time, and by one of them.
#[test]
fn p39_a_timeout_holds_while_threads_of_the_pool_end() {
    struct AtEnd {
        began: mpsc::Sender<()>,
        goes_on: mpsc::Receiver<()>,
    }

    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.began.send(()).unwrap();
            let _disconnected = self.goes_on.recv();
        }
    }

    thread_local!(static AT_END: Cell<Option<AtEnd>> = const { Cell::new(None) });

    beside(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let future = pool.submit(pass, gate.key()).unwrap();
        let (began, is_dropped) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        future.add_done_callback(move |_| AT_END.set(Some(AtEnd { began, goes_on })));
        gate.open();
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        is_dropped.recv().unwrap();
        let is_late = || {
            let ended = pool.shutdown_with(Shutdown::timeout(delays::short()));
            matches!(ended, Err(ShutdownError::Timeout(_)))
        };
        assert!(is_late());
        thread::scope(|scope| {
            let others = [(); 2].map(|()| scope.spawn(|| pool.shutdown()));
            thread::sleep(delays::moment());
            assert!(is_late() && !others.iter().any(|other| other.is_finished()));
            drop(go_on);
        });
        pool.shutdown_with(Shutdown::timeout(delays::long())).unwrap();
    });
}

/// However many results come while callbacks run, these are not called from within one another.
#[test]
fn results_that_keep_coming_take_no_more_stack() {
    const TASKS: u64 = 20_000;
    const SPREAD_MAX: usize = 8 << 10;

    beside(|| {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let gate = Gate::closed();
        drop(pool.submit(pass, gate.key()).unwrap());
        for n in 0..TASKS {
            // A result that owns something is not completed in passing.
            let future = pool.submit(|n: u64| vec![n], n).unwrap();
            let sender = sender.clone();
            future.add_done_callback(move |_| {
                let begin = Instant::now();
                // Results come more quickly than this.
                while begin.elapsed() < Duration::from_micros(30) {}
                let depth = ptr::from_ref(&begin).addr();
                sender.send((thread::current().id(), depth)).unwrap();
            });
        }
        drop(sender);
        gate.open();
        let mut depths = HashMap::new();
        for (thread, depth) in receiver {
            let depths: &mut Vec<usize> = depths.entry(thread).or_default();
            depths.push(depth);
        }
        assert_eq!(depths.values().map(Vec::len).sum::<usize>() as u64, TASKS);
        for depths in depths.values() {
            let spread = depths.iter().max().unwrap() - depths.iter().min().unwrap();
            assert!(spread < SPREAD_MAX, "{spread} bytes, {} callbacks", depths.len());
        }
    });
}
