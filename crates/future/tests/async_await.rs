//! Futures in async code: which wakers are woken when, and what dropping does. Python needs `asyncio.wrap_future` for
//! this (F034).

mod common;

use std::{
    future::{Future as _, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
};

use common::{
    Call, Oops,
    drops::Drops,
    events::{self, Recorded},
    guarded, ran, text_of,
    wakers::{OnDrop, OnWake, Woken, block_on, poll, reentrant},
};
use concurrent_futures_future::{Future, PackagedTask, Ran, SharedFuture, TaskError, promise};

#[test]
fn f034_a_future_is_awaited_in_any_runtime() {
    guarded(|| {
        let (kept, future) = promise();
        thread::scope(|scope| {
            scope.spawn(|| kept.set_result(1).unwrap());
            assert_eq!(block_on(future).unwrap(), 1);
        });
        assert_eq!(block_on(async { ran(|| 2).await.unwrap() + ran(|| 3).await.unwrap() }), 5);
        let error = block_on(ran(|| -> u8 { panic!("in the task") })).unwrap_err();
        assert!(error.is_panic());
        let (_promise, cancelled) = promise::<u8>();
        cancelled.cancel();
        assert!(block_on(cancelled).unwrap_err().is_cancelled());
        let (promise, abandoned) = promise::<u8>();
        drop(promise);
        assert!(matches!(block_on(abandoned), Err(TaskError::Abandoned)));
    });
}

#[test]
fn f034_the_task_is_woken_once_when_the_future_ends() {
    guarded(|| {
        for cancel in [false, true] {
            let (kept, mut future) = promise();
            let (woken, waker) = Woken::new();
            assert!(poll(&mut future, &waker).is_pending());
            kept.set_running_or_notify_cancel().unwrap();
            if cancel {
                drop(kept);
            } else {
                assert_eq!(woken.count(), 0);
                kept.set_result(1).unwrap();
            }
            assert_eq!(woken.count(), 1);
            assert!(poll(&mut future, &waker).is_ready());
            assert_eq!(woken.count(), 1);
        }
    });
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_counts() {
    guarded(|| {
        let (kept, mut future) = promise();
        let wakers = [(); 3].map(|()| Woken::new());
        for (_, waker) in &wakers {
            assert!(poll(&mut future, waker).is_pending());
            // The same one again changes nothing.
            assert!(poll(&mut future, waker).is_pending());
        }
        // Only the last one is still held by the future.
        assert_eq!(wakers.each_ref().map(|(woken, _)| Arc::strong_count(woken)), [2, 2, 3]);
        kept.set_result(1).unwrap();
        assert_eq!(wakers.each_ref().map(|(woken, _)| woken.count()), [0, 0, 1]);
        assert_eq!(poll(&mut future, &wakers[0].1).map(Result::unwrap), Poll::Ready(1));
    });
}

#[test]
fn dropping_a_pending_future_lets_go_of_the_waker() {
    guarded(|| {
        let (woken, waker) = Woken::new();
        let (kept, mut future) = promise();
        assert!(poll(&mut future, &waker).is_pending());
        assert_eq!(Arc::strong_count(&woken), 3);
        drop(future);
        assert_eq!(Arc::strong_count(&woken), 2);
        kept.set_result(1).unwrap();
        assert_eq!(woken.count(), 0);

        // The same for clones of a shared one, each for itself.
        let (kept, future) = promise();
        let future = future.share();
        let (mut one, mut other) = (future.clone(), future.clone());
        assert!(poll(&mut one, &waker).is_pending());
        assert!(poll(&mut other, &waker).is_pending());
        assert_eq!(Arc::strong_count(&woken), 4);
        drop(one);
        assert_eq!(Arc::strong_count(&woken), 3);
        // A clone of a polled handle is not waiting.
        drop(other.clone());
        kept.set_result(1).unwrap();
        assert_eq!(woken.count(), 1);
    });
}

#[test]
fn two_tasks_await_one_shared_future() {
    guarded(|| {
        let (kept, future) = promise();
        let future = future.share();
        thread::scope(|scope| {
            let readers = [(); 2].map(|()| {
                let future = future.clone();
                scope.spawn(move || block_on(future))
            });
            kept.set_result("for both".to_owned()).unwrap();
            for reader in readers {
                assert_eq!(reader.join().unwrap().unwrap(), "for both");
            }
        });
        // And again, by the same handle too.
        let mut again = future.clone();
        let (_, waker) = Woken::new();
        for _ in 0..2 {
            assert!(poll(&mut again, &waker).is_ready());
        }
        assert_eq!(future.result().unwrap(), "for both");
    });
}

#[test]
fn join_by_hand() {
    guarded(|| {
        let (first, one) = promise();
        let (second, two) = promise();
        let both = async {
            let (mut one, mut two) = (pin!(one), pin!(two));
            let (mut left, mut right) = (None, None);
            poll_fn(|cx| {
                // A future that has handed out its outcome must not be polled again.
                if left.is_none()
                    && let Poll::Ready(outcome) = one.as_mut().poll(cx)
                {
                    left = Some(outcome.unwrap());
                }
                if right.is_none()
                    && let Poll::Ready(outcome) = two.as_mut().poll(cx)
                {
                    right = Some(outcome.unwrap());
                }
                left.zip(right).map_or(Poll::Pending, Poll::Ready)
            })
            .await
        };
        thread::scope(|scope| {
            let joined = scope.spawn(|| block_on(both));
            second.set_result(2).unwrap();
            first.set_result(1).unwrap();
            assert_eq!(joined.join().unwrap(), (1, 2));
        });
    });
}

#[test]
fn select_by_hand_leaves_the_loser_usable() {
    guarded(|| {
        let (kept, quick) = promise();
        let (late, mut slow) = promise();
        let winner = {
            let mut quick = pin!(quick);
            let slow = &mut slow;
            let mut select = poll_fn(move |cx| {
                if let Poll::Ready(outcome) = quick.as_mut().poll(cx) {
                    return Poll::Ready(("quick", outcome.unwrap()));
                }
                pin!(&mut *slow).poll(cx).map(|outcome| ("slow", outcome.unwrap()))
            });
            let (woken, waker) = Woken::new();
            assert!(poll(&mut select, &waker).is_pending());
            kept.set_result(1).unwrap();
            assert_eq!(woken.count(), 1);
            poll(&mut select, &waker)
        };
        assert_eq!(winner, Poll::Ready(("quick", 1)));
        late.set_result(2).unwrap();
        assert_eq!(slow.result().unwrap(), 2);
    });
}

/// It used to answer that the task had been dropped without being run, which is not what happened.
#[test]
fn polling_again_after_the_outcome_panics() {
    guarded(|| {
        fn polled_again<F: std::future::Future + Unpin>(mut future: F) -> String {
            let (_, waker) = Woken::new();
            assert!(poll(&mut future, &waker).is_ready());
            let payload = catch_unwind(AssertUnwindSafe(|| poll(&mut future, &waker).is_ready()))
                .unwrap_err();
            text_of(&*payload).to_owned()
        }
        let text = "polled a future that has handed out its outcome already";
        assert_eq!(polled_again(ran(|| 1)), text);
        assert_eq!(polled_again(ran(|| -> u8 { panic!("in the task") })), text);
        assert_eq!(polled_again(ran(|| 1).cancel_on_drop()), text);
        assert_eq!(polled_again(ran(|| Err::<u8, _>(Oops(1))).flatten()), text);
    });
}

#[test]
fn awaited_by_reference_it_can_still_be_asked() {
    guarded(|| {
        let (mut good, mut bad) = (ran(|| 1), ran(|| -> u8 { panic!("in the task") }));
        block_on(async {
            assert_eq!((&mut good).await.unwrap(), 1);
            assert!((&mut bad).await.unwrap_err().is_panic());
        });
        assert!(good.done() && good.exception().is_none());
        assert!(bad.exception().unwrap().is_panic());
        // The value is gone; the error can be had by all.
        assert!(good.result().is_err());
        assert!(bad.result().unwrap_err().is_panic());
    });
}

#[test]
fn a_flattened_future_is_awaited() {
    guarded(|| {
        let (kept, future) = promise();
        let mut future = future.flatten();
        let (woken, waker) = Woken::new();
        assert!(poll(&mut future, &waker).is_pending());
        kept.set_result(Err::<u8, _>(Oops(5))).unwrap();
        assert_eq!(woken.count(), 1);
        let Poll::Ready(Err(error)) = poll(&mut future, &waker) else { panic!("not ready") };
        assert_eq!(error.downcast_ref(), Some(&Oops(5)));
    });
}

#[test]
fn handles_change_their_form_while_they_are_awaited() {
    guarded(|| {
        let (kept, mut future) = promise();
        let (_, waker) = Woken::new();
        assert!(poll(&mut future, &waker).is_pending());
        let mut future = future.flatten();
        assert!(poll(&mut future, &waker).is_pending());
        let mut future = future.share();
        assert!(poll(&mut future, &waker).is_pending());
        let mut future = future.unshare().expect("one handle").cancel_on_drop();
        assert!(poll(&mut future, &waker).is_pending());
        let mut future = future.into_inner();
        kept.set_result(Ok::<_, Oops>(7)).unwrap();
        assert_eq!(poll(&mut future, &waker).map(Result::unwrap), Poll::Ready(7));
    });
}

#[test]
fn cancel_on_drop() {
    guarded(|| {
        let drops = Drops::new();
        let task = |drops: &Drops| {
            let captured = drops.value();
            PackagedTask::new(Call(move || drop(captured)))
        };
        // Pending: it is cancelled, and what it captured is gone.
        let (pending, future) = task(&drops);
        drop(future.cancel_on_drop());
        assert_eq!((pending.run(), drops.count()), (Ran::Not, 1));
        // Running: it goes on.
        let (running, future) = task(&drops);
        assert!(running.start());
        drop(future.cancel_on_drop());
        running.complete(Ok(()));
        assert_eq!(drops.count(), 2);
        // Not if it was taken out, or has been read.
        let (taken_out, future) = task(&drops);
        drop(future.cancel_on_drop().into_inner());
        assert_eq!(taken_out.run(), Ran::Succeeded);
        assert_eq!(ran(|| 1).cancel_on_drop().result().unwrap(), 1);
        assert_eq!(block_on(ran(|| 2).cancel_on_drop()).unwrap(), 2);
        // Awaited, and dropped in the middle.
        let (pending, future) = task(&drops);
        let mut future = future.cancel_on_drop();
        let (woken, waker) = Woken::new();
        assert!(poll(&mut future, &waker).is_pending());
        drop(future);
        assert_eq!((pending.run(), drops.count(), Arc::strong_count(&woken)), (Ran::Not, 4, 2));
    });
}

#[test]
fn a_waker_that_panics_is_reported_and_the_others_are_woken() {
    guarded(|| {
        events::record();
        let (kept, future) = promise();
        let future = future.share();
        let mut handles = [(); 3].map(|()| future.clone());
        let (before, first) = Woken::new();
        let (after, third) = Woken::new();
        let second = OnWake::waker(|| panic!("in the waker"));
        for (handle, waker) in handles.iter_mut().zip([&first, &second, &third]) {
            assert!(poll(handle, waker).is_pending());
        }
        kept.set_result(1).unwrap();
        assert_eq!((before.count(), after.count()), (1, 1));
        let reported = Recorded::CallbackPanicked("in the waker".to_owned());
        assert_eq!(events::of(future.id()), [reported]);
    });
}

#[test]
fn a_waker_that_polls_at_once_finds_the_outcome() {
    guarded(|| {
        let (kept, future) = promise();
        let slot = Arc::new(Mutex::new(Some(future)));
        let found = Arc::new(AtomicUsize::new(0));
        let (inside, note) = (Arc::clone(&slot), Arc::clone(&found));
        // As an executor does that runs the woken task on the spot.
        let waker = OnWake::waker(move || {
            let mut future: Future<usize> = inside.lock().unwrap().take().unwrap();
            let (_, waker) = Woken::new();
            if let Poll::Ready(Ok(value)) = poll(&mut future, &waker) {
                note.store(value, Ordering::SeqCst);
            }
        });
        assert!(poll(slot.lock().unwrap().as_mut().unwrap(), &waker).is_pending());
        kept.set_result(9).unwrap();
        assert_eq!(found.load(Ordering::SeqCst), 9);
    });
}

/// A waker is the runtime's code in all that it does. It used to be cloned under the lock of the waiters when a future
/// was polled by another task than before.
#[test]
fn cloning_a_waker_may_use_the_future() {
    guarded(|| {
        let (_promise, future) = promise::<u8>();
        let future = future.share();
        let mut awaited = future.clone();
        let (_, first) = Woken::new();
        assert!(poll(&mut awaited, &first).is_pending());
        let inside = future.clone();
        let second = reentrant(move || inside.add_done_callback(|_| {}));
        assert!(poll(&mut awaited, &second).is_pending());
        // The same for the first poll, and for a waker that is replaced.
        assert!(poll(&mut awaited.clone(), &second).is_pending());
        assert!(poll(&mut awaited, &first).is_pending());
        let inside = future.clone();
        let last = OnDrop::waker(move || inside.add_done_callback(|_| {}));
        assert!(poll(&mut awaited, &last).is_pending());
        drop(last);
        assert!(poll(&mut awaited, &first).is_pending());
        assert!(future.cancel());
    });
}

#[test]
fn polls_and_completions_from_two_threads() {
    guarded(|| {
        for round in 0..300 {
            let (kept, future) = promise();
            thread::scope(|scope| {
                scope.spawn(move || kept.set_result(round).unwrap());
                assert_eq!(block_on(future).unwrap(), round);
            });
        }
        // Many clones, each awaited by a thread of its own.
        let (kept, future) = promise();
        let future: SharedFuture<u32> = future.share();
        thread::scope(|scope| {
            let readers = [(); 8].map(|()| {
                let future = future.clone();
                scope.spawn(move || block_on(future).unwrap())
            });
            kept.set_result(4).unwrap();
            assert_eq!(readers.map(|it| it.join().unwrap()), [4; 8]);
        });
    });
}
