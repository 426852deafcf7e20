//! `Shared` values: each worker is sent them once, and forgets them when nobody has them any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, process,
    sync::atomic::{AtomicU32, Ordering},
};

use concurrent_futures::{Bytes, MapOptions, Shared, TaskError};
use concurrent_futures_tests::{functions::double, processes::send_signal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{
    alone, beside, beside_on_all, builder, faults::death, leaks::Baseline, own_pid, wait_until,
};

/// How many values this process has decoded.
static DECODED: AtomicU32 = AtomicU32::new(0);

/// Counts how often it is decoded. Has something that is encoded, and something that is not.
#[derive(Debug, PartialEq)]
struct Counted {
    words: BTreeMap<u32, String>,
    bytes: Bytes,
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.words, &self.bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        let (words, bytes) = Deserialize::deserialize(deserializer)?;
        Ok(Self { words, bytes })
    }
}

fn counted(seed: u8) -> Shared<Counted> {
    let words = (0..1000).map(|n| (n, format!("{seed} and {n}"))).collect();
    Shared::new(Counted { words, bytes: Bytes::from(vec![seed; 1 << 20]) })
}

/// Who looks, how often that process has decoded anything, and where it finds the value.
type Look = (u32, u32, usize);

fn look((shared, n, seed): (Shared<Counted>, u32, u8)) -> Look {
    assert_eq!(shared.words[&n], format!("{seed} and {n}"));
    assert!(shared.bytes.len() == 1 << 20 && shared.bytes[usize::from(seed)] == seed);
    let address = std::ptr::from_ref(&*shared).addr();
    (process::id(), DECODED.load(Ordering::SeqCst), address)
}

#[test]
fn p31_each_worker_decodes_a_shared_value_once() {
    beside_on_all(|setup| {
        let pool = setup.builder(3).build().unwrap();
        let shared = counted(5);
        let tasks = (0..300).map(|n| (shared.clone(), n, 5));
        for chunksize in [1, 10] {
            let options = MapOptions::new().chunksize(chunksize);
            let looks = pool.map_with(options, look, tasks.clone()).unwrap();
            let looks: BTreeSet<Look> = looks.map(Result::unwrap).collect();
            let pids: BTreeSet<u32> = looks.iter().map(|look| look.0).collect();
            // Otherwise there would be several of one process.
            assert!(looks.len() == pids.len() && looks.iter().all(|look| look.1 == 1), "{looks:?}");
        }
        // Another value is another one.
        let other = pool.submit(look, (counted(6), 1, 6)).unwrap().result().unwrap();
        assert_eq!(other.1, 2);
    });
}

/// A value that has been sent to a worker that died is sent to the next one.
#[test]
fn a_new_worker_is_sent_it_again() {
    fn dies(shared: Shared<Counted>) -> usize {
        assert_eq!(shared.words.len(), 1000);
        process::abort()
    }

    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        let shared = counted(7);
        let mut pids = BTreeSet::new();
        for round in 0..4 {
            for _ in 0..3 {
                let task = (shared.clone(), 3, 7);
                let (pid, decoded, _) = pool.submit(look, task).unwrap().result().unwrap();
                assert_eq!(decoded, 1);
                pids.insert(pid);
            }
            if round % 2 == 0 {
                let error = pool.submit(dies, shared.clone()).unwrap().result().unwrap_err();
                death(&error);
            } else {
                send_signal(*pids.last().expect("a worker"), libc::SIGKILL);
                let pid = || pool.submit(own_pid, ()).unwrap().result();
                wait_until(|| pid().is_ok_and(|pid| !pids.contains(&pid)));
            }
        }
        assert_eq!(pids.len(), 4);
    });
}

/// How much there is in mappings of shared values, and how many descriptors of such are open.
fn held(_: ()) -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").expect("a list of mappings");
    let maps = maps.lines().filter(|line| line.contains("memfd:shared value")).count();
    let fds = fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten();
    let fds = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
    (maps, fds.filter(|target| target.to_string_lossy().contains("memfd:shared value")).count())
}

