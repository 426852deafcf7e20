//! The threads that look after the table: they wait for events, serve them, and do what follows.
//!
//! One of them is to be waiting at any time, whatever the others do. What takes the user's time is therefore done only after
//! a look whether that is so. Completions that came together go to a backlog, from which any thread of the crew takes the
//! next, so that one which takes long does not hold up those behind it.
//!
//! While tasks are sent ahead, workers do not ring for every answer, and one of the crew looks for answers now and then.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::supervisor::{
    Links, State, Supervisor,
    effects::{Effects, Pending},
    guest::pollers_max,
    link::lock,
};

/// How many threads of the crew wait for events when there are none. One is not enough, since it would have to start
/// another for each result; and two would take turns in doing so when results come faster than they are completed.
const WAITING_MAX: usize = 4;

/// The stack of a thread of the crew is for the user's callbacks and decoding.
const STACK_SIZE: usize = 2 << 20;

/// How often somebody looks for answers for which no bell rings.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

thread_local! {
    /// Whether this thread is the one of its crew that looks for answers now and then.
    static LOOKS: Cell<bool> = const { Cell::new(false) };

    /// The supervisor that this thread is of the crew of, as an address that is only compared.
    static CREW_OF: Cell<usize> = const { Cell::new(0) };
}

/// Completions that came together. Each may take the user's time, so all threads that are free take part in them.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) completions: VecDeque<Pending>,
    /// A thread was called to help and has not come yet.
    pub(super) called: bool,
}

#[derive(Default)]
pub(super) struct Crew {
    /// How many there are, and how many of them wait for the next event.
    pub(super) size: usize,
    pub(super) waiting: usize,
    /// Until when the one that began to wait last is going to.
    pub(super) until: Option<Instant>,
    /// One of them looks for answers now and then, or was woken to do so.
    pub(super) looks: bool,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Supervisor {
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Adds a thread to the crew.
    pub(super) fn hire(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let supervisor = Arc::clone(self);
        let name = format!("{}-supervisor", self.cx.config.name);
        let thread = thread::Builder::new()
            .name(name)
            .stack_size(STACK_SIZE)
            .spawn(move || supervisor.serve())?;
        state.crew.threads.retain(|thread| !thread.is_finished());
        state.crew.threads.push(thread);
        state.crew.size += 1;
        Ok(())
    }

    /// The life of a thread of the crew.
    pub(super) fn serve(self: Arc<Self>) {
        CREW_OF.set(self.address());
        pollers_max();
        {
            let mut state = lock(&self.state);
            if state.crew.size == 1 && !state.table.has_ended() {
                // One does not do for long. Here, because whoever submits the first task has enough to do.
                drop(self.hire(&mut state));
            }
        }
        loop {
            let mut state = lock(&self.state);
            self.stop_looking(&mut state);
            let has_ended = state.table.has_ended();
            if has_ended && !self.nothing_is_left() {
                drop(state);
                self.help();
                state = lock(&self.state);
            }
            if has_ended && self.nothing_is_left() || state.crew.waiting >= WAITING_MAX {
                state.crew.size -= 1;
                // The next one is to go as well, if this is the end.
                self.cx.reactor.wake();
                self.changed.notify_all();
                return;
            }
            state.crew.waiting += 1;
            self.waiting.store(state.crew.waiting, Ordering::Relaxed);
            let deadline = state.table.deadline(&self.cx);
            let mut until = deadline;
            let looks =
                state.table.may_have_silent_answers() && !self.looker.load(Ordering::Relaxed);
            if looks {
                LOOKS.set(true);
                self.looker.store(true, Ordering::Relaxed);
                let next = Instant::now() + LOOK_INTERVAL;
                until = Some(deadline.map_or(next, |deadline| deadline.min(next)));
            }
            // Also if it was woken to look and there is nothing to be looked for any more; or nobody would be woken when there
            // is again.
            state.crew.looks = self.looker.load(Ordering::Relaxed);
            state.crew.until = until;
            drop(state);
            let source = self.cx.reactor.wait(until);
            let mut state = lock(&self.state);
            state.crew.waiting -= 1;
            self.waiting.store(state.crew.waiting, Ordering::Relaxed);
            drop(state);
            match source {
                Some(source) => self.handle(source),
                None if looks => self.look(),
                None => {}
            }
            if looks {
                // Whoever had something to leave relied on this thread to come by.
                self.help();
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let ((), fx) = self.change(|table, cx, _| table.expire(cx, Instant::now()));
                self.perform(fx);
            }
        }
    }

    /// Of a table that has ended: whether the same is true of what was to be done about it.
    pub(super) fn nothing_is_left(&self) -> bool {
        // In this order: whoever is not a guest any more has left what there was to leave.
        self.guests_are_awaited.store(true, Ordering::SeqCst);
        self.guests.load(Ordering::SeqCst) == 0
            && lock(&self.deferred).is_empty()
            && lock(&self.backlog).completions.is_empty()
    }

    /// Looks for answers for which no bell has rung.
    pub(super) fn look(self: &Arc<Self>) {
        let mut some = false;
        for (id, link) in self.links().iter() {
            while let Some(fx) = self.drain(*id, link) {
                some = true;
                self.perform(fx);
            }
        }
        if !some {
            let (some, fx) = self.change(|table, cx, fx| table.nothing_was_there(cx, fx));
            self.perform(fx);
            if some {
                self.look();
            }
        }
    }

    pub(super) fn links(&self) -> Links {
        Arc::clone(&lock(&self.links))
    }

    /// Does what takes the user's time, after making sure that somebody else is there for what happens meanwhile.
    pub(super) fn perform(self: &Arc<Self>, fx: Effects) {
        let mut fx = fx;
        self.prepare(&mut fx);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // What takes no time as a rule, and somebody is there in case that it does.
            fx.perform_plain();
        }
        if fx.is_empty() {
            return;
        }
        let several = fx.take_completions();
        self.leave_watch();
        fx.perform();
        if !several.is_empty() {
            lock(&self.backlog).completions.extend(several);
            self.work_off();
        }
    }

