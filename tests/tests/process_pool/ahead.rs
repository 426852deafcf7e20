//! Short tasks are sent to a worker before it is done with the one that it runs. Whatever happens then, those that it has not
//! started are as if they were still in the queue.
//!
//! From outside nobody can tell where such a task is, and no test relies on that: what is sent ahead depends on how long tasks
//! have taken, and may be nothing on a machine that is busy. As a rule, all of it is.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use concurrent_futures::{DeathCause, Future, Shutdown, State};
use concurrent_futures_process_pool::ProcessPoolExecutor;
use concurrent_futures_tests::{
    Gate, delays,
    functions::{Log, double, pass, write, write_and_pass},
    hostile::forge_claims,
    processes::send_signal,
    registry,
};

use super::{
    alone, beside, builder,
    faults::{death, sockets},
    own_pid, pool, wait_until,
};

/// How many tasks are sent ahead.
const AHEAD: u64 = 20;

/// Has a pool take its tasks to be short.
fn warm_up(pool: &ProcessPoolExecutor) {
    let futures: Vec<_> = (0..500).map(|n| pool.submit(double, n).unwrap()).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(future.result().unwrap(), 2 * n);
    }
}

/// The same with a pool that is to have no more than one worker by then.
fn warm_up_one(pool: &ProcessPoolExecutor) {
    for n in 0..500 {
        assert_eq!(pool.submit(double, n).unwrap().result().unwrap(), 2 * n);
    }
    assert_eq!(pool.stats().workers, 1);
}

/// A pool whose one worker waits at this gate.
fn blocked(gate: &Gate, key: u64) -> (ProcessPoolExecutor, Future<u64>) {
    let pool = pool(1);
    warm_up(&pool);
    let first = pool.submit(pass, key).unwrap();
    gate.wait_for_arrivals(1);
    (pool, first)
}

fn write_all(pool: &ProcessPoolExecutor, log: u64) -> Vec<Future<u64>> {
    (0..AHEAD).map(|n| pool.submit(write, (log, n)).unwrap()).collect()
}

/// A worker that has written over the claims of what it was sent ahead keeps the pool from taking that back. It is not run by
/// another worker, of a pool that was stopped.
#[test]
fn what_cannot_be_taken_back_does_not_run_after_the_end() {
    beside(|| {
        let (before, after, log) = (Gate::closed(), Gate::closed(), Log::new());
        let pool = pool(1);
        warm_up(&pool);
        let first = pool.submit(forge_claims, (before.key(), after.key())).unwrap();
        before.wait_for_arrivals(1);
        let futures = write_all(&pool, log.key());
        before.open();
        after.wait_for_arrivals(1);
        pool.kill_workers_with(Shutdown::wait()).unwrap();
        assert!(first.result().is_err());
        assert!(futures.into_iter().all(|future| future.result().is_err()));
        assert_eq!(log.entries(), []);
        let stats = pool.stats();
        assert_eq!(stats.submitted, stats.succeeded + stats.failed + stats.cancelled, "{stats:?}");
    });
}

/// What was sent ahead can be cancelled, and then never runs; the others run in the order in which they were submitted.
#[test]
fn what_was_sent_ahead_can_be_cancelled() {
    beside(|| {
        let (gate, log) = (Gate::closed(), Log::new());
        let (pool, first) = blocked(&gate, gate.key());
        let futures = write_all(&pool, log.key());
        assert!(futures.iter().all(|future| future.state() == State::Pending));
        let before = pool.stats();
        assert_eq!((before.running, before.queued), (1, AHEAD));
        for future in futures.iter().skip(1).step_by(2) {
            assert!(future.cancel());
            assert!(future.cancelled());
            assert!(future.cancel());
        }
        gate.open();
        assert_eq!(first.result().unwrap(), gate.key());
        let even: Vec<_> = (0..AHEAD).step_by(2).collect();
        let results = futures.into_iter().filter_map(|future| future.result().ok());
        assert_eq!(results.collect::<Vec<_>>(), even);
        assert_eq!(log.entries(), even);
        wait_until(|| pool.stats().cancelled == AHEAD / 2);
        let after = pool.stats();
        assert_eq!((after.queued, after.running), (0, 0));
        assert_eq!(after.submitted, after.succeeded + after.cancelled);
    });
}

