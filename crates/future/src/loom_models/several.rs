//! One thread waits for several futures, which two others complete.

use super::{Oops, model, waiters};
use crate::{CompletionSet, Future, Promise, ReturnWhen, TaskError, promise, sync::thread, wait};

fn two() -> ([Promise<u8>; 2], [Future<u8>; 2]) {
    let ((first, one), (second, two)) = (promise(), promise());
    ([first, second], [one, two])
}

/// Both completions count down, in whichever order, and the last one wakes: all of what both did is visible then.
#[test]
fn loom_all_completed_vs_two_ends() {
    model(|| {
        let ([first, second], futures) = two();
        let producers = [
            thread::spawn(move || first.set_result(1).unwrap()),
            thread::spawn(move || second.set_result(2).unwrap()),
        ];
        let waited = wait(&futures, ReturnWhen::AllCompleted);
        assert_eq!(waited.done.len(), 2);
        let [one, two] = futures;
        assert_eq!(
            (one.try_result().unwrap().unwrap(), two.try_result().unwrap().unwrap()),
            (1, 2)
        );
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// The first one to end wakes the wait; the second one may find the entry still there, or gone.
///
/// The wait is in a thread of its own, because loom's `unpark` also wakes a thread that sleeps in `join`, as the second
/// end's would.
#[test]
fn loom_first_completed_vs_two_ends() {
    model(|| {
        let ([first, second], futures) = two();
        let waiter = thread::spawn(move || {
            assert!(!wait(&futures, ReturnWhen::FirstCompleted).done.is_empty());
            futures
        });
        let producer = thread::spawn(move || first.set_result(1).unwrap());
        second.set_result(2).unwrap();
        producer.join().unwrap();
        let futures = waiter.join().unwrap();
        assert_eq!(futures.each_ref().map(waiters), [0, 0]);
    });
}

/// A success alone does not end the wait, the failure does; they may come in either order.
#[test]
fn loom_first_exception_vs_success_and_failure() {
    model(|| {
        let ([first, second], futures) = two();
        let producers = [
            thread::spawn(move || first.set_result(1).unwrap()),
            thread::spawn(move || second.set_exception(TaskError::failed(Oops)).unwrap()),
        ];
        let waited = wait(&futures, ReturnWhen::FirstException);
        assert!(waited.done.iter().any(|future| future.exception().is_some()));
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// Without a failure it waits for all, a cancellation being none.
#[test]
fn loom_first_exception_vs_success_and_cancel() {
    model(|| {
        let ([first, _second], futures) = two();
        let [one, two] = futures.map(Future::share);
        let producers = [
            thread::spawn(move || first.set_result(1).unwrap()),
            thread::spawn({
                let two = two.clone();
                move || assert!(two.cancel())
            }),
        ];
        assert_eq!(wait([&one, &two], ReturnWhen::FirstException).done.len(), 2);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// Two futures announce themselves to one consumer that sleeps in between: each comes out once.
#[test]
fn loom_completion_set_vs_two_ends() {
    model(|| {
        let ([first, second], futures) = two();
        let mut set: CompletionSet<_> = futures.into_iter().collect();
        let producers = [
            thread::spawn(move || first.set_result(1).unwrap()),
            thread::spawn(move || second.set_result(2).unwrap()),
        ];
        let taken = [set.next(), set.next()].map(|it| it.unwrap().result().unwrap());
        assert!(taken == [1, 2] || taken == [2, 1], "{taken:?}");
        assert!(set.next().is_none());
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// Two waits on the same two futures, in opposite orders: neither locks the other out, and both are told.
#[test]
fn loom_two_waits_in_opposite_orders() {
    model(|| {
        let ([first, second], futures) = two();
        let [one, two] = futures.map(Future::share);
        second.set_result(2).unwrap();
        let other = thread::spawn({
            let (one, two) = (one.clone(), two.clone());
            move || wait([&two, &one], ReturnWhen::AllCompleted).done.len()
        });
        let producer = thread::spawn(move || first.set_result(1).unwrap());
        assert_eq!(wait([&one, &two], ReturnWhen::AllCompleted).done.len(), 2);
        assert_eq!(other.join().unwrap(), 2);
        producer.join().unwrap();
    });
}
