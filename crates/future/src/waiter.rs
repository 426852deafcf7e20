//! Who wants to know that a future has ended, and how each is told.
//!
//! A future keeps one list of waiters of several kinds. When it ends, the list is taken out under its lock, and all
//! that follows happens outside of any lock: first observers (so that counters are right by the time anybody looks),
//! then everyone who sleeps, last the callbacks, in the order in which they were added. A slow callback can therefore
//! hold up other callbacks of the same future, and nothing else.

use std::{collections::VecDeque, mem, num::NonZeroU64, sync::Arc, task::Waker, time::Instant};

use crate::{
    hook::{self, Event},
    id::FutureId,
    panic::Panic,
    progress::Observer,
    sync::{AtomicBool, AtomicUsize, Mutex, Ordering, lock, thread},
    worker,
};

/// Names an entry of one waiter list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterKey(NonZeroU64);

/// Somebody who wants to know that a future has ended.
pub(crate) enum Waiter {
    /// A thread that sleeps until this future ends.
    Thread(Arc<Signal>),
    /// An async task.
    Waker(Waker),
    /// A thread that sleeps until several futures have ended.
    Countdown(Arc<Countdown>),
    /// A completion set, which knows this future by the number.
    Set(Arc<ReadyQueue>, u64),
    /// Somebody who counts; told of the start as well.
    Observer(Arc<dyn Observer>),
    /// A done-callback, already bound to its future.
    Callback(Box<dyn FnOnce() + Send>),
}

/// The waiters of one future.
#[derive(Default)]
pub(crate) struct WaiterList {
    last_key: u64,
    entries: Vec<(WaiterKey, Waiter)>,
}

impl WaiterList {
    pub(crate) fn push(&mut self, waiter: Waiter) -> WaiterKey {
        self.last_key += 1;
        let key = WaiterKey(NonZeroU64::new(self.last_key).unwrap_or(NonZeroU64::MAX));
        self.entries.push((key, waiter));
        key
    }

    pub(crate) fn remove(&mut self, key: WaiterKey) -> Option<Waiter> {
        let index = self.entries.iter().position(|(candidate, _)| *candidate == key)?;
        // Not `swap_remove`: callbacks run in the order in which they were added.
        Some(self.entries.remove(index).1)
    }

    /// The waker where `key` is, if that entry is still there.
    ///
    /// Cloning a waker and dropping one run the runtime's code, so neither is done here, under the lock.
    pub(crate) fn waker_mut(&mut self, key: WaiterKey) -> Option<&mut Waker> {
        self.entries.iter_mut().find_map(|(candidate, waiter)| match waiter {
            Waiter::Waker(waker) if *candidate == key => Some(waker),
            _ => None,
        })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn has_callbacks(&self) -> bool {
        self.entries.iter().any(|(_, waiter)| matches!(waiter, Waiter::Callback(_)))
    }

    pub(crate) fn take(&mut self) -> Vec<(WaiterKey, Waiter)> {
        mem::take(&mut self.entries)
    }

    pub(crate) fn observers(&self) -> Vec<Arc<dyn Observer>> {
        self.entries
            .iter()
            .filter_map(|(_, waiter)| match waiter {
                Waiter::Observer(observer) => Some(Arc::clone(observer)),
                _ => None,
            })
            .collect()
    }
}

/// Tells everyone in `entries` that their future has ended.
pub(crate) fn notify(
    id: impl Fn() -> FutureId,
    outcome: crate::progress::Outcome,
    entries: Vec<(WaiterKey, Waiter)>,
) {
    for (_, waiter) in &entries {
        if let Waiter::Observer(observer) = waiter {
            observer.ended(outcome);
        }
    }
    let mut callbacks = Vec::new();
    for (_, waiter) in entries {
        match waiter {
            Waiter::Thread(signal) => signal.set(),
            Waiter::Waker(waker) => {
                // A waker is the runtime's code; should it panic, the others must still be woken.
                if let Err(panic) = Panic::catch(|| waker.wake()) {
                    hook::report(&Event::CallbackPanicked { future: id(), panic: &panic });
                }
            }
            Waiter::Countdown(countdown) => countdown.count_down(),
            Waiter::Set(queue, token) => queue.push(token),
            Waiter::Callback(callback) => callbacks.push(callback),
            Waiter::Observer(_) => {}
        }
    }
    if !callbacks.is_empty() {
        worker::running_callbacks();
    }
    for callback in callbacks {
        run_callback(&id, callback);
    }
}

/// Runs one done-callback, and keeps its panic from going any further.
pub(crate) fn run_callback(id: &impl Fn() -> FutureId, callback: Box<dyn FnOnce() + Send>) {
    if let Err(panic) = Panic::catch(callback) {
        hook::report(&Event::CallbackPanicked { future: id(), panic: &panic });
    }
}

/// Something that one thread sleeps on, once.
///
/// `park` and `unpark` carry a token that any other code in the thread may have consumed or left over, so the flag
/// alone decides and the token only ends a nap early.
pub(crate) struct Signal {
    raised: AtomicBool,
    sleeper: thread::Thread,
}

impl Signal {
    /// For the calling thread to sleep on, and for nobody else.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { raised: AtomicBool::new(false), sleeper: thread::current() })
    }

