//! The end of a pool: shutting down in all forms, killing, dropping, and what is refused after it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use concurrent_futures::{
    BrokenExecutor, DeathCause, Future, MapOptions, Refusal, Shutdown, ShutdownError, TaskError,
};
use concurrent_futures_process_pool::{Builder, DropPolicy, ProcessPoolExecutor};
use concurrent_futures_tests::{
    Gate, delays,
    functions::{Log, double, pass},
    gate::OpenOnDrop,
    processes::{self, fork_server, send_signal, stop},
    registry,
};

use super::{
    SETUPS, alone, beside, builder,
    faults::{death, sockets},
    leaks::Baseline,
    own_pid, pool, wait_until,
};

/// A pool whose workers all wait at the gate, and what is queued behind them.
fn occupied(
    choices: Builder,
    gate: &OpenOnDrop,
) -> (ProcessPoolExecutor, Vec<Future<u64>>, Vec<Future<u64>>) {
    let pool = choices.build().unwrap();
    let arrived = gate.arrived();
    let running: Vec<_> =
        (0..pool.max_workers()).map(|_| pool.submit(pass, gate.key()).unwrap()).collect();
    gate.wait_for_arrivals(arrived + running.len());
    let queued = (0..5).map(|n| pool.submit(double, n).unwrap()).collect();
    (pool, running, queued)
}

fn check_refusal(pool: &ProcessPoolExecutor) {
    let refused = pool.submit(double, 21).unwrap_err();
    assert!(matches!(refused.reason(), Refusal::ShutDown), "{refused:?}");
    let (function, argument) = refused.into_inner();
    assert_eq!(function(argument), 42);
    assert!(matches!(pool.prestart(1), Err(Refusal::ShutDown)));
}

type Stop = fn(&ProcessPoolExecutor);

const STOPS: [(Stop, i32); 2] = [
    (ProcessPoolExecutor::terminate_workers, libc::SIGTERM),
    (ProcessPoolExecutor::kill_workers, libc::SIGKILL),
];

/// A fork server that does nothing any more, because somebody has stopped it, neither sends signals nor reports the end of
/// anybody. It is killed in the end, and takes its workers along.
#[test]
fn p28_a_stopped_fork_server_does_not_hold_up_the_end() {
    beside(|| {
        let gate = Gate::closed();
        let (pool, running, queued) = occupied(builder(2), &gate);
        processes::stop(processes::fork_server(&pool.worker_pids()).unwrap());
        pool.kill_workers_with(Shutdown::wait()).unwrap();
        for task in running {
            assert_eq!(death(&task.result().unwrap_err()).cause(), DeathCause::Stopped);
        }
        assert!(queued.into_iter().all(|task| task.cancelled()));
    });
}

/// Workers can be told to end at once: what runs fails and says why, what is queued is cancelled.
#[test]
fn f133_p17_stopping_fails_what_runs_and_cancels_what_is_queued() {
    alone(|| {
        for setup in SETUPS {
            for (stop, signal) in STOPS {
                let gate = Gate::closed();
                let (baseline, choices) = Baseline::take(setup.builder(2));
                let (pool, running, queued) = occupied(choices, &gate);
                stop(&pool);
                assert!(queued.iter().all(Future::cancelled));
                check_refusal(&pool);
                for future in running {
                    let error = future.result().unwrap_err();
                    let died = death(&error);
                    assert_eq!((died.cause(), died.signal()), (DeathCause::Stopped, Some(signal)));
                    assert!(died.run_time().is_some());
                }
                pool.shutdown();
                assert_eq!(pool.stats().workers, 0);
                drop(pool);
                baseline.check();
            }
        }
    });
}

/// With waiting, all processes are gone when it returns; with a timeout it may return earlier.
#[test]
fn f133_stopping_can_wait() {
    alone(|| {
        let gate = Gate::closed();
        for kill in [false, true] {
            let (baseline, choices) = Baseline::take(builder(2));
            let (pool, running, _queued) = occupied(choices, &gate);
            let how = Shutdown::timeout(delays::long());
            if kill {
                pool.kill_workers_with(how).unwrap();
            } else {
                pool.terminate_workers_with(how).unwrap();
            }
            assert!(running.iter().all(Future::done));
            assert!(baseline.processes().is_empty());
            drop(pool);
            baseline.check();
        }
    });
}

