//! What the handle of a pool and its workers share: the queue of submitted tasks, and who is there to serve it.
//!
//! Tasks submitted from outside go into one queue under a lock. Workers take them out in batches into deques of their
//! own, so that the lock is taken once for many tasks; tasks that a worker submits go into its own deque, without the lock.
//! A worker with nothing in its deque looks at the queue, then steals from the other deques, then sleeps.
//!
//! ```text
//!   submit from outside --> queue --(batch)--> deque --> run --> finishing --> complete the future --> next
//!   submit by a worker ------------------------> |                                                      |
//!                                                +--(stolen by workers without any)                     v
//!                                                                    nothing anywhere: search, then sleep, or leave
//! ```
//!
//! A pool whose queue has another order than first in, first out uses neither batches nor deques: the order is that of the
//! one queue, and everything goes through it. See `shared/queue.rs`.
//!
//! A plain lock rather than a lock-free queue, because everything that has to be decided when a task comes in (is
//! anybody free, may another thread be started, has the pool been shut down) is decided under it, exactly, and because
//! taken once per batch it costs no more: see `docs/performance.md`.
//!
//! Who is where. All of it is kept under the lock, except `available`; `Hints` has copies for those who look without.
//!
//! - `workers`: threads that were started and have not left.
//! - `blocked`: workers that sleep inside a task, waiting for a future. Another thread can stand in for each.
//! - `reserve`: workers that stood in and are not needed at the moment; they sleep, and leave after a while.
//! - `leaving`: workers that have given up their place, and clean up.
//! - awake workers are the rest, `workers - blocked - reserve - leaving`: no more than `max_workers` but for a moment after one
//!   stops being blocked. A worker that finds that there are too many goes to the reserve before its next task.
//! - `sleepers`: awake workers, in this sense, that have found nothing to do. Who calls one takes it off the list.
//! - `searching`: workers that were called, or have run out of tasks just now, and look for one. While there is one, nobody
//!   need be called: it will find the task, and call the next if there are more.
//! - `available`: workers that will look at the queue without being asked to, or that sleep; also those that were started
//!   just now and need no initializer. A worker becomes available *before* it completes its future, and without the lock:
//!   whoever waits for that future and then submits must find it available, or the pool would start a thread for a task
//!   that this one is free to take. Only the worker itself lowers it again. While nobody sleeps and no thread may be started,
//!   nobody asks, and those that complete futures do not count themselves.
//! - `starting`: workers that are in their initializer. Each is to take one of the tasks that wait, so that no second one
//!   is started for it; but since that may take any time, sleepers are called all the same.
//!
//! Invariants:
//!
//! 1. If there is a task in the queue or in a deque, then a worker is searching, or as many workers as may run are
//!    running, or all of them are about to look. Kept by `execute`, and by every worker that stops looking without having
//!    found that there is nothing: it has found a task, runs callbacks, blocks, or leaves.
//! 2. A push to a deque and the decision to sleep cannot miss each other. The pusher pushes, then looks for sleepers; the
//!    sleeper says that it sleeps, then looks at all deques; there is a SeqCst fence between the two steps of each, so
//!    at least one sees the other. (For the queue, the lock does the same.)
//!    The same goes for forks, which a worker has put on offer in a call of `join`: see `join.rs`.
//! 3. A worker leaves with its deque empty.
//! 4. No user code runs under the lock: tasks are run, failed, cancelled and dropped outside.

mod end;
mod queue;
mod rest;
mod threads;

use std::{
    any::Any,
    error::Error,
    io,
    num::NonZeroUsize,
    rc::Rc,
    sync::{Arc, PoisonError},
    time::Duration,
};

use concurrent_futures_executor::{
    Refusal, SubmitError, Task,
    future::{Blocked, BrokenExecutor, Panic, PoolId, State as TaskState},
};
use crossbeam_utils::CachePadded;

use crate::{
    hooks::{Capture, Hooks},
    join::Offers,
    stats::{Tally, Totals},
    sync::{
        AtomicBool, AtomicUsize, Condvar, Deque, Instant, Mutex, MutexGuard, Ordering, Parker,
        Stealer, Unparker, fence, thread,
    },
    worker::{self, Worker},
};

pub(crate) type Initializer =
    Box<dyn Fn() -> Result<Rc<dyn Any>, Box<dyn Error + Send + Sync>> + Send + Sync>;

use queue::Queue;
pub use queue::QueueOrder;
pub(crate) use threads::Alive;
use threads::Threads;

