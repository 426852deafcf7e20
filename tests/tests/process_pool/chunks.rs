//! A worker that dies inside a chunk of a `map` takes the item with it that it was on, and no other: what was done before is
//! kept, and not done again; what comes behind is done elsewhere.

use std::{process, ptr, thread};

use concurrent_futures::{
    Bytes, Crossing, DeathCause, MapError, MapOptions, Progress, Shared, TaskError,
    TaskError::WorkerDied as Died,
};
use concurrent_futures_process_pool::ProcessPoolExecutor;
use concurrent_futures_tests::{
    Gate, functions::Log, hostile::forge_journal, processes::send_signal, registry,
};
use serde::{Deserialize, Serialize, Serializer, ser};

use super::{
    SETUPS, Setup, alone, beside, builder,
    faults::{FailsDecoding, Fault, death},
    pool,
};

/// An item: the list to write to, a number, and what goes wrong.
type Item = (u64, u64, Option<Fault>);
type Outcome<T = Result<u64, String>> = Result<T, MapError>;

const ITEMS: u64 = 10;

fn items(log: &registry::Registered<Log>, faults: &[(u64, Fault)]) -> Vec<Item> {
    let fault = |n| faults.iter().find(|(at, _)| *at == n).map(|(_, fault)| *fault);
    (0..ITEMS).map(|n| (log.key(), n, fault(n))).collect()
}

fn run((log, n, fault): Item) -> Result<u64, String> {
    registry::reach::<Log>(log).push(n);
    fault.map_or(Ok(()), Fault::happen)?;
    Ok(2 * n)
}

fn task_error<T: std::fmt::Debug>(outcome: Outcome<T>) -> TaskError {
    match outcome.unwrap_err() {
        MapError::Task(error) => error,
        error => panic!("{error:?}"),
    }
}

/// The results of a chunk are those of its items: values but for the items with faults. Each item was run once, whoever ran it.
fn check(log: &Log, outcomes: Vec<Outcome>, faults: &[(u64, Fault)]) {
    assert_eq!(outcomes.len() as u64, ITEMS);
    for (n, outcome) in (0..).zip(outcomes) {
        match faults.iter().find(|(at, _)| *at == n) {
            None => assert_eq!(outcome.unwrap(), Ok(2 * n)),
            Some((_, Fault::Error)) => assert_eq!(outcome.unwrap(), Err("an error".to_owned())),
            Some((_, Fault::Panic)) => {
                let TaskError::Panicked(panic) = task_error(outcome) else { panic!("item {n}") };
                assert_eq!(panic.message(), "a panic");
            }
            Some((_, fault)) => {
                let error = task_error(outcome);
                fault.check_death(death(&error), false);
                assert!(death(&error).run_time().is_some());
            }
        }
    }
    let mut entries = log.entries();
    entries.sort_unstable();
    assert_eq!(entries, (0..ITEMS).collect::<Vec<_>>());
}

fn check_stats(pool: &ProcessPoolExecutor, deaths: u64) {
    let stats = pool.stats();
    assert_eq!(stats.worker_deaths, deaths, "{stats:?}");
    assert_eq!(stats.submitted, stats.succeeded + stats.failed + stats.cancelled, "{stats:?}");
}

fn in_chunks() -> MapOptions {
    MapOptions::new().chunksize(usize::try_from(ITEMS).unwrap())
}

fn setups_that_share() -> impl Iterator<Item = Setup> {
    SETUPS.into_iter().filter(|setup| setup.shared_memory)
}

/// Whatever goes wrong, and with whichever items: the first, the last, one after another, all.
#[test]
fn an_item_that_kills_its_worker_fails_alone() {
    alone(|| {
        for setup in setups_that_share() {
            for fault in Fault::ALL {
                let log = Log::new();
                let pool = setup.builder(1).build().unwrap();
                let faults = [(4, fault)];
                let map = pool.map_with(in_chunks(), run, items(&log, &faults)).unwrap();
                check(&log, map.collect(), &faults);
                check_stats(&pool, u64::from(!fault.is_survived()));
            }
        }
    });
}

#[test]
fn every_item_that_kills_fails_and_no_other() {
    beside(|| {
        let all: Vec<u64> = (0..ITEMS).collect();
        for places in [&[0][..], &[9], &[0, 9], &[3, 4, 5], &[1, 3, 8], &all] {
            let log = Log::new();
            let pool = pool(2);
            let faults: Vec<_> = places.iter().map(|&n| (n, Fault::Exit)).collect();
            let map = pool.map_with(in_chunks(), run, items(&log, &faults)).unwrap();
            check(&log, map.collect(), &faults);
            check_stats(&pool, places.len() as u64);
        }
    });
}

