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
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use concurrent_futures_executor::{
    Entry, Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait,
    future::{Blocked, BrokenExecutor, TaskError},
};

use crate::{
    builder::Config,
    frame::{FrameBuilder, Kind, ProtocolError, Read},
    image::Image,
    message::{CallSite, Ending},
    stats::PoolStats,
};

mod effects;
mod launch;
mod link;
mod reactor;
mod table;

use effects::Effects;
use link::{Link, lock};
use reactor::{Reactor, Source};
use table::{Queued, Table};

/// How many threads of the crew wait for events when there are none. One is not enough, since it would have to start
/// another for each result.
const WAITING_MAX: usize = 2;

/// The stack of a thread of the crew is for the user's callbacks and decoding.
const STACK_SIZE: usize = 2 << 20;

thread_local! {
    /// The supervisor that this thread is of the crew of, as an address that is only compared.
    static CREW_OF: Cell<usize> = const { Cell::new(0) };
}

/// What stays the same while the table changes.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) image: &'static Image,
    pub(crate) reactor: Reactor,
}

pub(crate) struct Supervisor {
    cx: Context,
    state: Mutex<State>,
    /// The crew has shrunk, or the table has ended.
    changed: Condvar,
    next_task: AtomicU64,
    /// The process that the crew is in. A process forked from it has none.
    pid: u32,
}

#[derive(Default)]
struct State {
    table: Table,
    crew: Crew,
}

#[derive(Default)]
struct Crew {
    /// How many there are, and how many of them wait for the next event.
    size: usize,
    waiting: usize,
    /// Until when the one that began to wait last is going to.
    until: Option<Instant>,
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
        Ok(Arc::new(Self {
            cx,
            state: Mutex::default(),
            changed: Condvar::new(),
            next_task: AtomicU64::new(1),
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
        let mut state = lock(&self.state);
        let result = change(&mut state.table, &self.cx, &mut fx);
        state.table.advance(&self.cx, &mut fx);
        self.after_change(&state);
        (result, fx)
    }

    fn after_change(&self, state: &State) {
        if state.table.has_ended() {
            self.changed.notify_all();
            self.cx.reactor.wake();
        }
        let deadline = state.table.deadline(&self.cx);
        if deadline.is_some_and(|deadline| state.crew.until.is_none_or(|until| deadline < until)) {
            self.cx.reactor.wake();
        }
    }

    // What users ask for.

    pub(crate) fn execute(self: &Arc<Self>, task: Task) -> Result<(), SubmitError<Task>> {
        let site = task.entry().and_then(|entry| call_site(self.cx.image, entry));
        let Some(site) = site else {
            return Err(SubmitError::new(Refusal::NotPortable, task));
        };
        if let Some(reason) = refusal(&lock(&self.state).table) {
            return Err(SubmitError::new(reason, task));
        }
        let id = self.next_task.fetch_add(1, Ordering::Relaxed);
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
        self.after_change(&state);
        drop(state);
        fx.perform();
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
        let count = count.min(self.cx.config.max_workers.get());
        let mut fx = Effects::default();
        let mut state = lock(&self.state);
        if let Some(reason) = refusal(&state.table) {
            return Err(reason);
        }
        self.open(&mut state).map_err(|error| Refusal::NoWorker(Arc::new(error)))?;
        state.table.prestart(count);
        state.table.advance(&self.cx, &mut fx);
        self.after_change(&state);
        drop(state);
        fx.perform();
        Ok(())
    }

    pub(crate) fn stop_workers(&self, signal: i32) {
        if std::process::id() != self.pid {
            return;
        }
        let ((), fx) = self.change(|table, cx, fx| table.stop(cx, signal, fx));
        fx.perform();
    }

    pub(crate) fn shut_down(&self, how: Shutdown) -> Result<(), ShutdownError> {
        if std::process::id() != self.pid {
            return Ok(());
        }
        let start = Instant::now();
        let ((), fx) = self.change(|table, _, fx| table.close(how.cancels_futures(), fx));
        fx.perform();
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
            if state.table.has_ended() || state.crew.waiting >= WAITING_MAX {
                state.crew.size -= 1;
                // The next one is to go as well, if this is the end.
                self.cx.reactor.wake();
                self.changed.notify_all();
                return;
            }
            state.crew.waiting += 1;
            let deadline = state.table.deadline(&self.cx);
            state.crew.until = deadline;
            drop(state);
            let source = self.cx.reactor.wait(deadline);
            lock(&self.state).crew.waiting -= 1;
            if let Some(source) = source {
                self.handle(source);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let ((), fx) = self.change(|table, cx, _| table.expire(cx, Instant::now()));
                self.perform(fx);
            }
        }
    }

    /// Does what takes the user's time, after making sure that somebody else is there for what happens meanwhile.
    fn perform(self: &Arc<Self>, fx: Effects) {
        if fx.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        if state.crew.waiting == 0 && !state.table.has_ended() {
            // Without another thread, the others' events wait until this one is back.
            drop(self.hire(&mut state));
        } else if state.table.deadline(&self.cx).is_some() {
            // This thread may have been the only one to know until when to wait.
            self.cx.reactor.wake();
        }
        drop(state);
        fx.perform();
    }

    fn handle(self: &Arc<Self>, source: Source) {
        match source {
            Source::Wake => {}
            Source::Link(id) => {
                let (link, is_server) = {
                    let state = lock(&self.state);
                    (state.table.link(id), state.table.server_id() == Some(id))
                };
                let Some(link) = link else { return };
                link.flush(&self.cx.reactor, source);
                if is_server { self.listen_to_server(id, &link) } else { self.listen(id, &link) }
            }
            Source::Stderr(id) => self.collect_stderr(id),
            Source::Process(id) => {
                let link = {
                    let state = lock(&self.state);
                    state.table.link(id).filter(|_| state.table.server_id() == Some(id))
                };
                if let Some(link) = link {
                    // What it had to say may be why it has ended.
                    self.listen_to_server(id, &link);
                    self.server_ended(id);
                }
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
            let (bytes, may_be_more) = stderr.read();
            let mut fx = Effects::default();
            if self.cx.config.forward_stderr {
                fx.print(&bytes);
            }
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
        let mut read = 0;
        loop {
            let (bytes, may_be_more) = stderr.read();
            if self.cx.config.forward_stderr {
                fx.print(&bytes);
            }
            read += bytes.len();
            // Whoever else writes to it is not waited for.
            if !may_be_more || read > link::TAIL_MAX * 4 {
                break;
            }
        }
        let ((), more) = self.change(|table, cx, fx| table.settle(cx, id, ending, fx));
        fx.append(more);
    }

    /// The server is gone, and the kernel has killed its workers, or is doing so. What they have started is killed here.
    fn server_ended(self: &Arc<Self>, id: u64) {
        let mut fx = Effects::default();
        let workers = {
            let mut state = lock(&self.state);
            if !state.table.lose_server(id) {
                return;
            }
            state.table.worker_ids()
        };
        for worker in workers {
            if let Some(pid) = lock(&self.state).table.worker_pid(worker) {
                crate::sys::send_signal(pid, libc::SIGKILL, true);
            }
            self.worker_ended(worker, Ending::Unknown, &mut fx);
        }
        let ((), more) = self.change(|table, cx, fx| table.server_ended(cx, id, fx));
        fx.append(more);
        self.perform(fx);
    }
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
