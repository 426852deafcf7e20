//! The choices that a pool offers, and why a combination of them is none.

use std::{
    collections::hash_map::RandomState,
    error::Error,
    ffi::OsString,
    fmt,
    hash::BuildHasher,
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use concurrent_futures_executor::{
    DropPolicy, Entry, Portable, PortableFn,
    future::{CodecError, Crossing},
    wire,
};

use crate::{
    boot,
    image::Image,
    message::{Call, Method},
    pool::ProcessPoolExecutor,
    supervisor::{Supervisor, call_site, default_max_workers},
};

/// How worker processes come to be; what Python's `mp_context` chooses.
///
/// Python's `fork`, by which the calling process itself is forked, is not offered: the program has threads, whose locks a
/// forked child would find held for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A process that was executed once, the fork server, forks the workers. Starting one takes a fraction of a
    /// millisecond, and what was [preloaded](Builder::preload) is shared by all of them.
    #[default]
    ForkServer,
    /// Each worker is executed anew, and shares nothing with any other. Starting one takes about a millisecond, or as long
    /// as the program takes to get to its `main`.
    Spawn,
}

/// The choices for a [`ProcessPoolExecutor`].
///
/// ```
/// use concurrent_futures_process_pool::ProcessPoolExecutor;
///
/// let pool = ProcessPoolExecutor::builder().max_workers(2).max_tasks_per_child(100).build()?;
/// assert_eq!(pool.submit(|n: u64| n + 1, 41)?.result()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    max_workers: Option<usize>,
    start_method: StartMethod,
    name: Option<String>,
    initializer: Option<Result<UnplacedCall, CodecError>>,
    preload: Option<Result<UnplacedCall, CodecError>>,
    max_tasks_per_child: Option<u64>,
    max_tasks_jitter: u64,
    idle_timeout: Option<Duration>,
    stack_size: usize,
    environment: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    forward_stderr: bool,
    shared_memory: bool,
    drop_policy: DropPolicy,
}

/// A call of which it is not known yet where its function is in the executable.
#[derive(Clone, Debug)]
struct UnplacedCall {
    entry: Entry,
    argument: Vec<u8>,
}

impl UnplacedCall {
    fn new<F, A, E>(function: F, argument: &A) -> Result<Self, CodecError>
    where
        F: Fn(A) -> Result<(), E> + PortableFn,
        A: Portable,
        E: fmt::Display,
    {
        // It captures a function without data, and so has none either.
        let call = move |argument: A| function(argument).map_err(|error| error.to_string());
        let mut bytes = Vec::new();
        wire::encode(argument, &mut bytes, Crossing::EncodeArgument)?;
        Ok(Self { entry: Entry::new(call), argument: bytes })
    }

    fn place(self, image: &Image) -> Result<Call, BuildError> {
        let site = call_site(image, self.entry)
            .ok_or(BuildError::ForeignFunction { name: self.entry.name })?;
        Ok(Call { site, argument: self.argument })
    }
}

