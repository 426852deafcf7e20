//! A submitter that waits for room in a bounded queue is told of it, and of the end of the pool.

use std::sync::Arc;

use concurrent_futures_executor::{Refusal, Shutdown};
use loom::thread;

use super::{
    FEWER_PREEMPTIONS, Gate, PREEMPTIONS_MAX, build, builder, busy, check, end, explore, spawn,
};

/// The queue is full, and the only worker comes to take the task in it.
#[test]
fn a_submitter_that_waits_meets_a_worker_that_takes() {
    check(PREEMPTIONS_MAX, || {
        let pool = build(builder(1).queue_capacity(1));
        let start = Gate::closed();
        let one = busy(&pool, &start, || 1);
        let two = spawn(&pool, || 2);
        explore();
        start.open();
        let three = spawn(&pool, || 3);
        assert_eq!(one.result().unwrap(), 1);
        assert_eq!(two.result().unwrap(), 2);
        assert_eq!(three.result().unwrap(), 3);
        end(&pool);
    });
}

/// Two submitters wait for the same room, and each is told of one task that is taken.
#[test]
fn two_submitters_wait_for_room() {
    check(FEWER_PREEMPTIONS, || {
        let pool = build(builder(1).queue_capacity(1));
        let start = Gate::closed();
        let one = busy(&pool, &start, || 1);
        let two = spawn(&pool, || 2);
        explore();
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || spawn(&pool, || 3).result().unwrap())
        };
        start.open();
        assert_eq!(spawn(&pool, || 4).result().unwrap(), 4);
        assert_eq!(other.join().unwrap(), 3);
        assert_eq!(one.result().unwrap(), 1);
        assert_eq!(two.result().unwrap(), 2);
        end(&pool);
    });
}

/// The queue is full and stays so, and the pool is shut down: the submitter is refused.
#[test]
fn a_submitter_that_waits_meets_a_shutdown() {
    check(PREEMPTIONS_MAX, || {
        let pool = build(builder(1).queue_capacity(1));
        let start = Gate::closed();
        let one = busy(&pool, &start, || 1);
        let two = spawn(&pool, || 2);
        explore();
        let submitter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let refused = pool.spawn(|| 3).unwrap_err();
                assert!(matches!(refused.into_parts().0, Refusal::ShutDown));
            })
        };
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        submitter.join().unwrap();
        start.open();
        assert_eq!(one.result().unwrap(), 1);
        assert_eq!(two.result().unwrap(), 2);
    });
}
