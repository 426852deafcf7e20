//! The pool's side of all that goes on: one table behind one lock, and a crew of threads that take turns in looking after
//! it.
//!
//! A single thread would do for the work, but not for the user's: whoever completes a future decodes its result and runs
//! its callbacks, which may take any time, and meanwhile a worker may have died, or another result may have come. So any
//! thread of the crew serves any event, changes the table, and then completes what there is to be completed. Before that
//! it makes sure that another thread of the crew is waiting for the next event, and starts one if not; so there is one
//! more than there are callbacks that take long, and as a rule there are two.
//!
//! A thread that submits a task changes the table as well: if a worker is free, the task is sent from there.
//!
//! ```text
//!   submit --> queue --> Table --> Link --> worker
//!                          ^                   |
//!   crew: wait --> read --> +--> Effects        +--> wait
//! ```

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use concurrent_futures_executor::{
    Entry, Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait,
    future::{Blocked, BrokenExecutor, FutureId, Remote, RemotePool, TaskError},
};

use crate::{
    builder::Config,
    channel::{ELSEWHERE, Patience, PoolEnd, split_frame},
    frame::{FrameBuilder, HEADER_SIZE, Kind, ProtocolError, Read},
    image::Image,
    message::{CallSite, Ending},
    region::Region,
    stats::PoolStats,
    sys,
};

mod effects;
mod launch;
mod link;
mod post_mortem;
mod reactor;
mod table;
mod traffic;
mod window;

use effects::{Body, Effects, Pending};
use link::Link;
pub(crate) use link::lock;
use reactor::{Reactor, Source};
use table::{Answer, Queued, Table};

/// How many threads of the crew wait for events when there are none. One is not enough, since it would have to start
/// another for each result.
const WAITING_MAX: usize = 2;

/// The stack of a thread of the crew is for the user's callbacks and decoding.
const STACK_SIZE: usize = 2 << 20;

/// How often somebody looks for answers for which no bell rings.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// How many tasks wait in the queue, or a multiple of it, when whoever submits one more looks for answers.
const QUEUED_PER_LOOK: usize = 16;

thread_local! {
    /// Whether it has paid lately for this thread to look for results rather than to sleep.
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience::new()) };

    /// The supervisor that this thread is of the crew of, as an address that is only compared.
    static CREW_OF: Cell<usize> = const { Cell::new(0) };
}

/// What stays the same while the table changes.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) image: &'static Image,
    pub(crate) reactor: Reactor,
}

impl Context {
    /// Where to put what a worker writes to its standard error, if it is to go to this process's.
    fn output<'a>(&self, fx: &'a mut Effects) -> Option<&'a mut Vec<u8>> {
        self.config.forward_stderr.then(|| fx.output())
    }
}

pub(crate) struct Supervisor {
    cx: Context,
    state: Mutex<State>,
    /// The crew has shrunk, or the table has ended.
    changed: Condvar,
    /// The links to workers that share memory, by number.
    links: Mutex<Links>,
    /// How many threads look for answers in the place of the crew.
    pollers: AtomicUsize,
    /// What guests have left to the crew.
    deferred: Mutex<VecDeque<Effects>>,
    backlog: Mutex<Backlog>,
    /// How many threads may be about to leave something to the crew, and whether the crew waits for them to end.
    guests: AtomicUsize,
    guests_are_awaited: AtomicBool,
    /// How the futures of its tasks find it.
    remote: RemotePool,
    /// The process that the crew is in. A process forked from it has none.
    pid: u32,
}

struct Guest<'a>(&'a Supervisor);

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let last = self.0.guests.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.guests_are_awaited.load(Ordering::SeqCst) {
            self.0.cx.reactor.wake();
        }
    }
}

type Links = Arc<Vec<(u64, Arc<Link>)>>;

#[derive(Default)]
struct State {
    table: Table,
    crew: Crew,
}

/// Completions that came together. Each may take the user's time, so all threads that are free take part in them.
#[derive(Default)]
struct Backlog {
    completions: VecDeque<Pending>,
    /// A thread was called to help and has not come yet.
    called: bool,
}

#[derive(Default)]
struct Crew {
    /// How many there are, and how many of them wait for the next event.
    size: usize,
    waiting: usize,
    /// Until when the one that began to wait last is going to.
    until: Option<Instant>,
    /// One of them looks for answers now and then, or was woken to do so.
    looks: bool,
    threads: Vec<JoinHandle<()>>,
}

