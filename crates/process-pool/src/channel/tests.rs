//! Frames and claims in shared memory, with both ends in one thread.

use std::sync::Arc;

use super::*;
use crate::frame::{FrameBuilder, Kind};

type Ends = (PoolEnd<Arc<Shared>>, WorkerEnd<Arc<Shared>>);

fn ends() -> Ends {
    let shared = Arc::new(Shared::new());
    (PoolEnd::new(Arc::clone(&shared)), WorkerEnd::new(shared))
}

fn frame(kind: Kind, id: u64, length: usize) -> Vec<u8> {
    let mut frame = FrameBuilder::new(kind, id);
    frame.body().extend((0..length).map(|at| (at as u64 * 31 + id).to_le_bytes()[0]));
    frame.finish()
}

fn no_bell() -> impl FnMut() {
    || panic!("a bell for nothing")
}

fn receive(pool: &PoolEnd<Arc<Shared>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pool.receive(&mut lock(&pool.receiving), &mut bytes).unwrap();
    bytes
}

/// Frames of every length come out as they went in, both ways, around the ends of both rings.
#[test]
fn frames_of_all_lengths_go_both_ways() {
    let (pool, mut worker) = ends();
    let lengths = (0..200).chain((200..INLINE_MAX).step_by(977)).chain(INLINE_MAX - 9..=INLINE_MAX);
    for (id, length) in (1..).zip(lengths) {
        let task = frame(Kind::Task, id, length);
        let slot = u32::try_from(id % WINDOW_MAX as u64).unwrap();
        assert!(pool.send_task(&task, id, slot).unwrap());
        let mut body = Vec::new();
        let header = worker.next(&mut body, &mut no_bell()).unwrap();
        assert_eq!((header.kind, header.id, header.place), (Kind::Task, id, slot));
        assert!(body == task[HEADER_SIZE..]);
        assert!(worker.start(&header));
        let answer = frame(Kind::Finished, id, length);
        worker.answer(&answer, 0, &mut no_bell()).unwrap();
        let bytes = receive(&pool);
        let (header, body, rest) = split_frame(&bytes).unwrap();
        assert_eq!((header.kind, header.id, rest.len()), (Kind::Finished, id, 0));
        assert!(body == &answer[HEADER_SIZE..]);
        assert!(!pool.has_answers());
    }
}

/// As many short tasks as there are claims can be on their way, and longer ones as long as there is room.
#[test]
fn a_whole_window_is_on_its_way() {
    for length in [0, 100, 400, INLINE_MAX] {
        let (pool, mut worker) = ends();
        let mut sent = 0;
        for (slot, id) in (0..).zip(1..=WINDOW_MAX as u64) {
            if !pool.send_task(&frame(Kind::Task, id, length), id, slot).unwrap() {
                break;
            }
            sent = id;
        }
        let fit = RING_BYTES / (words_for(HEADER_SIZE) + words_for(length)) / WORD_SIZE;
        assert_eq!(sent, fit.min(WINDOW_MAX) as u64, "{length}");
        pool.set_bell(sent.div_ceil(2));
        let mut bells = 0;
        for id in 1..=sent {
            let header = worker.next(&mut Vec::new(), &mut no_bell()).unwrap();
            assert!(header.id == id && worker.start(&header));
            worker.answer(&frame(Kind::Finished, id, 1), 0, &mut || bells += 1).unwrap();
            assert_eq!(bells, u32::from(id >= sent.div_ceil(2)), "{id} of {sent}");
        }
        assert!(!worker.has_next());
        let (bytes, mut ids) = (receive(&pool), Vec::new());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (header, _, after) = split_frame(rest).unwrap();
            ids.push(header.id);
            rest = after;
        }
        assert_eq!(ids, (1..=sent).collect::<Vec<_>>());
    }
}

const RING_BYTES: usize = crate::ring::RING_WORDS * WORD_SIZE;

