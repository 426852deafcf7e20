//! A queue of words: around its end, and with positions that cannot be.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;

fn new() -> Box<Ring> {
    Box::new(Ring::new())
}

/// Whatever is written in pieces of whatever length comes out as it was, around the end of the ring as often as one likes, as
/// long as nobody writes more than there is room for.
#[test]
fn what_is_written_is_read() {
    proptest!(ProptestConfig::with_cases(16), |(
        lengths in prop::collection::vec(0_usize..RING_WORDS * WORD_SIZE, 1..16),
        start in 0..3 * RING_WORDS as u64,
        kept in 0_usize..3,
    )| {
        let ring = new();
        ring.tail.0.store(start, Ordering::Relaxed);
        ring.head.0.store(start, Ordering::Relaxed);
        let mut producer = Producer { tail: start, head: start };
        let mut consumer = Consumer { head: start };
        let mut unread = std::collections::VecDeque::new();
        let read_one = |consumer: &mut Consumer, (seed, length): (usize, usize)| {
            let mut bytes = vec![0xaa];
            assert!(consumer.available(&ring).unwrap() >= words_for(length));
            consumer.read(&ring, words_for(length), &mut bytes);
            consumer.release(&ring);
            let (content, padding) = bytes[1..].split_at(length);
            assert!(content == pattern(seed, length));
            assert!(padding.len() < WORD_SIZE && padding.iter().all(|byte| *byte == 0));
        };
        for (seed, length) in lengths.into_iter().enumerate() {
            while unread.len() > kept || !producer.has_room(&ring, words_for(length)).unwrap() {
                read_one(&mut consumer, unread.pop_front().expect("an empty ring has room"));
            }
            producer.write(&ring, &pattern(seed, length));
            producer.publish(&ring);
            unread.push_back((seed, length));
        }
        for piece in unread {
            read_one(&mut consumer, piece);
        }
        assert_eq!(consumer.available(&ring), Ok(0));
        assert!(ring.is_read_up_to(producer.tail()));
    });
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed * 7 + 1).to_le_bytes()[0]).collect()
}

/// A reader is told of no more than a ring can hold, and only of what comes after what it has read.
#[test]
fn a_tail_that_cannot_be_is_refused() {
    let size = RING_WORDS as u64;
    for head in [0, 5, size, 10 * size + 3, u64::MAX - size] {
        let ring = new();
        let consumer = Consumer { head };
        for good in [head, head + 1, head + size] {
            ring.tail.0.store(good, Ordering::Relaxed);
            assert_eq!(consumer.available(&ring).map(|count| count as u64), Ok(good - head));
        }
        for bad in [head.wrapping_sub(1), head.wrapping_add(size + 1), head ^ 1 << 63] {
            ring.tail.0.store(bad, Ordering::Relaxed);
            assert_eq!(consumer.available(&ring), Err(Corrupt), "{head} {bad}");
        }
    }
}

/// A writer believes no reader that has read what was not written, or has unread something.
#[test]
fn a_head_that_cannot_be_is_refused() {
    let size = RING_WORDS as u64;
    for tail in [size, size + 5, 10 * size + 3] {
        let ring = new();
        let full = || Producer { tail, head: tail - size };
        for (head, room) in [(tail - size, 0), (tail - size + 1, 1), (tail, RING_WORDS)] {
            ring.head.0.store(head, Ordering::Relaxed);
            assert_eq!(full().has_room(&ring, room), Ok(true));
            assert_eq!(full().has_room(&ring, room + 1), Ok(false));
        }
        for bad in [tail + 1, u64::MAX, tail ^ 1 << 63] {
            ring.head.0.store(bad, Ordering::Relaxed);
            assert_eq!(full().has_room(&ring, 1), Err(Corrupt), "{tail} {bad}");
        }
        if tail > size {
            ring.head.0.store(tail - size - 1, Ordering::Relaxed);
            assert_eq!(full().has_room(&ring, 1), Err(Corrupt));
        }
    }
}

/// What lies in the ring may change between two looks. Nothing but the words of the piece that is read is looked at.
#[test]
fn any_words_can_be_read() {
    let ring = new();
    ring.words.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
    ring.tail.0.store(RING_WORDS as u64, Ordering::Relaxed);
    let mut consumer = Consumer::default();
    let mut bytes = Vec::new();
    consumer.read(&ring, consumer.available(&ring).unwrap(), &mut bytes);
    assert!(bytes.len() == RING_WORDS * WORD_SIZE && bytes.iter().all(|byte| *byte == 0xff));
}
