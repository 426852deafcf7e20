//! Every fault at every moment of a worker's life: which futures fail and with what, that all others succeed, that the
//! pool goes on or says why not, and that nothing is left behind.

use std::error::Error;

use concurrent_futures::{BrokenExecutor, Crossing, Future, Refusal, TaskError};
use concurrent_futures_process_pool::ProcessPoolExecutor;
use concurrent_futures_tests::{
    Gate,
    functions::{double, pass},
};

use super::{
    SETUPS, Setup, alone, builder,
    faults::{
        FailsDecoding, FailsEncoding, Fault, death, fail_at_exit, fail_later, fail_while_replying,
    },
    leaks::Baseline,
    own_pid, wait_until,
};

/// The moments at which a fault costs one task at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Decoding,
    Running,
    Encoding,
    Replying,
    Idle,
    ShuttingDown,
}

const MOMENTS: [Moment; 6] = [
    Moment::Decoding,
    Moment::Running,
    Moment::Encoding,
    Moment::Replying,
    Moment::Idle,
    Moment::ShuttingDown,
];

/// How many workers die of a fault, which is checked here together with what becomes of its task.
fn inflict(pool: &ProcessPoolExecutor, fault: Fault, moment: Moment) -> u64 {
    match moment {
        Moment::Decoding => {
            check_loss(pool, pool.submit(|_: FailsDecoding| 1, FailsDecoding(fault)), fault, moment)
        }
        Moment::Running => {
            let future = pool.submit(Fault::happen, fault);
            if fault == Fault::Error {
                // An error that is a value is a value.
                assert_eq!(future.unwrap().result().unwrap(), Err("an error".to_owned()));
                return 0;
            }
            check_loss(pool, future, fault, moment)
        }
        Moment::Encoding => check_loss(pool, pool.submit(FailsEncoding, fault), fault, moment),
        Moment::Replying if fault.is_survived() => {
            // A thread that fails in this way takes nobody with it.
            let future = pool.submit(fail_while_replying, fault).unwrap();
            assert!(future.result().unwrap().bytes().all(|byte| byte == b'7'));
            0
        }
        Moment::Replying => {
            let mut deaths = 0;
            // A thread that came too late for a result is of no use here.
            while deaths == 0 {
                let before = pool.stats().worker_deaths;
                match pool.submit(fail_while_replying, fault).unwrap().result() {
                    Err(error) => {
                        fault.check_death(death(&error), true);
                        deaths = 1;
                    }
                    Ok(_) => wait_until(|| pool.stats().worker_deaths > before),
                }
            }
            pool.stats().worker_deaths
        }
        Moment::Idle => {
            let gate = Gate::closed();
            let pid = pool.submit(fail_later, (fault, gate.key())).unwrap().result().unwrap();
            gate.wait_for_arrivals(1);
            assert!(pool.worker_pids().contains(&pid));
            gate.open();
            if fault.is_survived() {
                assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), pid);
                return 0;
            }
            wait_until(|| !pool.worker_pids().contains(&pid));
            1
        }
        Moment::ShuttingDown => {
            let pid = pool.submit(fail_at_exit, fault).unwrap().result().unwrap();
            wait_until(|| !pool.worker_pids().contains(&pid));
            // It had been told to end, and has.
            0
        }
    }
}

/// The task fails, and says why; says also how many workers that has cost.
fn check_loss<R: std::fmt::Debug, T: std::fmt::Debug>(
    pool: &ProcessPoolExecutor,
    future: Result<Future<R>, T>,
    fault: Fault,
    moment: Moment,
) -> u64 {
    let error = future.unwrap().result().unwrap_err();
    match fault {
        Fault::Error => {
            let TaskError::Codec(error) = error else { panic!("{error:?}") };
            let (crossing, name) = match moment {
                Moment::Decoding => (Crossing::DecodeArgument, "FailsDecoding"),
                _ => (Crossing::EncodeResult, "FailsEncoding"),
            };
            assert_eq!(error.crossing(), crossing);
            assert!(error.type_name().ends_with(name), "{error:?}");
            assert!(error.source().is_some_and(|source| source.to_string().contains("an error")));
            0
        }
        Fault::Panic => {
            let TaskError::Panicked(panic) = error else { panic!("{error:?}") };
            assert_eq!(panic.message(), "a panic");
            assert!(panic.location().is_some_and(|place| place.contains("faults.rs")), "{panic:?}");
            0
        }
        fault => {
            let died = death(&error);
            fault.check_death(died, false);
            assert!(died.run_time().is_some(), "it had started: {died:?}");
            assert!(!pool.worker_pids().contains(&died.pid().expect("checked already")));
            1
        }
    }
}

fn check_cell(setup: Setup, fault: Fault, moment: Moment) {
    let mut choices = setup.builder(2);
    if moment == Moment::ShuttingDown {
        choices = choices.max_tasks_per_child(1);
    }
    let (baseline, choices) = Baseline::take(choices);
    let pool = choices.build().unwrap();
    let gate = Gate::closed();
    let bystander = pool.submit(pass, gate.key()).unwrap();
    gate.wait_for_arrivals(1);
    let deaths = inflict(&pool, fault, moment);
    let queued: Vec<_> = (0..5).map(|n| pool.submit(double, n).unwrap()).collect();
    for (n, future) in (0..).zip(queued) {
        assert_eq!(future.result().unwrap(), 2 * n);
    }
    assert!(bystander.running());
    gate.open();
    assert_eq!(bystander.result().unwrap(), gate.key());
    assert!(pool.broken().is_none());
    let stats = pool.stats();
    assert_eq!(stats.worker_deaths, deaths, "{stats:?}");
    assert_eq!(stats.submitted, stats.succeeded + stats.failed, "{stats:?}");
    drop(pool);
    baseline.check();
}

