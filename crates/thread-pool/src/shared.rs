//! What the handle of a pool and its workers share: the queue, and who is there to serve it.
//!
//! One lock guards all of it. That is the simplest design in which a task cannot be stranded between "no worker is
//! free" and "this worker is going to sleep", and in which a pool can be shut down from anywhere.
//!
//! ```text
//!   execute --> queue --> worker: take --> run --> finishing --> complete the future --> take ...
//!                           |  ^
//!                 nothing   v  | notified
//!                          sleep --> (idle time-out, or shut down) --> gone
//! ```
//!
//! Counts, all under the lock except `available`:
//!
//! - `workers`: threads that were started and may still take a task. Bounded by `max_workers + blocked`.
//! - `leaving`: threads that will take no more, and are cleaning up. That runs user code, the destructor of the worker's
//!   state, and takes as long as it takes, so whoever asks "is anybody there to serve the queue?" must not count them.
//! - `blocked`: workers that sleep inside a task, waiting for a future. They do not count towards `max_workers`, so
//!   another thread can stand in for each; see `Shared::blocked`.
//! - `sleeping`: workers that wait for `wake`.
//! - `available`: workers that will look at the queue without being asked to, or that sleep. An atomic, because a worker
//!   becomes available *before* it completes its future, without the lock: whoever waits for that future and then
//!   submits must find it available. It is only ever lowered by the worker itself, under the lock.
//!
//! Invariants:
//!
//! 1. If the queue is not empty, there is a worker that will look at it, or as many as may run are running. `execute`
//!    keeps it by waking or starting a worker for each task beyond `available`; a worker that stops being available
//!    without taking a task (it runs callbacks, blocks, or leaves) does the same for the tasks that counted on it.
//! 2. A worker decides to leave with the lock held, and is out of `workers` before it releases the lock: whatever is
//!    queued after that decision finds it gone. Unless the pool has more threads than it may, the queue is empty then.
//! 3. No user code runs under the lock: tasks are run, failed, cancelled and dropped outside.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    error::Error,
    io,
    num::NonZeroUsize,
    rc::Rc,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use concurrent_futures_executor::{
    Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait,
    future::{BrokenExecutor, Event, PoolId, State as TaskState, TaskError, report},
};

use crate::worker;

pub(crate) type Initializer =
    Box<dyn Fn() -> Result<Rc<dyn Any>, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// What was chosen when the pool was built.
pub(crate) struct Config {
    pub(crate) max_workers: NonZeroUsize,
    pub(crate) name: String,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) initializer: Initializer,
}

/// See the head of this file.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) id: PoolId,
    /// The process that the workers live in. A forked child inherits the pool without its threads.
    process: u32,
    state: Mutex<State>,
    available: AtomicUsize,
    /// A task was queued for a sleeping worker, or the pool was shut down.
    wake: Condvar,
    /// The last worker has left.
    ended: Condvar,
    /// Threads to be joined. Its lock is held while joining, so that every waiting shutdown returns after it.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct State {
    queue: VecDeque<Task>,
    workers: usize,
    leaving: usize,
    blocked: usize,
    sleeping: usize,
    next_index: usize,
    /// By worker, the name of the task that it runs.
    running: HashMap<usize, &'static str>,
    shut_down: bool,
    broken: Option<BrokenExecutor>,
}

impl State {
    /// A worker is not one any more, though its thread has yet to clean up; invariant 2.
    fn leave(&mut self) {
        self.workers -= 1;
        self.leaving += 1;
    }

    fn threads(&self) -> usize {
        self.workers + self.leaving
    }

    /// How many tasks of the queue wait to be run: it also holds those that were cancelled or run by a helper.
    fn pending(&self) -> usize {
        self.queue.iter().filter(|task| task.state() == TaskState::Pending).count()
    }
}

