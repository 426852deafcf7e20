//! Handles that can be cloned: what Python's futures all are (F026).

mod common;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{Oops, asleep, brief, drops::Drops, guarded, ran};
use concurrent_futures_future::{Future, SharedFuture, TaskError, promise};

#[test]
fn f026_any_number_of_threads_read_any_number_of_times() {
    guarded(|| {
        let (kept, future) = promise::<String>();
        let future = future.share();
        thread::scope(|scope| {
            let readers = [(); 8].map(|()| {
                asleep(scope, || {
                    let first = future.result().unwrap();
                    let again = future.result_timeout(Duration::ZERO).unwrap().unwrap();
                    // The same object, not an equal one.
                    std::ptr::eq(first, again).then_some(first.as_str())
                })
            });
            kept.set_result("one".to_owned()).unwrap();
            for reader in readers {
                assert_eq!(reader.join().unwrap(), Some("one"));
            }
        });
    });
}

#[test]
fn f026_readers_that_come_at_the_same_time_share_one_value() {
    guarded(|| {
        for _ in 0..200 {
            let future = ran(|| Box::new(1)).share();
            let start = Barrier::new(3);
            let places = thread::scope(|scope| {
                let readers = [(); 3].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        std::ptr::from_ref(future.result().unwrap()).addr()
                    })
                });
                readers.map(|it| it.join().unwrap())
            });
            assert!(places.iter().all(|place| *place == places[0]));
        }
    });
}

#[test]
fn f026_an_error_is_the_same_for_every_reader_and_does_not_grow() {
    guarded(|| {
        let future = ran(|| Err::<u8, _>(Oops(1))).flatten().share();
        let texts = [(); 3].map(|()| future.result().unwrap_err().to_string());
        assert!(texts.iter().all(|text| *text == texts[0]));
        let errors = [(); 2].map(|()| future.result().unwrap_err());
        let [one, other] = errors.each_ref().map(|it| it.downcast_ref::<Oops>().unwrap());
        assert!(std::ptr::eq(one, other));
        let panicked = ran(|| -> u8 { panic!("once") }).share();
        let clone = panicked.clone();
        assert!(panicked.result().unwrap_err().is_panic());
        assert!(clone.exception().unwrap().is_panic());
    });
}

#[test]
fn the_rules_of_waiting_hold_for_shared_handles() {
    guarded(|| {
        let (_promise, future) = promise::<u8>();
        let future = SharedFuture::from(future);
        assert!(future.result_timeout(Duration::ZERO).is_err());
        assert!(future.result_timeout(brief()).is_err());
        assert!(future.exception_timeout(brief()).is_err());
        let clone = future.clone();
        assert!(clone.cancel() && future.cancelled());
        assert!(future.result().unwrap_err().is_cancelled());
        assert!(clone.exception().unwrap().is_cancelled());
    });
}

#[test]
fn dropping_a_clone_does_nothing_to_the_others() {
    guarded(|| {
        let drops = Drops::new();
        let (kept, future) = promise();
        let future = future.share();
        drop(future.clone());
        kept.set_result(drops.value()).unwrap();
        let reader = future.clone();
        drop(future);
        assert!(reader.result().is_ok());
        assert_eq!(drops.count(), 0);
        drop(reader);
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn the_only_handle_can_be_turned_back() {
    guarded(|| {
        let (kept, future) = promise();
        let future = future.share();
        let clone = future.clone();
        // Not while there is another.
        let future = future.unshare().unwrap_err();
        drop(clone);
        let future: Future<_> = future.unshare().unwrap();
        kept.set_result(1).unwrap();
        // Nor when it has been read.
        let future = future.share();
        assert_eq!(future.result().unwrap(), &1);
        let future = future.unshare().unwrap_err();
        assert_eq!(future.result().unwrap(), &1);
    });
}

/// Whoever turns the handle back while another reads it, and then lets go, either gets it with the value or not at all.
#[test]
fn a_reader_that_lets_go_just_then_takes_no_value_along() {
    guarded(|| {
        for round in 0..20_000 {
            let future = ran(move || round).share();
            let clone = future.clone();
            let start = AtomicUsize::new(0);
            let meet = || {
                start.fetch_add(1, Ordering::SeqCst);
                while start.load(Ordering::SeqCst) < 2 {
                    std::hint::spin_loop();
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| {
                    meet();
                    assert_eq!(clone.result().unwrap(), &round);
                    drop(clone);
                });
                meet();
                match future.unshare() {
                    Ok(future) => assert_eq!(future.result().unwrap(), round),
                    Err(future) => assert_eq!(future.result().unwrap(), &round),
                }
            });
        }
    });
}

#[test]
fn a_value_that_is_not_sync_can_be_shared_within_a_thread() {
    guarded(|| {
        let future = ran(|| std::cell::Cell::new(1)).share();
        let clone = future.clone();
        future.result().unwrap().set(2);
        assert_eq!(clone.result().unwrap().get(), 2);
    });
}

#[test]
fn a_callback_with_a_clone_of_its_handle_is_no_cycle() {
    guarded(|| {
        let drops = Drops::new();
        let calls = Arc::new(AtomicUsize::new(0));
        for complete in [false, true] {
            let (kept, future) = promise();
            let future = future.share();
            let (inside, count) = (future.clone(), Arc::clone(&calls));
            let token = drops.value();
            future.add_done_callback(move |future| {
                // Itself, the argument, and a clone of its own.
                assert_eq!(inside, *future);
                count.fetch_add(1, Ordering::SeqCst);
                drop(token);
            });
            drop(future);
            if complete { kept.set_result(drops.value()).unwrap() } else { drop(kept) }
        }
        // The two tokens, and the value that nobody could read any more.
        assert_eq!((calls.load(Ordering::SeqCst), drops.count()), (2, 3));
    });
}

#[test]
fn readers_and_a_canceller_at_the_same_time() {
    guarded(|| {
        for round in 0..200 {
            let (kept, future) = promise();
            let future = future.share();
            thread::scope(|scope| {
                let producer = scope.spawn(|| kept.set_result(round).is_ok());
                let readers = [(); 2].map(|()| scope.spawn(|| future.result().copied()));
                let cancelled = future.cancel();
                assert_ne!(producer.join().unwrap(), cancelled);
                for outcome in readers.map(|it| it.join().unwrap()) {
                    match outcome {
                        Ok(value) => assert!(!cancelled && value == round),
                        Err(error) => assert!(cancelled && matches!(error, TaskError::Cancelled)),
                    }
                }
            });
        }
    });
}