/// How long a worker that stood in for a blocked one waits to be needed again. Starting a thread costs about as much as
/// waking one, so this is only worth while tasks block often.
const RESERVE_KEEP_ALIVE: Duration = Duration::from_millis(500);

/// What was chosen when the pool was built.
pub(crate) struct Config {
    pub(crate) max_workers: NonZeroUsize,
    pub(crate) name: String,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) queue_capacity: Option<NonZeroUsize>,
    pub(crate) queue_order: QueueOrder,
    pub(crate) initializer: Initializer,
    /// Whether the initializer does anything.
    pub(crate) has_initializer: bool,
    /// What is done around each task, if anything.
    pub(crate) hooks: Option<Hooks>,
}

/// See the head of this file.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) id: PoolId,
    /// The process that the workers live in. A forked child inherits the pool without its threads.
    process: u32,
    state: CachePadded<Mutex<State>>,
    pub(crate) hints: CachePadded<Hints>,
    /// Whether the queue holds anything. Apart from the other hints, which every worker reads for every task.
    queue_filled: CachePadded<AtomicBool>,
    available: CachePadded<AtomicUsize>,
    /// There is room in the queue, for a submitter that waits for it; or none will be needed any more.
    room: Condvar,
    threads: Threads,
}

/// Copies of what is under the lock, for those who look without it.
#[derive(Default)]
pub(crate) struct Hints {
    searching: AtomicUsize,
    /// Whether there is somebody to call: a sleeper, or room for one more awake worker.
    callable: AtomicBool,
    /// Whether there are more awake workers than there may be.
    pub(crate) surplus: AtomicBool,
    /// Whether tasks are refused.
    closed: AtomicBool,
    /// Whether tasks that have not started are not to be run any more.
    pub(crate) cancelled: AtomicBool,
    /// Changes whenever `seats` does.
    pub(crate) generation: AtomicUsize,
}

#[derive(Default)]
struct State {
    queue: Queue<Task>,
    workers: usize,
    blocked: usize,
    leaving: usize,
    starting: usize,
    searching: usize,
    sleepers: Vec<Arc<Seat>>,
    reserve: Vec<Arc<Seat>>,
    seats: Vec<Arc<Seat>>,
    next_index: usize,
    /// Submitters that wait for room.
    waiting: usize,
    /// What was submitted from outside, and what workers did that have left.
    totals: Totals,
    shut_down: bool,
    broken: Option<BrokenExecutor>,
}

impl State {
    fn awake(&self) -> usize {
        self.workers - self.leaving - self.blocked - self.reserve.len()
    }

    fn is_closed(&self) -> bool {
        self.shut_down || self.broken.is_some()
    }

    fn has_tasks(&self) -> bool {
        !self.queue.is_empty() || self.seats.iter().any(|seat| seat.has_tasks())
    }

    /// Whether there are more tasks than workers that are being made ready for them.
    fn has_tasks_to_spare(&self) -> bool {
        let with_workers =
            self.seats.iter().map(|seat| seat.stealer.len() + seat.offers.len()).sum::<usize>();
        self.queue.len() + with_workers > self.starting
    }
}

/// What others see of a worker.
pub(crate) struct Seat {
    pub(crate) stealer: Stealer<Task>,
    /// Apart from what is written for every task.
    pub(crate) offers: CachePadded<Offers>,
    unparker: Unparker,
    /// Set, under the pool's lock, by whoever takes the worker off the list that it sleeps on.
    called: AtomicBool,
    /// The name of the task that it runs. Only the worker writes it.
    pub(crate) running: std::sync::Mutex<Option<&'static str>>,
    pub(crate) tally: Tally,
}

impl Seat {
    /// Whether there is something for others to take.
    pub(crate) fn has_tasks(&self) -> bool {
        !self.stealer.is_empty() || !self.offers.is_empty()
    }

    pub(crate) fn unpark(&self) {
        self.unparker.unpark();
    }
}

/// What to do if the queue is full.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// Refuse.
    None,
    /// Wait for room until then.
    Until(Instant),
    /// Wait for room.
    Endless,
}

/// What came of going to sleep.
pub(crate) enum Rest {
    /// There may be something now.
    Over,
    /// The worker has left the pool.
    Left,
}

/// Somebody to be woken, once the lock is released.
#[must_use = "the worker counts as searching, and sleeps"]
struct Call(Arc<Seat>);

