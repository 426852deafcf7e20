//! The list of waiters, what registers there and what is left of it; the queue of a completion set.

use std::{
    cell::Cell as StdCell,
    future::Future as _,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::{
    AnyFuture, CompletionSet, Future, Host, PoolId, Progress, ReturnWhen, as_completed, promise,
    wait_timeout,
    waiter::{Countdown, ReadyQueue, Signal, Waiter, WaiterKey, WaiterList},
    work_for,
};

/// Enough for a wait that is meant to run out.
const BRIEF: Duration = Duration::from_millis(5);

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn waker() -> (Arc<Counting>, Waker) {
    let counting = Arc::new(Counting(AtomicUsize::new(0)));
    (Arc::clone(&counting), Waker::from(counting))
}

fn tag(n: u64) -> Waiter {
    Waiter::Set(ReadyQueue::new(), n)
}

fn tags(list: &mut WaiterList) -> Vec<u64> {
    let entries = list.take();
    entries.into_iter().map(|(_, it)| if let Waiter::Set(_, n) = it { n } else { 99 }).collect()
}

#[test]
fn the_list_keeps_its_order_whatever_is_removed() {
    for removed in 0..5_usize {
        let mut list = WaiterList::default();
        let keys: Vec<WaiterKey> = (0..5).map(|n| list.push(tag(n))).collect();
        assert!(list.remove(keys[removed]).is_some());
        assert!(list.remove(keys[removed]).is_none(), "a key is good once");
        let left: Vec<u64> = (0..5).filter(|n| *n != removed as u64).collect();
        assert_eq!(tags(&mut list), left);
        assert!(tags(&mut list).is_empty(), "taken is taken");
    }
}

#[test]
fn keys_are_not_used_again() {
    let mut list = WaiterList::default();
    let first = list.push(tag(1));
    list.remove(first);
    let second = list.push(tag(2));
    assert_ne!(first, second);
    drop(list.take());
    let third = list.push(tag(3));
    assert!(third != first && third != second);
    assert!(list.remove(second).is_none());
    assert_eq!(tags(&mut list), [3]);
}

#[test]
fn only_wakers_are_found_as_wakers() {
    let mut list = WaiterList::default();
    let (_, one) = waker();
    let other = list.push(tag(1));
    let key = list.push(Waiter::Waker(one.clone()));
    assert!(list.waker_mut(other).is_none());
    assert!(list.waker_mut(key).is_some_and(|found| found.will_wake(&one)));
    list.remove(key);
    assert!(list.waker_mut(key).is_none());
}

#[test]
fn callbacks_and_observers_are_found_among_others() {
    let mut list = WaiterList::default();
    list.push(tag(1));
    assert!(!list.has_callbacks() && list.observers().is_empty());
    let key = list.push(Waiter::Callback(Box::new(|| {})));
    assert!(list.has_callbacks());
    list.remove(key);
    assert!(!list.has_callbacks());
}

#[test]
fn a_signal_is_raised_once_and_for_all() {
    let signal = Signal::new();
    let deadline = crate::time::Deadline::after(BRIEF);
    assert!(!signal.wait(deadline.instant()));
    signal.set();
    // Whatever the deadline, and as often as one asks.
    assert!(signal.wait(deadline.instant()) && signal.wait(None));
}

#[test]
fn a_leftover_token_does_not_end_a_wait() {
    let signal = Signal::new();
    std::thread::current().unpark();
    assert!(!signal.wait(crate::time::Deadline::after(BRIEF).instant()));
}

#[test]
fn a_countdown_waits_for_as_many_as_were_added() {
    let past = crate::time::Deadline::after(Duration::ZERO).instant();
    let countdown = Countdown::new();
    assert!(countdown.wait(past), "nothing was added");
    let countdown = Countdown::new();
    countdown.add();
    countdown.add();
    countdown.count_down();
    assert!(!countdown.wait(past));
    let countdown = Countdown::new();
    countdown.add();
    countdown.count_down();
    assert!(countdown.wait(past));
}

#[test]
fn the_queue_is_first_in_first_out() {
    let queue = ReadyQueue::new();
    for token in [3, 1, 2] {
        queue.push(token);
    }
    let (counting, waker) = waker();
    assert_eq!(
        (queue.try_pop(), queue.pop(None), queue.poll_pop(&waker)),
        (Some(3), Some(1), Some(2))
    );
    assert_eq!(queue.try_pop(), None);
    assert_eq!(queue.pop(crate::time::Deadline::after(BRIEF).instant()), None);
    // A sleeper that gave up is not woken, one that polled is, once.
    assert_eq!(queue.poll_pop(&waker), None);
    queue.push(4);
    queue.push(5);
    assert_eq!(counting.0.load(Ordering::SeqCst), 1);
}

/// How many entries the future's list has.
fn entries(future: &impl AnyFuture) -> usize {
    future.cell().header().waiters()
}

#[test]
fn f060_no_wait_leaves_an_entry_behind() {
    let (promise, future) = promise::<u8>();
    let (_other, pending) = crate::promise::<u8>();
    for when in [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted] {
        assert!(wait_timeout([&future, &pending], BRIEF, when).done.is_empty());
        assert_eq!((entries(&future), entries(&pending)), (0, 0), "{when:?}");
    }
    assert!(future.wait_timeout(BRIEF).is_err());
    assert!(future.exception_timeout(BRIEF).is_err());
    let future = future.result_timeout(BRIEF).unwrap_err().into_inner();
    assert_eq!(entries(&future), 0);
    promise.set_result(1).unwrap();
    // Those that return because another future has ended leave the pending one as well.
    for when in [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted] {
        wait_timeout([&pending, &future], BRIEF, when);
        assert_eq!(entries(&pending), 0, "{when:?}");
    }
}

#[test]
fn f067_an_iterator_that_is_dropped_leaves_no_entry_behind() {
    let (_promise, future) = promise::<u8>();
    let iterator = as_completed([&future]);
    assert_eq!(entries(&future), 1);
    drop(iterator);
    assert_eq!(entries(&future), 0);
    let mut set = CompletionSet::from_iter([&future, &future]);
    assert_eq!(entries(&future), 2);
    set.insert(&future);
    assert_eq!(set.into_futures().len(), 3);
    assert_eq!(entries(&future), 0);
}

#[test]
fn handles_that_were_polled_leave_no_entry_behind() {
    let (_promise, mut future) = promise::<u8>();
    let (_, waker) = waker();
    let mut cx = Context::from_waker(&waker);
    let mut poll = |future: &mut Future<u8>| std::pin::Pin::new(future).poll(&mut cx);
    for _ in 0..3 {
        assert!(poll(&mut future).is_pending());
        assert_eq!(entries(&future), 1);
    }
    let shared = future.share();
    let clone = shared.clone();
    drop(shared);
    let future = clone.unshare().unwrap();
    // Its own entry goes with it, those of others stay.
    let progress = Progress::new();
    progress.watch(&future);
    let mut other = CompletionSet::new();
    let again = future.share();
    other.insert(again.clone());
    let before = entries(&again);
    let mut polled = again.clone();
    assert!(matches!(std::pin::Pin::new(&mut polled).poll(&mut cx), Poll::Pending));
    assert_eq!(entries(&again), before + 1);
    drop(polled);
    assert_eq!(entries(&again), before);
}

#[test]
fn an_ended_future_has_no_entries() {
    let (promise, future) = promise();
    let progress = Progress::new();
    progress.watch(&future);
    future.add_done_callback(|_| {});
    let mut set = CompletionSet::from_iter([&future]);
    assert_eq!(entries(&future), 3);
    promise.set_result(1).unwrap();
    assert_eq!(entries(&future), 0);
    future.add_done_callback(|_| {});
    progress.watch(&future);
    assert_eq!((entries(&future), set.try_next().is_some()), (0, true));
}

struct Idle(StdCell<usize>);

impl Host for Idle {
    fn blocked(&self) {
        self.0.set(self.0.get() + 1);
    }

    fn unblocked(&self) {}
}

/// A worker that keeps a set for long, and never has to wait for it, used to collect the token of every future that was
/// ever in the set.
#[test]
fn a_set_in_a_worker_does_not_grow_with_what_has_left_it() {
    work_for(PoolId::new(), Rc::new(Idle(StdCell::new(0))), || {
        let mut set = CompletionSet::new();
        let (_promise, pending) = promise();
        set.insert(pending);
        assert_eq!(set.to_help(), 1, "this one it would run itself");
        for round in 0..10_000 {
            let (promise, future) = promise();
            set.insert(future);
            promise.set_result(round).unwrap();
            assert!(set.next().is_some());
            assert!(set.to_help() < 32, "{} tokens after {round} rounds", set.to_help());
        }
    });
}
