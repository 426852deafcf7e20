//! Whatever a shutdown or a broken initializer meets: what was accepted ends, what was refused does not run, and all
//! threads leave.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use concurrent_futures_executor::{Shutdown, future::TaskError};
use loom::thread;

use super::{FEWER_PREEMPTIONS, Gate, PREEMPTIONS_MAX, builder, busy, check, explore, pool, spawn};

/// A shutdown, against a submission from another thread, which is accepted and run, or refused and not run.
fn shutdown_meets_submission(how: Shutdown) {
    check(PREEMPTIONS_MAX, move || {
        let (pool, ran) = (pool(1), Arc::new(AtomicBool::new(false)));
        explore();
        let submitter = {
            let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
            thread::spawn(move || {
                let accepted = pool.spawn(move || ran.store(true, Ordering::Relaxed));
                accepted.is_ok_and(|future| future.result().is_ok())
            })
        };
        pool.shutdown_with(how).unwrap();
        let succeeded = submitter.join().unwrap();
        assert_eq!(succeeded, ran.load(Ordering::Relaxed));
    });
}

#[test]
fn a_shutdown_that_waits_meets_a_submission() {
    shutdown_meets_submission(Shutdown::wait());
}

#[test]
fn a_shutdown_that_does_not_wait_meets_a_submission() {
    shutdown_meets_submission(Shutdown::no_wait());
}

#[test]
fn a_shutdown_that_cancels_meets_a_submission() {
    shutdown_meets_submission(Shutdown::wait().cancel_futures());
}

/// A shutdown, against a worker that ends its task, takes the next, and goes to rest.
fn shutdown_meets_rest(how: Shutdown) {
    check(PREEMPTIONS_MAX, move || {
        let (pool, start) = (pool(1), Gate::closed());
        let one = busy(&pool, &start, || 1);
        let two = spawn(&pool, || 2);
        explore();
        start.open();
        pool.shutdown_with(how).unwrap();
        assert_eq!(one.result().unwrap(), 1);
        match two.result() {
            Ok(two) => assert_eq!(two, 2),
            Err(error) => assert!(how.cancels_futures() && error.is_cancelled()),
        }
    });
}

#[test]
fn a_shutdown_that_waits_meets_a_worker_that_goes_to_rest() {
    shutdown_meets_rest(Shutdown::wait());
}

#[test]
fn a_shutdown_that_does_not_wait_meets_a_worker_that_goes_to_rest() {
    shutdown_meets_rest(Shutdown::no_wait());
}

#[test]
fn a_shutdown_that_cancels_meets_a_worker_that_goes_to_rest() {
    shutdown_meets_rest(Shutdown::wait().cancel_futures());
}

/// A shutdown, against a task that pushes, perhaps without having heard of it, and perhaps has a thread started for what it
/// pushed.
fn shutdown_meets_push(how: Shutdown) {
    check(FEWER_PREEMPTIONS, move || {
        let (pool, pushes) = (pool(2), Gate::closed());
        let inner = Arc::clone(&pool);
        let one = busy(&pool, &pushes, move || {
            let accepted = inner.spawn(|| 1);
            drop(inner);
            accepted.ok()
        });
        explore();
        pushes.open();
        pool.shutdown_with(how).unwrap();
        if let Some(pushed) = one.result().unwrap() {
            match pushed.result() {
                Ok(one) => assert_eq!(one, 1),
                Err(error) => assert!(how.cancels_futures() && error.is_cancelled()),
            }
        }
    });
}

#[test]
fn a_shutdown_that_waits_meets_a_push() {
    shutdown_meets_push(Shutdown::wait());
}

#[test]
fn a_shutdown_that_cancels_meets_a_push() {
    shutdown_meets_push(Shutdown::wait().cancel_futures());
}

/// The initializer of the only worker fails while tasks are submitted: those that were accepted fail with the reason.
#[test]
fn a_broken_initializer_meets_submissions() {
    check(PREEMPTIONS_MAX, || {
        let pool = Arc::new(builder(1).try_initializer(|| Err::<(), _>("no")).build().unwrap());
        explore();
        let one = pool.spawn(|| 1).unwrap();
        let two = pool.spawn(|| 2);
        assert!(matches!(one.result(), Err(TaskError::Broken(_))));
        if let Ok(two) = two {
            assert!(matches!(two.result(), Err(TaskError::Broken(_))));
        }
        pool.shutdown();
    });
}
