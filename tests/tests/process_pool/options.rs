//! What a pool can be told when it is made.

use std::{
    collections::BTreeSet,
    env,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use concurrent_futures::{ReturnWhen, TaskError, wait};
use concurrent_futures_process_pool::{BuildError, ProcessPoolExecutor, StartMethod};
use concurrent_futures_tests::{
    Gate, delays,
    functions::{Log, double, pass},
    processes::send_signal,
    registry,
};

use super::{SETUPS, alone, beside, builder, leaks::Baseline, own_pid, pool, wait_until};

/// A count in the worker's own memory.
static STATE: AtomicU64 = AtomicU64::new(0);

fn state(_: ()) -> u64 {
    STATE.load(SeqCst)
}

fn add_to_state(n: u64) -> u64 {
    STATE.fetch_add(n, SeqCst)
}

/// The number of workers is as many as there are processors, or as was said; none is an error.
#[test]
fn f113_max_workers() {
    beside(|| {
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(ProcessPoolExecutor::new().unwrap().max_workers(), processors);
        // More than the 61 that Python stops at on Windows.
        assert_eq!(pool(1000).max_workers(), 1000);
        let refused = ProcessPoolExecutor::with_max_workers(0).unwrap_err();
        assert!(matches!(refused, BuildError::ZeroWorkers));
        assert_eq!(refused.to_string(), "max_workers must be at least 1");
    });
}

/// With either method a worker is a process of this executable, and not this process; with the default, all have one
/// parent, the fork server, which is ours.
#[test]
fn f114_p21_start_methods() {
    beside(|| {
        assert_eq!(StartMethod::default(), StartMethod::ForkServer);
        for setup in SETUPS {
            let pool = setup.builder(1).build().unwrap();
            let (pid, executable) = pool
                .submit(|()| (std::process::id(), env::current_exe().unwrap()), ())
                .unwrap()
                .result()
                .unwrap();
            assert_ne!(pid, std::process::id());
            assert_eq!(pool.worker_pids(), [pid]);
            assert_eq!(executable, env::current_exe().unwrap());
        }
    });
}

/// Workers are started one by one, when there is a task and none is free.
#[test]
fn f116_p34_workers_are_started_on_demand() {
    beside(|| {
        for setup in SETUPS {
            let pool = setup.builder(3).build().unwrap();
            assert_eq!(pool.stats().workers, 0);
            for n in 0..5 {
                assert_eq!(pool.submit(double, n).unwrap().result().unwrap(), 2 * n);
                assert_eq!(pool.stats().workers, 1);
            }
            let gate = Gate::closed();
            for count in 1..=3 {
                drop(pool.submit(pass, gate.key()).unwrap());
                gate.wait_for_arrivals(count);
                assert_eq!(pool.stats().workers, count);
            }
            drop(pool.submit(pass, gate.key()).unwrap());
            assert_eq!(pool.stats().workers, 3);
        }
    });
}

/// Those that were started in advance are there before the first task, and those of them that die are replaced.
#[test]
fn p34_prestart() {
    beside(|| {
        for setup in SETUPS {
            let pool = setup.builder(3).build().unwrap();
            pool.prestart(2).unwrap();
            wait_until(|| pool.stats().idle_workers == 2);
            pool.prestart(1).unwrap();
            assert_eq!(pool.stats().workers, 2);
            let before = pool.worker_pids();
            send_signal(before[0], libc::SIGKILL);
            wait_until(|| {
                let pids = pool.worker_pids();
                pool.stats().idle_workers == 2 && !pids.contains(&before[0])
            });
            pool.prestart(100).unwrap();
            wait_until(|| pool.stats().idle_workers == 3);
            pool.shutdown();
            assert!(pool.prestart(1).is_err());
        }
    });
}

/// The initializer runs once in each worker, before its first task.
#[test]
fn f128_the_initializer_runs_in_each_worker() {
    beside(|| {
        for setup in SETUPS {
            let log = Log::new();
            let set_up = |(log, n): (u64, u64)| {
                registry::reach::<Log>(log).push(n);
                STATE.store(n, SeqCst);
            };
            let choices = setup.builder(2).initializer(set_up, (log.key(), 7));
            let pool = choices.build().unwrap();
            let gate = Gate::closed();
            let keys = [gate.key(), gate.key()];
            let states = pool.map(
                |gate: u64| {
                    registry::reach::<Gate>(gate).pass();
                    state(())
                },
                keys,
            );
            gate.wait_for_arrivals(2);
            gate.open();
            assert_eq!(states.collect::<Result<Vec<_>, _>>().unwrap(), [7, 7]);
            assert_eq!(log.entries(), [7, 7]);
        }
    });
}

/// If it fails in a later worker, what runs comes to its end, and all else fails.
#[test]
fn f128_a_late_failure_of_the_initializer_spares_what_runs() {
    beside(|| {
        let log = Log::new();
        let fail_second = |(log, gate): (u64, u64)| {
            let log = registry::reach::<Log>(log);
            log.push(1);
            if log.entries().len() == 1 {
                return Ok(());
            }
            registry::reach::<Gate>(gate).pass();
            Err("once is enough")
        };
        let (gate, second) = (Gate::closed(), Gate::closed());
        let keys = (log.key(), second.key());
        let pool = builder(2).try_initializer(fail_second, keys).build().unwrap();
        let running = pool.submit(pass, gate.key()).unwrap();
        gate.wait_for_arrivals(1);
        let queued: Vec<_> = (0..3).map(|n| pool.submit(double, n).unwrap()).collect();
        second.open();
        for future in queued {
            assert!(matches!(future.result(), Err(TaskError::Broken(_))));
        }
        assert!(running.running());
        gate.open();
        running.result().unwrap();
    });
}

/// An argument that cannot be sent is an error of the choices.
#[test]
fn f129_an_initializer_that_cannot_be_sent() {
    use serde::{Deserialize, Serialize, Serializer, ser};

    #[derive(Deserialize)]
    struct Unsendable;

    impl Serialize for Unsendable {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("not this"))
        }
    }

    beside(|| {
        let refused = builder(1).initializer(|_: Unsendable| (), Unsendable).build().unwrap_err();
        assert!(matches!(refused, BuildError::Argument(_)), "{refused:?}");
    });
}