/// Before there is a worker there is nothing to stop, but the pool is shut down; on one that has been shut down, or is
/// broken, it is no error, nor if it is done again.
#[test]
fn f134_stopping_when_there_is_nothing_to_stop() {
    beside(|| {
        for (stop, _) in STOPS {
            let pool = pool(2);
            stop(&pool);
            check_refusal(&pool);
            stop(&pool);
            pool.shutdown();
            stop(&pool);

            let broken = builder(2).initializer(|()| panic!("for the break"), ()).build().unwrap();
            let error = broken.submit(double, 1).unwrap().result().unwrap_err();
            assert!(matches!(error, TaskError::Broken(_)));
            stop(&broken);
            stop(&broken);
            let refused = broken.submit(double, 1).unwrap_err();
            assert!(matches!(refused.reason(), Refusal::Broken(_)), "{refused:?}");
            broken.shutdown();
        }
    });
}

/// While the first worker, or the fork server, is being started.
#[test]
fn f134_stopping_while_starting() {
    alone(|| {
        for setup in SETUPS {
            for (stop, _) in STOPS {
                let gate = Gate::closed();
                let (baseline, choices) = Baseline::take(setup.builder(2));
                let set_up = |gate: u64| registry::reach::<Gate>(gate).pass();
                let pool = choices.clone().initializer(set_up, gate.key()).build().unwrap();
                let futures: Vec<_> = (0..5).map(|n| pool.submit(double, n).unwrap()).collect();
                gate.wait_for_arrivals(1);
                stop(&pool);
                assert!(futures.iter().all(Future::cancelled));
                pool.shutdown();
                drop(pool);

                let pool = choices.build().unwrap();
                let futures: Vec<_> = (0..5).map(|n| pool.submit(double, n).unwrap()).collect();
                stop(&pool);
                drop(pool);
                // If this thread was held up, the first of them ran meanwhile, or one was running.
                for (n, future) in (0..).zip(futures) {
                    match future.try_result().expect("the pool has ended") {
                        Ok(value) => assert_eq!(value, 2 * n),
                        Err(TaskError::Cancelled) => {}
                        Err(error) => assert_eq!(death(&error).cause(), DeathCause::Stopped),
                    }
                }
                baseline.check();
            }
        }
    });
}

/// A task that has made arrangements for the signal comes to its end after being asked to stop, and so does its worker.
#[test]
fn f133_a_task_may_ignore_that_it_was_asked_to_stop() {
    fn ignore_and_pass(gate: u64) -> u64 {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        pass(gate)
    }

    beside(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let future = pool.submit(ignore_and_pass, gate.key()).unwrap();
        gate.wait_for_arrivals(1);
        pool.terminate_workers();
        let waited = pool.shutdown_with(Shutdown::timeout(delays::moment()));
        assert!(matches!(waited, Err(ShutdownError::Timeout(_))));
        gate.open();
        assert_eq!(future.result().unwrap(), gate.key());
        pool.shutdown();
    });
}

/// An idle worker that ignores the signal ends all the same.
#[test]
fn f133_a_worker_may_ignore_that_it_was_asked_to_stop() {
    fn ignore(_: ()) {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }

    beside(|| {
        let pool = pool(1);
        pool.submit(ignore, ()).unwrap().result().unwrap();
        pool.terminate_workers_with(Shutdown::wait()).unwrap();
    });
}

/// A task whose worker died before it could start is not started after all workers were stopped.
#[test]
fn f133_nothing_is_started_after_stopping() {
    /// Lets the first worker pass, and has the others wait.
    fn wait_if_second((log, gate): (u64, u64)) {
        let log = registry::reach::<concurrent_futures_tests::functions::Log>(log);
        log.push(1);
        if log.entries().len() > 1 {
            registry::reach::<Gate>(gate).pass();
        }
    }

    beside(|| {
        let log = concurrent_futures_tests::functions::Log::new();
        let gate = Gate::closed();
        let keys = (log.key(), gate.key());
        let pool = builder(1).initializer(wait_if_second, keys).build().unwrap();
        assert_eq!(pool.submit(double, 1).unwrap().result().unwrap(), 2);
        let pid = pool.worker_pids()[0];
        processes::stop(pid);
        let future = pool.submit(double, 2).unwrap();
        assert!(future.running(), "it was sent");
        send_signal(pid, libc::SIGKILL);
        gate.wait_for_arrivals(1);
        pool.kill_workers();
        let error = future.result().unwrap_err();
        assert_eq!(death(&error).cause(), DeathCause::Stopped);
        pool.shutdown();
        assert_eq!(log.entries().len(), 2);
    });
}