/// Items with large data: what goes past the codec goes to the next worker as well, also to one that was never sent it. And
/// what comes back of it, from whichever worker, is what was given.
#[test]
fn large_items_behind_one_that_kills_are_there_for_the_next_worker() {
    fn look((n, bytes, shared): (u8, Bytes, Shared<Vec<u64>>)) -> (Bytes, Bytes, u64) {
        if n == 3 || n == 5 {
            process::abort();
        }
        assert!(bytes.len() == 100_000 && bytes.iter().all(|byte| *byte == n));
        (bytes.slice(1..), Bytes::from(vec![n; 20_000]), shared[usize::from(n)])
    }

    beside(|| {
        for setup in setups_that_share() {
            let pool = setup.builder(1).build().unwrap();
            let shared = Shared::new((0..ITEMS).collect::<Vec<_>>());
            let given: Vec<_> = (0..10).map(|n| Bytes::from(vec![n; 100_000])).collect();
            let items = (0..).zip(&given).map(|(n, bytes)| (n, bytes.clone(), shared.clone()));
            let map = pool.map_with(in_chunks(), look, items).unwrap();
            for (n, outcome) in (0..).zip(map) {
                if n == 3 || n == 5 {
                    assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Aborted);
                } else {
                    let (given, (slice, new, shared)) = (&given[usize::from(n)], outcome.unwrap());
                    assert!(ptr::eq(slice.as_slice(), &raw const given[1..]), "{n}");
                    assert_eq!((new, shared), (Bytes::from(vec![n; 20_000]), u64::from(n)));
                }
            }
            check_stats(&pool, 2);
        }
    });
}

/// Items that fail in different ways, some of which take the worker with them.
#[test]
fn failures_of_all_kinds_stay_in_their_places() {
    beside(|| {
        let log = Log::new();
        let pool = pool(1);
        let faults: Vec<_> = (1..).zip(Fault::ALL).collect();
        let progress = Progress::new();
        let options = in_chunks().progress(&progress);
        let map = pool.map_with(options, run, items(&log, &faults)).unwrap();
        check(&log, map.collect(), &faults);
        check_stats(&pool, 6);
        let counts = progress.snapshot();
        assert_eq!((counts.submitted, counts.failed), (ITEMS, 7), "{counts:?}");
    });
}

/// The results of other chunks are what they would be, whatever comes first.
#[test]
fn other_chunks_are_none_the_worse() {
    beside(|| {
        for unordered in [false, true] {
            let pool = pool(3);
            let options = MapOptions::new().chunksize(7);
            let options = if unordered { options.unordered() } else { options };
            let kill = |n: u64| if n % 100 == 13 { process::abort() } else { n };
            let outcomes: Vec<_> = pool.map_with(options, kill, 0..1000).unwrap().collect();
            let (values, deaths): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            let mut values: Vec<u64> = values.into_iter().map(Result::unwrap).collect();
            if unordered {
                values.sort_unstable();
            }
            assert_eq!(values, (0..1000).filter(|n| n % 100 != 13).collect::<Vec<_>>());
            assert_eq!(deaths.len(), 10);
            for outcome in deaths {
                assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Aborted);
            }
            check_stats(&pool, 10);
        }
    });
}

/// The library chooses the size of chunks, which are large by the time that something happens.
#[test]
fn large_chunks_lose_one_item_each() {
    beside(|| {
        const KILLS: u64 = 20_011;
        let pool = pool(2);
        let kill = |n: u64| if n % KILLS == 7 { process::abort() } else { n };
        for (n, outcome) in (0..).zip(pool.map(kill, 0..100_000)) {
            if n % KILLS == 7 {
                assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Aborted);
            } else {
                assert_eq!(outcome.unwrap(), n);
            }
        }
        check_stats(&pool, 5);
    });
}

/// More than fits in a ring, and more than the file keeps.
#[test]
fn long_results_are_kept() {
    alone(|| {
        for (length, count) in [(1000, 40), (100_000, 20), (4 << 20, 18)] {
            let pool = pool(1);
            let last = count - 1;
            let text = |(n, length, last): (usize, usize, usize)| {
                if n == 5 || n == last {
                    process::abort();
                }
                "x".repeat(length + n)
            };
            let options = MapOptions::new().chunksize(count);
            let items = (0..count).map(move |n| (n, length, last));
            for (n, outcome) in pool.map_with(options, text, items).unwrap().enumerate() {
                if n == 5 || n == last {
                    assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Aborted);
                } else {
                    let text = outcome.unwrap();
                    assert!(text.len() == length + n && text.bytes().all(|byte| byte == b'x'));
                }
            }
            check_stats(&pool, 2);
        }
    });
}

/// Fails while it is encoded, after some of it was.
#[derive(Debug, Deserialize)]
struct MayFail(u64, Option<Fault>);