/// A worker ends after so many tasks, and another one takes over; no task is lost.
#[test]
fn f130_f131_p27_max_tasks_per_child() {
    alone(|| {
        for setup in SETUPS {
            for workers in [1, 2] {
                let choices = setup.builder(workers).max_tasks_per_child(3);
                let (baseline, choices) = Baseline::take(choices);
                let pool = choices.build().unwrap();
                let futures: Vec<_> = (0..20).map(|_| pool.submit(own_pid, ()).unwrap()).collect();
                // Replacements are started also after the shutdown.
                pool.shutdown_with(concurrent_futures::Shutdown::no_wait()).unwrap();
                let mut pids: Vec<_> =
                    futures.into_iter().map(|future| future.result().unwrap()).collect();
                pids.sort_unstable();
                let counts: Vec<_> = pids.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
                assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
                assert!(counts.len() >= 7);
                assert_eq!(pool.stats().worker_deaths, 0);
                drop(pool);
                baseline.check();
            }
        }
        let refused = builder(1).max_tasks_per_child(0).build().unwrap_err();
        assert_eq!(refused.to_string(), "max_tasks_per_child must be at least 1");
    });
}

/// The gate that a worker waits at while it ends.
static GATE_AT_EXIT: AtomicU64 = AtomicU64::new(0);

fn end_slowly(gate: u64) {
    extern "C" fn at_exit() {
        let _key = pass(GATE_AT_EXIT.load(SeqCst));
    }
    GATE_AT_EXIT.store(gate, SeqCst);
    // SAFETY: the function does not unwind, and is there as long as the process.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
}

