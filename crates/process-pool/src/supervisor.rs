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
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use concurrent_futures_executor::{
    Entry, Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait,
    future::{Blocked, BrokenExecutor, RemotePool, TaskError},
    wire,
};

use crate::{
    builder::Config,
    frame::{FrameBuilder, Kind},
    image::Image,
    message::{CallSite, ChunkSite},
    payload::{Shelf, TaskFrame},
    stats::PoolStats,
    sys,
    value::ValueFile,
};

pub(crate) mod backlog;
mod crew;
mod effects;
mod events;
mod guest;
mod launch;
mod link;
mod post_mortem;
mod processes;
mod reactor;
mod table;
mod threads;
mod traffic;
mod window;

use backlog::Backlog;
use crew::Crew;
use effects::{Effects, Work};
use link::Link;
pub(crate) use link::lock;
use reactor::Reactor;
use table::Table;
use threads::Threads;
use traffic::Queued;

/// How many tasks wait in the queue, or a multiple of it, when whoever submits one more looks for answers.
const QUEUED_PER_LOOK: usize = 16;

/// What stays the same while the table changes.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) image: &'static Image,
    pub(crate) reactor: Reactor,
    /// Memory for long results.
    pub(crate) shelf: Arc<Shelf>,
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
    /// Those of the crew, and those that have left it and not ended yet.
    threads: Threads,
    /// The table takes no more tasks, for a look without the lock.
    refuses: AtomicBool,
    next_task: AtomicU64,
    /// The links to workers that share memory, by number.
    links: Mutex<Links>,
    /// How many threads look for answers in the place of the crew.
    pollers: AtomicUsize,
    backlog: Backlog<Work>,
    /// How many of the crew wait for events, for a look without the lock.
    waiting: AtomicUsize,
    /// How many threads may be about to leave something to the crew, and whether the crew waits for them to end.
    guests: AtomicUsize,
    guests_are_awaited: AtomicBool,
    /// How the futures of its tasks find it.
    remote: RemotePool,
    /// The process that the crew is in. A process forked from it has none.
    pid: u32,
}

type Links = Arc<Vec<(u64, Arc<Link>)>>;

