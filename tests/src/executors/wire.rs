//! A loopback of another process: what goes to a worker and what comes back is bytes.
//!
//! ```text
//!   execute: encode ----> queue of (entry, bytes) ----> worker: started? run the entry ----> replies (bytes) --+
//!               |                                          |                                                  |
//!               +--> table: task by number <---------------+                                                  |
//!                          started: task by number <------- reactor: complete the future <--------------------+
//! ```
//!
//! This is the shape of a process pool, with threads where it has processes: a worker sees neither the task nor the
//! memory of whoever submitted it, a task is started when a worker says so and can be cancelled until then, and one
//! thread completes all futures. That it passes the shared suite says that such executors fit the trait.

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use concurrent_futures::{
    Executor, Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, TaskError, Wait,
};
use concurrent_futures_executor::{Entry, StartedTask};

thread_local! {
    /// The executor that this thread works for, by number.
    static WORKS_FOR: Cell<u64> = const { Cell::new(0) };
}

/// Runs tasks in threads that know them by their encoding alone.
#[derive(Debug)]
pub struct WireExecutor {
    shared: Arc<Shared>,
    workers: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    id: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next_number: u64,
    /// What workers take from.
    queue: VecDeque<Frame>,
    /// Tasks that no worker has started.
    waiting: HashMap<u64, Task>,
    /// Tasks that a worker has started.
    started: HashMap<u64, StartedTask>,
    /// Tasks that were accepted and have not ended.
    outstanding: usize,
    shut_down: bool,
}

/// What crosses to a worker.
#[derive(Debug)]
struct Frame {
    number: u64,
    entry: Entry,
    argument: Vec<u8>,
}

/// What comes back. A worker in another process would write its error down; here it may stay as it is.
struct Reply {
    number: u64,
    result: Result<Vec<u8>, TaskError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker: takes bytes, and sends bytes.
    fn work(&self, replies: &Sender<Reply>) {
        WORKS_FOR.set(self.id);
        while let Some(Frame { number, entry, argument }) = self.next_frame() {
            if !self.mark_started(number) {
                continue;
            }
            let mut result = Vec::new();
            let result = entry.run(&argument, &mut result).map(|()| result);
            if replies.send(Reply { number, result }).is_err() {
                return;
            }
        }
    }

    fn next_frame(&self) -> Option<Frame> {
        let mut state = self.lock();
        loop {
            if let Some(frame) = state.queue.pop_front() {
                return Some(frame);
            }
            if state.shut_down {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// What a worker tells the parent before it runs a task. False if the task was cancelled.
    fn mark_started(&self, number: u64) -> bool {
        // Gone from the table if a shutdown has cancelled it, just after its frame was taken.
        let Some(task) = self.lock().waiting.remove(&number) else { return false };
        // Outside of the lock: the argument, encoded long ago, is dropped here.
        match task.start() {
            Some(started) => {
                self.lock().started.insert(number, started);
                true
            }
            None => {
                self.forget(1);
                false
            }
        }
    }

    /// So many tasks have ended.
    fn forget(&self, count: usize) {
        self.lock().outstanding -= count;
        self.changed.notify_all();
    }

    /// The reactor: turns replies into outcomes, until there are no workers.
    fn react(&self, replies: &Receiver<Reply>) {
        WORKS_FOR.set(self.id);
        for Reply { number, result } in replies {
            let Some(task) = self.lock().started.remove(&number) else { continue };
            match result {
                Ok(bytes) => task.complete_encoded(&bytes),
                Err(error) => task.fail(error),
            }
            self.forget(1);
        }
    }
}

impl WireExecutor {
    /// An executor with as many workers, and one thread more for the replies.
    ///
    /// # Panics
    ///
    /// If there are no threads to be had.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { id, state, changed: Condvar::new() });
        let (sender, receiver) = channel();
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let mut threads: Vec<_> = (0..workers)
            .map(|_| {
                let (shared, sender) = (Arc::clone(&shared), sender.clone());
                named("wire worker").spawn(move || shared.work(&sender)).expect("a thread")
            })
            .collect();
        let reactor = {
            let shared = Arc::clone(&shared);
            named("wire reactor").spawn(move || shared.react(&receiver)).expect("a thread")
        };
        threads.push(reactor);
        Self { shared, workers, threads: Mutex::new(threads) }
    }

    fn wait_for_end(&self, wait: Wait) -> Result<(), ShutdownError> {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        while state.outstanding > 0 {
            state = match wait {
                Wait::For(timeout) => {
                    let left = timeout.saturating_sub(begin.elapsed());
                    if left.is_zero() {
                        let running = state.started.values().map(StartedTask::name).collect();
                        let queued = state.waiting.len();
                        let left = StillRunning::new(begin.elapsed(), running, queued);
                        return Err(ShutdownError::Timeout(left));
                    }
                    let woken = self.shared.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.shared.wait(state),
            };
        }
        drop(state);
        // Held while joining, so that every shutdown that waits returns after it.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            thread.join().expect("trampolines do not unwind");
        }
        Ok(())
    }
}

impl Executor for WireExecutor {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        let Some(entry) = task.entry() else {
            return Err(SubmitError::new(Refusal::NotPortable, task));
        };
        if self.shared.lock().shut_down {
            return Err(SubmitError::new(Refusal::ShutDown, task));
        }
        // On the thread that submits, and outside of the lock: encoding is the user's code.
        let mut argument = Vec::new();
        if let Err(error) = task.encode_argument(&mut argument) {
            task.fail(TaskError::Codec(error));
            return Ok(());
        }
        let mut state = self.shared.lock();
        if state.shut_down {
            return Err(SubmitError::new(Refusal::ShutDown, task));
        }
        let number = state.next_number;
        state.next_number += 1;
        state.outstanding += 1;
        state.waiting.insert(number, task);
        state.queue.push_back(Frame { number, entry, argument });
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn max_workers(&self) -> usize {
        self.workers
    }

    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        let mut cancelled: Vec<_> = {
            let mut state = self.shared.lock();
            state.shut_down = true;
            self.shared.changed.notify_all();
            if how.cancels_futures() {
                state.queue.clear();
                state.waiting.drain().collect()
            } else {
                Vec::new()
            }
        };
        cancelled.sort_unstable_by_key(|(number, _)| *number);
        let count = cancelled.len();
        for (_, task) in cancelled {
            task.cancel();
        }
        self.shared.forget(count);
        match how.waits() {
            Wait::No => Ok(()),
            _ if WORKS_FOR.get() == self.shared.id => Err(ShutdownError::CalledFromWorker),
            wait => self.wait_for_end(wait),
        }
    }
}

impl Drop for WireExecutor {
    fn drop(&mut self) {
        let how = Shutdown::wait();
        let how = if thread::panicking() { how.cancel_futures() } else { how };
        drop(self.shutdown_with(how));
    }
}
