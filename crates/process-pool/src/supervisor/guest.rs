//! Threads that are not of the crew and do some of its work in passing: those that submit a task, or wait for a result.
//!
//! A thread that waits looks for answers itself for a while, which saves two wake-ups, of the crew and of itself; meanwhile no
//! worker rings. It may hold any lock, so it runs no callback; and while it does what may take the user's time, decoding a
//! result or dropping an argument that owns something, workers ring again.

use std::{
    cell::Cell,
    sync::{OnceLock, atomic::Ordering},
    thread,
};

use concurrent_futures_executor::future::{FutureId, Remote};

use crate::{
    channel::{Patience, PoolEnd},
    supervisor::{
        Supervisor,
        effects::{Effects, Work},
        link::lock,
    },
    sys,
};

thread_local! {
    /// Whether it has paid lately for this thread to look for results rather than to sleep.
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience::new()) };
}

/// Keeps the crew from ending, as there may be something for it to do.
pub(super) struct Guest<'a>(&'a Supervisor);

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let last = self.0.guests.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.guests_are_awaited.load(Ordering::SeqCst) {
            self.0.cx.reactor.wake();
        }
    }
}

impl Supervisor {
    /// For a thread that called a method of the pool that may run callbacks.
    pub(super) fn perform_in_passing(&self, mut fx: Effects) {
        self.prepare(&mut fx);
        fx.perform();
    }

    /// Keeps the crew from ending.
    pub(super) fn guest(&self) -> Guest<'_> {
        self.guests.fetch_add(1, Ordering::SeqCst);
        Guest(self)
    }

    /// Does what follows, for a thread that submits a task or waits for a result; but the crew runs the callbacks.
    pub(super) fn perform_as_guest(&self, mut fx: Effects) {
        self.prepare(&mut fx);
        fx.perform_unwatched();
        if fx.is_empty() {
            return;
        }
        if self.backlog.leave([Work::All(fx)]) {
            self.cx.reactor.wake();
        }
    }

    /// Reads all answers that are there, and completes what takes no time. What is left is to be performed by the caller.
    pub(super) fn look_as_guest(&self) -> Vec<Effects> {
        let mut rest = Vec::new();
        for (id, link) in self.links().iter() {
            if link.shared().is_some_and(PoolEnd::has_answers)
                && let Some(mut fx) = self.drain(*id, link)
            {
                self.prepare(&mut fx);
                fx.perform_plain();
                if !fx.is_empty() {
                    rest.push(fx);
                }
            }
        }
        rest
    }
}

impl Remote for Supervisor {
    fn revoke(&self, task: FutureId, cancel: &mut dyn FnMut()) -> Option<bool> {
        if sys::process_id() != self.pid {
            return Some(false);
        }
        lock(&self.state).table.revoke(task, cancel)
    }

    fn has_started(&self, task: FutureId) -> bool {
        // Of a process forked from this one, the lock may be held by a thread that is not there.
        sys::process_id() == self.pid && lock(&self.state).table.has_started_task(task)
    }

    fn poll_until(&self, done: &dyn Fn() -> bool) -> bool {
        let mut patience = PATIENCE.get();
        if patience.is_left() && sys::process_id() == self.pid {
            self.poll(&mut patience, done);
        }
        PATIENCE.set(patience);
        done()
    }
}

impl Supervisor {
    fn poll(&self, patience: &mut Patience, done: &dyn Fn() -> bool) {
        // Before the table is changed, which may end with that.
        let _guest = self.guest();
        let mut rest = Vec::new();
        while self.begin_polling() {
            let paid = patience.look(|| {
                done() || {
                    rest = self.look_as_guest();
                    !rest.is_empty() || done()
                }
            });
            self.end_polling(&mut rest);
            // Not before workers ring again, since it may take long.
            for fx in rest.drain(..) {
                self.perform_as_guest(fx);
            }
            if !paid || done() {
                return;
            }
        }
    }

    /// False if there are as many threads that look as there may be.
    fn begin_polling(&self) -> bool {
        // Relaxed: the table's lock orders all that depends on it.
        // The crew finds out how many there may be; until it has, there may be one.
        let max = POLLERS_MAX.get().copied().unwrap_or(1);
        let more = |count| (count < max).then_some(count + 1);
        // In one step: whoever were counted for a moment and then did not look would be taken for one who does by the last
        // that ends, which would leave the bells silent.
        if self.pollers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return false;
        }
        lock(&self.state).table.silence_bells();
        true
    }

    /// Has workers ring again. What they have answered meanwhile is added to `rest`.
    fn end_polling(&self, rest: &mut Vec<Effects>) {
        loop {
            {
                let mut state = lock(&self.state);
                let others = self.pollers.fetch_sub(1, Ordering::Relaxed) - 1;
                if others > 0 || !state.table.expect_bells() {
                    self.after_change(&mut state);
                    return;
                }
                self.pollers.fetch_add(1, Ordering::Relaxed);
            }
            rest.extend(self.look_as_guest());
        }
    }
}

static POLLERS_MAX: OnceLock<usize> = OnceLock::new();

/// Half of the cores: for each thread that looks there should be one for a worker. It takes some reading in `/proc` and
/// `/sys` to find out.
pub(super) fn pollers_max() -> usize {
    *POLLERS_MAX
        .get_or_init(|| thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
}
