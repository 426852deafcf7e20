//! The file behind the shared memory: seals, long bodies, and lies about them.

use std::os::fd::AsFd;

use nix::unistd::{dup, ftruncate};

use super::*;

fn region() -> Region {
    Region::create().unwrap().expect("this kernel has what it takes")
}

/// The view that a worker has of it.
fn worker(region: &Region) -> Region {
    Region::map(dup(region.as_fd()).unwrap()).unwrap()
}

/// A worker can neither cut off what the pool has mapped, nor make it longer, nor have seals that keep the pool from writing.
#[test]
fn its_length_is_sealed() {
    let region = region();
    let other = worker(&region);
    for length in [0, 4096, FILE_SIZE - 1, FILE_SIZE + 1] {
        assert!(ftruncate(other.as_fd(), length.cast_signed()).is_err(), "{length}");
    }
    let seal = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_FUTURE_WRITE);
    assert!(fcntl(other.as_fd(), seal).is_err());
    assert_eq!(region.layout(), crate::channel::LAYOUT);
}

/// Both see the same memory.
#[test]
fn it_is_shared() {
    let region = region();
    let other = worker(&region);
    let (pool, worker) =
        (crate::channel::PoolEnd::new(region), crate::channel::WorkerEnd::new(other));
    assert_eq!(pool.cost(), 0);
    worker.report_cost(77);
    assert_eq!(pool.cost(), 77);
}

/// Long bodies of all lengths, shorter ones after longer ones, and none are mixed up with those of the other direction.
#[test]
fn long_bodies_go_both_ways() {
    let region = region();
    let other = worker(&region);
    let pattern = |length: usize, step: usize| -> Vec<u8> {
        (0..length).map(|at| (at * step).to_le_bytes()[0]).collect()
    };
    for length in [1, 20_000, 5 << 20, 4095, 4096, 4097, 0] {
        let (task, answer) = (pattern(length, 3), pattern(length, 5));
        region.put_task(&task).unwrap();
        other.put_answer(&answer).unwrap();
        if length > 0 {
            assert!(*other.task(length).unwrap() == task[..]);
        }
        assert!(region.take_answer(length as u64).unwrap() == answer);
        region.free_task(length as u64);
    }
}

/// Memory of very long ones is given back.
#[test]
fn what_is_long_is_not_kept() {
    let region = region();
    let other = worker(&region);
    let length = usize::try_from(KEPT_MAX).unwrap() + 4096;
    other.put_answer(&vec![1; length]).unwrap();
    let blocks = || fstat(&region).unwrap().st_blocks * 512;
    assert!(blocks() > length as i64 - 4096);
    assert_eq!(region.take_answer(length as u64).unwrap().len(), length);
    assert!(blocks() < 1 << 20, "{}", blocks());
    region.put_task(&vec![1; length]).unwrap();
    region.free_task(length as u64);
    assert!(blocks() < 1 << 20, "{}", blocks());
}

/// A worker says that there is an answer of a terabyte, and has written a few bytes of it. The pool makes no memory for that.
#[test]
fn a_lie_about_a_length_is_refused() {
    let region = region();
    let other = worker(&region);
    other.put_answer(b"short").unwrap();
    for length in [1 << 30, PAYLOAD_MAX - 1, PAYLOAD_MAX] {
        let error = region.take_answer(length).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{length}");
    }
    assert_eq!(region.take_answer(5).unwrap(), b"short");
}
