//! Nobody sleeps while there is a task that nobody else is about to take.

use std::sync::Arc;

use concurrent_futures_executor::future::Future;

use super::{
    FEWER_PREEMPTIONS, Gate, PREEMPTIONS_MAX, Pool, add_sleepers, build, builder, busy, check, end,
    explore, pool, pusher, set_may_spin, spawn,
};
use crate::QueueOrder;

/// A submission from outside, against a worker that has ended its task and goes to rest. Either `rest` sees the task in the
/// queue, or `enqueue` sees the worker among the sleepers.
#[test]
fn a_submission_meets_a_worker_that_goes_to_rest() {
    check(PREEMPTIONS_MAX, || {
        let (pool, start) = (pool(1), Gate::closed());
        let one = busy(&pool, &start, || 1);
        explore();
        start.open();
        assert_eq!(spawn(&pool, || 2).result().unwrap(), 2);
        assert_eq!(one.result().unwrap(), 1);
        end(&pool);
    });
}

/// The same, after the worker's result was seen. The worker has counted itself as available before, so however far it is
/// on its way to sleep, no second thread is started.
#[test]
fn a_submission_after_a_result_finds_the_worker_available() {
    check(PREEMPTIONS_MAX, || {
        let (pool, start) = (pool(2), Gate::closed());
        let one = busy(&pool, &start, || 1);
        explore();
        start.open();
        assert_eq!(one.result().unwrap(), 1);
        assert_eq!(spawn(&pool, || 2).result().unwrap(), 2);
        assert_eq!(end(&pool), 1);
    });
}

/// A worker that was counted as available runs a callback, which waits for the next task. If the submission has counted on
/// this worker, `busy` calls another.
#[test]
fn a_submission_meets_a_worker_that_runs_callbacks() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, start, ran) = (pool(2), Gate::closed(), Gate::closed());
        let one = busy(&pool, &start, || 1);
        let opens = ran.opener();
        one.add_done_callback(move |_| ran.pass());
        explore();
        start.open();
        assert_eq!(one.result().unwrap(), 1);
        spawn(&pool, opens).result().unwrap();
        end(&pool);
    });
}

/// Two tasks from outside and two sleepers. The first is called by `enqueue`, and then taken for one that searches; so it
/// has to call the second when it has found a task.
#[test]
fn two_submissions_call_two_sleepers() {
    check(PREEMPTIONS_MAX, || {
        let (pool, met) = (pool(2), Gate::closed());
        add_sleepers::<2>(&pool);
        explore();
        let opens = met.opener();
        let one = spawn(&pool, move || met.pass());
        let two = spawn(&pool, opens);
        one.result().unwrap();
        two.result().unwrap();
        assert_eq!(end(&pool), 2);
    });
}

fn push_meets_rest() {
    push_meets_rest_in(&pool(2));
}

fn push_meets_rest_in(pool: &Pool) {
    let (pushes, rests) = (Gate::closed(), Gate::closed());
    let one = pusher(pool, &pushes, &Gate::closed());
    let two = busy(pool, &rests, || ());
    explore();
    rests.open();
    pushes.open();
    one.result().unwrap();
    two.result().unwrap();
    end(pool);
}

/// A worker pushes to its own deque, and goes on with its task, while the other goes to rest: invariant 2.
#[test]
fn a_push_meets_a_worker_that_goes_to_rest() {
    check(PREEMPTIONS_MAX, push_meets_rest);
}

/// The same, with a worker that looks around for a while before it rests. The pusher may see it and call nobody, so it has
/// to look once more when it stops.
#[test]
fn a_push_meets_a_worker_that_searches() {
    check(PREEMPTIONS_MAX, || {
        set_may_spin(true);
        push_meets_rest();
    });
}

/// The same with a queue of another order, which is where the worker pushes to as well: the lock in place of the fences.
#[test]
fn a_push_to_an_ordered_queue_meets_a_worker_that_goes_to_rest() {
    for order in [QueueOrder::Lifo, QueueOrder::Priority] {
        check(PREEMPTIONS_MAX, move || {
            push_meets_rest_in(&build(builder(2).queue_order(order)));
        });
    }
}