/// A claim is won once, by whoever comes first, and says nothing of another task in the same place.
#[test]
fn a_claim_is_won_once() {
    let (pool, mut worker) = ends();
    for (id, revoke_first) in (1..).zip([true, false, true, false]) {
        assert!(pool.send_task(&frame(Kind::Task, id, 0), id, 3).unwrap());
        let header = worker.next(&mut Vec::new(), &mut no_bell()).unwrap();
        assert!(!pool.has_started(3, id));
        if revoke_first {
            assert!(pool.revoke(3, id));
        }
        assert_eq!(worker.start(&header), !revoke_first);
        assert_eq!(pool.has_started(3, id), !revoke_first);
        assert!(!pool.revoke(3, id) && !worker.start(&header));
        assert!(!pool.revoke(3, id + 1) && !pool.has_started(3, id + 1));
    }
}

/// A place that is no claim's is nobody's task.
#[test]
fn a_claim_that_is_not_there_is_not_started() {
    let (_, worker) = ends();
    let header = Header { kind: Kind::Task, id: 1, place: ELSEWHERE - 1, length: 0 };
    assert!(!worker.start(&header));
}

/// Of a frame whose body is elsewhere, the header alone goes through the ring.
#[test]
fn a_body_may_be_elsewhere() {
    let (pool, mut worker) = ends();
    let task = frame(Kind::Task, 1, 10 * INLINE_MAX);
    pool.announce(1, 5);
    assert!(pool.send(&task, 5 | ELSEWHERE).unwrap());
    let mut body = vec![1];
    let header = worker.next(&mut body, &mut no_bell()).unwrap();
    assert_eq!((header.place, header.length), (5 | ELSEWHERE, 10 * INLINE_MAX as u64));
    assert!(body.is_empty() && worker.start(&header));
    worker.take_long_answer(&mut no_bell());
    worker.answer(&task, ELSEWHERE, &mut no_bell()).unwrap();
    let bytes = receive(&pool);
    let (header, body, rest) = split_frame(&bytes).unwrap();
    assert_eq!((header.place, body.len(), rest.len()), (ELSEWHERE, 0, 0));
}

/// Half a frame, with which nothing can be done, is an error and not waited for.
#[test]
fn half_a_frame_is_refused() {
    let (pool, mut worker) = ends();
    worker.answer(&frame(Kind::Finished, 1, 21), 0, &mut no_bell()).unwrap();
    let bytes = receive(&pool);
    assert!(split_frame(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(split_frame(&bytes[..length]).is_err(), "{length}");
    }
}

/// What makes no sense is seen once, and not for ever.
#[test]
fn a_worker_out_of_its_mind_is_not_listened_to() {
    let (pool, mut worker) = ends();
    worker.answer(&frame(Kind::Finished, 1, 0), 0, &mut no_bell()).unwrap();
    assert!(pool.has_answers());
    pool.ignore_answers();
    assert!(!pool.has_answers() && !pool.expect_bell(1));
}

/// At any point between two stores of the worker, the number of items and the length of their values go together.
#[test]
fn what_is_done_of_a_chunk_is_known_at_any_time() {
    let (pool, worker) = ends();
    let known = |task, items, values, failures| Progress { task, items, values, failures };
    assert_eq!(pool.journaled(), known(0, 0, 0, 0));
    for task in [7, 9] {
        worker.begin_items(task);
        assert_eq!(pool.journaled(), known(task, 0, 0, 0));
        for items in 1..5 {
            worker.item_done(items, 10 * items);
            assert_eq!(pool.journaled(), known(task, items, 10 * items, 0));
        }
        // Died before it could count the item, whose value is there already.
        worker.region().journal.0.lengths[1].store(50, Ordering::Relaxed);
        worker.item_failed(30);
        assert_eq!(pool.journaled(), known(task, 4, 40, 30));
        worker.item_done(5, 40);
        assert_eq!(pool.journaled(), known(task, 5, 40, 30));
    }
    worker.forget_items();
    assert_eq!(pool.journaled().task, 0);
}

/// A task that was taken back on its way is not started, whenever it comes.
#[test]
fn what_was_taken_back_on_its_way_is_not_started() {
    let (pool, mut worker) = ends();
    pool.announce(7, 2);
    assert!(pool.revoke(2, 7) && !pool.has_started(2, 7));
    assert!(pool.send(&frame(Kind::Task, 7, 0), 2 | ELSEWHERE).unwrap());
    let header = worker.next(&mut Vec::new(), &mut no_bell()).unwrap();
    assert!(header.id == 7 && !worker.start(&header));
}
