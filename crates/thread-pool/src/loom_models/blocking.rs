//! A worker that sleeps inside a task leaves its place to another, and makes room again when it is awake.

use std::sync::Arc;

use concurrent_futures_executor::future::blocking;

use super::{
    FEWER_PREEMPTIONS, Gate, PREEMPTIONS_MAX, add_sleepers, busy, certain, check, end, explore,
    pool, pusher, spawn,
};

/// The only worker blocks while the task that it waits for is submitted from outside.
#[test]
fn a_submission_meets_a_worker_that_blocks() {
    check(PREEMPTIONS_MAX, || {
        let (pool, start, ran) = (pool(1), Gate::closed(), Gate::closed());
        let opens = ran.opener();
        let one = busy(&pool, &start, move || blocking(|| ran.pass()));
        explore();
        start.open();
        let two = spawn(&pool, opens);
        one.result().unwrap();
        two.result().unwrap();
        end(&pool);
    });
}

/// A worker blocks while another pushes, and finds that there is nobody to call: whoever comes second starts a thread.
#[test]
fn a_push_meets_a_worker_that_blocks() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, pushes, blocks, awakes) =
            (pool(2), Gate::closed(), Gate::closed(), Gate::closed());
        let awaken = awakes.clone();
        let one = pusher(&pool, &pushes, &Gate::closed());
        let two = busy(&pool, &blocks, move || blocking(|| awaken.pass()));
        explore();
        blocks.open();
        pushes.open();
        one.result().unwrap();
        awakes.open();
        two.result().unwrap();
        end(&pool);
    });
}

/// A worker awakes inside its task while another is called. If there is one too many then, and it is the one that was called
/// that makes room, it passes the call on to a third, which sleeps.
#[test]
fn a_call_meets_a_worker_that_makes_room() {
    check(PREEMPTIONS_MAX, || {
        let (pool, awakes, ran) = (pool(2), Gate::closed(), Gate::closed());
        let (awaken, opens) = (awakes.clone(), ran.opener());
        let one = spawn(&pool, move || {
            blocking(|| awaken.pass());
            ran.pass();
        });
        add_sleepers::<2>(&pool);
        explore();
        awakes.open();
        spawn(&pool, opens).result().unwrap();
        one.result().unwrap();
        end(&pool);
    });
}

/// A worker that blocks, awakes and blocks again, while its stand-in finds that there is one too many, or does not. The
/// stand-in comes back if it has made room, and no third thread is needed either way.
#[test]
fn a_worker_that_blocks_again_meets_its_stand_in() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, awakes, start, ran) = (pool(1), Gate::closed(), Gate::closed(), Gate::closed());
        let (awaken, opens) = (awakes.clone(), ran.opener());
        let one = spawn(&pool, move || {
            blocking(|| awaken.pass());
            blocking(|| ran.pass());
        });
        let two = busy(&pool, &start, move || awakes.open());
        explore();
        start.open();
        spawn(&pool, opens).result().unwrap();
        one.result().unwrap();
        two.result().unwrap();
        assert_eq!(end(&pool), 2);
    });
}

/// A stand-in pushes while the worker that it stands in for awakes. If the stand-in makes room, the other runs what was in
/// its deque.
#[test]
fn a_push_meets_a_worker_that_awakes() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, awakes, pushes) = (pool(1), Gate::closed(), Gate::closed());
        let awaken = awakes.clone();
        let one = spawn(&pool, move || blocking(|| awaken.pass()));
        let inner = Arc::clone(&pool);
        let two = busy(&pool, &pushes, move || {
            let pushed = spawn(&inner, certain);
            drop(inner);
            pushed
        });
        explore();
        awakes.open();
        pushes.open();
        two.result().unwrap().result().unwrap();
        one.result().unwrap();
        assert_eq!(end(&pool), 2);
    });
}

/// A stand-in ends its task, and has pushed another, while the worker that it stands in for is awake again. It makes room
/// before it takes the next task out of its deque, or the only place would be taken by two.
#[test]
fn a_stand_in_that_goes_on_meets_a_worker_that_is_awake() {
    check(PREEMPTIONS_MAX, || {
        let (pool, awakes) = (pool(1), Gate::closed());
        let (is_awake, ended) = (Gate::closed(), Gate::closed());
        let (awaken, awoke, ends) = (awakes.clone(), is_awake.clone(), ended.clone());
        let one = spawn(&pool, move || {
            blocking(|| awaken.pass());
            awoke.open();
            ends.open();
            certain();
        });
        let inner = Arc::clone(&pool);
        let two = spawn(&pool, move || {
            let pushed = spawn(&inner, move || assert!(ended.is_open()));
            drop(inner);
            is_awake.pass();
            pushed
        });
        explore();
        awakes.open();
        two.result().unwrap().result().unwrap();
        one.result().unwrap();
        end(&pool);
    });
}