impl Call {
    fn make(self) {
        self.0.unpark();
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let shared = Self {
            config,
            id: PoolId::new(),
            process: std::process::id(),
            state: CachePadded::default(),
            hints: CachePadded::default(),
            queue_filled: CachePadded::default(),
            available: CachePadded::default(),
            room: Condvar::new(),
            threads: Threads::default(),
        };
        {
            let mut state = shared.lock();
            state.queue = Queue::new(shared.config.queue_order);
            shared.publish(&state);
        }
        shared
    }

    pub(crate) fn execute(
        self: &Arc<Self>,
        task: Task,
        patience: Patience,
        priority: i8,
    ) -> Result<(), SubmitError<Task>> {
        // Relaxed: a worker that does not see a shutdown of just now submits as if it had come first.
        if let Some(refusal) = self.refusal() {
            return Err(SubmitError::new(refusal, task));
        }
        task.set_pool(self.id);
        let hooks = self.config.hooks.as_ref();
        // It runs the user's code, and must not leave behind a future that failed and that nobody looked at.
        if let Some(hooks) = hooks
            && let Err(panic) = Panic::catch(|| hooks.attach(&task))
        {
            task.cancel();
            panic.resume();
        }
        self.accept(task, patience, priority).map_err(|refused| {
            refused.map(|task| {
                // It may go to another executor now, whose hooks are others, and be run by one of our workers all the same.
                task.unset_pool();
                if hooks.is_some() {
                    Hooks::detach(&task);
                }
                task
            })
        })
    }

    fn accept(
        self: &Arc<Self>,
        task: Task,
        patience: Patience,
        priority: i8,
    ) -> Result<(), SubmitError<Task>> {
        if !self.uses_deques() {
            return self.enqueue(task, patience, priority);
        }
        match Worker::push_if_current(self, task) {
            Ok(()) => {
                self.look_after_deque();
                Ok(())
            }
            Err(task) => self.enqueue(task, patience, priority),
        }
    }

    /// What captures the context that goes with each task, if the pool carries one.
    pub(crate) fn capture(&self) -> Option<&Capture> {
        self.config.hooks.as_ref()?.capture.as_ref()
    }

    /// Whether tasks may leave the queue for a worker's deque, or go there in the first place.
    pub(crate) fn uses_deques(&self) -> bool {
        self.config.queue_order == QueueOrder::Fifo
    }

    fn enqueue(
        self: &Arc<Self>,
        task: Task,
        patience: Patience,
        priority: i8,
    ) -> Result<(), SubmitError<Task>> {
        let mut state = self.lock();
        // A worker that waited for room would wait for itself. One with a deque comes here only from its initializer, or when it
        // has left.
        while self.is_full(&state) && !state.is_closed() && !worker::belongs_to(self.id) {
            let expired;
            (state, expired) = self.wait_for_room(state, patience);
            if expired && self.is_full(&state) && !state.is_closed() {
                return Err(SubmitError::new(Refusal::Full, task));
            }
        }
        if state.is_closed() {
            return Err(SubmitError::new(refusal(&state), task));
        }
        state.queue.push(task, priority);
        state.totals.submitted += 1;
        self.publish_queue(&state);
        // Acquire: pairs with the Release in `finishing`. A submitter that has seen a future complete sees its worker
        // available.
        let coming = || self.available.load(Ordering::Acquire) + state.starting;
        if !self.may_start(&state) || state.queue.len() <= coming() {
            let call = self.call_sleeper(&mut state);
            drop(state);
            if let Some(call) = call {
                call.make();
            }
            return Ok(());
        }
        match self.start_worker(&mut state) {
            Ok(None) => Ok(()),
            Ok(Some(call)) => {
                drop(state);
                call.make();
                Ok(())
            }
            // Somebody is there to run it later.
            Err(_) if state.workers > state.leaving => Ok(()),
            // Nobody is, so it was not accepted.
            Err(error) => {
                let task = state.queue.take_back(priority);
                state.totals.submitted -= 1;
                self.publish_queue(&state);
                match task {
                    Some(task) => Err(SubmitError::new(Refusal::NoWorker(Arc::new(error)), task)),
                    None => Ok(()),
                }
            }
        }
    }

    fn is_full(&self, state: &State) -> bool {
        self.config.queue_capacity.is_some_and(|capacity| state.queue.len() >= capacity.get())
    }

