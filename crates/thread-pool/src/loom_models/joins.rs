//! `join`: the fork between the worker that made it and those that would run it.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::{
    FEWER_PREEMPTIONS, Gate, PREEMPTIONS_MAX, add_sleepers, busy, certain, check, end, explore,
    pool,
};
use crate::join;

/// A worker takes its fork back while another, which was called for it, comes to take it. One of them runs the closure, which
/// has seen what was done before, and whose doings the caller sees.
#[test]
fn an_owner_meets_a_thief() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, start) = (pool(2), Gate::closed());
        add_sleepers::<1>(&pool);
        let one = busy(&pool, &start, || {
            // Relaxed, so that `join` has to order them.
            let (before, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
            before.store(1, Ordering::Relaxed);
            let of_both = join(
                || 1,
                || {
                    assert_eq!(before.load(Ordering::Relaxed), 1);
                    runs.fetch_add(1, Ordering::Relaxed);
                    2
                },
            );
            assert_eq!(of_both, (1, 2));
            assert_eq!(runs.load(Ordering::Relaxed), 1);
            certain();
        });
        explore();
        start.open();
        one.result().unwrap();
        end(&pool);
    });
}

/// A fork is put on offer while the only other worker goes to rest: `offer` calls it, or `rest` sees the fork. Somebody else has
/// to run it, since the first closure waits for the second.
#[test]
fn an_offer_meets_a_worker_that_goes_to_rest() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, start, other, ran) = (pool(2), Gate::closed(), Gate::closed(), Gate::closed());
        let one = busy(&pool, &start, {
            let (other, ran) = (other.clone(), ran.clone());
            move || {
                other.open();
                join(|| ran.pass(), ran.opener());
            }
        });
        let two = busy(&pool, &other, || ());
        explore();
        start.open();
        one.result().unwrap();
        two.result().unwrap();
        end(&pool);
    });
}

/// The worker that waits for its fork goes to sleep while the thief ends. Either it sees that the fork is done, or the thief sees
/// that it sleeps.
#[test]
fn a_worker_that_sleeps_meets_the_end_of_its_fork() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, start, taken) = (pool(2), Gate::closed(), Gate::closed());
        add_sleepers::<1>(&pool);
        let one = busy(&pool, &start, {
            let taken = taken.clone();
            move || {
                let done = AtomicUsize::new(0);
                join(
                    || taken.pass(),
                    || {
                        taken.open();
                        done.store(1, Ordering::Relaxed);
                    },
                );
                assert_eq!(done.load(Ordering::Relaxed), 1);
                certain();
            }
        });
        explore();
        start.open();
        one.result().unwrap();
        end(&pool);
    });
}

/// A thief takes the only fork on offer, while the owner, with more of them than there are places, comes to put up the next.
/// Whichever comes first, all are run, each once.
#[test]
fn a_thief_meets_an_owner_with_more_to_offer() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, start) = (pool(2), Gate::closed());
        add_sleepers::<1>(&pool);
        let one = busy(&pool, &start, || {
            let runs = AtomicUsize::new(0);
            let run = || {
                runs.fetch_add(1, Ordering::Relaxed);
            };
            join(|| join(|| join(run, run), run), run);
            assert_eq!(runs.load(Ordering::Relaxed), 4);
            certain();
        });
        explore();
        start.open();
        one.result().unwrap();
        end(&pool);
    });
}

/// A call from outside is one task, whose closures borrow from the caller's stack.
#[test]
fn a_call_from_outside_meets_a_worker_that_goes_to_rest() {
    check(PREEMPTIONS_MAX, || {
        let (pool, start) = (pool(1), Gate::closed());
        let one = busy(&pool, &start, || ());
        let inner = Arc::clone(&pool);
        explore();
        start.open();
        let runs = AtomicUsize::new(0);
        let run = || {
            runs.fetch_add(1, Ordering::Relaxed);
        };
        inner.join(run, run);
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        one.result().unwrap();
        drop(inner);
        end(&pool);
    });
}