/// Workers that take long to end do not pile up: there are as many of them as there may be others, and no more.
#[test]
fn f131_workers_that_end_slowly_do_not_pile_up() {
    beside(|| {
        let gate = Gate::closed();
        let choices = builder(1).max_tasks_per_child(1).initializer(end_slowly, gate.key());
        let pool = choices.build().unwrap();
        let mut futures: Vec<_> = (0..5).map(|n| pool.submit(double, n).unwrap()).collect();
        gate.wait_for_arrivals(2);
        // Nobody is there to run the third, nor may be.
        let third = futures.remove(2).result_timeout(delays::moment()).unwrap_err().into_inner();
        assert_eq!(pool.stats().workers, 2);
        gate.open();
        assert_eq!(third.result().unwrap(), 4);
        for future in futures {
            assert!(future.result().unwrap() != 4);
        }
    });
}

/// With jitter, each may run some more, as many as was said at most.
#[test]
fn f130_jitter() {
    beside(|| {
        let pool = builder(1).max_tasks_per_child(2).max_tasks_jitter(3).build().unwrap();
        let futures: Vec<_> = (0..60).map(|_| pool.submit(own_pid, ()).unwrap()).collect();
        let pids: Vec<_> = futures.into_iter().map(|future| future.result().unwrap()).collect();
        let counts: Vec<_> = pids.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
        let (_last, counts) = counts.split_last().unwrap();
        assert!(counts.iter().all(|count| (2..=5).contains(count)), "{counts:?}");
        let different: BTreeSet<_> = counts.iter().collect();
        assert!(different.len() > 1, "{counts:?}");
        drop(pool);
        // As much as there is: no overflow.
        let choices = builder(1).max_tasks_per_child(u64::MAX).max_tasks_jitter(u64::MAX);
        assert_eq!(choices.build().unwrap().submit(double, 2).unwrap().result().unwrap(), 4);
    });
}

/// A worker that has nothing to do for long ends, and the next task gets another.
#[test]
fn idle_timeout() {
    beside(|| {
        for setup in SETUPS {
            let choices = setup.builder(2).idle_timeout(delays::short());
            let pool = choices.build().unwrap();
            let first = pool.submit(own_pid, ()).unwrap().result().unwrap();
            wait_until(|| pool.stats().workers == 0);
            let second = pool.submit(own_pid, ()).unwrap().result().unwrap();
            assert_ne!(first, second);
            // One that is busy is not idle.
            let gate = Gate::closed();
            let busy = pool.submit(pass, gate.key()).unwrap();
            gate.wait_for_arrivals(1);
            std::thread::sleep(2 * delays::moment());
            assert!(busy.running());
            gate.open();
            busy.result().unwrap();
            assert_eq!(pool.stats().worker_deaths, 0);
        }
        // As good as none.
        let pool = builder(1).idle_timeout(Duration::MAX).build().unwrap();
        assert_eq!(pool.submit(double, 2).unwrap().result().unwrap(), 4);
        assert_eq!(pool.submit(double, 3).unwrap().result().unwrap(), 6);
    });
}

/// Environment and working directory are those of the workers alone.
#[test]
fn environment_and_directory() {
    const VARIABLE: &str = "CONCURRENT_FUTURES_TESTS_VARIABLE";

    fn look(_: ()) -> (Option<String>, bool, PathBuf) {
        (env::var(VARIABLE).ok(), env::var("PATH").is_ok(), env::current_dir().unwrap())
    }

    beside(|| {
        for setup in SETUPS {
            let pool = setup
                .builder(1)
                .env(VARIABLE, "a value")
                .env_remove("PATH")
                .current_dir("/")
                .build()
                .unwrap();
            let seen = pool.submit(look, ()).unwrap().result().unwrap();
            assert_eq!(seen, (Some("a value".to_owned()), false, PathBuf::from("/")));
            let plain = setup.builder(1).build().unwrap();
            let seen = plain.submit(look, ()).unwrap().result().unwrap();
            assert_eq!(seen, look(()));
            assert_eq!(seen.0, None);
        }
        // A directory that is not there.
        let pool = builder(1).current_dir("/no such directory").build().unwrap();
        let refused = pool.submit(double, 1).unwrap_err();
        assert!(
            matches!(refused.reason(), concurrent_futures::Refusal::NoWorker(_)),
            "{refused:?}"
        );
        assert_eq!(refused.into_inner().1, 1);
    });
}