    /// The wake-up comes last: once the flag is up, the sleeper may go on without it.
    pub(crate) fn set(&self) {
        // Release: pairs with the Acquire in `is_set`; all that the waker did is visible to the sleeper.
        self.raised.store(true, Ordering::Release);
        self.sleeper.unpark();
    }

    fn is_set(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Sleeps until the signal is raised or the deadline has passed; says whether it was raised.
    ///
    /// The pool that this thread works for, if any, is told that the thread is out of action meanwhile.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.is_set() {
            return true;
        }
        let _out_of_action = worker::Blocked::enter();
        while !self.is_set() {
            if !park(deadline) {
                return self.is_set();
            }
        }
        true
    }
}

/// Parks until unparked, spuriously or not. False if the deadline has passed.
fn park(deadline: Option<Instant>) -> bool {
    // Time does not pass in a loom model: there, a wait with a deadline is one without.
    #[cfg(not(loom))]
    if let Some(deadline) = deadline {
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        thread::park_timeout(deadline - now);
        return true;
    }
    #[cfg(loom)]
    let _ = deadline;
    thread::park();
    true
}

/// Raises a signal once as many futures have ended as were counted on.
pub(crate) struct Countdown {
    remaining: AtomicUsize,
    signal: Arc<Signal>,
}

impl Countdown {
    /// Starts at one, the caller's own count, so that it cannot reach zero while futures are still being added.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { remaining: AtomicUsize::new(1), signal: Signal::new() })
    }

    pub(crate) fn add(&self) {
        // Relaxed: the caller holds a count, so zero is out of reach whatever the order.
        self.remaining.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_down(&self) {
        // AcqRel: each ending is ordered before the last one, whose Release in `Signal::set` publishes them all.
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.signal.set();
        }
    }

    /// Gives up the caller's own count and sleeps until the others have come in.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        self.count_down();
        self.signal.wait(deadline)
    }
}

/// Where the futures of a completion set announce that they have ended, in that order.
pub(crate) struct ReadyQueue {
    inner: Mutex<Ready>,
}

#[derive(Default)]
struct Ready {
    tokens: VecDeque<u64>,
    /// The one consumer, while it sleeps.
    sleeper: Option<Sleeper>,
}

enum Sleeper {
    Thread(Arc<Signal>),
    Task(Waker),
}

impl ReadyQueue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Ready::default()) })
    }

    pub(crate) fn push(&self, token: u64) {
        let sleeper = {
            let mut ready = lock(&self.inner);
            ready.tokens.push_back(token);
            ready.sleeper.take()
        };
        match sleeper {
            Some(Sleeper::Thread(signal)) => signal.set(),
            Some(Sleeper::Task(waker)) => {
                // Contained for the same reason as in `notify`; the set will be polled again or dropped.
                let _contained = Panic::catch(|| waker.wake());
            }
            None => {}
        }
    }

    pub(crate) fn try_pop(&self) -> Option<u64> {
        lock(&self.inner).tokens.pop_front()
    }

    /// The next token, sleeping until there is one or the deadline has passed.
    pub(crate) fn pop(&self, deadline: Option<Instant>) -> Option<u64> {
        loop {
            let signal = {
                // A waker left from an earlier poll belongs to a task that is not the one asking now. Dropped after
                // the lock is released: a waker's destructor is the runtime's code.
                let _replaced;
                let mut ready = lock(&self.inner);
                if let Some(token) = ready.tokens.pop_front() {
                    return Some(token);
                }
                let signal = Signal::new();
                _replaced = ready.sleeper.replace(Sleeper::Thread(Arc::clone(&signal)));
                signal
            };
            if !signal.wait(deadline) {
                let mut ready = lock(&self.inner);
                ready.sleeper = None;
                return ready.tokens.pop_front();
            }
        }
    }

    /// The next token, or none and `waker` will be woken when there is one.
    pub(crate) fn poll_pop(&self, waker: &Waker) -> Option<u64> {
        let fresh = waker.clone();
        let _replaced;
        let mut ready = lock(&self.inner);
        let token = ready.tokens.pop_front();
        if token.is_none() {
            // Dropped after the lock is released, as in `pop`.
            _replaced = ready.sleeper.replace(Sleeper::Task(fresh));
        }
        token
    }
}
