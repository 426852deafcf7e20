//! Shutting a pool down from outside, where the shared suite does not look: threads, names, timeouts, handlers.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use concurrent_futures::{
    Future, Refusal, Shutdown, ShutdownError, State, TaskError, ThreadPoolExecutor,
};
use concurrent_futures_tests::{Gate, delays, guarded, threads};

use super::{named, occupy, pool, share};

/// A shutdown that waits has joined all threads when it returns.
#[cfg_attr(not(target_os = "linux"), ignore = "counts threads in /proc")]
#[test]
fn f091_no_thread_is_left() {
    guarded(|| {
        for _ in 0..50 {
            let (builder, prefix) = named();
            let pool = builder.max_workers(4).build().unwrap();
            let gate = Gate::closed();
            drop(occupy(&pool, &gate, 4));
            gate.open();
            pool.shutdown();
            assert_eq!(pool.thread_count(), 0);
            // The system lists a thread for a moment after it has been joined.
            threads::wait_for_count(&prefix, 0);
        }
    });
}

/// Idle workers, busy ones and queued tasks: all are seen to, and the order in which they end does not matter.
#[test]
fn f091_everything_queued_runs_with_few_workers() {
    guarded(|| {
        for workers in 1..4 {
            let pool = pool(workers);
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..1000 {
                let ran = Arc::clone(&ran);
                drop(pool.spawn(move || ran.fetch_add(1, Ordering::Relaxed)).unwrap());
            }
            pool.shutdown();
            assert_eq!(ran.load(Ordering::Relaxed), 1000);
        }
    });
}

/// A task that another one submitted before the shutdown is run as well.
#[test]
fn f091_what_tasks_have_submitted_runs() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let gate = Gate::closed();
        let (inner, passing) = (Arc::clone(&pool), share(&gate));
        let outer = pool
            .spawn(move || {
                let futures: Vec<_> = (0..10).map(|n| inner.spawn(move || n).unwrap()).collect();
                passing.pass();
                futures
            })
            .unwrap();
        gate.wait_for_arrivals(1);
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        gate.open();
        pool.shutdown();
        let futures = outer.result().unwrap();
        assert!(futures.into_iter().map(|future| future.result().unwrap()).eq(0..10));
    });
}

/// Cancelling reaches the tasks that a running task has submitted, and those that wait behind it.
#[test]
fn f092_what_tasks_have_submitted_is_cancelled() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let gate = Gate::closed();
        let (inner, passing) = (Arc::clone(&pool), share(&gate));
        let outer = pool
            .spawn(move || {
                let futures: Vec<_> = (0..10).map(|n| inner.spawn(move || n).unwrap()).collect();
                passing.pass();
                futures
            })
            .unwrap();
        gate.wait_for_arrivals(1);
        let behind: Vec<_> = (0..10).map(|n| pool.spawn(move || n).unwrap()).collect();
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert!(behind.iter().all(Future::cancelled));
        gate.open();
        assert!(outer.result().unwrap().iter().all(Future::cancelled));
    });
}

/// Nothing starts once a cancelling shutdown has returned, but for what a worker has in its hands just then: no more than
/// one task each. Workers steal from each other in batches, while the shutdown goes past them one by one and collects
/// what they have. The one with all the tasks is the last that it comes to, so those before it have time to steal some,
/// and were once left with them.
#[test]
fn f092_tasks_that_are_being_stolen_are_cancelled_as_well() {
    guarded(|| {
        for round in 0..15 {
            let pool = Arc::new(pool(4));
            let (thieves, hold) = (Gate::closed(), Gate::closed());
            drop(occupy(&pool, &thieves, 3));
            let (inner, holding) = (Arc::clone(&pool), share(&hold));
            let outer = pool
                .spawn(move || {
                    let short = || thread::sleep(delays::task() / 10);
                    let futures: Vec<_> =
                        (0..20_000).map(|_| inner.spawn(short).unwrap()).collect();
                    holding.pass();
                    futures
                })
                .unwrap();
            hold.wait_for_arrivals(1);
            thread::scope(|scope| {
                scope.spawn(|| thieves.open());
                for _ in 0..round * 800 {
                    std::hint::spin_loop();
                }
                pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
            });
            hold.open();
            let waiting: Vec<_> = outer
                .result()
                .unwrap()
                .into_iter()
                .filter(|f| f.state() == State::Pending)
                .collect();
            pool.shutdown();
            let ran = waiting.into_iter().filter(|future| future.exception().is_none()).count();
            assert!(ran <= 4, "{ran} tasks");
        }
    });
}