/// The offsets that name a call, or why it cannot be made in another process.
pub(crate) fn call_site(image: &Image, entry: Entry) -> Option<CallSite> {
    let trampoline = image.offset_of(entry.trampoline as usize)?;
    let function = match entry.function {
        Some(function) => image.offset_of(function as usize)?,
        None => 0,
    };
    Some(CallSite { trampoline, function })
}

impl Supervisor {
    pub(crate) fn new(config: Config, image: &'static Image) -> io::Result<Arc<Self>> {
        let cx = Context { config, image, reactor: Reactor::new()? };
        Ok(Arc::new_cyclic(|this: &Weak<Self>| Self {
            cx,
            state: Mutex::default(),
            changed: Condvar::new(),
            links: Mutex::default(),
            pollers: AtomicUsize::new(0),
            deferred: Mutex::default(),
            backlog: Mutex::default(),
            guests: AtomicUsize::new(0),
            guests_are_awaited: AtomicBool::new(false),
            remote: RemotePool::new(Weak::<Self>::clone(this)),
            pid: std::process::id(),
        }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.cx.config
    }

    /// Changes the table, does what follows from that, and lets the crew know of new deadlines.
    fn change<R>(
        &self,
        change: impl FnOnce(&mut Table, &Context, &mut Effects) -> R,
    ) -> (R, Effects) {
        let mut fx = Effects::default();
        let result = self.change_with(&mut fx, change);
        (result, fx)
    }

    /// As `change`, with more of the same effects.
    fn change_with<R>(
        &self,
        fx: &mut Effects,
        change: impl FnOnce(&mut Table, &Context, &mut Effects) -> R,
    ) -> R {
        let mut state = lock(&self.state);
        let result = change(&mut state.table, &self.cx, fx);
        state.table.advance(&self.cx, fx);
        self.after_change(&mut state);
        result
    }

    fn after_change(&self, state: &mut State) {
        if let Some(links) = state.table.changed_links() {
            *lock(&self.links) = Arc::new(links);
        }
        if state.table.may_have_silent_answers() && !state.crew.looks {
            state.crew.looks = true;
            self.cx.reactor.wake();
        }
        if state.table.has_ended() {
            self.changed.notify_all();
            self.cx.reactor.wake();
        }
        let deadline = state.table.deadline(&self.cx);
        if deadline.is_some_and(|deadline| state.crew.until.is_none_or(|until| deadline < until)) {
            self.cx.reactor.wake();
        }
    }

    /// Why nothing can be had in a process that was forked from the one that the pool was made in: what is sent from here
    /// would get in between of what is sent from there, and the answers would go there.
    fn foreign_process(&self) -> Option<Refusal> {
        if std::process::id() == self.pid {
            return None;
        }
        let what = "the pool belongs to the process that this one was forked from";
        Some(Refusal::NoWorker(Arc::new(io::Error::other(what))))
    }

    // What users ask for.

    pub(crate) fn execute(self: &Arc<Self>, task: Task) -> Result<(), SubmitError<Task>> {
        if let Some(reason) = self.foreign_process() {
            return Err(SubmitError::new(reason, task));
        }
        let site = task.entry().and_then(|entry| call_site(self.cx.image, entry));
        let Some(site) = site else {
            return Err(SubmitError::new(Refusal::NotPortable, task));
        };
        if let Some(reason) = refusal(&lock(&self.state).table) {
            return Err(SubmitError::new(reason, task));
        }
        task.set_pool(self.remote.id());
        let id = u64::from(task.id());
        let mut frame = site.write(FrameBuilder::new(Kind::Task, id));
        // Here, since this is the user's code as well, and so that whoever submits much waits for it himself.
        if let Err(error) = task.encode_argument(frame.body()) {
            task.fail(TaskError::Codec(error));
            return Ok(());
        }
        let queued = Queued::new(task, id, frame.finish());
        self.enqueue(queued)
    }

    fn enqueue(self: &Arc<Self>, queued: Queued) -> Result<(), SubmitError<Task>> {
        let _guest = self.guest();
        let mut fx = Effects::default();
        let mut state = lock(&self.state);
        let refused = match refusal(&state.table) {
            Some(reason) => Some(reason),
            None => self.open(&mut state).err().map(|error| Refusal::NoWorker(Arc::new(error))),
        };
        if let Some(reason) = refused {
            drop(state);
            let task = queued.into_task().expect("it has just been made");
            return Err(SubmitError::new(reason, task));
        }
        state.table.enqueue(queued);
        state.table.advance(&self.cx, &mut fx);
        self.after_change(&mut state);
        let waiting = state.table.waiting();
        drop(state);
        self.perform_as_guest(fx);
        if waiting > 0 && waiting.is_multiple_of(QUEUED_PER_LOOK) {
            self.look_as_guest();
        }
        Ok(())
    }

    /// Starts the server and the crew, if they are not there yet.
    fn open(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.crew.size == 0 {
            self.hire(state)?;
        }
        if !state.table.has_started() {
            state.table.start_server(&self.cx)?;
        }
        Ok(())
    }

    pub(crate) fn prestart(self: &Arc<Self>, count: usize) -> Result<(), Refusal> {
        if let Some(reason) = self.foreign_process() {
            return Err(reason);
        }
        let count = count.min(self.cx.config.max_workers.get());
        let mut fx = Effects::default();
        let mut state = lock(&self.state);
        if let Some(reason) = refusal(&state.table) {
            return Err(reason);
        }
        self.open(&mut state).map_err(|error| Refusal::NoWorker(Arc::new(error)))?;
        state.table.prestart(count);
        state.table.advance(&self.cx, &mut fx);
        self.after_change(&mut state);
        drop(state);
        self.perform_in_passing(fx);
        Ok(())
    }

    pub(crate) fn stop_workers(&self, signal: i32) {
        if std::process::id() != self.pid {
            return;
        }
        let ((), fx) = self.change(|table, cx, fx| table.stop(cx, signal, fx));
        self.perform_in_passing(fx);
    }

    pub(crate) fn shut_down(&self, how: Shutdown) -> Result<(), ShutdownError> {
        if std::process::id() != self.pid {
            return Ok(());
        }
        let start = Instant::now();
        let ((), fx) = self.change(|table, _, fx| table.close(how.cancels_futures(), fx));
        self.perform_in_passing(fx);
        let deadline = match how.waits() {
            Wait::No => return Ok(()),
            Wait::For(timeout) => start.checked_add(timeout),
            _ => None,
        };
        if CREW_OF.get() == self.address() {
            return Err(ShutdownError::CalledFromWorker);
        }
        self.wait_for_end(start, deadline)
    }

    fn wait_for_end(&self, start: Instant, deadline: Option<Instant>) -> Result<(), ShutdownError> {
        let _blocked = Blocked::enter();
        let mut state = lock(&self.state);
        while !(state.table.has_ended() && state.crew.size == 0) {
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (running, queued) = (state.table.running(), state.table.queued());
                return Err(ShutdownError::Timeout(StillRunning::new(
                    start.elapsed(),
                    running,
                    queued,
                )));
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let threads = std::mem::take(&mut state.crew.threads);
        drop(state);
        for thread in threads {
            // They have done all they had to do, and are about to end. None panics.
            drop(thread.join());
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> PoolStats {
        lock(&self.state).table.snapshot()
    }

    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        lock(&self.state).table.worker_pids()
    }

    pub(crate) fn broken(&self) -> Option<BrokenExecutor> {
        lock(&self.state).table.broken().cloned()
    }

    // The crew.

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Adds a thread to the crew.
    fn hire(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
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
    fn serve(self: Arc<Self>) {
        CREW_OF.set(self.address());
        loop {
            let mut state = lock(&self.state);
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
            let deadline = state.table.deadline(&self.cx);
            let mut until = deadline;
            let looks = state.table.may_have_silent_answers();
            // Also if it was woken to look and there is nothing to be looked for any more; or nobody would be woken when there
            // is again.
            state.crew.looks = looks;
            if looks {
                let next = Instant::now() + LOOK_INTERVAL;
                until = Some(deadline.map_or(next, |deadline| deadline.min(next)));
            }
            state.crew.until = until;
            drop(state);
            let source = self.cx.reactor.wait(until);
            let mut state = lock(&self.state);
            state.crew.waiting -= 1;
            if looks {
                state.crew.looks = false;
            }
            drop(state);
            match source {
                Some(source) => self.handle(source),
                None if looks => self.look(),
                None => {}
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let ((), fx) = self.change(|table, cx, _| table.expire(cx, Instant::now()));
                self.perform(fx);
            }
        }
    }

    /// Of a table that has ended: whether the same is true of what was to be done about it.
    fn nothing_is_left(&self) -> bool {
        // In this order: whoever is not a guest any more has left what there was to leave.
        self.guests_are_awaited.store(true, Ordering::SeqCst);
        self.guests.load(Ordering::SeqCst) == 0
            && lock(&self.deferred).is_empty()
            && lock(&self.backlog).completions.is_empty()
    }

    /// Looks for answers for which no bell has rung.
    fn look(self: &Arc<Self>) {
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

    fn links(&self) -> Links {
        Arc::clone(&lock(&self.links))
    }

    /// Does what takes the user's time, after making sure that somebody else is there for what happens meanwhile.
    fn perform(self: &Arc<Self>, fx: Effects) {
        let mut fx = fx;
        self.prepare(&mut fx);
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
    fn leave_watch(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.crew.waiting == 0 && !state.table.has_ended() {
            // Without another thread, the others' events wait until this one is back.
            drop(self.hire(&mut state));
        } else if state.table.deadline(&self.cx).is_some() || state.table.may_have_silent_answers()
        {
            // This thread may have been the only one to know until when to wait, or to look.
            self.cx.reactor.wake();
        }
    }

    /// Does what others have left to whoever comes.
    fn help(self: &Arc<Self>) {
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
    fn work_off(&self) {
        loop {
            let next = {
                let mut backlog = lock(&self.backlog);
                let next = backlog.completions.pop_front();
                if !backlog.completions.is_empty() && !backlog.called {
                    // In case that this one takes long.
                    backlog.called = true;
                    self.cx.reactor.wake();
                }
                next
            };
            let Some(next) = next else { return };
            next.perform();
        }
    }

    /// Does what can be done by any thread, and is not the user's: wakes workers, and takes long tasks to where they belong.
    fn prepare(&self, fx: &mut Effects) {
        loop {
            fx.wake_workers();
            let transfers = fx.take_transfers();
            if transfers.is_empty() {
                return;
            }
            for transfer in transfers {
                let outcome = transfer.perform();
                self.change_with(fx, |table, cx, fx| table.transferred(cx, &transfer, outcome, fx));
            }
        }
    }

    /// For a thread that called a method of the pool that may run callbacks.
    fn perform_in_passing(&self, mut fx: Effects) {
        self.prepare(&mut fx);
        fx.perform();
    }

    /// Keeps the crew from ending.
    fn guest(&self) -> Guest<'_> {
        self.guests.fetch_add(1, Ordering::SeqCst);
        Guest(self)
    }

    /// For a thread that submits a task, or waits for a result.
    fn perform_as_guest(&self, mut fx: Effects) {
        self.prepare(&mut fx);
        fx.perform_as_guest();
        if fx.is_empty() {
            return;
        }
        let several = fx.take_completions();
        if !fx.is_empty() {
            lock(&self.deferred).push_back(fx);
        }
        let mut backlog = lock(&self.backlog);
        backlog.completions.extend(several);
        if !backlog.called {
            backlog.called = true;
            self.cx.reactor.wake();
        }
    }

    /// Reads all answers that are there.
    fn look_as_guest(&self) {
        for (id, link) in self.links().iter() {
            if link.shared().is_some_and(PoolEnd::has_answers) {
                // Before the table is changed, which may end with that.
                let _guest = self.guest();
                if let Some(fx) = self.drain(*id, link) {
                    self.perform_as_guest(fx);
                }
            }
        }
    }

    /// Reads the answers that are in the memory shared with a worker. `None` if there are none.
    fn drain(&self, id: u64, link: &Link) -> Option<Effects> {
        let end = link.shared()?;
        // Held until the table has been changed, so that another thread does not come first with a later answer.
        let mut receiving = lock(&end.receiving);
        if !end.has_answers() {
            return None;
        }
        let mut bytes = Vec::new();
        let answers = end
            .receive(&mut receiving, &mut bytes)
            .map_err(|error| error.to_string())
            .and_then(|()| answers(end, &bytes));
        let mut fx = Effects::with_bytes(bytes);
        // It may wait for room.
        if end.must_wake() {
            end.wake();
        }
        self.change_with(&mut fx, |table, cx, fx| {
            let outcome = answers.and_then(|answers| {
                let outcome = table.worker_answered(cx, id, answers, fx);
                outcome.map_err(|error| error.to_string())
            });
            if let Err(error) = outcome {
                table.worker_raved(cx, id, error);
            }
        });
        Some(fx)
    }

    /// Reads what a worker has put into the shared memory, until there is nothing more.
    fn drain_all(self: &Arc<Self>, id: u64, link: &Link) {
        loop {
            while let Some(fx) = self.drain(id, link) {
                self.perform(fx);
            }
            if !lock(&self.state).table.expect_bell(id) {
                return;
            }
        }
    }

    fn handle(self: &Arc<Self>, source: Source) {
        match source {
            Source::Wake => {
                self.help();
            }
            Source::Link(id) => {
                let (link, is_server) = {
                    let state = lock(&self.state);
                    (state.table.link(id), state.table.server_id() == Some(id))
                };
                let Some(link) = link else { return };
                link.flush(&self.cx.reactor);
                if is_server {
                    self.listen_to_server(id, &link);
                } else {
                    self.listen(id, &link);
                    self.drain_all(id, &link);
                }
            }
            Source::Stderr(id) => self.collect_stderr(id),
            Source::Process(id) => {
                let link = {
                    let state = lock(&self.state);
                    (state.table.server_id() == Some(id)).then(|| state.table.link(id))
                };
                let Some(Some(link)) = link else { return };
                // What it has said before it ended is read first: how its workers ended, and what their pids are.
                link.shut_down();
                self.listen_to_server(id, &link);
            }
        }
    }

    /// Reads what a worker has sent, until there is nothing more.
    fn listen(self: &Arc<Self>, id: u64, link: &Link) {
        loop {
            let (goes_on, fx) = self.listen_once(id, link);
            self.perform(fx);
            if !goes_on {
                return;
            }
        }
    }

    /// Reads one frame and acts upon it. Whether there may be another.
    fn listen_once(&self, id: u64, link: &Link) -> (bool, Effects) {
        // Held until the table has been changed, so that another thread does not come first with a later frame.
        let mut decoder = lock(&link.decoder);
        match link.read(&mut decoder) {
            Ok(Read::Frame(frame)) => {
                self.change(|table, cx, fx| match table.worker_said(cx, id, frame, fx) {
                    Ok(()) => true,
                    Err(error) => {
                        table.worker_raved(cx, id, error.to_string());
                        false
                    }
                })
            }
            Ok(Read::Pending) => (false, Effects::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.change(|table, cx, _| {
                    table.worker_raved(cx, id, error.to_string());
                    false
                })
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.change(|table, cx, _| {
                    table.worker_raved(cx, id, format!("its result is too large: {error}"));
                    false
                })
            }
            Ok(Read::Closed) | Err(_) => self.change(|table, _, _| {
                table.worker_hung_up(id);
                false
            }),
        }
    }

    fn collect_stderr(self: &Arc<Self>, id: u64) {
        let Some(stderr) = lock(&self.state).table.stderr(id) else { return };
        loop {
            let mut fx = Effects::default();
            let may_be_more = stderr.read(self.cx.output(&mut fx));
            self.perform(fx);
            if !may_be_more {
                return;
            }
        }
    }

    fn listen_to_server(self: &Arc<Self>, id: u64, link: &Link) {
        loop {
            let (goes_on, fx) = self.listen_to_server_once(id, link);
            self.perform(fx);
            if !goes_on {
                return;
            }
        }
    }

    fn listen_to_server_once(self: &Arc<Self>, id: u64, link: &Link) -> (bool, Effects) {
        let mut decoder = lock(&link.decoder);
        let error = match link.read(&mut decoder) {
            Ok(Read::Frame(frame)) => {
                let (outcome, mut fx) =
                    self.change(|table, cx, fx| match table.server_said(cx, &frame, fx) {
                        Ok(ended) => ended,
                        Err(error) => {
                            table.server_raved(cx, error, fx);
                            None
                        }
                    });
                if let Some((worker, ending)) = outcome {
                    self.worker_ended(worker, ending, &mut fx);
                }
                return (true, fx);
            }
            Ok(Read::Pending) => return (false, Effects::default()),
            Ok(Read::Closed) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = error
            && error.kind() == io::ErrorKind::InvalidData
        {
            let error = ProtocolError(error.to_string());
            let ((), fx) = self.change(|table, cx, fx| table.server_raved(cx, error, fx));
            return (false, fx);
        }
        drop(decoder);
        self.server_ended(id);
        (false, Effects::default())
    }

    /// Reads what a worker that has ended had to say, and draws the conclusions.
    fn worker_ended(&self, id: u64, ending: Ending, fx: &mut Effects) {
        let (link, stderr) = {
            let state = lock(&self.state);
            (state.table.link(id), state.table.stderr(id))
        };
        let (Some(link), Some(stderr)) = (link, stderr) else { return };
        // Whoever else holds the other end, which a process that a task has started may do, says nothing any more.
        link.shut_down();
        loop {
            let (goes_on, more) = self.listen_once(id, &link);
            fx.append(more);
            if !goes_on {
                break;
            }
        }
        while let Some(more) = self.drain(id, &link) {
            fx.append(more);
        }
        // What it wrote. Whoever else writes to that is not waited for.
        stderr.read(self.cx.output(fx));
        let ((), more) = self.change(|table, cx, fx| table.settle(cx, id, ending, fx));
        fx.append(more);
    }

    /// The server is gone, and the kernel has killed its workers, or is doing so. What they have started is killed here.
    fn server_ended(self: &Arc<Self>, id: u64) {
        let mut fx = Effects::default();
        let workers = {
            let mut state = lock(&self.state);
            if !state.table.server_is_gone(id) {
                return;
            }
            state.table.worker_ids()
        };
        for worker in workers {
            if let Some(pid) = lock(&self.state).table.worker_pid(worker) {
                // Not the worker itself: its number may be somebody else's.
                sys::send_signal_to_group(pid, libc::SIGKILL);
            }
            self.worker_ended(worker, Ending::Unknown, &mut fx);
        }
        let ((), more) = self.change(|table, cx, fx| table.server_ended(cx, id, fx));
        fx.append(more);
        self.perform(fx);
    }
}

/// The answers that these bytes are.
fn answers(end: &PoolEnd<Region>, bytes: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = bytes.len() - rest.len() + HEADER_SIZE;
        let (header, body, after) = split_frame(rest).map_err(|error| error.to_string())?;
        let body = if header.place & ELSEWHERE == 0 {
            Body::Range(start..start + body.len())
        } else {
            let body = end.region().take_answer(header.length);
            end.long_answer_was_read();
            Body::Whole(body.map_err(|error| format!("its result cannot be read: {error}"))?)
        };
        answers.push(Answer { kind: header.kind, id: header.id, body });
        rest = after;
    }
    Ok(answers)
}

impl Remote for Supervisor {
    fn revoke(&self, task: FutureId, cancel: &mut dyn FnMut()) -> Option<bool> {
        if std::process::id() != self.pid {
            return Some(false);
        }
        lock(&self.state).table.revoke(task, cancel)
    }

    fn has_started(&self, task: FutureId) -> bool {
        // Of a process forked from this one, the lock may be held by a thread that is not there.
        std::process::id() == self.pid && lock(&self.state).table.has_started_task(task)
    }

    fn poll_until(&self, done: &dyn Fn() -> bool) -> bool {
        let mut patience = PATIENCE.get();
        let left = patience.is_left() && std::process::id() == self.pid;
        if !left || !self.begin_polling() {
            PATIENCE.set(patience);
            return done();
        }
        let paid = patience.look(|| {
            done() || {
                self.look_as_guest();
                done()
            }
        });
        PATIENCE.set(patience);
        self.end_polling();
        paid || done()
    }
}

impl Supervisor {
    /// False if there are as many threads that look as there may be.
    fn begin_polling(&self) -> bool {
        // Relaxed: the table's lock orders all that depends on it.
        let more = |count| (count < pollers_max()).then_some(count + 1);
        // In one step: whoever were counted for a moment and then did not look would be taken for one who does by the last
        // that ends, which would leave the bells silent.
        if self.pollers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return false;
        }
        lock(&self.state).table.silence_bells();
        true
    }

    fn end_polling(&self) {
        loop {
            {
                let mut state = lock(&self.state);
                let others = self.pollers.fetch_sub(1, Ordering::Relaxed) - 1;
                if others > 0 || !state.table.expect_bells(false) {
                    self.after_change(&mut state);
                    return;
                }
                self.pollers.fetch_add(1, Ordering::Relaxed);
            }
            self.look_as_guest();
        }
    }
}

/// Half of the cores: for each thread that looks there should be one for a worker.
fn pollers_max() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)))
}

fn refusal(table: &Table) -> Option<Refusal> {
    match table.broken() {
        // This comes before the other, as in Python.
        Some(broken) => Some(Refusal::Broken(broken.clone())),
        None => table.is_closed().then_some(Refusal::ShutDown),
    }
}

/// The default number of workers: as many as this process may use processors.
pub(crate) fn default_max_workers() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