#[derive(Default)]
struct State {
    table: Table,
    crew: Crew,
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

/// The frame of a task, without the argument. `None` if it cannot be run in another process.
fn begin_frame(image: &Image, entry: Entry, id: u64) -> Option<FrameBuilder> {
    let Some(chunk) = entry.chunk else {
        return Some(call_site(image, entry)?.write(FrameBuilder::new(Kind::Task, id)));
    };
    let trampoline = image.offset_of(chunk.trampoline as usize)?;
    let site = ChunkSite { trampoline, items: chunk.items as u64, first: 0 };
    Some(site.write(FrameBuilder::new(Kind::Chunk, id)))
}

impl Supervisor {
    pub(crate) fn new(config: Config, image: &'static Image) -> io::Result<Arc<Self>> {
        let cx = Context { config, image, reactor: Reactor::new()?, shelf: Arc::default() };
        Ok(Arc::new_cyclic(|this: &Weak<Self>| Self {
            cx,
            state: Mutex::default(),
            changed: Condvar::new(),
            threads: Threads::default(),
            refuses: AtomicBool::new(false),
            next_task: AtomicU64::new(1),
            links: Mutex::default(),
            pollers: AtomicUsize::new(0),
            backlog: Backlog::default(),
            waiting: AtomicUsize::new(0),
            guests: AtomicUsize::new(0),
            guests_are_awaited: AtomicBool::new(false),
            remote: RemotePool::new(Weak::<Self>::clone(this)),
            pid: sys::process_id(),
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
        if cfg!(debug_assertions) {
            state.table.check_counts();
        }
        if let Some(links) = state.table.changed_links() {
            *lock(&self.links) = Arc::new(links);
        }
        if state.table.may_have_silent_answers() && !state.crew.looks {
            state.crew.looks = true;
            self.cx.reactor.wake();
        }
        if state.table.refuses() {
            self.refuses.store(true, Ordering::Relaxed);
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
        if sys::process_id() == self.pid {
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
        let id = self.next_task.fetch_add(1, Ordering::Relaxed);
        let frame = task.entry().and_then(|entry| begin_frame(self.cx.image, entry, id));
        let Some(mut frame) = frame else {
            return Err(SubmitError::new(Refusal::NotPortable, task));
        };
        // Before the argument is encoded for nothing. Relaxed: it is looked at once more under the lock.
        if self.refuses.load(Ordering::Relaxed)
            && let Some(reason) = refusal(&lock(&self.state).table)
        {
            return Err(SubmitError::new(reason, task));
        }
        task.set_pool(self.remote.id());
        // Here, since this is the user's code as well, and so that whoever submits much waits for it himself.
        let (encoded, buffers, values) = wire::with_values(|| task.encode_argument(frame.body()));
        if let Err(error) = encoded {
            task.fail(TaskError::Codec(error));
            return Ok(());
        }
        let values = match values.iter().map(ValueFile::of).collect() {
            Ok(values) => values,
            Err(error) => {
                let error: io::Error = error;
                task.fail(TaskError::failed(format!("no memory for a shared value: {error}")));
                return Ok(());
            }
        };
        let queued = Queued::new(task, id, TaskFrame { bytes: frame.finish(), buffers, values });
        self.enqueue(queued)
    }

    fn enqueue(self: &Arc<Self>, queued: Queued) -> Result<(), SubmitError<Task>> {
        let _guest = self.guest();
        let mut fx = Effects::default();
        let mut state = lock(&self.state);
        let refused = match refusal(&state.table) {
            Some(reason) => Some(reason),
            None => self.open(&mut state, 1).err().map(|error| Refusal::NoWorker(Arc::new(error))),
        };
        if let Some(reason) = refused {
            drop(state);
            let task = queued.into_task().expect("it has just been made");
            task.unset_pool();
            return Err(SubmitError::new(reason, task));
        }
        state.table.enqueue(queued);
        state.table.advance(&self.cx, &mut fx);
        self.after_change(&mut state);
        let waiting = state.table.waiting();
        drop(state);
        self.perform_as_guest(fx);
        if waiting > 0 && waiting.is_multiple_of(QUEUED_PER_LOOK) {
            for fx in self.look_as_guest() {
                self.perform_as_guest(fx);
            }
        }
        Ok(())
    }

    /// Starts the server and the crew, if they are not there yet, for so many workers.
    fn open(self: &Arc<Self>, state: &mut State, workers: usize) -> io::Result<()> {
        if !state.table.has_started() {
            // The server takes longest to be ready, and all else is done meanwhile.
            state.table.start_server(&self.cx, workers > 0)?;
        }
        if state.crew.size == 0
            && let Err(error) = self.hire(state)
        {
            state.table.abandon_server(&self.cx);
            return Err(error);
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
        self.open(&mut state, count).map_err(|error| Refusal::NoWorker(Arc::new(error)))?;
        state.table.prestart(count);
        state.table.advance(&self.cx, &mut fx);
        self.after_change(&mut state);
        drop(state);
        self.perform_in_passing(fx);
        Ok(())
    }

    pub(crate) fn stop_workers(&self, signal: i32) {
        if sys::process_id() != self.pid {
            return;
        }
        let ((), fx) = self.change(|table, cx, fx| table.stop(cx, signal, fx));
        self.perform_in_passing(fx);
    }

    pub(crate) fn shut_down(&self, how: Shutdown) -> Result<(), ShutdownError> {
        if sys::process_id() != self.pid {
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
        if self.is_crew() {
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
                return Err(still_running(&state, start));
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        if deadline.is_some() && !self.threads.end_by(deadline) {
            return Err(still_running(&lock(&self.state), start));
        }
        self.threads.join();
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

    // What follows.

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
}

fn still_running(state: &State, start: Instant) -> ShutdownError {
    let (running, queued) = (state.table.running(), state.table.queued());
    ShutdownError::Timeout(StillRunning::new(start.elapsed(), running, queued))
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