/// The newest is cancelled first: a callback that sees one cancelled finds those after it cancelled as well, and if it
/// submits anything, is refused.
#[test]
fn f092_a_callback_sees_the_shutdown() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 1);
        let queued: Vec<_> = (0..3).map(|n| pool.spawn(move || n).unwrap().share()).collect();
        let seen = Arc::new(AtomicUsize::new(0));
        for (index, future) in queued.iter().enumerate() {
            let after = queued[index..].to_vec();
            let (pool, seen) = (Arc::clone(&pool), Arc::clone(&seen));
            future.add_done_callback(move |_| {
                assert!(after.iter().all(|future| future.cancelled()));
                assert!(matches!(pool.spawn(|| ()).unwrap_err().reason(), Refusal::ShutDown));
                seen.fetch_add(1, Ordering::SeqCst);
            });
        }
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert_eq!(seen.load(Ordering::SeqCst), 3);
        gate.open();
        running.into_iter().for_each(|future| future.result().unwrap());
    });
}

/// What a worker leaves to be dropped when its thread ends, which this then holds up.
struct AtEnd {
    began: mpsc::Sender<()>,
    goes_on: mpsc::Receiver<()>,
}

impl AtEnd {
    /// Has a worker of the pool leave one. Returns what says that it is being dropped, and what it waits for to be dropped.
    fn leave_in(pool: &ThreadPoolExecutor) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        thread_local!(static AT_END: Cell<Option<AtEnd>> = const { Cell::new(None) });
        let (began, is_dropped) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let at_end = AtEnd { began, goes_on };
        pool.spawn(move || AT_END.set(Some(at_end))).unwrap().result().unwrap();
        (is_dropped, go_on)
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.began.send(()).unwrap();
        let _disconnected = self.goes_on.recv();
    }
}

fn is_late(pool: &ThreadPoolExecutor) -> bool {
    let ended = pool.shutdown_with(Shutdown::timeout(delays::short()));
    matches!(ended, Err(ShutdownError::Timeout(_)))
}

/// A thread whose worker has left, and that drops its thread-locals, is waited for no longer than anything else; neither is
/// another shutdown, which waits for it. Both were once joined and locked without looking at the time.
#[test]
fn p39_a_timeout_holds_while_threads_end() {
    guarded(|| {
        let pool = pool(1);
        let (is_dropped, go_on) = AtEnd::leave_in(&pool);
        assert!(is_late(&pool));
        is_dropped.recv().unwrap();
        assert!(is_late(&pool));
        thread::scope(|scope| {
            let other = scope.spawn(|| pool.shutdown());
            thread::sleep(delays::moment());
            assert!(is_late(&pool) && !other.is_finished());
            drop(go_on);
        });
        pool.shutdown_with(Shutdown::timeout(delays::long())).unwrap();
    });
}

/// So is one whose worker left long ago, for want of tasks. It was forgotten when the next thread was started.
#[test]
fn f091_a_thread_that_ends_early_is_waited_for() {
    guarded(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).idle_timeout(Duration::ZERO);
        let pool = pool.build().unwrap();
        let (is_dropped, go_on) = AtEnd::leave_in(&pool);
        is_dropped.recv().unwrap();
        pool.spawn(|| ()).unwrap().result().unwrap();
        assert!(is_late(&pool));
        drop(go_on);
        pool.shutdown_with(Shutdown::timeout(delays::long())).unwrap();
    });
}

