//! Long tasks one after the other, of which parts are kept.

use std::os::fd::AsFd;

use nix::{sys::stat::fstat, unistd::dup};

use super::*;
use crate::{
    frame::{FrameBuilder, Kind},
    payload::{Tabled, Way},
};

/// Both ends of the place for long tasks, and what the worker has told the pool.
struct Place {
    pool: Region,
    worker: Region,
    inbox: Inbox,
    room: Range<u64>,
}

impl Place {
    fn new() -> Self {
        let pool = Region::create().unwrap().expect("this kernel has what it takes");
        let worker = Region::map(dup(pool.as_fd()).unwrap()).unwrap();
        Self { pool, worker, inbox: Inbox::new(), room: 0..PAYLOAD_MAX }
    }

    /// Sends a task with these buffers.
    fn send(&mut self, buffers: &[Bytes]) -> (Opened, Vec<Bytes>) {
        let frame = FrameBuilder::new(Kind::Task, 1).u8(77).finish();
        let task = Tabled::new(&frame, buffers, Way::Memory);
        self.pool.put_task(self.room.clone(), &task).unwrap();
        let header = Header::parse_placed(task.header).unwrap();
        let opened = self.inbox.open(&self.worker, &header).unwrap();
        assert_eq!(self.inbox.body(&opened), [77]);
        let received = opened.buffers();
        assert!(received == buffers);
        (opened, received)
    }

    fn close(&mut self, opened: Opened) {
        if let Some(room) = self.inbox.close(&self.worker, opened) {
            self.room = room;
        }
    }

    fn memory(&self) -> u64 {
        u64::try_from(fstat(&self.pool).unwrap().st_blocks).unwrap() * 512
    }
}

fn buffer(byte: u8, length: usize) -> Bytes {
    Bytes::from(vec![byte; length])
}

/// A task that keeps nothing leaves its memory to the next one, which is found at the same address.
#[test]
fn memory_is_used_again() {
    let mut place = Place::new();
    let mut addresses = Vec::new();
    for byte in 0..10 {
        let (opened, received) = place.send(&[buffer(byte, 100_000), buffer(byte, 10_000)]);
        addresses.push(received[1].as_ptr());
        drop(received);
        place.close(opened);
        assert_eq!(place.room, 0..PAYLOAD_MAX);
    }
    assert!(addresses.iter().all(|address| *address == addresses[0]));
    // Longer ones, for which more has to be mapped, and shorter ones after them.
    for length in [300_000, 5_000_000, 1] {
        let (opened, received) = place.send(&[buffer(9, length)]);
        drop(received);
        place.close(opened);
    }
    assert!(place.memory() < 6_000_000);
}

/// What is kept stays as it is, whatever comes later, in whatever order it is dropped; and then the memory is given back.
#[test]
fn what_is_kept_stays() {
    let mut place = Place::new();
    let mut kept = Vec::new();
    for round in 0..60_u8 {
        let buffers: Vec<_> = (0..4).map(|n| buffer(4 * round + n, 10_000 << n)).collect();
        let (opened, received) = place.send(&buffers);
        for (n, received) in received.into_iter().enumerate() {
            if (usize::from(round) + n).is_multiple_of(3) {
                kept.push((received, buffers[n].clone()));
            }
        }
        place.close(opened);
        if round % 4 == 3 {
            kept.swap_remove(usize::from(round) % kept.len());
        }
        assert!(kept.iter().all(|(is, was)| is == was), "{round}");
    }
    let needed = kept.iter().map(|(bytes, _)| bytes.len() as u64 + PAGE).sum::<u64>();
    assert!(place.memory() < needed + (1 << 20), "{} for {needed}", place.memory());
    kept.clear();
    place.inbox.give_back(&place.worker);
    assert!(place.inbox.kept.is_empty());
    assert!(place.memory() < 1 << 20, "{}", place.memory());
}

/// Memory of very long ones is given back, but for some.
#[test]
fn what_is_long_is_not_kept() {
    let mut place = Place::new();
    for _ in 0..2 {
        let (opened, received) = place.send(&[buffer(1, 150 << 20)]);
        drop(received);
        place.close(opened);
        assert!(place.memory() <= KEPT_MAX + (1 << 20), "{}", place.memory());
    }
}

#[test]
fn gaps_are_what_is_left() {
    let gaps = |without: &[(u64, u64)]| {
        let without: Vec<_> = without.iter().map(|&(start, end)| start..end).collect();
        gaps(10..50, &without).map(|gap| (gap.start, gap.end)).collect::<Vec<_>>()
    };
    assert_eq!(gaps(&[]), [(10, 50)]);
    assert_eq!(gaps(&[(10, 50)]), []);
    assert_eq!(gaps(&[(10, 20), (20, 25), (30, 50)]), [(25, 30)]);
    assert_eq!(gaps(&[(12, 13), (40, 49)]), [(10, 12), (13, 40), (49, 50)]);
}
