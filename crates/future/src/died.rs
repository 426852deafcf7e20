//! What is known of a worker process that died: enough to say which input was to blame, and to file a report.
//!
//! Python's `BrokenProcessPool` has neither the process nor the signal. This is plain data, put together by the executor
//! that lost the worker.

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// A worker process died, and the task that it was running with it; part of Python's `BrokenProcessPool`.
///
/// Other tasks are not affected, nor are other items of the same chunk of a `map`. Clones are cheap.
#[derive(Clone)]
pub struct WorkerDied(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    cause: DeathCause,
    pid: Option<u32>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    run_time: Option<Duration>,
    detail: Option<String>,
    stderr: String,
}

/// What killed a worker, as far as can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeathCause {
    /// It ended itself, as by [`std::process::exit`]; [`WorkerDied::exit_code`] says with what.
    Exited,
    /// It aborted, as by [`std::process::abort`], an assertion in C, or a panic while panicking.
    Aborted,
    /// It touched memory that it may not touch, or executed what cannot be executed: `SIGSEGV`, `SIGBUS`, `SIGILL`,
    /// `SIGFPE`.
    Fault,
    /// Its stack overflowed.
    StackOverflow,
    /// It could not allocate memory.
    AllocationFailure,
    /// A signal from outside ended it: an operator, or the kernel when memory ran out, or when a limit was reached.
    Killed,
    /// The executor was asked to stop its workers, or did so because this one would not go.
    Stopped,
    /// It closed its connection to the executor, and was killed because nothing could come of it any more.
    Disconnected,
    /// It sent what no worker sends, and was killed because nothing that it says can be relied on.
    ProtocolViolation,
    /// It is gone, and nobody could learn how.
    Unknown,
}

impl WorkerDied {
    /// For executor authors: a worker died of `cause`; more can be said with the methods beginning with `with_`.
    #[must_use]
    pub fn new(cause: DeathCause) -> Self {
        Self(Arc::new(Inner {
            cause,
            pid: None,
            exit_code: None,
            signal: None,
            run_time: None,
            detail: None,
            stderr: String::new(),
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// For executor authors: the id of the process.
    #[must_use]
    pub fn with_pid(self, pid: u32) -> Self {
        self.with(|inner| inner.pid = Some(pid))
    }

    /// For executor authors: the code that it exited with.
    #[must_use]
    pub fn with_exit_code(self, code: i32) -> Self {
        self.with(|inner| inner.exit_code = Some(code))
    }

    /// For executor authors: the signal that ended it.
    #[must_use]
    pub fn with_signal(self, signal: i32) -> Self {
        self.with(|inner| inner.signal = Some(signal))
    }

    /// For executor authors: for how long it had been running the task, or the chunk that an item was in.
    #[must_use]
    pub fn with_run_time(self, run_time: Duration) -> Self {
        self.with(|inner| inner.run_time = Some(run_time))
    }

    /// For executor authors: what else is known, in a few words.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        self.with(|inner| inner.detail = Some(detail.into()))
    }

    /// For executor authors: the end of what it wrote to its standard error.
    #[must_use]
    pub fn with_stderr(self, stderr: impl Into<String>) -> Self {
        self.with(|inner| inner.stderr = stderr.into())
    }

    /// What killed it.
    #[must_use]
    pub fn cause(&self) -> DeathCause {
        self.0.cause
    }

    /// The id that the process had.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.0.pid
    }

    /// What it exited with, if it exited.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// The signal that ended it, if one did; see `signal(7)`.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    /// For how long it had been running the task, or the chunk that an item of a `map` was in. `None` if the task had not started.
    #[must_use]
    pub fn run_time(&self) -> Option<Duration> {
        self.0.run_time
    }

    /// The end of what it wrote to its standard error, up to some tens of kilobytes; bytes that are not UTF-8 are
    /// replaced. Empty if it wrote nothing, or if the executor does not look.
    #[must_use]
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }
}

impl fmt::Display for WorkerDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str("the worker process ")?;
        if let Some(pid) = inner.pid {
            write!(f, "{pid} ")?;
        }
        match inner.cause {
            DeathCause::Exited => match inner.exit_code {
                Some(code) => write!(f, "exited with code {code}")?,
                None => f.write_str("exited")?,
            },
            DeathCause::Aborted => f.write_str("aborted")?,
            DeathCause::Fault => f.write_str("crashed")?,
            DeathCause::StackOverflow => f.write_str("overflowed its stack")?,
            DeathCause::AllocationFailure => f.write_str("could not allocate memory")?,
            DeathCause::Killed => f.write_str("was killed")?,
            DeathCause::Stopped => f.write_str("was stopped by its executor")?,
            DeathCause::Disconnected => f.write_str("closed its connection")?,
            DeathCause::ProtocolViolation => f.write_str("violated the protocol")?,
            DeathCause::Unknown => f.write_str("disappeared")?,
        }
        match inner.signal {
            Some(signal) if inner.cause != DeathCause::Exited => match signal_name(signal) {
                Some(name) => write!(f, " ({name})")?,
                None => write!(f, " (signal {signal})")?,
            },
            _ => {}
        }
        if let Some(run_time) = inner.run_time {
            write!(f, " after running the task for {run_time:.1?}")?;
        }
        if let Some(detail) = &inner.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for WorkerDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("WorkerDied")
            .field("cause", &inner.cause)
            .field("pid", &inner.pid)
            .field("exit_code", &inner.exit_code)
            .field("signal", &inner.signal)
            .field("run_time", &inner.run_time)
            .field("detail", &inner.detail)
            .field("stderr", &inner.stderr)
            .finish()
    }
}

impl Error for WorkerDied {}

/// The names of the signals whose numbers are the same on every Linux, and of the others that end a process on most.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