/// A worker starts what was sent ahead without the pool being told: still, the future says that it runs, and cannot be
/// cancelled.
#[test]
fn what_was_sent_ahead_and_started_cannot_be_cancelled() {
    beside(|| {
        let (gate, other, log) = (Gate::closed(), Gate::closed(), Log::new());
        let (pool, first) = blocked(&gate, gate.key());
        let second = pool.submit(write_and_pass, (log.key(), other.key(), 7)).unwrap();
        let third = pool.submit(double, 1).unwrap();
        assert!(!second.running());
        gate.open();
        // Nobody waits for the first result, which the pool may not have seen.
        other.wait_for_arrivals(1);
        assert!(second.running());
        assert_eq!(second.state(), State::Running);
        assert!(!second.cancel());
        assert!(third.cancel());
        other.open();
        assert_eq!(second.result().unwrap(), 7);
        assert_eq!(first.result().unwrap(), gate.key());
        assert_eq!(log.entries(), [7]);
    });
}

/// Cancelled while the worker is about to start it: it either runs and has a result, or does not run and is cancelled.
#[test]
fn cancelling_meets_starting() {
    beside(|| {
        let pool = pool(2);
        for _ in 0..20 {
            let log = Log::new();
            let futures: Vec<_> =
                (0..200).map(|n| pool.submit(write, (log.key(), n)).unwrap()).collect();
            let cancelled: Vec<_> = futures.iter().rev().map(Future::cancel).collect();
            let mut ran = Vec::new();
            for (n, (future, cancelled)) in
                (0..).zip(futures.into_iter().zip(cancelled.into_iter().rev()))
            {
                match future.result() {
                    Ok(value) => {
                        assert!(!cancelled);
                        assert_eq!(value, n);
                        ran.push(n);
                    }
                    Err(error) => assert!(cancelled && error.is_cancelled(), "{error:?}"),
                }
            }
            let mut entries = log.entries();
            entries.sort_unstable();
            assert_eq!(entries, ran);
        }
    });
}

/// A task that takes long holds up nothing of what was sent to its worker behind it, if another worker is idle.
#[test]
fn what_was_sent_ahead_of_time_is_moved_to_an_idle_worker() {
    beside(|| {
        let pool = pool(2);
        for _ in 0..10 {
            let gate = Gate::closed();
            warm_up(&pool);
            let mut futures: Vec<_> = (0..50).map(|n| pool.submit(double, n).unwrap()).collect();
            let long = pool.submit(pass, gate.key()).unwrap();
            futures.extend((50..150).map(|n| pool.submit(double, n).unwrap()));
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().unwrap(), 2 * n);
            }
            gate.open();
            assert_eq!(long.result().unwrap(), gate.key());
        }
    });
}

#[test]
fn shutting_down_cancels_what_was_sent_ahead() {
    beside(|| {
        let (gate, log) = (Gate::closed(), Log::new());
        let (pool, first) = blocked(&gate, gate.key());
        let futures = write_all(&pool, log.key());
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert!(futures.iter().all(Future::cancelled));
        gate.open();
        assert_eq!(first.result().unwrap(), gate.key());
        pool.shutdown();
        assert_eq!(log.entries(), []);
        assert_eq!(pool.stats().cancelled, AHEAD);
    });
}

#[test]
fn shutting_down_runs_what_was_sent_ahead() {
    beside(|| {
        let (gate, log) = (Gate::closed(), Log::new());
        let (pool, first) = blocked(&gate, gate.key());
        let futures = write_all(&pool, log.key());
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        gate.open();
        pool.shutdown();
        assert!(first.done() && futures.iter().all(Future::done));
        assert_eq!(log.entries(), (0..AHEAD).collect::<Vec<_>>());
    });
}

/// A worker that dies costs the task that it ran. All that was sent to it ahead runs elsewhere, once, and in its order.
#[test]
fn a_death_costs_nothing_that_was_sent_ahead() {
    fn pass_and_abort(gate: u64) {
        assert_eq!(pass(gate), gate);
        std::process::abort();
    }

    beside(|| {
        for from_outside in [false, true] {
            let (gate, log) = (Gate::closed(), Log::new());
            let pool = pool(1);
            warm_up(&pool);
            let first = pool.submit(pass_and_abort, gate.key()).unwrap();
            gate.wait_for_arrivals(1);
            let futures = write_all(&pool, log.key());
            if from_outside {
                send_signal(pool.worker_pids()[0], libc::SIGKILL);
            } else {
                gate.open();
            }
            let cause = death(&first.result().unwrap_err()).cause();
            assert_eq!(cause == DeathCause::Killed, from_outside, "{cause:?}");
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().unwrap(), n);
            }
            assert_eq!(log.entries(), (0..AHEAD).collect::<Vec<_>>());
        }
    });
}