fn check_moment(moment: Moment) {
    for setup in SETUPS {
        for fault in Fault::ALL {
            announce(setup, fault, moment);
            check_cell(setup, fault, moment);
        }
    }
}

/// So that a failure says where it was. Shown only if the test fails.
#[expect(clippy::print_stdout, reason = "captured, and shown with a failure")]
fn announce(setup: Setup, fault: Fault, moment: impl std::fmt::Debug) {
    println!("{setup:?}, {fault:?}, {moment:?}");
}

macro_rules! moments {
    ($($test:ident: $moment:ident,)*) => {
        $(
            #[test]
            fn $test() {
                alone(|| check_moment(Moment::$moment));
            }
        )*

        #[test]
        fn no_moment_is_forgotten() {
            assert_eq!(MOMENTS, [$(Moment::$moment),*]);
        }
    };
}

moments! {
    p14_p15_faults_while_decoding_the_argument: Decoding,
    p14_p15_faults_while_running: Running,
    p14_p15_faults_while_encoding_the_result: Encoding,
    p14_p15_faults_while_replying: Replying,
    p14_p15_faults_while_idle: Idle,
    p14_p15_faults_while_shutting_down: ShuttingDown,
}

/// What broke the pool, as its futures and its refusals say alike.
fn check_broken(pool: &ProcessPoolExecutor, futures: Vec<Future<u64>>) -> BrokenExecutor {
    let mut broken = None;
    for future in futures {
        let error = future.result().unwrap_err();
        let TaskError::Broken(error) = error else { panic!("{error:?}") };
        broken = Some(error);
    }
    let refused = pool.submit(double, 21).unwrap_err();
    assert!(matches!(refused.reason(), Refusal::Broken(_)), "{refused:?}");
    let (function, argument) = refused.into_inner();
    assert_eq!(function(argument), 42);
    assert!(matches!(pool.prestart(1), Err(Refusal::Broken(_))));
    let broken = broken.expect("some future");
    assert_eq!(pool.broken().unwrap().to_string(), broken.to_string());
    broken
}

/// Submits tasks to a pool that is going to break, the first of them before.
fn submit_some(pool: &ProcessPoolExecutor) -> Vec<Future<u64>> {
    let submit = |n| match pool.submit(double, n) {
        Ok(future) => Some(future),
        Err(refused) => {
            assert!(matches!(refused.reason(), Refusal::Broken(_)), "{refused}");
            None
        }
    };
    (0..3).map_while(submit).collect()
}

/// A fault in the initializer breaks the pool, at once if it is one that the worker can tell, or else after a number of
/// attempts; with the reason.
#[test]
fn f128_p14_p15_faults_in_the_initializer() {
    alone(|| {
        for setup in SETUPS {
            for fault in Fault::ALL {
                announce(setup, fault, "Initializing");
                let choices = setup.builder(2);
                let (baseline, choices) = Baseline::take(choices);
                let pool = choices.try_initializer(Fault::happen, fault).build().unwrap();
                let futures = submit_some(&pool);
                let broken = check_broken(&pool, futures);
                let source = broken.source().expect("a reason");
                match source.downcast_ref::<TaskError>() {
                    Some(TaskError::Panicked(panic)) => {
                        assert_eq!((fault, panic.message()), (Fault::Panic, "a panic"));
                    }
                    Some(TaskError::Failed(failure)) => {
                        assert_eq!((fault, &*failure.to_string()), (Fault::Error, "an error"));
                    }
                    Some(error) => panic!("{error:?}"),
                    None => {
                        let died = source.downcast_ref().expect("a death");
                        fault.check_death(died, false);
                        assert!(died.run_time().is_none());
                    }
                }
                drop(pool);
                baseline.check();
            }
        }
    });
}

/// The same for what is to be preloaded, which runs in the fork server.
#[test]
fn faults_while_preloading() {
    alone(|| {
        for fault in Fault::ALL {
            announce(SETUPS[0], fault, "Preloading");
            let (baseline, choices) = Baseline::take(builder(2));
            let pool = choices.try_preload(Fault::happen, fault).build().unwrap();
            let futures = submit_some(&pool);
            let broken = check_broken(&pool, futures);
            let mut reason = broken.to_string();
            let mut source = broken.source();
            while let Some(error) = source {
                reason.push_str(&format!("; {error}"));
                source = error.source();
            }
            let expected = match fault {
                Fault::Error => "an error",
                Fault::Panic => "a panic",
                Fault::Exit => "exit status: 3",
                Fault::Kill => "SIGKILL",
                Fault::Segv | Fault::StackOverflow => "SIGSEGV",
                Fault::Abort | Fault::Allocation => "SIGABRT",
            };
            assert!(reason.contains(expected), "{reason}");
            drop(pool);
            baseline.check();
        }
    });
}
