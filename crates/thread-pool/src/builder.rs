//! Choosing how a pool is to be, and what choices there are.

use std::{
    any::Any, error::Error, fmt, num::NonZeroUsize, rc::Rc, sync::Arc, thread, time::Duration,
};

use concurrent_futures_executor::DropPolicy;

use crate::{
    hooks::{Capture, Hooks, TaskObserver},
    pool::ThreadPoolExecutor,
    shared::{Config, Initializer, QueueOrder, Shared},
};

/// Why a pool could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool without workers would never run anything.
    ZeroWorkers,
    /// A queue without room would never let anything in.
    ZeroCapacity,
    /// The operating system's thread names end at the first NUL, so a prefix with one inside is a mistake.
    NulInName,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroWorkers => f.write_str("max_workers must be at least 1"),
            Self::ZeroCapacity => f.write_str("queue_capacity must be at least 1"),
            Self::NulInName => f.write_str("thread_name_prefix must not contain a NUL character"),
        }
    }
}

impl Error for BuildError {}

/// The choices for a [`ThreadPoolExecutor`]; from [`ThreadPoolExecutor::builder`].
///
/// ```
/// use std::time::Duration;
/// use concurrent_futures_thread_pool::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::builder()
///     .max_workers(4)
///     .thread_name_prefix("download")
///     .idle_timeout(Duration::from_secs(30))
///     .build()?;
/// # Ok::<(), concurrent_futures_thread_pool::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder<S = ()> {
    max_workers: Option<usize>,
    thread_name_prefix: Option<String>,
    idle_timeout: Option<Duration>,
    stack_size: Option<usize>,
    queue_capacity: Option<usize>,
    queue_order: QueueOrder,
    drop_policy: DropPolicy,
    initializer: Box<dyn Fn() -> Result<S, Box<dyn Error + Send + Sync>> + Send + Sync>,
    has_initializer: bool,
    observer: Option<Arc<dyn TaskObserver>>,
    capture: Option<Capture>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            max_workers: None,
            thread_name_prefix: None,
            idle_timeout: None,
            stack_size: None,
            queue_capacity: None,
            queue_order: QueueOrder::default(),
            drop_policy: DropPolicy::default(),
            initializer: Box::new(|| Ok(())),
            has_initializer: false,
            observer: None,
            capture: None,
        }
    }
}