impl Serialize for MayFail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(fault) = self.1 {
            fault.happen().map_err(ser::Error::custom)?;
        }
        (self.0, self.1).serialize(serializer)
    }
}

#[test]
fn a_result_that_kills_while_it_is_encoded_fails_alone() {
    alone(|| {
        for fault in Fault::ALL {
            let pool = pool(1);
            let call = |(n, fault): (u64, Option<Fault>)| MayFail(n, fault);
            let items = (0..ITEMS).map(move |n| (n, (n == 6).then_some(fault)));
            for (n, outcome) in (0..).zip(pool.map_with(in_chunks(), call, items).unwrap()) {
                if n != 6 {
                    assert_eq!(outcome.unwrap().0, n);
                    continue;
                }
                match (fault, task_error(outcome)) {
                    (Fault::Error, TaskError::Codec(error)) => {
                        assert_eq!(error.crossing(), Crossing::EncodeResult);
                        assert!(error.type_name().ends_with("MayFail"), "{error:?}");
                    }
                    (Fault::Panic, TaskError::Panicked(panic)) => {
                        assert_eq!(panic.message(), "a panic");
                    }
                    (fault, error) => fault.check_death(death(&error), false),
                }
            }
        }
    });
}

/// An item that cannot be decoded cannot be told from the others: nothing of the chunk is run.
#[test]
fn a_chunk_that_kills_while_it_is_decoded_fails_as_a_whole() {
    beside(|| {
        let pool = pool(1);
        let items = || (0..4).map(|_| FailsDecoding(Fault::Exit));
        let options = MapOptions::new().chunksize(4);
        let outcomes = pool.map_with(options, |_: FailsDecoding| (), items()).unwrap();
        for outcome in outcomes {
            assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Exited);
        }
        check_stats(&pool, 1);
    });
}

/// Over a socket nobody knows how far a worker was.
#[test]
fn without_shared_memory_a_chunk_fails_as_a_whole() {
    beside(|| {
        let log = Log::new();
        let pool = builder(1).shared_memory(false).build().unwrap();
        let faults = [(4, Fault::Abort)];
        let map = pool.map_with(in_chunks(), run, items(&log, &faults)).unwrap();
        let outcomes: Vec<_> = map.collect();
        assert_eq!(outcomes.len() as u64, ITEMS);
        for outcome in outcomes {
            assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Aborted);
        }
        assert_eq!(log.entries(), [0, 1, 2, 3, 4]);
        check_stats(&pool, 1);
    });
}

/// Writes its number to the list, and says who it is if it is to wait.
fn wait((log, n, gate): (u64, u64, u64)) -> u64 {
    registry::reach::<Log>(log).push(n);
    if gate != 0 {
        registry::reach::<Gate>(gate).pass();
    }
    n
}

fn waiting_items(log: u64, gate: u64, at: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    (0..ITEMS).map(move |n| (log, n, if n == at { gate } else { 0 }))
}

#[test]
fn a_worker_that_is_killed_loses_the_item_that_it_was_on() {
    beside(|| {
        for setup in setups_that_share() {
            let (log, gate) = (Log::new(), Gate::closed());
            let pool = setup.builder(1).max_tasks_per_child(1).build().unwrap();
            let items = waiting_items(log.key(), gate.key(), 3);
            let map = pool.map_with(in_chunks(), wait, items).unwrap();
            gate.wait_for_arrivals(1);
            for pid in pool.worker_pids() {
                send_signal(pid, libc::SIGKILL);
            }
            for (n, outcome) in (0..).zip(map) {
                match n {
                    3 => assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Killed),
                    _ => assert_eq!(outcome.unwrap(), n),
                }
            }
            assert_eq!(log.entries(), (0..ITEMS).collect::<Vec<_>>());
            check_stats(&pool, 1);
        }
    });
}

/// What is left of a chunk is not run by anybody when the pool is stopped; what was done stays done.
#[test]
fn a_stopped_pool_does_not_go_on() {
    beside(|| {
        let (log, gate) = (Log::new(), Gate::closed());
        let pool = pool(1);
        let kill_or_wait = |(log, n, gate): (u64, u64, u64)| {
            if n == 2 {
                process::abort();
            }
            wait((log, n, gate))
        };
        let items = waiting_items(log.key(), gate.key(), 5);
        let map = pool.map_with(in_chunks(), kill_or_wait, items).unwrap();
        gate.wait_for_arrivals(1);
        pool.kill_workers();
        for (n, outcome) in (0..).zip(map) {
            let cause = match n {
                2 => DeathCause::Aborted,
                5.. => DeathCause::Stopped,
                _ => {
                    assert_eq!(outcome.unwrap(), n);
                    continue;
                }
            };
            assert_eq!(death(&task_error(outcome)).cause(), cause, "{n}");
        }
        assert_eq!(log.entries(), [0, 1, 3, 4, 5]);
        check_stats(&pool, 2);
    });
}