/// What was preloaded is there in every worker, and was made once; what a worker makes of it is its own.
#[test]
fn preload_is_shared() {
    beside(|| {
        let log = Log::new();
        let load = |log: u64| {
            registry::reach::<Log>(log).push(u64::from(std::process::id()));
            STATE.store(1000, SeqCst);
        };
        let pool = builder(2).preload(load, log.key()).max_tasks_per_child(2).build().unwrap();
        let futures: Vec<_> = (0..8).map(|_| pool.submit(add_to_state, 1).unwrap()).collect();
        for future in futures {
            let seen = future.result().unwrap();
            assert!((1000..1002).contains(&seen), "{seen}");
        }
        assert_eq!(log.entries().len(), 1);
        assert_eq!(state(()), 0);
    });
}

/// One that leaves a thread behind makes no difference but that nothing is shared: workers are executed anew.
#[test]
fn preload_that_leaves_a_thread() {
    beside(|| {
        let load = |()| {
            STATE.store(1000, SeqCst);
            std::thread::spawn(std::thread::park);
        };
        let pool = builder(2).preload(load, ()).build().unwrap();
        assert_eq!(pool.submit(state, ()).unwrap().result().unwrap(), 0);
    });
}

/// What a task leaves in memory is there for the next task of its worker; its argument is not.
#[test]
fn f135_state_persists_and_arguments_do_not() {
    beside(|| {
        for setup in SETUPS {
            let pool = setup.builder(1).build().unwrap();
            for n in 0..5 {
                assert_eq!(pool.submit(add_to_state, 1).unwrap().result().unwrap(), n);
            }
            assert_eq!(state(()), 0, "in this process");
        }
    });
}

/// A stack of one's own size, or more than there is.
#[test]
fn stack_size() {
    fn use_stack(_: ()) -> u8 {
        let large = std::hint::black_box([1_u8; 24 << 20]);
        large[12_345]
    }

    beside(|| {
        let pool = builder(1).stack_size(64 << 20).build().unwrap();
        assert_eq!(pool.submit(use_stack, ()).unwrap().result().unwrap(), 1);
        let pool = builder(1).stack_size(usize::MAX / 2).build().unwrap();
        let error = pool.submit(double, 1).unwrap().result().unwrap_err();
        assert!(matches!(error, TaskError::Broken(_)), "{error:?}");
    });
}

/// Pools do not get in each other's way, also if one is made by a task of another.
#[test]
fn f137_p33_pools_in_pools() {
    fn sum_in_a_pool(n: u64) -> u64 {
        let pool = ProcessPoolExecutor::with_max_workers(2).unwrap();
        pool.map(double, 0..n).map(Result::unwrap).sum()
    }

    alone(|| {
        for setup in SETUPS {
            let (baseline, choices) = Baseline::take(setup.builder(2));
            let pool = choices.build().unwrap();
            let sums = pool.map(sum_in_a_pool, [10, 20]).collect::<Result<Vec<_>, _>>();
            assert_eq!(sums.unwrap(), [90, 380]);
            drop(pool);
            baseline.check();
        }
    });
}

/// Many pools at once, each of which uses a few descriptors.
#[test]
fn many_pools_at_once() {
    alone(|| {
        let (baseline, choices) = Baseline::take(builder(1));
        let pools: Vec<_> = (0..30).map(|_| choices.clone().build().unwrap()).collect();
        let futures: Vec<_> = pools.iter().map(|pool| pool.submit(double, 2).unwrap()).collect();
        assert!(wait(&futures, ReturnWhen::AllCompleted).not_done.is_empty());
        assert!(futures.into_iter().all(|future| future.result().unwrap() == 4));
        drop(pools);
        baseline.check();
    });
}