/// One of those that were sent ahead kills the worker: those before it have results, and those behind it run elsewhere.
#[test]
fn a_death_among_what_was_sent_ahead() {
    fn abort_if((log, n): (u64, u64)) -> u64 {
        if n == AHEAD / 2 {
            std::process::abort();
        }
        write((log, n))
    }

    beside(|| {
        let (gate, log) = (Gate::closed(), Log::new());
        let (pool, first) = blocked(&gate, gate.key());
        let submit = |n| pool.submit(abort_if, (log.key(), n)).unwrap();
        let futures: Vec<_> = (0..AHEAD).map(submit).collect();
        gate.open();
        assert_eq!(first.result().unwrap(), gate.key());
        for (n, future) in (0..).zip(futures) {
            match future.result() {
                Ok(value) => assert_eq!(value, n),
                Err(error) => {
                    death(&error);
                    assert_eq!(n, AHEAD / 2);
                }
            }
        }
        assert_eq!(log.entries(), (0..AHEAD).filter(|&n| n != AHEAD / 2).collect::<Vec<_>>());
    });
}

/// Tasks that were sent ahead are moved to a worker that may do fewer than there are: it does no more than it may.
#[test]
fn no_worker_is_given_more_than_it_may_do() {
    const TASKS_MAX: u64 = 10;

    /// Takes so long that its worker is not sent anything ahead.
    fn slow_pid(_: ()) -> u32 {
        thread::sleep(delays::task());
        std::process::id()
    }

    beside(|| {
        let pool = builder(2).max_tasks_per_child(TASKS_MAX).build().unwrap();
        let gates = [Gate::closed(), Gate::closed(), Gate::closed()];
        let [first, second, third] = gates.each_ref().map(|gate| pass_at(gate.key()));
        // While one worker is at a gate, the other gets to be known for short tasks.
        let waiting = first(&pool);
        gates[0].wait_for_arrivals(1);
        let quick = pool.submit(own_pid, ()).unwrap().result().unwrap();
        assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), quick);
        gates[0].open();
        waiting.result().unwrap();
        // The one that was busy last is the first to be sent something. It is left with three, one of which is at a gate.
        let mut pids = Vec::new();
        for _ in 0..TASKS_MAX - 4 {
            pids.push(pool.submit(slow_pid, ()).unwrap().result().unwrap());
        }
        let slow = pids[0];
        let waiting = [second(&pool), third(&pool)];
        gates[1].wait_for_arrivals(1);
        gates[2].wait_for_arrivals(1);
        // Sent ahead to the worker that is quick, which is at a gate as well, and moved when the other is idle.
        let futures: Vec<_> = (0..6).map(|_| pool.submit(own_pid, ()).unwrap()).collect();
        gates[1].open();
        pids.extend(futures.into_iter().map(|future| future.result().unwrap()));
        gates[2].open();
        for future in waiting {
            future.result().unwrap();
        }
        // Both of its gates included.
        let done = 2 + pids.iter().filter(|pid| **pid == slow).count() as u64;
        assert!(done <= TASKS_MAX, "{done}");
    });
}

fn pass_at(gate: u64) -> impl Fn(&ProcessPoolExecutor) -> Future<u64> {
    move |pool| pool.submit(pass, gate).unwrap()
}

/// Callbacks may do anything, and a thread that waits for a result may hold any lock: so it runs none, although it may be
/// the one that finds the results that they belong to.
#[test]
fn whoever_waits_runs_no_callbacks() {
    beside(|| {
        let lock = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::closed();
        let (pool, _first) = blocked(&gate, gate.key());
        let watched: Vec<_> = (0..AHEAD)
            .map(|n| {
                let future = pool.submit(double, n).unwrap();
                let lock = Arc::clone(&lock);
                future.add_done_callback(move |_| {
                    lock.lock().unwrap().push(thread::current().id());
                });
                future
            })
            .collect();
        let last = pool.submit(double, 4).unwrap();
        // A callback that ran here would wait for ever.
        let held = lock.lock().unwrap();
        gate.open();
        assert_eq!(last.result().unwrap(), 8);
        drop(held);
        drop(watched);
        wait_until(|| lock.lock().unwrap().len() as u64 == AHEAD);
        assert!(!lock.lock().unwrap().contains(&thread::current().id()));
    });
}

