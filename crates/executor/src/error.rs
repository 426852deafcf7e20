//! Why an executor would not take a task, or could not be shut down in time.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use concurrent_futures_future::{BrokenExecutor, TaskError, TimeoutError};

/// Why an executor would not take a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The executor is broken, and says why. This comes before `ShutDown`, as in Python.
    Broken(BrokenExecutor),
    /// The executor has been shut down.
    ShutDown,
    /// The executor has no worker, and the operating system would not give it one. It may another time.
    NoWorker(Arc<io::Error>),
    /// The executor's queue is full.
    Full,
    /// The executor's workers share no memory with the caller, and this task cannot be sent: it was made with a
    /// method that is only for executors that run in this process.
    NotPortable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(_) => f.write_str("cannot submit a task: the executor is broken"),
            Self::ShutDown => f.write_str("cannot submit a task: the executor has been shut down"),
            Self::NoWorker(_) => f.write_str(
                "cannot submit a task: the executor has no worker and could not start one",
            ),
            Self::Full => f.write_str("cannot submit a task: the executor's queue is full"),
            Self::NotPortable => {
                f.write_str("cannot submit a task: it cannot be sent to another process")
            }
        }
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(broken) => Some(broken),
            Self::NoWorker(error) => Some(&**error),
            Self::ShutDown | Self::Full | Self::NotPortable => None,
        }
    }
}

/// A task that an executor would not take; the task is inside.
///
/// Python raises a bare `RuntimeError` and drops the task. Here [`reason`](Self::reason) says why, and
/// [`into_inner`](Self::into_inner) gives back what was to be submitted, to be submitted elsewhere.
pub struct SubmitError<T> {
    reason: Refusal,
    task: T,
}

impl<T> SubmitError<T> {
    /// For executor authors: `task` is refused, for `reason`.
    #[must_use]
    pub fn new(reason: Refusal, task: T) -> Self {
        Self { reason, task }
    }

    /// Why the executor would not take the task.
    #[must_use]
    pub fn reason(&self) -> &Refusal {
        &self.reason
    }

    /// What was to be submitted.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.task
    }

    /// What was to be submitted, and why it was not.
    #[must_use]
    pub fn into_parts(self) -> (Refusal, T) {
        (self.reason, self.task)
    }

    /// The same refusal of something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> SubmitError<U> {
        SubmitError { reason: self.reason, task: f(self.task) }
    }
}

impl<T> fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> Error for SubmitError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

impl<T> From<SubmitError<T>> for Refusal {
    fn from(error: SubmitError<T>) -> Self {
        error.reason
    }
}

/// Why an item of a [`map`](crate::ExecutorExt::map) has no value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MapError {
    /// The call for this item failed. The iterator goes on with the next.
    Task(TaskError),
    /// The deadline of the whole `map` passed. The iterator has cancelled what had not started, and ends.
    Timeout(TimeoutError),
    /// The executor would not take any more. The iterator has yielded all that it had taken, and ends.
    Refused(Refusal),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(error) => error.fmt(f),
            Self::Timeout(_) => f.write_str("the deadline of the map passed"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl Error for MapError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Task(error) => error.source(),
            Self::Timeout(_) => None,
            Self::Refused(refusal) => refusal.source(),
        }
    }
}

impl From<TaskError> for MapError {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

/// Options of a `map` that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidMapOptions {
    /// Chunks of no items would never get anywhere.
    ZeroChunksize,
    /// A buffer with no room would never get anywhere.
    ZeroBuffersize,
}

impl fmt::Display for InvalidMapOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroChunksize => f.write_str("the chunksize of a map must be at least 1"),
            Self::ZeroBuffersize => f.write_str("the buffersize of a map must be at least 1"),
        }
    }
}

impl Error for InvalidMapOptions {}

/// Why a shutdown returned before everything had ended. The executor is shut down all the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The time ran out.
    Timeout(StillRunning),
    /// A worker of the executor asked to wait for itself. Python raises `RuntimeError` for this.
    CalledFromWorker,
}

/// What was left to do when a [shutdown with a timeout](crate::Shutdown::timeout) gave up waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillRunning {
    /// How long the shutdown waited.
    pub waited: Duration,
    /// The tasks that are being run, by the type name of their function.
    pub running: Vec<&'static str>,
    /// How many tasks wait to be run.
    pub queued: usize,
}

impl StillRunning {
    /// For executor authors.
    #[must_use]
    pub fn new(waited: Duration, running: Vec<&'static str>, queued: usize) -> Self {
        Self { waited, running, queued }
    }
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(left) => write!(
                f,
                "the executor had not ended {:.1?} after its shutdown: {} tasks running, {} queued",
                left.waited,
                left.running.len(),
                left.queued,
            ),
            Self::CalledFromWorker => {
                f.write_str("a worker cannot wait for the shutdown of its own executor")
            }
        }
    }
}

impl Error for ShutdownError {}
