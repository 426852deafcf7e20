//! `Bytes`, which get past the codec: of every size, wherever they are in a value, kept for longer than their task, and lost
//! with their worker.

use std::{
    collections::BTreeMap,
    process,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use concurrent_futures::{Bytes, Future, MapOptions, TaskError};
use concurrent_futures_process_pool::ProcessPoolExecutor;
use concurrent_futures_tests::{
    functions::double,
    hostile,
    processes::{send_signal, stop},
    seed::Random,
};

use super::{alone, beside, beside_on_all, builder, faults::death, leaks::Baseline, own_pid};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Around the sizes from which bytes go past the codec, and a frame past the ring, and some that are large.
const SIZES: [usize; 15] = [
    0,
    1,
    8 * KIB - 1,
    8 * KIB,
    8 * KIB + 1,
    16 * KIB - 40,
    16 * KIB,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    MIB - 1,
    MIB,
    5 * MIB + 3,
    70 * MIB,
    2 * KIB,
];

/// Bytes that differ from place to place, and from seed to seed.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let piece: Vec<u8> = (0..=250).map(|byte: u8| byte.wrapping_add(seed)).collect();
    let mut bytes = piece.repeat(length / piece.len() + 1);
    bytes.truncate(length);
    bytes
}

fn bytes(length: usize, seed: u8) -> Bytes {
    Bytes::from(pattern(length, seed))
}

/// The same with the ends changed: bytes that were not there before.
fn change(bytes: Bytes) -> Bytes {
    let mut bytes = bytes.into_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 255;
    }
    if let Some(last) = bytes.last_mut() {
        *last ^= 15;
    }
    Bytes::from(bytes)
}

#[test]
fn p31_bytes_of_any_size_cross() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        for (length, seed) in SIZES.into_iter().zip(1..) {
            let sent = bytes(length, seed);
            let future = pool.submit(change, sent.clone()).unwrap();
            assert!(future.result().unwrap() == change(sent.clone()), "{length}");
            let length_of = |bytes: Bytes| bytes.len();
            assert_eq!(pool.submit(length_of, sent.clone()).unwrap().result().unwrap(), length);
            assert!(sent == pattern(length, seed));
            let echo = |bytes: Bytes| bytes;
            assert!(pool.submit(echo, sent.clone()).unwrap().result().unwrap() == sent);
        }
        assert_eq!(pool.stats().workers, 1);
    });
}

/// Wherever in a value they are, however many.
#[test]
fn bytes_are_found_wherever_they_are() {
    type Tree = BTreeMap<String, Vec<(u32, Option<Bytes>)>>;

    fn backwards(tree: Tree) -> (usize, Vec<Tree>) {
        let lengths = tree.values().flatten().flat_map(|(_, bytes)| bytes).map(|bytes| bytes.len());
        let sum = lengths.sum();
        (sum, vec![tree.clone(), Tree::new(), tree])
    }

    beside_on_all(|setup| {
        let pool = setup.builder(2).build().unwrap();
        let mut random = Random::new(7);
        let mut tree = Tree::new();
        for n in 0..300_u32 {
            let length = [0, 100, 9 * KIB, 20 * KIB, 70 * KIB][random.index(5)];
            let bytes = random.once_in(2).then(|| bytes(length, n.to_le_bytes()[0]));
            tree.entry(format!("{}", n % 7)).or_default().push((n, bytes));
        }
        let futures: Vec<_> =
            (0..3).map(|_| pool.submit(backwards, tree.clone()).unwrap()).collect();
        for future in futures {
            let (sum, trees) = future.result().unwrap();
            let expected = tree.values().flatten().flat_map(|(_, bytes)| bytes);
            assert_eq!(sum, expected.map(|bytes| bytes.len()).sum::<usize>());
            assert!(trees == [tree.clone(), Tree::new(), tree.clone()]);
        }
    });
}