/// Callbacks of results that came together, each of which takes until the test says so, hold up nothing, one another included.
#[test]
fn slow_callbacks_in_one_batch_hold_up_nothing() {
    beside(|| {
        let (gate, slow) = (Gate::closed(), Gate::closed());
        let (pool, _first) = blocked(&gate, gate.key());
        for n in 0..5 {
            let waits = registry::find::<Gate>(slow.key());
            pool.submit(double, n).unwrap().add_done_callback(move |_| waits.pass());
        }
        let futures = (0..AHEAD).map(|n| pool.submit(double, n).unwrap()).collect::<Vec<_>>();
        gate.open();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().unwrap(), 2 * n);
        }
        slow.wait_for_arrivals(5);
        slow.open();
    });
}

/// Threads that wait look for results themselves, in turns, and nobody rings for what they look for. One that was told that
/// there are enough of them was counted as one for a moment; if the last of them stopped in that moment, it took the other
/// for one that looks, and the bells stayed silent: all slept for ever. Many threads, and nothing but round trips, have them
/// take turns all the time.
#[test]
fn whoever_stops_looking_has_the_bells_rung() {
    beside(|| {
        let pool = pool(2);
        thread::scope(|scope| {
            for thread in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for n in 0..2000 {
                        let value = pool.submit(double, thread + n).unwrap().result().unwrap();
                        assert_eq!(value, 2 * (thread + n));
                    }
                });
            }
        });
    });
}

/// Threads that wait leave completions with callbacks to the pool's own threads. One of these took what there was, and then
/// said that it was no longer called: what was left between the two, by somebody who had seen that it was called, was
/// forgotten.
#[test]
fn what_waiting_threads_leave_to_the_crew_is_done() {
    beside(|| {
        let pool = pool(2);
        let called = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                let (pool, called) = (&pool, &called);
                scope.spawn(move || {
                    for n in 0..200 {
                        let watched = pool.submit(double, n).unwrap();
                        let count = Arc::clone(called);
                        watched.add_done_callback(move |_| {
                            count.fetch_add(1, Ordering::SeqCst);
                        });
                        assert_eq!(pool.submit(double, n).unwrap().result().unwrap(), 2 * n);
                        // It may be the last for now, so that nobody comes by chance.
                        assert_eq!(watched.result().unwrap(), 2 * n);
                    }
                });
            }
        });
        wait_until(|| called.load(Ordering::SeqCst) == 800);
    });
}

/// A pool is dropped while threads wait for results of its tasks, and look for them themselves.
#[test]
fn a_pool_is_dropped_while_others_look_for_its_results() {
    beside(|| {
        for _ in 0..10 {
            let pool = pool(2);
            let futures: Vec<_> = (0..100).map(|n| pool.submit(double, n).unwrap()).collect();
            thread::scope(|scope| {
                let mut futures = (0..).zip(futures).collect::<Vec<_>>();
                while !futures.is_empty() {
                    let some = futures.split_off(futures.len().saturating_sub(25));
                    scope.spawn(|| {
                        for (n, future) in some {
                            assert_eq!(future.result().unwrap(), 2 * n);
                        }
                    });
                }
                drop(pool);
            });
        }
    });
}

/// Returns the text, made longer or shorter.
fn resize((text, length): (String, usize)) -> String {
    let more = "y".repeat(length.saturating_sub(text.len()));
    let mut text = text + &more;
    text.truncate(length);
    text
}

fn resized(from: usize, to: usize) -> String {
    resize(("x".repeat(from), to))
}

/// Arguments and results go through a ring, or beside it if they are longer than 16 KiB. Bytes that go with them are part of
/// that, so all lengths around it are tried.
#[test]
fn lengths_around_what_goes_through_a_ring() {
    const LIMIT: usize = 16 * 1024;
    beside(|| {
        let pool = pool(2);
        let lengths: Vec<_> =
            (LIMIT - 48..LIMIT + 8).chain([0, 1, 7, 8, 9, LIMIT / 2, LIMIT * 4]).collect();
        let submit = |from: usize, to: usize| {
            (from, to, pool.submit(resize, ("x".repeat(from), to)).unwrap())
        };
        let mut futures = Vec::new();
        for (at, &length) in lengths.iter().enumerate() {
            let other = lengths[(at * 7 + 3) % lengths.len()];
            futures.extend([submit(length, length), submit(length, other), submit(other, length)]);
        }
        for (from, to, future) in futures {
            assert!(future.result().unwrap() == resized(from, to), "{from} to {to}");
        }
    });
}