    /// Makes sure that somebody waits for events, since the calling thread does not.
    pub(super) fn leave_watch(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let looked = self.stop_looking(&mut state);
        if state.crew.waiting == 0 && !state.table.has_ended() {
            // Without another thread, the others' events wait until this one is back.
            drop(self.hire(&mut state));
        } else if looked || state.table.deadline(&self.cx).is_some() {
            // This thread may have been the only one to know until when to wait, or to look now and then.
            self.cx.reactor.wake();
        }
    }

    /// Says that this thread does not look for answers any more, if it did.
    pub(super) fn stop_looking(&self, state: &mut State) -> bool {
        let looked = LOOKS.replace(false);
        if looked {
            state.crew.looks = false;
            self.looker.store(false, Ordering::Relaxed);
        }
        looked
    }

    /// Does what others have left to whoever comes.
    pub(super) fn help(self: &Arc<Self>) {
        // This comes first. A guest that leaves something after the look at what was left, and finds that somebody has been
        // called, would leave it to nobody.
        let some = {
            let mut backlog = lock(&self.backlog);
            backlog.called = false;
            !backlog.completions.is_empty()
        };
        let (fx, more) = {
            let mut deferred = lock(&self.deferred);
            (deferred.pop_front(), !deferred.is_empty())
        };
        if let Some(fx) = fx {
            if more || some {
                // This may take long, so somebody else has to see to the rest.
                self.cx.reactor.wake();
            }
            self.perform(fx);
        }
        if some {
            self.leave_watch();
            self.work_off();
        }
    }

    /// Performs completions of the backlog until there are none.
    pub(super) fn work_off(&self) {
        loop {
            let next = {
                let mut backlog = lock(&self.backlog);
                let next = backlog.completions.pop_front();
                if !backlog.completions.is_empty() && !backlog.called {
                    // In case that this one takes long. If there is somebody who looks now and then, that will do.
                    backlog.called = true;
                    if !self.looker.load(Ordering::Relaxed) {
                        self.cx.reactor.wake();
                    }
                }
                next
            };
            let Some(next) = next else { return };
            next.perform();
        }
    }

    /// Whether the calling thread is one of the crew.
    pub(super) fn is_crew(&self) -> bool {
        CREW_OF.get() == self.address()
    }
}