const DEFAULT_STACK_SIZE: usize = 8 << 20;

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            max_workers: None,
            start_method: StartMethod::default(),
            name: None,
            initializer: None,
            preload: None,
            max_tasks_per_child: None,
            max_tasks_jitter: 0,
            idle_timeout: None,
            stack_size: DEFAULT_STACK_SIZE,
            environment: Vec::new(),
            directory: None,
            forward_stderr: true,
            shared_memory: true,
            drop_policy: DropPolicy::default(),
        }
    }

    /// At most so many workers at the same time. By default as many as this process may use processors, with regard to its
    /// affinity and the quota of its control group (see [`std::thread::available_parallelism`]).
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = Some(max_workers);
        self
    }

    /// How workers are started: see [`StartMethod`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// What the names of the pool's threads begin with. By default `ProcessPoolExecutor-` and a number.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Calls `function` with `argument` in each worker before its first task.
    ///
    /// If it panics the pool is broken: all that was submitted fails with
    /// [`TaskError::Broken`](concurrent_futures_executor::future::TaskError::Broken), whose source is the panic.
    pub fn initializer<F, A>(self, function: F, argument: A) -> Self
    where
        F: Fn(A) + PortableFn,
        A: Portable,
    {
        self.try_initializer(
            move |argument: A| {
                function(argument);
                Ok::<(), String>(())
            },
            argument,
        )
    }

    /// As [`initializer`](Self::initializer), for a function that can fail; that breaks the pool as a panic does.
    pub fn try_initializer<F, A, E>(mut self, function: F, argument: A) -> Self
    where
        F: Fn(A) -> Result<(), E> + PortableFn,
        A: Portable,
        E: fmt::Display,
    {
        self.initializer = Some(UnplacedCall::new(function, &argument));
        self
    }

    /// Calls `function` with `argument` once, in the fork server, before it forks the first worker.
    ///
    /// What it leaves in memory, in statics, is there in every worker, shared until somebody writes to it: a model, a
    /// dictionary, a warm cache. It must not leave threads behind: a process with several cannot be forked safely, and the
    /// workers would be executed anew instead, without what was preloaded. With [`StartMethod::Spawn`] it is called, and
    /// nothing comes of it.
    ///
    /// If it panics the pool is broken, as by an [initializer](Self::initializer).
    pub fn preload<F, A>(self, function: F, argument: A) -> Self
    where
        F: Fn(A) + PortableFn,
        A: Portable,
    {
        self.try_preload(
            move |argument: A| {
                function(argument);
                Ok::<(), String>(())
            },
            argument,
        )
    }

    /// As [`preload`](Self::preload), for a function that can fail; that breaks the pool as a panic does.
    pub fn try_preload<F, A, E>(mut self, function: F, argument: A) -> Self
    where
        F: Fn(A) -> Result<(), E> + PortableFn,
        A: Portable,
        E: fmt::Display,
    {
        self.preload = Some(UnplacedCall::new(function, &argument));
        self
    }

    /// Each worker ends after so many tasks, and is replaced when one is needed.
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        self.max_tasks_per_child = Some(tasks);
        self
    }

    /// Each worker may run up to so many tasks more than [`max_tasks_per_child`](Self::max_tasks_per_child), a number
    /// drawn for each, so that not all of them end at the same time.
    pub fn max_tasks_jitter(mut self, tasks: u64) -> Self {
        self.max_tasks_jitter = tasks;
        self
    }

    /// A worker that had nothing to do for so long ends. By default none does before the pool.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// How many bytes of stack tasks have. 8 MiB by default, as a program's main thread has on most systems.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Sets a variable in the environment of the workers.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable from the environment of the workers.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// The working directory of the workers.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Whether what workers write to their standard error goes to that of this process. It does by default; either way its
    /// end is in the error of a task whose worker died.
    pub fn forward_stderr(mut self, forward: bool) -> Self {
        self.forward_stderr = forward;
        self
    }

    /// Whether tasks and results travel in memory that the pool shares with each worker, which they do by default, or over a
    /// socket.
    ///
    /// Without it, a task costs some twenty microseconds rather than two or three, and no task is sent to a worker before that
    /// is free; and a worker that dies takes the whole chunk of a `map` with it rather than one item. Where the system has no such memory, or a limit on the size of files (`RLIMIT_FSIZE`) is in the way, it is not
    /// used whatever is said here.
    pub fn shared_memory(mut self, shared_memory: bool) -> Self {
        self.shared_memory = shared_memory;
        self
    }

    /// What becomes of the tasks when the pool is dropped.
    pub fn drop_policy(mut self, policy: DropPolicy) -> Self {
        self.drop_policy = policy;
        self
    }

    /// Makes the pool. No process is started before the first task is submitted.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a choice that cannot be, and where worker processes cannot be.
    pub fn build(self) -> Result<ProcessPoolExecutor, BuildError> {
        static POOLS: AtomicUsize = AtomicUsize::new(0);
        let max_workers = match self.max_workers {
            Some(max_workers) => NonZeroUsize::new(max_workers).ok_or(BuildError::ZeroWorkers)?,
            None => default_max_workers(),
        };
        if self.max_tasks_per_child == Some(0) {
            return Err(BuildError::ZeroTasksPerChild);
        }
        if boot::is_unclaimed_child() {
            return Err(BuildError::NotTakenOver(
                "this process was started as a worker, but began as an ordinary program".to_owned(),
            ));
        }
        let image = Image::get().map_err(|error| BuildError::NotTakenOver(error.to_string()))?;
        image.takes_over().map_err(|error| BuildError::NotTakenOver(error.to_string()))?;
        let place = |call: Option<Result<UnplacedCall, CodecError>>| match call {
            None => Ok(None),
            Some(Err(error)) => Err(BuildError::Argument(error)),
            Some(Ok(call)) => call.place(image).map(Some),
        };
        let config = Config {
            max_workers,
            method: match self.start_method {
                StartMethod::ForkServer => Method::Fork,
                StartMethod::Spawn => Method::Execute,
            },
            name: self.name.unwrap_or_else(|| {
                format!("ProcessPoolExecutor-{}", POOLS.fetch_add(1, Ordering::Relaxed))
            }),
            initializer: place(self.initializer)?,
            preload: place(self.preload)?,
            max_tasks_per_child: self.max_tasks_per_child,
            max_tasks_jitter: self.max_tasks_jitter,
            random: RandomState::new(),
            idle_timeout: self.idle_timeout,
            stack_size: self.stack_size,
            environment: self.environment,
            directory: self.directory,
            forward_stderr: self.forward_stderr,
            shared_memory: self.shared_memory,
        };
        let supervisor =
            Supervisor::new(config, image).map_err(|error| BuildError::Io(Arc::new(error)))?;
        Ok(ProcessPoolExecutor::from_parts(supervisor, self.drop_policy))
    }
}