/// Every form of shutdown: what is queued runs or is cancelled, what runs comes to its end, and the call waits or not.
#[test]
fn f136_shutdown_in_all_forms() {
    alone(|| {
        for setup in SETUPS {
            for cancel in [false, true] {
                for how in [Shutdown::no_wait(), Shutdown::timeout(delays::moment())] {
                    let waits = how != Shutdown::no_wait();
                    let how = if cancel { how.cancel_futures() } else { how };
                    let gate = Gate::closed();
                    let (baseline, choices) = Baseline::take(setup.builder(2));
                    let (pool, running, queued) = occupied(choices, &gate);
                    assert_eq!(pool.shutdown_with(how).is_err(), waits);
                    check_refusal(&pool);
                    assert!(running.iter().all(Future::running));
                    assert!(queued.iter().all(|future| future.cancelled() == cancel));
                    gate.open();
                    assert!(running.into_iter().all(|future| future.result().is_ok()));
                    for (n, future) in (0..).zip(queued) {
                        match future.result() {
                            Ok(value) => assert_eq!((value, cancel), (2 * n, false)),
                            Err(error) => assert!(error.is_cancelled() && cancel),
                        }
                    }
                    pool.shutdown();
                    assert!(baseline.processes().is_empty());
                    drop(pool);
                    baseline.check();
                }
            }
        }
    });
}

/// What becomes of the tasks of a pool that is dropped is a choice.
#[test]
fn f136_drop_policies() {
    alone(|| {
        let policies = [
            DropPolicy::Wait,
            DropPolicy::CancelAndWait,
            DropPolicy::WaitFor(delays::short()),
            DropPolicy::Detach,
        ];
        for policy in policies {
            let gate = Gate::closed();
            let (baseline, choices) = Baseline::take(builder(1).drop_policy(policy));
            let (pool, running, queued) = occupied(choices, &gate);
            let dropped = thread::spawn(move || drop(pool));
            match policy {
                DropPolicy::Wait => {
                    gate.open();
                    dropped.join().unwrap();
                    assert!(
                        running.into_iter().chain(queued).all(|future| future.result().is_ok())
                    );
                    baseline.check();
                }
                DropPolicy::CancelAndWait => {
                    queued[4].wait();
                    gate.open();
                    dropped.join().unwrap();
                    assert!(queued.iter().all(Future::cancelled));
                    assert!(running.into_iter().all(|future| future.result().is_ok()));
                    baseline.check();
                }
                DropPolicy::WaitFor(_) => {
                    dropped.join().unwrap();
                    assert!(queued.iter().all(Future::cancelled));
                    let causes = running
                        .into_iter()
                        .map(|future| death(&future.result().unwrap_err()).cause());
                    assert!(causes.eq([DeathCause::Stopped]));
                    baseline.wait_and_check();
                }
                _ => {
                    dropped.join().unwrap();
                    assert!(running.iter().all(Future::running));
                    gate.open();
                    assert!(
                        running.into_iter().chain(queued).all(|future| future.result().is_ok())
                    );
                    baseline.wait_and_check();
                }
            }
        }
    });
}

/// A pool that was never used, or has been shut down before it was, leaves nothing.
#[test]
fn a_pool_that_nobody_uses_costs_nothing() {
    alone(|| {
        let (baseline, choices) = Baseline::take(builder(4));
        drop(choices.clone().build().unwrap());
        let pool = choices.clone().build().unwrap();
        assert!(baseline.processes().is_empty());
        pool.shutdown();
        check_refusal(&pool);
        drop(pool);
        let pool = choices.build().unwrap();
        pool.prestart(2).unwrap();
        drop(pool);
        // The server was killed, and the kernel kills what it had forked by then, which may take a moment longer.
        baseline.wait_and_check();
    });
}

/// A drop while the thread panics does not wait for the queue.
#[test]
fn p38_a_drop_while_panicking_cancels() {
    beside(|| {
        let gate = Gate::closed();
        let (pool, running, queued) = occupied(builder(1), &gate);
        thread::scope(|scope| {
            scope.spawn(|| {
                queued[4].wait();
                gate.open();
            });
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _pool = pool;
                panic!("for the drop");
            }));
            assert!(unwound.is_err());
        });
        assert!(queued.iter().all(Future::cancelled));
        assert!(running.into_iter().all(|future| future.result().is_ok()));
    });
}

