//! A worker that goes to sleep while the pool has something for it.

use std::sync::Arc;

use loom::thread;

use super::{Bell, ends, frame, model, next, receive, send, send_exit, serve, wake};
use crate::{
    channel::{ELSEWHERE, PoolEnd, Shared},
    frame::Kind,
};

/// The worker looks, finds nothing and goes to sleep while a task is sent. Either it sees the task when it looks once more,
/// or the pool sees it asleep. Defends the fences in `wait_until` and `must_wake`, and the second look.
#[test]
fn loom_sleep_vs_send() {
    model(|| {
        let (pool, mut worker) = ends();
        let thread = thread::spawn(move || next(&mut worker, &Bell::default()).id);
        send(&pool, 7, 0);
        assert_eq!(thread.join().unwrap(), 7);
    });
}

/// The same with a second task, which may come when the worker has been woken for the first, is up, or sleeps again; its
/// word must say so each time. Defends what `must_wake` and `wait_until` write there.
#[test]
fn loom_sleep_vs_send_twice() {
    model(|| {
        let (pool, mut worker) = ends();
        let thread = thread::spawn(move || {
            let bell = Bell::default();
            [next(&mut worker, &bell).id, next(&mut worker, &bell).id]
        });
        send(&pool, 1, 0);
        send(&pool, 2, 1);
        assert_eq!(thread.join().unwrap(), [1, 2]);
    });
}

/// Two threads of the pool publish, one under the lock of the table each, and wake after they have left it. One of them may
/// find that the other is about to wake the worker, and leaves it to that.
#[test]
fn loom_sleep_vs_two_wakers() {
    model(|| {
        let (pool, mut worker) = ends();
        let pool = Arc::new(pool);
        let worker = thread::spawn(move || {
            let bell = Bell::default();
            [next(&mut worker, &bell).id, next(&mut worker, &bell).id]
        });
        send_without_waking(&pool, 1);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || wake(&pool)
        });
        send(&pool, 2, 1);
        other.join().unwrap();
        assert_eq!(worker.join().unwrap(), [1, 2]);
    });
}

fn send_without_waking(pool: &PoolEnd<Arc<Shared>>, id: u64) {
    assert!(pool.send_task(&frame(Kind::Task, id), id, 0).unwrap());
}

/// The ring of answers is full, and the worker waits for room while the pool reads. Defends the call of `must_wake` after
/// reading, `has_room`, and that a worker that sleeps rings for what was not read.
#[test]
fn loom_room_vs_read() {
    model(|| {
        let (pool, mut worker) = ends();
        let bell = Bell::default();
        pool.set_bell(3);
        let thread = thread::spawn({
            let bell = bell.clone();
            move || {
                for id in 1..=3 {
                    let answer = frame(Kind::Finished, id);
                    worker.answer(&answer, 0, &mut || bell.ring()).unwrap();
                }
            }
        });
        let mut ids = Vec::new();
        while ids.len() < 3 {
            let more = receive(&pool);
            wake(&pool);
            if more.is_empty() && !pool.expect_bell(3) {
                bell.wait();
            }
            ids.extend(more);
        }
        thread.join().unwrap();
        assert_eq!(ids, [1, 2, 3]);
    });
}

/// The place for long answers is in use, and the worker waits until the pool has read what is there. It rings for that,
/// although it was not to be rung for.
#[test]
fn loom_long_answer_vs_read() {
    model(|| {
        let (pool, mut worker) = ends();
        let bell = Bell::default();
        pool.set_bell(5);
        let thread = thread::spawn({
            let bell = bell.clone();
            move || {
                for id in 1..=2 {
                    worker.take_long_answer(&mut || bell.ring());
                    let answer = frame(Kind::Finished, id);
                    worker.answer(&answer, ELSEWHERE, &mut || bell.ring()).unwrap();
                }
            }
        });
        bell.wait();
        assert_eq!(receive(&pool), [1]);
        pool.long_answer_was_read();
        wake(&pool);
        thread.join().unwrap();
        assert_eq!(receive(&pool), [2]);
    });
}

/// The worker is told to leave while it goes to sleep after its last task.
#[test]
fn loom_sleep_vs_exit() {
    model(|| {
        let (pool, worker) = ends();
        let thread = thread::spawn(move || serve(worker, &Bell::default()));
        send(&pool, 1, 0);
        send_exit(&pool);
        thread.join().unwrap();
        assert_eq!(receive(&pool), [1]);
    });
}
