//! A worker that leaves because it has had nothing to do leaves no task behind.

use std::time::Duration;

use super::{
    FEWER_PREEMPTIONS, Gate, PREEMPTIONS_MAX, build, builder, busy, check, end, explore, pusher,
    spawn,
};

/// A submission from outside, against the only worker, which rests and leaves. If it is called, it stays; if it has left,
/// another is started.
#[test]
fn a_submission_meets_a_worker_that_leaves() {
    check(PREEMPTIONS_MAX, || {
        let pool = build(builder(1).idle_timeout(Duration::ZERO));
        let start = Gate::closed();
        let one = busy(&pool, &start, || 1);
        explore();
        start.open();
        assert_eq!(spawn(&pool, || 2).result().unwrap(), 2);
        assert_eq!(one.result().unwrap(), 1);
        end(&pool);
    });
}

/// A push, against the only other worker, which rests and leaves.
#[test]
fn a_push_meets_a_worker_that_leaves() {
    check(FEWER_PREEMPTIONS, || {
        let pool = build(builder(2).idle_timeout(Duration::ZERO));
        let (pushes, rests) = (Gate::closed(), Gate::closed());
        let one = pusher(&pool, &pushes, &Gate::closed());
        let two = busy(&pool, &rests, || ());
        explore();
        rests.open();
        pushes.open();
        one.result().unwrap();
        two.result().unwrap();
        end(&pool);
    });
}