/// A task is cancelled or it runs, whenever that is tried: queued, sent, started, ended.
#[test]
fn f127_p18_cancelling_at_any_moment() {
    beside(|| {
        for setup in SETUPS {
            let pool = setup.builder(2).build().unwrap();
            let log = concurrent_futures_tests::functions::Log::new();
            let write = concurrent_futures_tests::functions::write;
            let mut expected = Vec::new();
            for n in 0..500 {
                let future = pool.submit(write, (log.key(), n)).unwrap();
                if n % 7 < 3 {
                    thread::yield_now();
                }
                let cancelled = future.cancel();
                match future.result() {
                    Ok(value) => {
                        assert_eq!((value, cancelled), (n, false));
                        expected.push(n);
                    }
                    Err(error) => assert!(error.is_cancelled() && cancelled, "{error:?}"),
                }
            }
            pool.shutdown();
            let mut entries = log.entries();
            entries.sort_unstable();
            assert_eq!(entries, expected);
            let stats = pool.stats();
            assert_eq!(stats.submitted, 500);
            assert_eq!(
                (stats.succeeded, stats.cancelled),
                (expected.len() as u64, 500 - expected.len() as u64)
            );
        }
    });
}

/// A task that waits behind one that runs can be cancelled at any time, whether or not it was sent.
#[test]
fn f127_what_waits_can_be_cancelled() {
    beside(|| {
        let gate = Gate::closed();
        let (pool, running, queued) = occupied(builder(2), &gate);
        assert!(queued.iter().all(|future| !future.running() && future.cancel()));
        gate.open();
        assert!(running.into_iter().all(|future| future.result().is_ok()));
        drop(pool);
    });
}