/// Why a pool could not be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool without workers would never run anything.
    ZeroWorkers,
    /// Workers that run no task would never get anything done.
    ZeroTasksPerChild,
    /// The argument of the initializer, or of what is to be preloaded, cannot be encoded.
    Argument(CodecError),
    /// The initializer, or what is to be preloaded, is in a library that was loaded at run time, which workers do not have.
    ForeignFunction {
        /// The type name of the function.
        name: &'static str,
    },
    /// Processes started from this executable would not become workers, and why.
    NotTakenOver(String),
    /// The operating system refused what a pool needs before it has any process.
    Io(Arc<io::Error>),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroWorkers => f.write_str("max_workers must be at least 1"),
            Self::ZeroTasksPerChild => f.write_str("max_tasks_per_child must be at least 1"),
            Self::Argument(_) => {
                f.write_str("the argument for the setup of the workers cannot be sent to them")
            }
            Self::ForeignFunction { name } => write!(
                f,
                "{name} is in a library that was loaded at run time, which worker processes do not have"
            ),
            Self::NotTakenOver(why) => {
                write!(f, "this executable cannot be started as a worker process: {why}")
            }
            Self::Io(_) => f.write_str("could not set up a process pool"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Argument(error) => Some(error),
            Self::Io(error) => Some(&**error),
            _ => None,
        }
    }
}

/// The choices that were made.
pub(crate) struct Config {
    pub(crate) max_workers: NonZeroUsize,
    pub(crate) method: Method,
    pub(crate) name: String,
    pub(crate) initializer: Option<Call>,
    pub(crate) preload: Option<Call>,
    max_tasks_per_child: Option<u64>,
    max_tasks_jitter: u64,
    random: RandomState,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) stack_size: usize,
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) forward_stderr: bool,
    pub(crate) shared_memory: bool,
}

impl Config {
    /// How many tasks this worker may run.
    pub(crate) fn tasks_max(&self, worker: u64) -> Option<u64> {
        let tasks = self.max_tasks_per_child?;
        let jitter = match self.max_tasks_jitter.checked_add(1) {
            Some(outcomes) => self.random.hash_one(worker) % outcomes,
            None => self.random.hash_one(worker),
        };
        Some(tasks.saturating_add(jitter))
    }
}
