//! How an executor is to be shut down.

use std::time::Duration;

/// How to [shut an executor down](crate::Executor::shutdown_with).
///
/// ```
/// use std::time::Duration;
/// use concurrent_futures_executor::{Executor, InlineExecutor, Shutdown};
///
/// let executor = InlineExecutor::new();
/// executor.shutdown_with(Shutdown::timeout(Duration::from_secs(5)).cancel_futures())?;
/// # Ok::<(), concurrent_futures_executor::ShutdownError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Shutdown {
    wait: Wait,
    cancel_futures: bool,
}

/// How long a shutdown waits for the tasks that the executor has taken, and for its workers to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// As long as it takes.
    Forever,
    /// Not at all. The work goes on in the background.
    No,
    /// No longer than this.
    For(Duration),
}

impl Shutdown {
    /// Run all that was submitted, and wait for it; Python's `shutdown()`.
    pub const fn wait() -> Self {
        Self { wait: Wait::Forever, cancel_futures: false }
    }

    /// Run all that was submitted, and do not wait for it; Python's `shutdown(wait=False)`.
    pub const fn no_wait() -> Self {
        Self { wait: Wait::No, cancel_futures: false }
    }

    /// Run all that was submitted, and wait for it no longer than `timeout`.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { wait: Wait::For(timeout), cancel_futures: false }
    }

    /// Cancel what has not started; Python's `cancel_futures=True`. What runs is waited for, if anything is.
    pub const fn cancel_futures(mut self) -> Self {
        self.cancel_futures = true;
        self
    }

    /// How long to wait.
    #[must_use]
    pub const fn waits(&self) -> Wait {
        self.wait
    }

    /// Whether to cancel what has not started.
    #[must_use]
    pub const fn cancels_futures(&self) -> bool {
        self.cancel_futures
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::wait()
    }
}

/// What dropping a pool that was not shut down does with the tasks that it has taken.
///
/// Whatever the choice, dropping a pool while the thread panics cancels what has not started, so that an error does not
/// wait behind a long queue; and a pool that is dropped by one of its own threads cannot wait for itself, and ends when
/// its tasks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DropPolicy {
    /// Run everything and wait for it, as leaving Python's `with` block does.
    #[default]
    Wait,
    /// Cancel what has not started, and wait for what has.
    CancelAndWait,
    /// Run everything and wait for it no longer than this. What is left then goes on in the background in a pool of
    /// threads, and is killed in a pool of processes.
    WaitFor(Duration),
    /// Run everything in the background, without waiting. It is cut short if the program ends first.
    Detach,
}

impl DropPolicy {
    /// For executor authors: how the pool is to be shut down, by the thread that calls this.
    pub fn shutdown(self) -> Shutdown {
        let how = match self {
            Self::Wait => Shutdown::wait(),
            Self::CancelAndWait => Shutdown::wait().cancel_futures(),
            Self::WaitFor(timeout) => Shutdown::timeout(timeout),
            Self::Detach => Shutdown::no_wait(),
        };
        if std::thread::panicking() { how.cancel_futures() } else { how }
    }
}
