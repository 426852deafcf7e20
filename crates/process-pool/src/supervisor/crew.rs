//! The threads that look after the table: they wait for events, serve them, and do what follows.
//!
//! One of them is to be waiting at any time, whatever the others do. What takes the user's time is therefore done only after
//! a look whether that is so. Completions that came together go to a backlog, from which any thread of the crew takes the
//! next, so that one which takes long does not hold up those behind it.
//!
//! While tasks are sent ahead, workers do not ring for every answer, and one of the crew looks for answers now and then.

use std::{
    cell::Cell,
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::supervisor::{
    Links, State, Supervisor,
    effects::{Effects, Work},
    guest::pollers_max,
    link::{Link, lock},
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

#[derive(Default)]
pub(super) struct Crew {
    /// How many there are, and how many of them wait for the next event.
    pub(super) size: usize,
    pub(super) waiting: usize,
    /// Until when the one that began to wait last is going to.
    pub(super) until: Option<Instant>,
    /// One of them looks for answers now and then, or was woken to do so.
    pub(super) looks: bool,
}

impl Supervisor {
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Adds a thread to the crew.
    pub(super) fn hire(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let supervisor = Arc::clone(self);
        let name = format!("{}-supervisor", self.cx.config.name);
        let alive = self.threads.count_one();
        let thread = thread::Builder::new().name(name).stack_size(STACK_SIZE).spawn(move || {
            alive.until_the_end();
            supervisor.serve();
        })?;
        self.threads.keep(thread);
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
            if self.stop_looking(&mut state) == Some(true) {
                drop(state);
                self.help();
                continue;
            }
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
            let looks = state.table.may_have_silent_answers() && self.backlog.begin_looking();
            if looks {
                LOOKS.set(true);
                let next = Instant::now() + LOOK_INTERVAL;
                until = Some(deadline.map_or(next, |deadline| deadline.min(next)));
            }
            // Also if it was woken to look and there is nothing to be looked for any more; or nobody would be woken when there
            // is again.
            state.crew.looks = self.backlog.has_looker();
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
        self.guests.load(Ordering::SeqCst) == 0 && self.backlog.is_empty()
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
    pub(super) fn perform(self: &Arc<Self>, mut fx: Effects) {
        self.perform_plain(&mut fx);
        self.perform_rest(fx);
    }

    /// Takes answers of a worker that has rung its bell, and does what takes no time; the rest is for the caller. If that is
    /// something, the worker rings for its next answer from now on, and what it has answered meanwhile is left to whoever comes.
    pub(super) fn take_answers(self: &Arc<Self>, id: u64, link: &Arc<Link>) -> Option<Effects> {
        let mut fx = self.drain(id, link)?;
        self.perform_plain(&mut fx);
        if !fx.is_empty()
            && lock(&self.state).table.expect_bell(id)
            && self.backlog.leave([Work::Answers(id, Arc::clone(link))])
        {
            self.cx.reactor.wake();
        }
        Some(fx)
    }

    fn perform_plain(&self, fx: &mut Effects) {
        self.prepare(fx);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // What takes no time as a rule, and somebody is there in case that it does.
            fx.perform_plain();
        }
    }

    /// Does what takes the user's time.
    pub(super) fn perform_rest(self: &Arc<Self>, fx: Effects) {
        if fx.is_empty() {
            return;
        }
        self.leave_watch();
        if self.perform_first(fx) {
            self.work_off();
        }
    }

    /// The same for a thread that has left the watch. Several completions are not done but put into the backlog; says whether.
    fn perform_first(&self, mut fx: Effects) -> bool {
        let several = fx.take_completions();
        fx.perform();
        let some = !several.is_empty();
        self.backlog.add(several);
        some
    }

    /// Makes sure that somebody waits for events, since the calling thread does not.
    pub(super) fn leave_watch(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let stopped = self.stop_looking(&mut state);
        // Also if that was said while there was something to be looked for: it may be again, and is not said twice.
        let awaits_looker = state.crew.looks || state.table.may_have_silent_answers();
        if state.crew.waiting == 0 && !state.table.has_ended() {
            // Without another thread, the others' events wait until this one is back.
            drop(self.hire(&mut state));
            if stopped == Some(true) {
                self.cx.reactor.wake();
            }
        } else if stopped.is_some()
            || awaits_looker && !self.backlog.has_looker()
            || state.table.deadline(&self.cx).is_some()
        {
            // This thread may have been the only one to know until when to wait, or to look now and then; or to be woken in order
            // to look, by whom the table was changed or by the last looker, as two wake-ups may be one event.
            self.cx.reactor.wake();
        }
    }

    /// Says that this thread does not look any more, if it did: then whether somebody has relied on it, so that it is to help, or
    /// to wake another.
    fn stop_looking(&self, state: &mut State) -> Option<bool> {
        LOOKS.replace(false).then(|| {
            state.crew.looks = false;
            self.backlog.stop_looking()
        })
    }

    /// Does what others have left to whoever comes.
    pub(super) fn help(self: &Arc<Self>) {
        if self.backlog.come() {
            self.leave_watch();
            self.work_off();
        }
    }

    /// Does what is in the backlog until there is nothing in it. What comes of that goes into it as well, rather than be done from
    /// within: more may come each time.
    fn work_off(self: &Arc<Self>) {
        loop {
            let (next, calls) = self.backlog.next();
            if calls {
                self.cx.reactor.wake();
            }
            match next {
                Some(Work::One(pending)) => pending.perform(),
                Some(Work::All(mut fx)) => {
                    self.perform_plain(&mut fx);
                    self.perform_first(fx);
                }
                Some(Work::Answers(id, link)) => loop {
                    match self.take_answers(id, &link) {
                        Some(fx) if fx.is_empty() => {}
                        Some(fx) => {
                            self.perform_first(fx);
                            break;
                        }
                        None if lock(&self.state).table.expect_bell(id) => {}
                        None => break,
                    }
                },
                None => return,
            }
        }
    }

    /// Whether the calling thread is one of the crew.
    pub(super) fn is_crew(&self) -> bool {
        CREW_OF.get() == self.address()
    }
}