    /// Waits until there is room in the queue, or nothing is accepted any more; says whether patience has run out.
    fn wait_for_room<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        patience: Patience,
    ) -> (MutexGuard<'a, State>, bool) {
        if let Patience::None = patience {
            return (state, true);
        }
        drop(state);
        // Said without the lock: it may take that of the pool which the caller works for, and a worker of ours may be
        // about to do the same the other way round.
        let blocked = Blocked::enter();
        let mut state = self.lock();
        let mut expired = false;
        state.waiting += 1;
        while self.is_full(&state) && !state.is_closed() && !expired {
            state = match patience {
                Patience::Until(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    expired = left.is_zero();
                    self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.waiting -= 1;
        drop(state);
        drop(blocked);
        // The room may be gone again by now; then the caller comes back.
        (self.lock(), expired)
    }

    /// Tells a submitter that waits for it that there is room.
    fn announce_room(&self, state: &State) {
        if state.waiting > 0 {
            self.room.notify_one();
        }
    }

    /// To be called after a push to a deque, or to the forks on offer; see invariant 2.
    pub(crate) fn look_after_deque(self: &Arc<Self>) {
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence, with the one in `rest`.
        if self.hints.searching.load(Ordering::Relaxed) == 0
            && self.hints.callable.load(Ordering::Relaxed)
        {
            self.call_somebody(self.lock());
        }
    }

    /// Calls or starts a worker, if there is one to be had and none is going to look anyway: because it searches, or because
    /// it is available and awake, and so has yet to pass through `found`, `busy` or `rest`, which look again.
    fn call_somebody(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.searching > 0 {
            return;
        }
        let call = match self.call_sleeper(&mut state) {
            Some(call) => Some(call),
            // If no thread is to be had, those that there are will come to the task when they have done what they are
            // doing; if all of them wait for it, nothing but a thread can help.
            None if self.may_start(&state)
                && self.available.load(Ordering::Acquire) == 0
                && state.has_tasks_to_spare() =>
            {
                self.start_worker(&mut state).ok().flatten()
            }
            None => None,
        };
        drop(state);
        if let Some(call) = call {
            call.make();
        }
    }

    /// Takes a worker off the list of sleepers, unless one is searching.
    fn call_sleeper(&self, state: &mut State) -> Option<Call> {
        if state.searching > 0 {
            return None;
        }
        // The last to fall asleep: its memory is the warmest, and the first may reach their time-out.
        let seat = state.sleepers.pop()?;
        Some(self.call(state, seat))
    }

    fn call(&self, state: &mut State, seat: Arc<Seat>) -> Call {
        seat.called.store(true, Ordering::Release);
        state.searching += 1;
        self.publish(state);
        Call(seat)
    }

    fn may_start(&self, state: &State) -> bool {
        state.awake() < self.config.max_workers.get()
    }

    fn publish(&self, state: &State) {
        // Relaxed: where the order matters there is a fence, or the lock.
        let callable = self.has_somebody_to_call(state);
        self.hints.callable.store(callable, Ordering::Relaxed);
        self.hints.searching.store(state.searching, Ordering::Relaxed);
        self.hints.surplus.store(state.awake() > self.config.max_workers.get(), Ordering::Relaxed);
    }

    fn has_somebody_to_call(&self, state: &State) -> bool {
        !state.sleepers.is_empty() || self.may_start(state)
    }

    /// Whether there was somebody to call, or room for another worker, lately.
    pub(crate) fn is_callable(&self) -> bool {
        self.hints.callable.load(Ordering::Relaxed)
    }

    /// Whether tasks are refused; a moment after a shutdown it may not have been heard of.
    pub(crate) fn is_closed(&self) -> bool {
        self.hints.closed.load(Ordering::Relaxed)
    }

    /// Why tasks are refused, if they are; as `is_closed`.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.is_closed().then(|| refusal(&self.lock()))
    }

    /// Whether there is probably something in the queue.
    pub(crate) fn has_queued(&self) -> bool {
        self.queue_filled.load(Ordering::Relaxed)
    }

    fn publish_queue(&self, state: &State) {
        // Written when it changes and not for every task, since those who search read it all the time.
        let filled = !state.queue.is_empty();
        if self.has_queued() != filled {
            self.queue_filled.store(filled, Ordering::Relaxed);
        }
    }

    /// Gets one more worker: out of the reserve, or a new one.
    fn start_worker(self: &Arc<Self>, state: &mut State) -> io::Result<Option<Call>> {
        if let Some(seat) = state.reserve.pop() {
            return Ok(Some(self.call(state, seat)));
        }
        let mut builder =
            thread::Builder::new().name(format!("{}_{}", self.config.name, state.next_index));
        if let Some(bytes) = self.config.stack_size {
            builder = builder.stack_size(bytes);
        }
        let deque = Deque::new_fifo();
        let parker = Parker::new();
        let seat = Arc::new(Seat {
            stealer: deque.stealer(),
            offers: CachePadded::default(),
            unparker: parker.unparker().clone(),
            called: AtomicBool::new(false),
            running: std::sync::Mutex::new(None),
            tally: Tally::default(),
        });
        // It will take a task as soon as it is up, and another start for that task would be one too many; unless it has
        // to be made ready first, which may take any time.
        let available = !self.config.has_initializer;
        let thread = self.threads.count_one();
        let worker = worker::Builder { thread, deque, parker, seat: Arc::clone(&seat), available };
        let shared = Arc::clone(self);
        let handle = builder.spawn(move || worker::run(&shared, worker))?;
        state.next_index += 1;
        state.workers += 1;
        if available {
            self.available.fetch_add(1, Ordering::Relaxed);
        } else {
            state.starting += 1;
        }
        state.seats.push(seat);
        self.hints.generation.fetch_add(1, Ordering::Release);
        self.publish(state);
        self.threads.keep(handle);
        Ok(None)
    }

    /// Everybody's seats, and the generation that they are of.
    pub(crate) fn seats(&self) -> (Vec<Arc<Seat>>, usize) {
        let state = self.lock();
        (state.seats.clone(), self.hints.generation.load(Ordering::Relaxed))
    }

    /// Takes a batch out of the queue for a worker whose deque is empty: one task to run, the others into the deque.
    pub(crate) fn take_batch(self: &Arc<Self>, worker: &Worker) -> Option<Task> {
        if !self.has_queued() {
            return None;
        }
        let mut state = self.lock();
        if state.awake() > self.config.max_workers.get() {
            return None;
        }
        let first = state.queue.pop()?;
        // No more than a fair share.
        let more = (state.queue.len() / state.awake().max(1)).min(worker.batch_size() - 1);
        state.queue.take_ahead(more, |task| worker.deque.push(task));
        self.publish_queue(&state);
        self.announce_room(&state);
        // Here, under a lock that is held anyway, rather than under another.
        self.found_under_lock(state, worker);
        Some(first)
    }

    /// Takes one task out of the queue for a worker that has others in its deque.
    pub(crate) fn take_one(&self) -> Option<Task> {
        if !self.has_queued() {
            return None;
        }
        let mut state = self.lock();
        let task = state.queue.pop()?;
        self.publish_queue(&state);
        self.announce_room(&state);
        Some(task)
    }

    /// Throws entries out of the queue whose tasks were run in place or cancelled, if there may be many; says whether it has.
    pub(crate) fn sweep_queue(&self, worker: &Worker, stale: usize) -> bool {
        let done = {
            let mut state = self.lock();
            if stale * 2 < state.queue.len() {
                return false;
            }
            let done = state.queue.take_done(|task| task.state() != TaskState::Pending);
            self.publish_queue(&state);
            if state.waiting > 0 {
                self.room.notify_all();
            }
            done
        };
        for task in done {
            if task.state() == TaskState::Cancelled {
                worker.seat.tally.cancelled();
            }
        }
        true
    }

    /// A worker has found a task, wherever. If somebody may have relied on it to find theirs as well, another is called.
    pub(crate) fn found(self: &Arc<Self>, worker: &Worker) {
        if !worker.available.get() && !worker.searching.get() {
            return;
        }
        self.found_under_lock(self.lock(), worker);
    }

    fn found_under_lock(self: &Arc<Self>, mut state: MutexGuard<'_, State>, worker: &Worker) {
        if !worker.available.get() && !worker.searching.get() {
            return;
        }
        self.withdraw(worker);
        self.stop_searching(&mut state, worker);
        // The usual case of a pool that is busy. What there is in other deques need not be looked at.
        if !self.has_somebody_to_call(&state) {
            return;
        }
        // Invariant 2: whoever pushed to a deque and saw a searcher pushed before this look.
        fence(Ordering::SeqCst);
        if state.has_tasks() {
            self.call_somebody(state);
        }
    }

    /// No user code runs under this lock, so a poisoned one still holds what its owner wrote last.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(state: &State) -> Refusal {
    state.broken.as_ref().map_or(Refusal::ShutDown, |broken| Refusal::Broken(broken.clone()))
}
