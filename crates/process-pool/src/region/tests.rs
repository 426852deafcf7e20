//! The file behind the shared memory: seals, long bodies, and lies about them.

use std::os::fd::AsFd;

use concurrent_futures_executor::Bytes;
use nix::unistd::{dup, ftruncate};

use super::*;
use crate::{
    frame::{FrameBuilder, Kind},
    inbox::Outbox,
    payload::Way,
};

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

fn pattern(length: usize, step: usize) -> Vec<u8> {
    (0..length).map(|at| (at * step).to_le_bytes()[0]).collect()
}

fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut frame = FrameBuilder::new(kind, 1);
    frame.body().extend_from_slice(body);
    frame.finish()
}

/// What the worker answers, and the header that it does so with.
fn put_answer(worker: &Region, body: &[u8], buffers: &[Bytes]) -> Header {
    let frame = frame(Kind::Finished, body);
    let answer = Tabled::new(&frame, buffers, Way::Memory);
    Outbox::new().put(worker, &answer).unwrap();
    Header::parse_placed(answer.header).unwrap()
}

/// Long answers of all lengths, shorter ones after longer ones, with buffers and without.
#[test]
fn long_answers_are_copied() {
    let region = region();
    let other = worker(&region);
    for length in [1, 20_000, 5 << 20, 4095, 4096, 4097, 0] {
        let body = pattern(length, 3);
        let header = put_answer(&other, &body, &[]);
        let received = region.take_answer(&header, &Arc::default()).unwrap();
        assert!(received.body() == body && received.buffers.is_empty());
        let buffers = [Bytes::from(pattern(length, 5)), Bytes::from(pattern(70_000, 7))];
        let header = put_answer(&other, &body, &buffers);
        let received = region.take_answer(&header, &Arc::default()).unwrap();
        assert!(received.body() == body && received.buffers == buffers);
    }
}

/// Memory of very long ones is given back, but for some.
#[test]
fn what_is_long_is_not_kept() {
    let region = region();
    let other = worker(&region);
    let long = Bytes::from(vec![1; 2 * usize::try_from(KEPT_MAX).unwrap()]);
    let header = put_answer(&other, &[], std::slice::from_ref(&long));
    let blocks = || u64::try_from(fstat(&region).unwrap().st_blocks).unwrap() * 512;
    assert!(blocks() >= 2 * KEPT_MAX);
    assert!(region.take_answer(&header, &Arc::default()).unwrap().buffers == [long]);
    assert!(blocks() <= KEPT_MAX + (1 << 20), "{}", blocks());
}

/// A worker says that there is an answer of a terabyte, and has written a few bytes of it. The pool makes no memory for that.
#[test]
fn a_lie_about_a_length_is_refused() {
    let region = region();
    let other = worker(&region);
    let header = put_answer(&other, b"short", &[]);
    for length in [1 << 30, PAYLOAD_MAX - 1, PAYLOAD_MAX] {
        let error = region.take_answer(&Header { length, ..header }, &Arc::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{length}");
    }
    assert_eq!(region.take_answer(&header, &Arc::default()).unwrap().body(), b"short");
    for lengths in [[1, 1 << 30], [1, PAYLOAD_MAX], [1, u64::MAX], [1 << 40, 1], [u64::MAX, 1]] {
        let table: Vec<u8> = lengths.into_iter().flat_map(u64::to_le_bytes).collect();
        let header = put_answer(&other, &table, &[]);
        let lie = Header { kind: Kind::FinishedWithBuffers, ..header };
        let error = region.take_answer(&lie, &Arc::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{lengths:?}");
    }
}

/// What has no room is an error, and takes no memory.
#[test]
fn what_has_no_room_is_refused() {
    let region = region();
    let before = fstat(&region).unwrap().st_blocks;
    let frame = frame(Kind::Task, &pattern(30_000, 1));
    let task = Tabled::new(&frame, &[], Way::Memory);
    let error = region.put_task(7 << 20..(7 << 20) + 29_999, &task).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fstat(&region).unwrap().st_blocks, before);
    region.put_task(7 << 20..(7 << 20) + 30_000, &task).unwrap();
}

/// Values of all lengths, for which there is more and more room, are there for the pool, and so are failures.
#[test]
fn a_journal_is_read_as_it_was_written() {
    let region = region();
    let other = worker(&region);
    let mut place = JournalPlace::default();
    let (mut values, mut failures) = (Vec::new(), Vec::new());
    for length in (0..40).chain([JOURNAL_MIN - 1, 1, 3 * JOURNAL_MIN, 0, 12]) {
        let value: Vec<u8> = (0..length).map(|at| (at * 7 + length).to_le_bytes()[0]).collect();
        if !place.write_short(values.len(), &value) {
            if !place.has_room(values.len(), length) {
                place.grow(&other, values.len(), length).unwrap();
            }
            place.write(values.len(), &value);
        }
        place.put_failure(&other, failures.len() as u64, &value).unwrap();
        values.extend_from_slice(&value);
        failures.extend_from_slice(&value);
        assert!(region.values(values.len() as u64).unwrap() == values);
        assert!(region.failures(failures.len() as u64).unwrap() == failures);
    }
    let error = region.values(PAYLOAD_MAX / 2).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

/// Memory of very long ones is given back, and there is room again for the next.
#[test]
fn a_long_journal_is_not_kept() {
    let region = region();
    let mut place = JournalPlace::default();
    let length = usize::try_from(KEPT_MAX).unwrap() + 1;
    place.grow(&region, 0, length).unwrap();
    let blocks = || fstat(&region).unwrap().st_blocks * 512;
    assert!(blocks() >= length as i64);
    place.trim(&region);
    assert!(blocks() < 1 << 20 && !place.has_room(0, 1), "{}", blocks());
    place.grow(&region, 0, 1).unwrap();
    place.write(0, b"again");
    assert_eq!(region.values(5).unwrap(), b"again");
    place.trim(&region);
    assert!(place.has_room(0, 5));
}
