//! A third party's executor: one thread, one queue, and the three methods that the trait requires.
//!
//! What it lacks is the point. It knows nothing of pools, of waiting workers or of portable tasks; everything that
//! people call is the trait's own.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle, ThreadId},
    time::Instant,
};

use concurrent_futures::{
    Executor, Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait,
};

/// Runs tasks one after another, in one thread of its own.
#[derive(Debug)]
pub struct MinimalExecutor {
    shared: Arc<Shared>,
    worker: ThreadId,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Task>,
    running: Option<&'static str>,
    shut_down: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            state.running = None;
            let task = loop {
                if let Some(task) = state.queue.pop_front() {
                    break task;
                }
                if state.shut_down {
                    state.ended = true;
                    self.changed.notify_all();
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.running = Some(task.name());
            drop(state);
            task.run();
        }
    }
}

impl MinimalExecutor {
    /// Starts the thread.
    ///
    /// # Panics
    ///
    /// If there is no thread to be had.
    #[must_use]
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let worker = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("minimal".to_owned()).spawn(move || shared.work())
        }
        .expect("a thread");
        let id = worker.thread().id();
        Self { shared, worker: id, thread: Mutex::new(Some(worker)) }
    }

    fn wait_for_end(&self, wait: Wait) -> Result<(), ShutdownError> {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        while !state.ended {
            state = match wait {
                Wait::For(timeout) => {
                    let left = timeout.saturating_sub(begin.elapsed());
                    if left.is_zero() {
                        let running = state.running.into_iter().collect();
                        let left = StillRunning::new(begin.elapsed(), running, state.queue.len());
                        return Err(ShutdownError::Timeout(left));
                    }
                    let woken = self.shared.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        drop(state);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join().expect("tasks do not unwind");
        }
        Ok(())
    }
}

impl Default for MinimalExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor for MinimalExecutor {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        let mut state = self.shared.lock();
        if state.shut_down {
            return Err(SubmitError::new(Refusal::ShutDown, task));
        }
        state.queue.push_back(task);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn max_workers(&self) -> usize {
        1
    }

    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        let cancelled = {
            let mut state = self.shared.lock();
            state.shut_down = true;
            self.shared.changed.notify_all();
            if how.cancels_futures() { std::mem::take(&mut state.queue) } else { VecDeque::new() }
        };
        for task in cancelled {
            task.cancel();
        }
        match how.waits() {
            Wait::No => Ok(()),
            _ if thread::current().id() == self.worker => Err(ShutdownError::CalledFromWorker),
            wait => self.wait_for_end(wait),
        }
    }
}

impl Drop for MinimalExecutor {
    fn drop(&mut self) {
        let how = Shutdown::wait();
        let how = if thread::panicking() { how.cancel_futures() } else { how };
        drop(self.shutdown_with(how));
    }
}