/// The error of a shutdown that gave up names the tasks that run, and counts those that wait, leaving out those that
/// were cancelled; it can be waited for again.
#[test]
fn f095_p39_a_timeout_names_what_is_running() {
    fn the_slow_one(gate: Arc<Gate>) {
        gate.pass();
    }

    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let running: Vec<_> =
            (0..2).map(|_| pool.submit(the_slow_one, share(&gate)).unwrap()).collect();
        gate.wait_for_arrivals(2);
        let queued: Vec<_> = (0..5).map(|n| pool.spawn(move || n).unwrap()).collect();
        assert!(queued[1].cancel() && queued[3].cancel());
        for _ in 0..2 {
            let error = pool.shutdown_with(Shutdown::timeout(delays::short())).unwrap_err();
            let ShutdownError::Timeout(left) = error else { panic!("{error:?}") };
            assert_eq!((left.running.len(), left.queued), (2, 3));
            assert!(left.running.iter().all(|name| name.ends_with("the_slow_one")), "{left:?}");
        }
        let error = pool.shutdown_with(Shutdown::timeout(Duration::ZERO)).unwrap_err();
        assert!(matches!(error, ShutdownError::Timeout(_)));
        gate.open();
        pool.shutdown_with(Shutdown::timeout(Duration::MAX)).unwrap();
        assert_eq!((pool.thread_count(), running.iter().filter(|f| f.done()).count()), (0, 2));
    });
}

/// Threads that submit and threads that shut down, in every way, all at once: whatever was accepted ends.
#[test]
fn f093_submissions_and_shutdowns_race() {
    guarded(|| {
        for round in 0..60 {
            let pool = pool(1 + round % 3);
            let ran = AtomicUsize::new(0);
            let (accepted, outcomes) = thread::scope(|scope| {
                let submitters: Vec<_> = (0..3)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut futures = Vec::new();
                            loop {
                                match pool.spawn(|| 1_usize) {
                                    Ok(future) => futures.push(future),
                                    Err(refused) => {
                                        let reason = refused.reason();
                                        assert!(matches!(reason, Refusal::ShutDown), "{reason:?}");
                                        break futures;
                                    }
                                }
                            }
                        })
                    })
                    .collect();
                for how in [
                    Shutdown::no_wait(),
                    Shutdown::no_wait().cancel_futures(),
                    Shutdown::wait(),
                    Shutdown::timeout(delays::long()),
                ] {
                    let pool = &pool;
                    scope.spawn(move || pool.shutdown_with(how).unwrap());
                }
                let futures: Vec<_> =
                    submitters.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
                let accepted = futures.len();
                let outcomes: Vec<_> = futures.into_iter().map(Future::result).collect();
                (accepted, outcomes)
            });
            assert_eq!(accepted, outcomes.len());
            for outcome in outcomes {
                match outcome {
                    Ok(one) => drop(ran.fetch_add(one, Ordering::Relaxed)),
                    Err(error) => assert!(matches!(error, TaskError::Cancelled), "{error:?}"),
                }
            }
            assert_eq!(pool.thread_count(), 0);
        }
    });
}

/// What a handler of Ctrl-C does: while the main thread waits for results, another one shuts the pool down. The main
/// thread learns of it at once for tasks that had not started, and no new one starts.
#[test]
fn p46_an_interrupt_ends_the_wait() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let gate = Gate::closed();
        let running = occupy(&pool, &gate, 2);
        let queued: Vec<_> = (0..100).map(|n| pool.spawn(move || n).unwrap()).collect();
        let handler = Arc::clone(&pool);
        let interrupt = thread::spawn(move || {
            handler.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        });
        for future in queued {
            assert!(matches!(future.result(), Err(TaskError::Cancelled)));
        }
        interrupt.join().unwrap();
        assert!(running.iter().all(Future::running));
        gate.open();
    });
}

/// What a shutdown is about to cancel, a worker that waits for it may still run in place. Tasks were once counted as cancelled
/// when they were taken out of the queue, and this one a second time when it had run.
#[test]
fn p50_a_task_that_runs_after_all_was_not_cancelled() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let (pass_on, passed_on) = mpsc::channel::<Future<u32>>();
        let passing = share(&gate);
        let waits = move || {
            passing.pass();
            passed_on.recv().unwrap().result().unwrap()
        };
        let waits = pool.spawn(waits).unwrap();
        gate.wait_for_arrivals(1);
        let (starts, has_started) = mpsc::channel();
        let older = move || {
            starts.send(()).unwrap();
            7
        };
        pass_on.send(pool.spawn(older).unwrap()).unwrap();
        let newer = pool.spawn(|| ()).unwrap();
        let opening = share(&gate);
        // It is the first to be cancelled.
        newer.add_done_callback(move |_| {
            opening.open();
            has_started.recv().unwrap();
        });
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert_eq!(waits.result().unwrap(), 7);
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.succeeded, stats.cancelled), (3, 2, 1));
    });
}
