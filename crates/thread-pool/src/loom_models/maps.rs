//! `map_vec`: branches that take items.

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::{FEWER_PREEMPTIONS, Gate, add_sleepers, busy, certain, check, end, explore, pool};

/// Two branches take items at the same time. Each item is taken once, whoever takes it has seen what was done before, and who
/// leads sees at the end what was done with it.
#[test]
fn two_branches_take_items() {
    check(FEWER_PREEMPTIONS, || {
        let (pool, start) = (pool(2), Gate::closed());
        add_sleepers::<1>(&pool);
        let inner = pool.clone();
        let one = busy(&pool, &start, move || {
            // Relaxed, so that the map has to order them.
            let (before, calls) = (AtomicUsize::new(0), [AtomicUsize::new(0), AtomicUsize::new(0)]);
            before.store(1, Ordering::Relaxed);
            let results = inner.map_vec(
                |n: usize| {
                    assert_eq!(before.load(Ordering::Relaxed), 1);
                    calls[n].store(calls[n].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    n + 1
                },
                0..2,
            );
            assert_eq!(results.unwrap(), [1, 2]);
            assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
            certain();
        });
        explore();
        start.open();
        one.result().unwrap();
        end(&pool);
    });
}
