//! Words in a ring that is used again and again.

use std::sync::Arc;

use loom::thread;

use super::model;
use crate::ring::{Consumer, Producer, RING_WORDS, Ring};

/// What is written comes out, in order, also when the ring is full and its places are written to again. Defends the Release in
/// `publish` and the Acquire in `available`, without which old words are seen, and the check of room, without which words are
/// overwritten before they were read.
#[test]
fn loom_write_vs_read_around_the_end() {
    // The last piece is written to the places of the first.
    const PIECE: usize = RING_WORDS / 2;
    model(|| {
        let ring = Arc::new(Ring::new());
        let writer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                let mut producer = Producer::default();
                for piece in 1..=3_u8 {
                    while !producer.has_room(&ring, PIECE).unwrap() {
                        thread::yield_now();
                    }
                    producer.write(&ring, &[piece; PIECE * 8]);
                    producer.publish(&ring);
                }
            }
        });
        let mut consumer = Consumer::default();
        for piece in 1..=3_u8 {
            while consumer.available(&ring).unwrap() < PIECE {
                thread::yield_now();
            }
            let mut bytes = Vec::new();
            consumer.read(&ring, PIECE, &mut bytes);
            consumer.release(&ring);
            assert_eq!(bytes, [piece; PIECE * 8]);
        }
        writer.join().unwrap();
    });
}

/// What is seen is whole: a tail that was read covers nothing that is not there yet.
#[test]
fn loom_publish_vs_available() {
    model(|| {
        let ring = Arc::new(Ring::new());
        let writer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                let mut producer = Producer::default();
                for word in 1..=2_u8 {
                    producer.write(&ring, &[word; 8]);
                    producer.publish(&ring);
                }
            }
        });
        let mut consumer = Consumer::default();
        let mut bytes = Vec::new();
        let available = consumer.available(&ring).unwrap();
        consumer.read(&ring, available, &mut bytes);
        assert_eq!(bytes, [[1; 8], [2; 8]].concat()[..available * 8]);
        writer.join().unwrap();
    });
}