/// A worker that pushes two tasks, which meet, and waits until they have.
fn pusher_of_two(pool: &Pool, start: &Gate) -> Future<()> {
    let inner = Arc::clone(pool);
    busy(pool, start, move || {
        let (met, both_ran) = (Gate::closed(), Gate::closed());
        let (passes, ran) = (met.clone(), both_ran.clone());
        drop(spawn(&inner, move || {
            passes.pass();
            ran.open();
        }));
        drop(spawn(&inner, met.opener()));
        drop(inner);
        both_ran.pass();
    })
}

/// A worker pushes twice. The second push sees the worker that was called for the first, which still searches; that one
/// calls another when it has found a task.
#[test]
fn two_pushes_call_two_sleepers() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, pushes) = (pool(3), Gate::closed());
        let one = pusher_of_two(&pool, &pushes);
        add_sleepers::<2>(&pool);
        explore();
        pushes.open();
        one.result().unwrap();
        end(&pool);
    });
}

/// A worker is about to rest, sees the first of two pushes, and takes it. It must be off the list of sleepers by then, or the
/// second push calls it in vain, and the one that does sleep is left alone.
#[test]
fn two_pushes_meet_a_worker_that_does_not_rest_after_all() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, pushes, rests) = (pool(3), Gate::closed(), Gate::closed());
        let one = pusher_of_two(&pool, &pushes);
        let two = busy(&pool, &rests, || ());
        add_sleepers::<1>(&pool);
        explore();
        rests.open();
        pushes.open();
        one.result().unwrap();
        two.result().unwrap();
        end(&pool);
    });
}

/// A worker that was called for a task from outside finds that one, and a push has relied on it meanwhile.
#[test]
fn a_push_relies_on_a_worker_that_finds_another_task() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, pushes, ran) = (pool(3), Gate::closed(), Gate::closed());
        let one = pusher(&pool, &pushes, &ran);
        add_sleepers::<2>(&pool);
        explore();
        pushes.open();
        spawn(&pool, move || ran.pass()).result().unwrap();
        one.result().unwrap();
        end(&pool);
    });
}

/// A worker pushes twice, and nobody is there yet. Whoever was started for the first push and has found that task does not
/// count as available any more, so another is started for the second.
#[test]
fn two_pushes_start_two_workers() {
    check(FEWER_PREEMPTIONS, || {
        // They are made ready by an initializer first, and so taken neither for available nor for searching.
        let pool = build(builder(3).initializer(|| ()));
        let pushes = Gate::closed();
        let one = pusher_of_two(&pool, &pushes);
        explore();
        pushes.open();
        one.result().unwrap();
        end(&pool);
    });
}

/// A worker takes a batch out of another's deque. While the batch is in neither deque, a third worker looks, sees nothing,
/// and goes to sleep. `steal` looks after that, since nothing else does: the thief comes from a task that it has pushed
/// itself, and so was neither available nor searching.
#[test]
fn a_stolen_batch_is_seen_by_those_who_rest() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, steals, rests) = (pool(3), Gate::closed(), Gate::closed());
        let pushes = Gate::closed();
        pushes.open();
        let one = pusher_of_two(&pool, &pushes);
        let (inner, start) = (Arc::clone(&pool), steals.clone());
        let two = spawn(&pool, move || {
            assert!(spawn(&inner, || ()).cancel());
            drop(inner);
            start.pass();
        });
        let three = busy(&pool, &rests, || ());
        explore();
        steals.open();
        rests.open();
        one.result().unwrap();
        two.result().unwrap();
        three.result().unwrap();
        end(&pool);
    });
}

/// A worker runs a task in place, and throws its entry out of the deque; for a moment, the entry behind that is not in the
/// deque either. Another looks then, sees nothing, and goes to sleep.
#[test]
fn a_swept_deque_is_seen_by_those_who_rest() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, pushes) = (pool(2), Gate::closed());
        let inner = Arc::clone(&pool);
        let one = busy(&pool, &pushes, move || {
            let in_place = spawn(&inner, || 1);
            let behind_ran = Gate::closed();
            drop(spawn(&inner, behind_ran.opener()));
            drop(inner);
            assert_eq!(in_place.result().unwrap(), 1);
            behind_ran.pass();
        });
        add_sleepers::<1>(&pool);
        explore();
        pushes.open();
        one.result().unwrap();
        end(&pool);
    });
}