/// When nobody has it any more, its memory is given back, in all processes, with the next task.
#[test]
fn what_nobody_has_is_forgotten() {
    alone(|| {
        for shared_memory in [true, false] {
            let (baseline, builder) = Baseline::take(builder(1).shared_memory(shared_memory));
            let pool = builder.build().unwrap();
            for round in 0..30 {
                let (one, other) = (counted(round), counted(round + 100));
                pool.submit(look, (one.clone(), 1, round)).unwrap().result().unwrap();
                pool.submit(look, (other, 1, round + 100)).unwrap().result().unwrap();
                assert_eq!(pool.submit(held, ()).unwrap().result().unwrap(), (1, 0));
                drop(one);
                assert_eq!(pool.submit(held, ()).unwrap().result().unwrap(), (0, 0));
            }
            let kept = counted(1);
            pool.submit(look, (kept.clone(), 1, 1)).unwrap().result().unwrap();
            drop(pool);
            drop(kept);
            baseline.check();
        }
    });
}

/// Many at a time, some of which go by value, in tasks that are sent ahead.
#[test]
fn many_values_at_a_time() {
    fn sum(values: Vec<Shared<u64>>) -> u64 {
        values.iter().map(|value| **value).sum()
    }

    beside_on_all(|setup| {
        let pool = setup.builder(2).build().unwrap();
        let values: Vec<_> = (0..500).map(Shared::new).collect();
        let few: Vec<_> = (0..400)
            .map(|n| pool.submit(sum, vec![values[n].clone(), values[n + 1].clone()]).unwrap())
            .collect();
        let all = pool.submit(sum, values.clone()).unwrap();
        for (n, future) in (0..).zip(few) {
            assert_eq!(future.result().unwrap(), 2 * n + 1);
        }
        assert_eq!(all.result().unwrap(), (0..500).sum::<u64>());
        drop(values);
        assert_eq!(pool.submit(double, 21).unwrap().result().unwrap(), 42);
    });
}

/// A result has it by value, and it can go on from there.
#[test]
fn a_shared_value_comes_back_by_value() {
    beside_on_all(|setup| {
        let pool = setup.builder(2).build().unwrap();
        let shared = counted(9);
        let echo = |shared: Shared<Counted>| shared;
        let back = pool.submit(echo, shared.clone()).unwrap().result().unwrap();
        assert!(*back == *shared);
        let again = pool.submit(echo, back).unwrap().result().unwrap();
        assert!(*again == *shared);
    });
}

#[derive(Debug, Deserialize)]
struct Unsendable;

impl Serialize for Unsendable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("a codec that fails"))
    }
}

#[derive(Debug, Serialize)]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("a codec that fails"))
    }
}

/// A value that cannot be encoded, or decoded, is the error of each task that has it.
#[test]
fn a_value_that_cannot_cross_fails_its_tasks() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        let (unsendable, unreadable) = (Shared::new(Unsendable), Shared::new(Unreadable));
        for _ in 0..2 {
            let future = pool.submit(|_: Shared<Unsendable>| 1, unsendable.clone()).unwrap();
            assert!(matches!(future.result().unwrap_err(), TaskError::Codec(_)));
            let future = pool.submit(|_: Shared<Unreadable>| 1, unreadable.clone()).unwrap();
            assert!(matches!(future.result().unwrap_err(), TaskError::Codec(_)));
        }
        assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), pid);
    });
}

/// Several pools have the same file; and a worker may share what it was given with workers of its own.
#[test]
fn several_pools_share_a_value() {
    fn passes_on(shared: Shared<Counted>) -> Look {
        let pool = builder(1).build().expect("a pool");
        let look = pool.submit(look, (shared, 4, 3)).expect("a future");
        look.result().expect("a result")
    }

    beside(|| {
        let shared = counted(3);
        let pools = [builder(1).build().unwrap(), builder(2).shared_memory(false).build().unwrap()];
        for pool in &pools {
            let (_, decoded, _) =
                pool.submit(look, (shared.clone(), 2, 3)).unwrap().result().unwrap();
            assert_eq!(decoded, 1);
        }
        let (pid, decoded, _) =
            pools[0].submit(passes_on, shared.clone()).unwrap().result().unwrap();
        assert!(pid != process::id() && decoded == 1);
    });
}