/// Long and short ones in turns, to workers some of which die.
#[test]
fn long_arguments_and_results_beside_deaths() {
    fn resize_or_abort((text, length): (String, usize)) -> String {
        if length == 3 {
            std::process::abort();
        }
        resize((text, length))
    }

    beside(|| {
        let pool = pool(2);
        warm_up(&pool);
        let lengths = [10, 1 << 20, 3, 100, 40_000];
        let mut futures = Vec::new();
        for round in 0..4 {
            for from in lengths {
                for to in lengths {
                    if to != 3 || round == 1 {
                        let future = pool.submit(resize_or_abort, ("x".repeat(from), to)).unwrap();
                        futures.push((from, to, future));
                    }
                }
            }
        }
        for (from, to, future) in futures {
            match future.result() {
                Ok(text) => assert!(text == resized(from, to), "{from} to {to}"),
                Err(error) => {
                    death(&error);
                    assert_eq!(to, 3);
                }
            }
        }
    });
}

/// So long that the memory is given back after it.
#[test]
fn very_long_arguments_and_results() {
    const LONG: usize = 70 << 20;
    beside(|| {
        let pool = pool(1);
        for (from, to) in [(LONG, 5), (5, LONG), (LONG, LONG), (5, 6)] {
            let future = pool.submit(resize, ("x".repeat(from), to)).unwrap();
            let text = future.result_timeout(delays::long()).map_err(drop).unwrap().unwrap();
            assert!(text.len() == to && text.bytes().take(from.min(to)).all(|byte| byte == b'x'));
        }
    });
}

/// A worker that ends of what it has done before: its last answer has made the next task the first, which it has not started.
#[test]
fn the_first_of_what_was_sent_ahead_is_sent_again() {
    fn pass_and_close(gate: u64) -> u64 {
        registry::reach::<Gate>(gate).pass();
        for fd in sockets() {
            // SAFETY: takes an integer.
            unsafe { libc::close(fd) };
        }
        gate
    }

    beside(|| {
        let (gate, log) = (Gate::closed(), Log::new());
        let pool = pool(1);
        warm_up(&pool);
        let first = pool.submit(pass_and_close, gate.key()).unwrap();
        gate.wait_for_arrivals(1);
        let futures = write_all(&pool, log.key());
        gate.open();
        assert_eq!(first.result().unwrap(), gate.key());
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().unwrap(), n);
        }
        assert_eq!(log.entries(), (0..AHEAD).collect::<Vec<_>>());
    });
}

/// What was sent ahead, behind a task that takes long, goes to another worker although the pool is being shut down: one that is
/// starting is not told to end meanwhile, or nobody would be left but the one that is busy.
#[test]
fn what_was_sent_ahead_is_moved_while_the_pool_is_shut_down() {
    fn pass_unless_first((gate, log): (u64, u64)) {
        let log = registry::reach::<Log>(log);
        log.push(0);
        if log.entries().len() > 1 {
            registry::reach::<Gate>(gate).pass();
        }
    }

    beside(|| {
        let (start, gate, log) = (Gate::closed(), Gate::closed(), Log::new());
        let set_up = (start.key(), log.key());
        let pool = builder(2).initializer(pass_unless_first, set_up).build().unwrap();
        warm_up_one(&pool);
        let long = pool.submit(pass, gate.key()).unwrap();
        gate.wait_for_arrivals(1);
        let short = pool.submit(double, 4).unwrap();
        start.wait_for_arrivals(1);
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        start.open();
        let outcome = short.result_timeout(delays::scaled(Duration::from_secs(5)));
        assert_eq!(outcome.unwrap().unwrap(), 8);
        assert!(!long.done());
        gate.open();
        pool.shutdown();
        assert_eq!(long.result().unwrap(), gate.key());
    });
}

/// No worker can be started at first for what was sent ahead, and then nobody looks for answers any more, as the first task
/// takes long: another one is tried all the same.
#[test]
fn another_worker_is_tried_for_what_was_sent_ahead() {
    /// Has this process open no more files. Returns the limit that there was.
    fn limit_files(limit: Option<libc::rlimit>) -> libc::rlimit {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: there is room for the answer.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) };
        let limit = limit.unwrap_or(libc::rlimit { rlim_cur: 3, ..before });
        // SAFETY: the limit is there.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        before
    }

    alone(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        warm_up_one(&pool);
        let long = pool.submit(pass, gate.key()).unwrap();
        gate.wait_for_arrivals(1);
        let before = limit_files(None);
        let short = pool.submit(double, 4);
        limit_files(Some(before));
        let outcome = short.unwrap().result_timeout(delays::scaled(Duration::from_secs(5)));
        assert_eq!(outcome.unwrap().unwrap(), 8);
        assert!(!long.done());
        gate.open();
        assert_eq!(long.result().unwrap(), gate.key());
    });
}