/// What a worker found when it looked for a task.
pub(crate) enum Next {
    Run(Task),
    Leave,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            id: PoolId::new(),
            process: std::process::id(),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                workers: 0,
                leaving: 0,
                blocked: 0,
                sleeping: 0,
                next_index: 0,
                running: HashMap::new(),
                shut_down: false,
                broken: None,
            }),
            available: AtomicUsize::new(0),
            wake: Condvar::new(),
            ended: Condvar::new(),
            threads: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn execute(self: &Arc<Self>, task: Task) -> Result<(), SubmitError<Task>> {
        task.set_pool(self.id);
        let mut state = self.lock();
        if let Some(broken) = &state.broken {
            return Err(SubmitError::new(Refusal::Broken(broken.clone()), task));
        }
        if state.shut_down {
            return Err(SubmitError::new(Refusal::ShutDown, task));
        }
        state.queue.push_back(task);
        if let Err(error) = self.serve_queue(&mut state) {
            // Somebody is there to run it later; or else nobody ever will, and then it was not accepted.
            if state.workers == 0
                && let Some(task) = state.queue.pop_back()
            {
                return Err(SubmitError::new(Refusal::NoWorker(Arc::new(error)), task));
            }
        }
        Ok(())
    }

    /// Sees to it that somebody looks at the queue; invariant 1.
    fn serve_queue(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        // Acquire: pairs with the Release in `finishing`. A submitter that has seen a future complete sees its worker
        // available.
        if state.queue.len() <= self.available.load(Ordering::Acquire) {
            if state.sleeping > 0 {
                self.wake.notify_one();
            }
            return Ok(());
        }
        if state.workers - state.blocked < self.config.max_workers.get() {
            return self.start_worker(state);
        }
        Ok(())
    }

    fn start_worker(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let index = state.next_index;
        let mut builder = thread::Builder::new().name(format!("{}_{index}", self.config.name));
        if let Some(bytes) = self.config.stack_size {
            builder = builder.stack_size(bytes);
        }
        let shared = Arc::clone(self);
        let handle = builder.spawn(move || worker::run(&shared, index))?;
        state.next_index += 1;
        state.workers += 1;
        self.keep_handle(handle);
        Ok(())
    }

    /// Keeps the thread to be joined at the end, and forgets those that have ended since.
    fn keep_handle(&self, handle: JoinHandle<()>) {
        // A shutdown holds this lock while it joins; then there is nobody who could still miss this handle but a later
        // shutdown, which waits for the same workers to leave.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(handle);
    }

    /// The next task for the worker with this index, waiting for one.
    ///
    /// `available` says, and is told, whether the worker is counted in the field of that name.
    pub(crate) fn next(&self, index: usize, available: &mut bool) -> Next {
        let mut state = self.lock();
        state.running.remove(&index);
        let idle_since = Instant::now();
        loop {
            let surplus = state.workers - state.blocked > self.config.max_workers.get();
            if !surplus && let Some(task) = state.queue.pop_front() {
                self.withdraw(available);
                state.running.insert(index, task.name());
                return Next::Run(task);
            }
            let idle_for = idle_since.elapsed();
            let idle_too_long = self.config.idle_timeout.is_some_and(|timeout| idle_for >= timeout);
            if surplus || state.shut_down || idle_too_long {
                self.withdraw(available);
                state.leave();
                if !state.queue.is_empty() && state.sleeping > 0 {
                    // Only a surplus worker leaves tasks behind. It may have been woken for one of them, and then this
                    // wake-up is owed to a worker that stays.
                    self.wake.notify_one();
                }
                return Next::Leave;
            }
            if !*available {
                *available = true;
                self.available.fetch_add(1, Ordering::Release);
            }
            state.sleeping += 1;
            state = match self.config.idle_timeout {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(timeout) => {
                    let left = timeout.saturating_sub(idle_for);
                    self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleeping -= 1;
        }
    }

    /// Takes a worker out of the count of those available. With the lock held.
    fn withdraw(&self, available: &mut bool) {
        if std::mem::take(available) {
            self.available.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A worker has done its work and is about to complete the future.
    pub(crate) fn finishing(&self, available: &mut bool) {
        if !*available {
            *available = true;
            // Release: pairs with the Acquire in `serve_queue`, by way of the future's completion.
            self.available.fetch_add(1, Ordering::Release);
        }
    }

    /// A worker that was about to look at the queue will not do so for a while.
    pub(crate) fn busy(self: &Arc<Self>, available: &mut bool) {
        if *available {
            let mut state = self.lock();
            self.withdraw(available);
            self.serve_or_make_do(&mut state);
        }
    }

    /// A worker goes to sleep inside a task.
    pub(crate) fn blocked(self: &Arc<Self>, available: &mut bool) {
        let mut state = self.lock();
        self.withdraw(available);
        state.blocked += 1;
        self.serve_or_make_do(&mut state);
    }

    pub(crate) fn unblocked(&self) {
        // There may be one worker too many now. Whichever comes to `next` first leaves.
        self.lock().blocked -= 1;
    }

    /// Serves the queue if there is a task that nobody is going to look at.
    fn serve_or_make_do(self: &Arc<Self>, state: &mut State) {
        if !state.queue.is_empty() && self.serve_queue(state).is_err() {
            // No thread to be had. The workers that there are will come to the queue when they have done what they are
            // doing; if all of them wait for a task that is in it, nothing but a thread can help.
        }
    }

    /// A worker could not be made ready, and leaves. The pool can run nothing more; all that waits fails with the reason.
    pub(crate) fn broken(&self, broken: &BrokenExecutor) {
        let queue = {
            let mut state = self.lock();
            state.leave();
            state.broken.get_or_insert_with(|| broken.clone());
            std::mem::take(&mut state.queue)
        };
        report(&Event::ExecutorBroken { executor: &self.config.name, error: broken });
        for task in queue {
            task.fail(TaskError::Broken(broken.clone()));
        }
    }

    /// A worker that was leaving has cleaned up. Its thread ends right after.
    pub(crate) fn left(&self) {
        let mut state = self.lock();
        state.leaving -= 1;
        if state.threads() == 0 {
            self.ended.notify_all();
        }
    }

    pub(crate) fn shut_down(&self, how: Shutdown) -> Result<(), ShutdownError> {
        if self.process != std::process::id() {
            // The threads stayed in the parent, perhaps while one of them held the lock.
            return Ok(());
        }
        let cancelled = {
            let mut state = self.lock();
            state.shut_down = true;
            self.wake.notify_all();
            if how.cancels_futures() { std::mem::take(&mut state.queue) } else { VecDeque::new() }
        };
        // The newest first, so that what is cancelled does not see its predecessors' callbacks submit it again.
        for task in cancelled.into_iter().rev() {
            task.cancel();
        }
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
        let blocked = concurrent_futures_executor::future::Blocked::enter();
        let mut state = self.lock();
        while state.threads() > 0 {
            state = match deadline {
                None => self.ended.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        let running = state.running.values().copied().collect();
                        let still = StillRunning::new(begin.elapsed(), running, state.pending());
                        return Err(ShutdownError::Timeout(still));
                    }
                    self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        drop(state);
        drop(blocked);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // Its panic, if any, was contained before; the thread itself cannot panic.
            drop(thread.join());
        }
        Ok(())
    }

    /// Whether the pool still accepts tasks, and how many threads it has; for `Debug`.
    pub(crate) fn snapshot(&self) -> (usize, usize, bool) {
        let state = self.lock();
        (state.threads(), state.queue.len(), state.shut_down)
    }

    /// No user code runs under this lock, so a poisoned one still holds what its owner wrote last.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