/// The pool is stopped while nobody has the rest of a chunk.
#[test]
fn a_pool_may_be_stopped_at_any_moment() {
    beside(|| {
        for round in 0..20 {
            let pool = pool(1);
            let kill = |n: u64| if n % 3 == 1 { process::abort() } else { n };
            let map = pool.map_with(MapOptions::new().chunksize(30), kill, 0..30).unwrap();
            let stats = || pool.stats().worker_deaths;
            while stats() < round % 5 {
                thread::yield_now();
            }
            pool.kill_workers();
            for (n, outcome) in (0..).zip(map) {
                if let Ok(value) = outcome {
                    assert_eq!(value, n);
                } else {
                    assert!(matches!(outcome, Err(MapError::Task(Died(_) | TaskError::Cancelled))));
                }
            }
            pool.shutdown();
            let stats = pool.stats();
            let ended = stats.succeeded + stats.failed + stats.cancelled;
            assert_eq!(stats.submitted, ended, "{stats:?}");
        }
    });
}

/// An item that forks and returns twice: what the child does is its own.
#[test]
#[expect(clippy::disallowed_methods, reason = "what is shown is what a forked child does")]
fn an_item_that_forks_is_done_once() {
    beside(|| {
        let log = Log::new();
        let pool = pool(1);
        let fork = |(log, n): (u64, u64)| {
            registry::reach::<Log>(log).push(n);
            if n == 4 {
                // SAFETY: the child does nothing but return.
                let child = unsafe { libc::fork() };
                assert!(child >= 0);
                if child > 0 {
                    // SAFETY: waits for it; a null pointer means that nobody asks how it ended.
                    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
                }
            }
            if n == 8 {
                process::abort();
            }
            n
        };
        let log_key = log.key();
        let items = (0..ITEMS).map(move |n| (log_key, n));
        for (n, outcome) in (0..).zip(pool.map_with(in_chunks(), fork, items).unwrap()) {
            match n {
                8 => assert_eq!(death(&task_error(outcome)).cause(), DeathCause::Aborted),
                _ => assert_eq!(outcome.unwrap(), n),
            }
        }
        assert_eq!(log.entries(), (0..ITEMS).collect::<Vec<_>>());
    });
}

/// Whatever a worker says of how far it was, it costs no chunk but its own, and harms nobody.
#[test]
fn a_lie_about_what_was_done_costs_its_own_chunk() {
    beside(|| {
        for seed in 0..60 {
            let pool = pool(2);
            let lie = |(n, seed): (u64, u64)| {
                if n == 15 {
                    forge_journal(seed);
                    process::abort();
                }
                n
            };
            let options = MapOptions::new().chunksize(10);
            let map = pool.map_with(options, lie, (0..40).map(move |n| (n, seed))).unwrap();
            let outcomes: Vec<_> = map.collect();
            assert_eq!(outcomes.len(), 40);
            for (n, outcome) in (0..).zip(outcomes) {
                if !(10..20).contains(&n) {
                    assert_eq!(outcome.unwrap(), n);
                }
            }
            // More than one, if fewer items were said to be done than were, so that this one was run again.
            let deaths = pool.stats().worker_deaths;
            assert!(deaths > 0);
            check_stats(&pool, deaths);
        }
    });
}

/// What the failures of a chunk have taken in the memory that is shared with the worker is given back, if it is much.
#[test]
fn the_memory_of_long_failures_is_given_back() {
    const LENGTH: usize = 16 << 20;
    const ITEMS: usize = 8;

    #[derive(Deserialize)]
    struct Unwilling;

    impl Serialize for Unwilling {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("x".repeat(LENGTH)))
        }
    }

    /// How many bytes of memory are in the file that a worker shares with the pool.
    fn shared_memory(_: ()) -> u64 {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let is_it = |path: &std::path::PathBuf| {
            std::fs::read_link(path).is_ok_and(|at| at.to_string_lossy().contains("memfd:worker"))
        };
        let path = fds.map(|fd| fd.path()).find(is_it).unwrap();
        std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512
    }

    beside(|| {
        let pool = pool(1);
        let options = MapOptions::new().chunksize(ITEMS);
        let map = pool.map_with(options, |_: usize| Unwilling, 0..ITEMS).unwrap();
        assert_eq!(map.filter(Result::is_err).count(), ITEMS);
        let bytes = pool.submit(shared_memory, ()).unwrap().result().unwrap();
        // A place keeps half of that at most, and there are two that were used.
        assert!(bytes < (LENGTH * ITEMS) as u64 + (1 << 20), "{bytes}");
    });
}
