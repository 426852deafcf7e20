//! A scope does not end before its tasks have let go of what they borrow.

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::{Gate, PREEMPTIONS_MAX, busy, check, end, explore, pool};

/// Counts its end in what it borrows. Relaxed, so that the scope has to order it.
struct Borrower<'a>(&'a AtomicUsize);

impl Drop for Borrower<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The scope goes to sleep while its task ends on a worker. The closure is gone when the scope returns.
#[test]
fn a_scope_meets_the_end_of_its_task() {
    check(PREEMPTIONS_MAX, || {
        let (pool, start, gone) = (pool(1), Gate::closed(), AtomicUsize::new(0));
        let one = busy(&pool, &start, || ());
        explore();
        start.open();
        pool.scope(|scope| {
            let borrower = Borrower(&gone);
            drop(scope.spawn(move || drop(borrower)).unwrap());
        });
        assert_eq!(gone.load(Ordering::Relaxed), 1);
        one.result().unwrap();
        end(&pool);
    });
}

/// The same, with a task that is cancelled while the worker comes to run it. Whoever of the two drops the closure, it is gone
/// when the scope returns.
#[test]
fn a_scope_meets_a_cancelled_task() {
    check(PREEMPTIONS_MAX, || {
        let (pool, start, gone) = (pool(1), Gate::closed(), AtomicUsize::new(0));
        let one = busy(&pool, &start, || ());
        explore();
        start.open();
        pool.scope(|scope| {
            let borrower = Borrower(&gone);
            let _ended_or_cancelled = scope.spawn(move || drop(borrower)).unwrap().cancel();
        });
        assert_eq!(gone.load(Ordering::Relaxed), 1);
        one.result().unwrap();
        end(&pool);
    });
}
