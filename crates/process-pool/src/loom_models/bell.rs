//! A pool that goes to sleep while the worker has something for it.

use std::sync::Arc;

use loom::thread;

use super::{Bell, ends, frame, model, receive, send, send_exit, serve};
use crate::{
    channel::{PoolEnd, Shared},
    frame::Kind,
};

/// Reads until there are so many answers; sleeps when there are none, and is to be woken for the answer of that number.
fn receive_all(pool: &PoolEnd<Arc<Shared>>, bell: &Bell, count: u64, which: u64) {
    let mut ids = Vec::new();
    while (ids.len() as u64) < count {
        let more = receive(pool);
        if more.is_empty() && !pool.expect_bell(which) {
            bell.wait();
        }
        ids.extend(more);
    }
    assert_eq!(ids, (1..=count).collect::<Vec<_>>());
}

/// The pool, which has looked until now, stops looking while an answer comes. Either it sees that when it looks once more, or
/// the worker sees that it is to ring. Defends the fences in `expect_bell` and `answer`, and the second look.
#[test]
fn loom_bell_vs_answer() {
    model(|| {
        let (pool, mut worker) = ends();
        let bell = Bell::default();
        let thread = thread::spawn({
            let bell = bell.clone();
            move || {
                let answer = frame(Kind::Finished, 1);
                worker.answer(&answer, 0, &mut || bell.ring()).unwrap();
            }
        });
        receive_all(&pool, &bell, 1, 1);
        thread.join().unwrap();
    });
}

/// The pool looks, stops, and looks again, as threads do that take turns in that, while answers come.
#[test]
fn loom_bell_vs_silence() {
    model(|| {
        let (pool, mut worker) = ends();
        let bell = Bell::default();
        pool.set_bell(1);
        let thread = thread::spawn({
            let bell = bell.clone();
            move || {
                for id in 1..=2 {
                    let answer = frame(Kind::Finished, id);
                    worker.answer(&answer, 0, &mut || bell.ring()).unwrap();
                }
            }
        });
        pool.silence_bell();
        receive_all(&pool, &bell, 2, 1);
        thread.join().unwrap();
    });
}

/// The bell is for the second of two answers, and moved there while the first may be on its way: whether that rings or not,
/// nobody waits for ever.
#[test]
fn loom_bell_vs_send_ahead() {
    model(|| {
        let (pool, worker) = ends();
        let bell = Bell::default();
        let thread = thread::spawn({
            let bell = bell.clone();
            move || serve(worker, &bell)
        });
        pool.set_bell(1);
        send(&pool, 1, 0);
        pool.set_bell(2);
        send(&pool, 2, 1);
        let mut ids = Vec::new();
        while ids.len() < 2 {
            bell.wait();
            loop {
                ids.extend(receive(&pool));
                if !pool.expect_bell(2) {
                    break;
                }
            }
        }
        assert_eq!(ids, [1, 2]);
        send_exit(&pool);
        thread.join().unwrap();
    });
}

/// The bell is for an answer that does not come before the pool has read the first. The worker rings when it goes to sleep.
/// Defends the bell in `wait_until`.
#[test]
fn loom_bell_vs_sleep() {
    model(|| {
        let (pool, worker) = ends();
        let bell = Bell::default();
        let thread = thread::spawn({
            let bell = bell.clone();
            move || serve(worker, &bell)
        });
        pool.set_bell(2);
        send(&pool, 1, 0);
        receive_all(&pool, &bell, 1, 2);
        send_exit(&pool);
        thread.join().unwrap();
    });
}
