//! What a worker does when it has no task: it searches, sleeps, stands by, or leaves. And what it says when it will not
//! look at the queue for a while, because it blocks or runs callbacks.

use std::{sync::Arc, time::Duration};

use concurrent_futures_executor::Task;

use super::{RESERVE_KEEP_ALIVE, Rest, Seat, Shared, State};
use crate::{
    stats::Totals,
    sync::{Instant, MutexGuard, Ordering, fence},
    worker::Worker,
};

impl Shared {
    /// Makes a worker that has run out of tasks the one that searches; false if there is one.
    pub(crate) fn search(&self, worker: &Worker) -> bool {
        if worker.searching.get() {
            return true;
        }
        if self.hints.searching.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let mut state = self.lock();
        if state.searching > 0 {
            return false;
        }
        state.searching += 1;
        worker.searching.set(true);
        self.make_available(worker);
        self.publish(&state);
        true
    }

    /// A worker has been made ready by its initializer, and begins to look.
    pub(crate) fn ready(&self, worker: &Worker) {
        let mut state = self.lock();
        state.starting -= 1;
        self.make_available(worker);
    }

    pub(super) fn stop_searching(&self, state: &mut State, worker: &Worker) {
        if worker.searching.replace(false) {
            state.searching -= 1;
            self.publish(state);
        }
    }

    /// Sleeps, for a worker that has found nothing anywhere; or leaves.
    pub(crate) fn rest(self: &Arc<Self>, worker: &Worker) -> Rest {
        worker.free_spent();
        let mut state = self.lock();
        self.stop_searching(&mut state, worker);
        if state.awake() > self.config.max_workers.get() {
            return self.stand_by(state, worker);
        }
        self.make_available(worker);
        state.sleepers.push(Arc::clone(&worker.seat));
        self.publish(&state);
        fence(Ordering::SeqCst);
        // Invariant 2: whoever pushed to a deque and saw neither a sleeper nor a searcher pushed before this look.
        if state.has_tasks() {
            state.sleepers.pop();
            self.publish(&state);
            return Rest::Over;
        }
        if state.shut_down {
            state.sleepers.pop();
            return self.leave(state, worker);
        }
        drop(state);
        self.park(worker, self.config.idle_timeout, |state| &mut state.sleepers)
    }

    /// Waits to be needed as a stand-in, for a worker that there is no room for.
    fn stand_by(self: &Arc<Self>, mut state: MutexGuard<'_, State>, worker: &Worker) -> Rest {
        self.withdraw(worker);
        // What it has goes to the head of the queue, in order: it was taken from there, or is older.
        let mut tasks: Vec<Task> = std::iter::from_fn(|| worker.deque.pop()).collect();
        while let Some(task) = tasks.pop() {
            state.queue.put_first(task);
        }
        self.publish_queue(&state);
        if state.shut_down || state.reserve.len() >= self.config.max_workers.get() {
            return self.leave(state, worker);
        }
        state.reserve.push(Arc::clone(&worker.seat));
        self.publish(&state);
        // It may have been called for a task, and passes the call on to a worker that stays.
        fence(Ordering::SeqCst);
        if state.has_tasks() {
            self.call_somebody(state);
        } else {
            drop(state);
        }
        self.park(worker, Some(RESERVE_KEEP_ALIVE), |state| &mut state.reserve)
    }

    /// Sleeps until called, or until the time is up and nobody has called.
    fn park(
        self: &Arc<Self>,
        worker: &Worker,
        timeout: Option<Duration>,
        list: impl Fn(&mut State) -> &mut Vec<Arc<Seat>>,
    ) -> Rest {
        // A moment that the clock cannot express is farther away than anybody can wait for.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let seat = &worker.seat;
        loop {
            match deadline {
                None => worker.parker.park(),
                Some(deadline) => worker.parker.park_deadline(deadline),
            }
            // Acquire: pairs with the Release in `call`.
            if seat.called.load(Ordering::Acquire) {
                // Relaxed: nobody sets it again before this worker is on a list again, under the lock. Not one swap instead
                // of the two: loom would let a store come between a swap that found nothing and what that has read.
                seat.called.store(false, Ordering::Relaxed);
                // Counted by the caller.
                worker.searching.set(true);
                return Rest::Over;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let mut state = self.lock();
                // Under the lock, nobody can be calling any more; but somebody may have.
                let mine = list(&mut state).iter().position(|other| Arc::ptr_eq(other, seat));
                if let Some(mine) = mine {
                    list(&mut state).remove(mine);
                    return self.leave(state, worker);
                }
            }
        }
    }

    /// The worker's place is given up. Its deque is empty, and so, if the pool ends, is everything.
    fn leave(self: &Arc<Self>, mut state: MutexGuard<'_, State>, worker: &Worker) -> Rest {
        self.withdraw(worker);
        debug_assert!(worker.deque.is_empty());
        state.leaving += 1;
        state.totals += Totals::of(std::iter::once(&worker.seat.tally));
        state.seats.retain(|seat| !Arc::ptr_eq(seat, &worker.seat));
        self.hints.generation.fetch_add(1, Ordering::Release);
        self.publish(&state);
        // As in `rest`: the place is free from now on, and somebody may have looked for one in vain just before.
        fence(Ordering::SeqCst);
        if state.has_tasks() {
            self.call_somebody(state);
        }
        Rest::Left
    }

    /// Counts a worker among those available.
    fn make_available(&self, worker: &Worker) {
        if !worker.available.replace(true) {
            // Release: pairs with the Acquire in `enqueue`, by way of the future's completion.
            self.available.fetch_add(1, Ordering::Release);
        }
    }

    /// Takes a worker out of the count of those available.
    pub(crate) fn withdraw(&self, worker: &Worker) {
        if worker.available.replace(false) {
            self.available.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A worker has done its work and is about to complete the future.
    pub(crate) fn finishing(&self, worker: &Worker) {
        // Of a pool that has all the workers that it may have, and all of them awake, nobody asks who is available; and the
        // count would go from cache to cache.
        if self.is_callable() && worker.deque.is_empty() {
            self.make_available(worker);
        }
    }

    /// A worker that was about to look at the queue will not do so for a while.
    pub(crate) fn busy(self: &Arc<Self>, worker: &Worker) {
        if worker.available.get() {
            let state = self.lock();
            self.withdraw(worker);
            if state.has_tasks() {
                self.call_somebody(state);
            }
        }
    }

    /// A worker goes to sleep inside a task.
    pub(crate) fn blocked(self: &Arc<Self>, worker: &Worker) {
        let mut state = self.lock();
        self.withdraw(worker);
        state.blocked += 1;
        self.publish(&state);
        // As in `rest`: a worker that pushed to its deque may have found that there was nobody to call.
        fence(Ordering::SeqCst);
        if state.has_tasks() {
            self.call_somebody(state);
        }
    }

    /// It is awake again. There may be one worker too many now; whichever notices first stands by.
    pub(crate) fn unblocked(&self) {
        let mut state = self.lock();
        state.blocked -= 1;
        self.publish(&state);
    }
}