impl<S: 'static> Builder<S> {
    /// How many tasks may run at the same time.
    ///
    /// The default is Python's: four more than the processors that this program may use, and at most 32, as a thread
    /// pool is mostly for tasks that wait. The processors are counted by
    /// [`available_parallelism`](std::thread::available_parallelism), which respects the affinity of the process and,
    /// on Linux, the CPU quota of its cgroup. For tasks that compute, one worker for each processor is better.
    pub fn max_workers(mut self, max_workers: usize) -> Self {
        self.max_workers = Some(max_workers);
        self
    }

    /// What the names of the worker threads begin with; an underscore and a number follow, counted from 0.
    ///
    /// The default is `ThreadPoolExecutor-N`, `N` being the number of the pool. Linux shows the first 15 bytes of a
    /// thread's name.
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name_prefix = Some(prefix.into());
        self
    }

    /// Calls `initializer` in each worker, before its first task.
    ///
    /// What it returns is the worker's state: lent to the tasks of
    /// [`submit_with_state`](ThreadPoolExecutor::submit_with_state), and dropped when the worker ends. It never leaves
    /// its thread, so it need not be `Send`.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use concurrent_futures_thread_pool::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::builder().initializer(|| Cell::new(0_u64)).build()?;
    /// let calls = pool.submit_with_state(|calls: &Cell<u64>, by| { calls.set(calls.get() + by); calls.get() }, 1)?;
    /// assert_eq!(calls.result()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the initializer panics the pool is broken: see [`try_initializer`](Self::try_initializer).
    pub fn initializer<T: 'static>(
        self,
        initializer: impl Fn() -> T + Send + Sync + 'static,
    ) -> Builder<T> {
        self.try_initializer(move || Ok::<T, Box<dyn Error + Send + Sync>>(initializer()))
    }

    /// As [`initializer`](Self::initializer), for one that may fail.
    ///
    /// If it fails, or panics, the pool is broken: tasks that wait fail with
    /// [`TaskError::Broken`](concurrent_futures_executor::future::TaskError::Broken) and the reason, those that run on
    /// other workers end as usual, and no more are accepted.
    pub fn try_initializer<T: 'static, E: Into<Box<dyn Error + Send + Sync>>>(
        self,
        initializer: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Builder<T> {
        Builder {
            max_workers: self.max_workers,
            thread_name_prefix: self.thread_name_prefix,
            idle_timeout: self.idle_timeout,
            stack_size: self.stack_size,
            queue_capacity: self.queue_capacity,
            queue_order: self.queue_order,
            drop_policy: self.drop_policy,
            initializer: Box::new(move || initializer().map_err(Into::into)),
            has_initializer: true,
            observer: self.observer,
            capture: self.capture,
        }
    }

    /// Ends a worker that has had nothing to do for this long. Without it workers stay until the pool ends.
    ///
    /// A worker that is needed later is started anew, initializer included.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// The stack of each worker, in bytes; see [`std::thread::Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// How many tasks may wait to be run. Without it there is no limit, as in Python, and producers that are faster than
    /// the workers fill the memory.
    ///
    /// When so many wait, submitting waits until one of them is taken by a worker; see
    /// [`try_submit`](ThreadPoolExecutor::try_submit) and [`submit_timeout`](ThreadPoolExecutor::submit_timeout) for other
    /// ways. A task that is cancelled keeps its place until its turn would have come. Tasks that a worker of
    /// the pool submits are always accepted: a worker that waited for room would wait for itself. Nor do they count, unless
    /// the queue has [another order](Self::queue_order).
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.queue_capacity = Some(tasks);
        self
    }

    /// In which order the tasks that wait are started; see [`QueueOrder`].
    ///
    /// ```
    /// use concurrent_futures_thread_pool::{QueueOrder, ThreadPoolExecutor};
    ///
    /// // What the user looks at now is loaded first.
    /// let thumbnails = ThreadPoolExecutor::builder().queue_order(QueueOrder::Lifo).build()?;
    /// # Ok::<(), concurrent_futures_thread_pool::BuildError>(())
    /// ```
    pub fn queue_order(mut self, order: QueueOrder) -> Self {
        self.queue_order = order;
        self
    }

    /// Tells `observer` of each task, when it starts and when it has ended; in place of the one chosen before. See
    /// [`TaskObserver`].
    ///
    /// It costs two allocations and two looks at the clock for each task. Without it, nothing is paid.
    pub fn observer(mut self, observer: impl TaskObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Carries something of the submitter's to each of its tasks: a tracing span, the id of a request, on whose behalf it is.
    /// In place of what was chosen before; without it a task knows nothing of who submitted it, and nothing is paid.
    ///
    /// `capture` is called in the thread that submits, for each task: in `submit` and its relatives, in the methods of a
    /// [`Scope`](crate::Scope), in the [`Executor`](concurrent_futures_executor::Executor)'s; and for each chunk of a `map`, in
    /// the thread that takes results from it. `run` is given what was captured, in the thread that runs the task, wherever
    /// that is, and calls the task. It is called before the future is completed; whatever it sets up it also takes down, as the
    /// next task of that worker has another submitter, and the task in the middle of which it may run as well. A task inherits
    /// the context of the task that submits it, as far as `capture` finds there what `run` has set up.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use concurrent_futures_thread_pool::ThreadPoolExecutor;
    ///
    /// thread_local!(static REQUEST: Cell<u64> = const { Cell::new(0) });
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .context(|| REQUEST.get(), |request, task| {
    ///         let before = REQUEST.replace(request);
    ///         task();
    ///         REQUEST.set(before);
    ///     })
    ///     .build()?;
    ///
    /// REQUEST.set(7);
    /// assert_eq!(pool.spawn(|| REQUEST.get())?.result()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// For the spans of the `tracing` crate it is `.context(Span::current, |span, task| span.in_scope(task))`.
    ///
    /// # Cancellation
    ///
    /// What was captured for a task that is cancelled or fails before it starts is dropped then, and with a submission that is
    /// refused.
    ///
    /// # Panics
    ///
    /// If `capture` panics, so does the submission. A panic of the task is caught inside of `run`, which does not see it. If `run`
    /// itself panics before it has called the task, that is the future's error; if after, the outcome stays what it was, and the
    /// [event hook](concurrent_futures_executor::future::set_event_hook) is told. If `run` does not call the task, the future
    /// fails with [`TaskError::Abandoned`](concurrent_futures_executor::future::TaskError::Abandoned); a second call does
    /// nothing.
    pub fn context<C: Send + 'static>(
        mut self,
        capture: impl Fn() -> C + Send + Sync + 'static,
        run: impl Fn(C, &mut dyn FnMut()) + Send + Sync + 'static,
    ) -> Self {
        self.capture = Some(Capture::new(capture, run));
        self
    }

    /// What dropping the pool does with the tasks that it has taken.
    pub fn drop_policy(mut self, policy: DropPolicy) -> Self {
        self.drop_policy = policy;
        self
    }

    /// Builds the pool. No thread is started before there is a task.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for choices that make no sense.
    pub fn build(self) -> Result<ThreadPoolExecutor<S>, BuildError> {
        let max_workers = match self.max_workers {
            Some(max_workers) => NonZeroUsize::new(max_workers).ok_or(BuildError::ZeroWorkers)?,
            None => default_max_workers(),
        };
        let queue_capacity = match self.queue_capacity {
            Some(tasks) => Some(NonZeroUsize::new(tasks).ok_or(BuildError::ZeroCapacity)?),
            None => None,
        };
        let name = self.thread_name_prefix.unwrap_or_else(default_name);
        if name.contains('\0') {
            return Err(BuildError::NulInName);
        }
        let hooks = Hooks::new(self.observer, self.capture);
        let initializer = self.initializer;
        let initializer: Initializer =
            Box::new(move || initializer().map(|state| Rc::new(state) as Rc<dyn Any>));
        let shared = Shared::new(Config {
            max_workers,
            name,
            idle_timeout: self.idle_timeout,
            stack_size: self.stack_size,
            queue_capacity,
            queue_order: self.queue_order,
            initializer,
            has_initializer: self.has_initializer,
            hooks,
        });
        Ok(ThreadPoolExecutor::from_parts(Arc::new(shared), self.drop_policy))
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_workers", &self.max_workers)
            .field("thread_name_prefix", &self.thread_name_prefix)
            .field("idle_timeout", &self.idle_timeout)
            .field("stack_size", &self.stack_size)
            .field("queue_capacity", &self.queue_capacity)
            .field("queue_order", &self.queue_order)
            .field("drop_policy", &self.drop_policy)
            .finish_non_exhaustive()
    }
}

fn default_max_workers() -> NonZeroUsize {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::MIN.saturating_add((processors + 4).min(32) - 1)
}

fn default_name() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("ThreadPoolExecutor-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