/// A task that exits fails with what it exited with, and nothing else does.
#[test]
fn f122_an_exit_is_the_tasks_error() {
    beside(|| {
        let pool = pool(1);
        for code in [0, 7, 255] {
            let exit = |code: i32| -> u64 { std::process::exit(code) };
            let error = pool.submit(exit, code).unwrap().result().unwrap_err();
            let died = death(&error);
            assert_eq!((died.cause(), died.exit_code()), (DeathCause::Exited, Some(code)));
            assert!(error.to_string().contains(&format!("exited with code {code}")), "{error}");
        }
        assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// Each of the futures that fail has an error of its own, with the cause inside.
#[test]
fn f123_f124_f125_an_abrupt_death() {
    beside(|| {
        let gate = Gate::closed();
        let (pool, running, queued) = occupied(builder(2), &gate);
        let pids = pool.worker_pids();
        for pid in &pids {
            send_signal(*pid, libc::SIGKILL);
        }
        let mut died: Vec<_> = running
            .into_iter()
            .map(|future| {
                let error = future.result().unwrap_err();
                let died = death(&error);
                assert_eq!(
                    (died.cause(), died.signal()),
                    (DeathCause::Killed, Some(libc::SIGKILL))
                );
                died.pid().unwrap()
            })
            .collect();
        died.sort_unstable();
        let mut pids = pids;
        pids.sort_unstable();
        assert_eq!(died, pids);
        for (n, future) in (0..).zip(queued) {
            assert_eq!(future.result().unwrap(), 2 * n);
        }
        assert!(pool.broken().is_none());
    });
}

/// If no worker can be started any more, all that is left fails at once, with the reason.
#[test]
fn f132_no_replacement_possible() {
    fn fail_second(log: u64) {
        let log = registry::reach::<concurrent_futures_tests::functions::Log>(log);
        log.push(1);
        if log.entries().len() > 1 {
            std::process::abort();
        }
    }

    fn reason(broken: &BrokenExecutor) -> String {
        let source = std::error::Error::source(broken).map(ToString::to_string);
        format!("{broken}: {}", source.unwrap_or_default())
    }

    beside(|| {
        let log = concurrent_futures_tests::functions::Log::new();
        let choices = builder(1).max_tasks_per_child(1).initializer(fail_second, log.key());
        let pool = choices.build().unwrap();
        let futures: Vec<_> = (0..4).map(|n| pool.submit(double, n).unwrap()).collect();
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        let mut outcomes = futures.into_iter().map(Future::result);
        assert_eq!(outcomes.next().unwrap().unwrap(), 0);
        for outcome in outcomes {
            let Err(TaskError::Broken(broken)) = outcome else { panic!("{outcome:?}") };
            let reason = reason(&broken);
            assert!(
                reason.contains("before they are ready") && reason.contains("aborted"),
                "{reason}"
            );
        }
        pool.shutdown();
        wait_until(|| pool.stats().workers == 0);
    });
}

/// A worker that is about to be killed for what it has said when the pool is stopped: what is left of its chunk is not run by
/// another one, which would be started for that after the end.
#[test]
fn stopping_is_for_workers_that_have_been_sentenced() {
    fn write_nonsense((log, before, after, n): (u64, u64, u64, u64)) -> u64 {
        registry::reach::<Log>(log).push(n);
        if n == 3 {
            registry::reach::<Gate>(before).pass();
            for fd in sockets() {
                // SAFETY: the bytes are there; whose descriptor that is, is the point.
                unsafe { libc::write(fd, [0xAA_u8; 100].as_ptr().cast(), 100) };
            }
            registry::reach::<Gate>(after).pass();
        }
        n
    }

    beside(|| {
        let pool = pool(1);
        let (log, before, after) = (Log::new(), Gate::closed(), Gate::closed());
        pool.submit(own_pid, ()).unwrap().result().unwrap();
        let items = (0..10).map(|n| (log.key(), before.key(), after.key(), n));
        let options = MapOptions::new().chunksize(10);
        let map = pool.map_with(options, write_nonsense, items).unwrap();
        before.wait_for_arrivals(1);
        // The worker is not killed as long as the server is stopped.
        let server = fork_server(&pool.worker_pids()).unwrap();
        stop(server);
        before.open();
        after.wait_for_arrivals(1);
        thread::sleep(delays::moment());
        pool.kill_workers();
        send_signal(server, libc::SIGCONT);
        let outcomes: Vec<_> = map.collect();
        assert!(
            outcomes[..3].iter().all(Result::is_ok) && outcomes[3..].iter().all(Result::is_err)
        );
        pool.shutdown();
        assert_eq!(log.entries(), [0, 1, 2, 3]);
        assert_eq!(pool.stats().worker_deaths, 1);
    });
}

/// A worker that was told to end, and does not, is killed in the end, also if it was asked once more meanwhile.
#[test]
fn a_worker_that_does_not_end_is_killed() {
    fn never_ends(_: ()) {
        extern "C" fn wait() {
            thread::sleep(delays::long());
        }
        // SAFETY: takes two integers.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        // SAFETY: the handler is a plain function.
        assert_eq!(unsafe { libc::atexit(wait) }, 0);
    }

    beside(|| {
        let pool = pool(1);
        pool.submit(never_ends, ()).unwrap().result().unwrap();
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        pool.terminate_workers_with(Shutdown::wait()).unwrap();
    });
}

/// A worker dies when it was sent part of what it is to begin with, which is long; and the pool is shut down before anybody has
/// said how it ended. It is told to end as well, although nothing can be sent to it.
#[test]
fn a_worker_dies_that_was_sent_half_a_frame() {
    beside(|| {
        let text = "x".repeat(64 << 20);
        let choices = builder(1).shared_memory(false).initializer(|_: String| {}, text);
        let pool = choices.build().unwrap();
        pool.prestart(1).unwrap();
        wait_until(|| !pool.worker_pids().is_empty());
        let pid = pool.worker_pids()[0];
        stop(pid);
        let server = fork_server(&[pid]).unwrap();
        stop(server);
        send_signal(pid, libc::SIGKILL);
        // For the pool to find that it cannot send the rest.
        thread::sleep(delays::moment());
        let shut_down = catch_unwind(AssertUnwindSafe(|| pool.shutdown_with(Shutdown::no_wait())));
        send_signal(server, libc::SIGCONT);
        shut_down.unwrap().unwrap();
        pool.shutdown();
    });
}

/// A worker has lost its connection while it is prepared, and lives on. That it is told to end does not give it more time.
#[test]
fn a_worker_without_a_connection_does_not_hold_up_the_end() {
    fn exchange_connection(gate: u64) {
        extern "C" fn nothing(_: i32) {}

        let mut others = [0; 2];
        let connections = sockets();
        // SAFETY: there is room for two.
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, others.as_mut_ptr()) };
        for fd in connections {
            // SAFETY: takes integers.
            unsafe { libc::dup2(others[0], fd) };
        }
        // The thread that watches it goes on, with the other one.
        let handler: extern "C" fn(i32) = nothing;
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR1, handler as usize) };
        let first_thread = own_pid(()).cast_signed();
        // SAFETY: takes integers.
        unsafe { libc::syscall(libc::SYS_tgkill, first_thread, first_thread, libc::SIGUSR1) };
        registry::reach::<Gate>(gate).pass();
    }

    beside(|| {
        let gate = Gate::closed();
        let pool = builder(1).initializer(exchange_connection, gate.key()).build().unwrap();
        let future = pool.submit(double, 4).unwrap();
        gate.wait_for_arrivals(1);
        // For the pool to find that out, for which it takes half a second until it has the worker killed.
        thread::sleep(delays::moment());
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        let how = Shutdown::timeout(delays::scaled(Duration::from_secs(5)));
        let ended = pool.shutdown_with(how);
        gate.open();
        ended.unwrap();
        assert!(future.cancelled());
    });
}
