//! The end of a pool: shutting it down, waiting for that, breaking it. And looking at it from outside, which takes the
//! same walk past all the workers.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    time::Duration,
};

use concurrent_futures_executor::{
    Shutdown, ShutdownError, StillRunning, Task, Wait,
    future::{Blocked, BrokenExecutor, Event, State as TaskState, TaskError, report},
};
use crossbeam_deque::Steal;

use super::{Call, Seat, Shared, State};
use crate::{
    stats::{PoolStats, Totals},
    sync::{Instant, Ordering},
    worker,
};

impl Shared {
    /// A worker could not be made ready: the pool can run nothing more, and all that waits fails with the reason.
    pub(crate) fn broken(&self, broken: &BrokenExecutor, seat: &Arc<Seat>) {
        let tasks = {
            let mut state = self.lock();
            state.broken.get_or_insert_with(|| broken.clone());
            state.starting -= 1;
            state.leaving += 1;
            state.seats.retain(|other| !Arc::ptr_eq(other, seat));
            self.hints.generation.fetch_add(1, Ordering::Release);
            self.hints.closed.store(true, Ordering::Relaxed);
            self.publish(&state);
            self.room.notify_all();
            self.take_everything(&mut state)
        };
        report(&Event::ExecutorBroken { executor: &self.config.name, error: broken });
        let failed = tasks.into_iter().map(|task| task.fail(TaskError::Broken(broken.clone())));
        self.count_cancelled(failed);
    }

    /// Counts those of the tasks, taken out of the queue, that are not going to be run. When that is certain: until it is
    /// cancelled or failed, a worker that waits for a task may still run it in place.
    fn count_cancelled(&self, tasks: impl Iterator<Item = bool>) {
        let cancelled = tasks.filter(|is_cancelled| *is_cancelled).count() as u64;
        if cancelled > 0 {
            self.lock().totals.cancelled += cancelled;
        }
    }

    /// Empties the queue and the deques.
    fn take_everything(&self, state: &mut State) -> VecDeque<Task> {
        let mut tasks = state.queue.take_all();
        self.publish_queue(state);
        self.room.notify_all();
        for seat in &state.seats {
            loop {
                match seat.stealer.steal() {
                    Steal::Success(task) => tasks.push_back(task),
                    Steal::Retry => {}
                    Steal::Empty => break,
                }
            }
        }
        tasks
    }

    /// A worker is gone for good. Its thread has yet to end: see `threads.rs`.
    pub(crate) fn left(&self) {
        let mut state = self.lock();
        state.workers -= 1;
        state.leaving -= 1;
    }

    pub(crate) fn shut_down(&self, how: Shutdown) -> Result<(), ShutdownError> {
        if self.process != std::process::id() {
            // The threads stayed in the parent, perhaps while one of them held the lock.
            return Ok(());
        }
        let (cancelled, sleepers) = {
            let mut state = self.lock();
            state.shut_down = true;
            self.room.notify_all();
            self.hints.closed.store(true, Ordering::Relaxed);
            let mut sleepers = std::mem::take(&mut state.sleepers);
            sleepers.append(&mut state.reserve);
            let calls: Vec<Call> =
                sleepers.into_iter().map(|seat| self.call(&mut state, seat)).collect();
            let cancelled = if how.cancels_futures() {
                // For those that are on their way from one deque to another just now, where nobody finds them.
                self.hints.cancelled.store(true, Ordering::Relaxed);
                self.take_everything(&mut state)
            } else {
                VecDeque::new()
            };
            (cancelled, calls)
        };
        for call in sleepers {
            call.make();
        }
        // The newest first, so that a callback that sees one cancelled finds those after it cancelled as well.
        self.count_cancelled(cancelled.into_iter().rev().map(Task::cancel));
        match how.waits() {
            Wait::No => Ok(()),
            _ if worker::belongs_to(self.id) => Err(ShutdownError::CalledFromWorker),
            Wait::For(timeout) => self.wait_for_end(Some(timeout)),
            _ => self.wait_for_end(None),
        }
    }

    fn wait_for_end(&self, timeout: Option<Duration>) -> Result<(), ShutdownError> {
        let begin = Instant::now();
        // A moment that the clock cannot express is farther away than anybody can wait for.
        let deadline = timeout.and_then(|timeout| begin.checked_add(timeout));
        // The caller may be a worker of another pool.
        let _blocked = Blocked::enter();
        if deadline.is_some_and(|deadline| !self.threads.end_by(deadline)) {
            let waited = begin.elapsed();
            return Err(ShutdownError::Timeout(still_running(&self.lock(), waited)));
        }
        // Without a deadline this is all that there is to wait for: to be woken once when the last has said that it ends, and a
        // second time when it has ended, would take twice as long.
        self.threads.join();
        Ok(())
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let mut totals = Totals::of(state.seats.iter().map(|seat| &seat.tally));
        totals += state.totals;
        PoolStats {
            workers: state.workers,
            idle: state.sleepers.len() + state.searching,
            blocked: state.blocked,
            ..totals.stats()
        }
    }

    /// How many threads and queued tasks there are, and whether the pool was shut down; for `Debug`.
    pub(crate) fn snapshot(&self) -> (usize, usize, bool) {
        let state = self.lock();
        (state.workers, queue_length(&state), state.shut_down)
    }
}

/// How many tasks wait; those in deques may have been run in place or cancelled already.
fn queue_length(state: &State) -> usize {
    let pending = state.queue.iter().filter(|task| task.state() == TaskState::Pending).count();
    pending + state.seats.iter().map(|seat| seat.stealer.len()).sum::<usize>()
}

fn still_running(state: &State, waited: Duration) -> StillRunning {
    let running = state
        .seats
        .iter()
        .filter_map(|seat| *seat.running.lock().unwrap_or_else(PoisonError::into_inner))
        .collect();
    StillRunning::new(waited, running, queue_length(state))
}