/// What a task returns of its argument comes back as what the caller has given, as it would from a thread.
#[test]
fn what_comes_back_is_what_was_given() {
    fn pieces((first, second): (Bytes, Vec<Bytes>)) -> (Vec<Bytes>, Bytes, Option<Bytes>) {
        let third = second[1].slice(MIB / 4..);
        let copy = Bytes::from(&first[..]);
        (vec![third.slice(..100 * KIB), first, third], second[0].slice(7..7 + KIB), Some(copy))
    }

    fn is_part(part: &Bytes, whole: &[u8]) -> bool {
        std::ptr::eq(part.as_slice(), whole)
    }

    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        let given = [bytes(70 * KIB, 1), bytes(20 * KIB, 2), bytes(MIB, 3)];
        for _ in 0..3 {
            let [first, second, third] = given.clone();
            let argument = (first.clone(), vec![second.clone(), third.clone()]);
            let (parts, short, copy) = pool.submit(pieces, argument).unwrap().result().unwrap();
            assert!(is_part(&parts[0], &third[MIB / 4..MIB / 4 + 100 * KIB]));
            assert!(is_part(&parts[1], &first) && is_part(&parts[2], &third[MIB / 4..]));
            // Not worth it; and in the worker's own memory.
            assert!(short == second[7..7 + KIB] && !is_part(&short, &second[7..7 + KIB]));
            assert!(copy.is_some_and(|copy| copy == first && !is_part(&copy, &first)));
        }
        // With nobody else who has it, it is the very vector.
        let vec = pattern(MIB, 4);
        let address = vec.as_ptr();
        let echo = |bytes: Bytes| bytes;
        let future = pool.submit(echo, Bytes::from(vec)).unwrap();
        let vec = future.result().unwrap().into_vec();
        assert!(vec.as_ptr() == address && vec == pattern(MIB, 4));
        // And so it is with each item of a map.
        let first = |(bytes, length): (Bytes, usize)| (length, bytes.slice(..length));
        for options in [1, 5].map(|size| MapOptions::new().chunksize(size)) {
            for options in [options, MapOptions::new()] {
                let items = (0..40).map(|n| (given[n % 3].clone(), 20 * KIB - n * 400));
                let results = pool.map_with(options, first, items).unwrap();
                for (n, result) in results.enumerate() {
                    let (length, part) = result.unwrap();
                    let is_worth_it = length > 8 * KIB;
                    assert_eq!(is_part(&part, &given[n % 3][..length]), is_worth_it, "{n}");
                    assert!(part == given[n % 3][..length]);
                }
            }
        }
    });
}

/// Items of a map, by themselves and in chunks.
#[test]
fn bytes_are_items_of_a_map() {
    beside_on_all(|setup| {
        let pool = setup.builder(2).build().unwrap();
        for chunksize in [1, 7] {
            let items = (0..40).map(|n| bytes(usize::from(n) * 3 * KIB, n));
            let options = MapOptions::new().chunksize(chunksize);
            let results = pool.map_with(options, change, items.clone()).unwrap();
            for (result, item) in results.zip(items) {
                assert!(result.unwrap() == change(item));
            }
        }
    });
}

/// What a task has kept, in its worker.
static KEPT: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

fn keep(bytes: (Bytes, Bytes)) -> usize {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    // Not the other one.
    kept.push(bytes.1);
    kept.len()
}

fn take_kept(_: ()) -> Vec<Bytes> {
    std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A task may keep what it was given, and the next ones do not write over it.
#[test]
fn what_a_task_keeps_stays_as_it_is() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        for round in 0..3 {
            for n in 0..12 {
                let seed = 20 * round + n;
                let length = 10 * KIB + usize::from(n % 5) * 50_001;
                let argument = (bytes(30_000, 255), bytes(length, seed));
                let count = pool.submit(keep, argument).unwrap().result().unwrap();
                assert_eq!(count, usize::from(n) + 1);
                // Something else, over what nobody has kept.
                let other = bytes(100_000, 200 - seed);
                assert!(
                    pool.submit(change, other.clone()).unwrap().result().unwrap() == change(other)
                );
            }
            let kept = pool.submit(take_kept, ()).unwrap().result().unwrap();
            assert_eq!(kept.len(), 12);
            for (n, kept) in (0..).zip(kept) {
                let length = 10 * KIB + usize::from(n % 5) * 50_001;
                assert!(kept == pattern(length, 20 * round + n), "{n}");
            }
        }
    });
}

/// A thread that goes on reading, for as long as the process is there, and ends it if it ever reads something else.
fn watch_for_ever(bytes: Bytes) -> usize {
    let length = bytes.len();
    thread::spawn(move || {
        let was = bytes.to_vec();
        loop {
            if *bytes != *was {
                process::abort();
            }
            thread::sleep(Duration::from_micros(10));
        }
    });
    length
}

#[test]
fn a_thread_that_a_task_leaves_goes_on_reading() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        for seed in 0..20 {
            let future = pool.submit(watch_for_ever, bytes(50_000, seed)).unwrap();
            assert_eq!(future.result().unwrap(), 50_000);
            let other = bytes(200_000, 100 + seed);
            assert!(pool.submit(change, other.clone()).unwrap().result().unwrap() == change(other));
        }
    });
}

/// Results are this process's own: nothing that a worker does later changes them.
#[test]
fn results_stay_as_they_are() {
    beside(|| {
        let pool = builder(1).build().unwrap();
        let mut results = Vec::new();
        for seed in 0..10 {
            results.push(pool.submit(change, bytes(300_000, seed)).unwrap().result().unwrap());
        }
        for _ in 0..20 {
            // In vain, or not: some of these cost a worker.
            let scribbled = pool.submit(hostile::scribble, (7, 1000)).unwrap();
            drop(scribbled.result());
        }
        for (seed, result) in (0..).zip(&results) {
            assert!(*result == change(bytes(300_000, seed)), "{seed}");
        }
    });
}

fn dies_with(bytes: Bytes) -> Bytes {
    let kept = bytes.clone();
    if kept.first() == Some(&1) {
        process::abort();
    }
    bytes
}

/// A worker that dies while it holds something costs its task, and leaves nothing behind.
#[test]
fn a_death_leaves_nothing_behind() {
    alone(|| {
        for shared_memory in [true, false] {
            let (baseline, builder) = Baseline::take(builder(2).shared_memory(shared_memory));
            let pool = builder.build().unwrap();
            let futures: Vec<Future<Bytes>> =
                (0..12).map(|n| pool.submit(dies_with, bytes(2 * MIB, n % 3)).unwrap()).collect();
            for (n, future) in (0..).zip(futures) {
                match future.result() {
                    Ok(result) => assert!(n % 3 != 1 && result == pattern(2 * MIB, n % 3)),
                    Err(error) => {
                        assert!(n % 3 == 1, "{error:?}");
                        death(&error);
                    }
                }
            }
            drop(pool);
            baseline.check();
        }
    });
}

/// Stops a worker, so that it does not come to start what it is sent, and kills it then: the task goes to another one, whole.
#[test]
fn what_a_dead_worker_has_not_started_is_sent_again() {
    fn sum(bytes: Bytes) -> (u32, Bytes) {
        (process::id(), bytes)
    }

    fn start(pool: &ProcessPoolExecutor, sent: Bytes) -> (u32, Future<(u32, Bytes)>) {
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        stop(pid);
        (pid, pool.submit(sum, sent).unwrap())
    }

    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        for length in [100, 100_000, 70 * MIB] {
            let (pid, future) = start(&pool, bytes(length, 3));
            send_signal(pid, libc::SIGKILL);
            let (other, result) = future.result().unwrap();
            assert!(other != pid && result == pattern(length, 3));
        }
        assert_eq!(pool.submit(double, 21).unwrap().result().unwrap(), 42);
    });
}

/// A panic and an error of the codec cost nothing but their task, whatever came along.
#[test]
fn failures_with_bytes_cost_no_worker() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        let panics = |bytes: Bytes| -> Bytes { panic!("{} bytes", bytes.len()) };
        for length in [10, 50_000] {
            let error = pool.submit(panics, bytes(length, 1)).unwrap().result().unwrap_err();
            assert!(matches!(error, TaskError::Panicked(_)), "{error:?}");
            let future = pool.submit(change, bytes(length, 2)).unwrap();
            assert!(future.result().unwrap() == change(bytes(length, 2)));
        }
        assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), pid);
    });
}
