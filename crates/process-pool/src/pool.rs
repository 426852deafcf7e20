//! The pool as its users see it.

use std::{fmt, sync::Arc};

use concurrent_futures_executor::{
    DropPolicy, Executor, ExecutorExt, InvalidMapOptions, Map, MapOptions, Portable, PortableFn,
    Refusal, Shutdown, ShutdownError, SubmitError, Task,
    future::{BrokenExecutor, Future},
};

use crate::{
    builder::{BuildError, Builder},
    stats::PoolStats,
    supervisor::Supervisor,
};

/// Runs tasks in a pool of processes; Python's `concurrent.futures.ProcessPoolExecutor`.
///
/// ```
/// use concurrent_futures_process_pool::ProcessPoolExecutor;
///
/// fn is_prime(n: u64) -> bool {
///     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let future = pool.submit(is_prime, 1_000_003)?;
/// assert!(future.result()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A task runs in a process of its own program: whatever it does there, crash, exit, or eat all memory, is an error of its
/// future, and harms nobody else. No call at the start of `main` is needed, and no attribute: workers are processes of the
/// same executable, which are taken over before `main`.
///
/// # What a task may be
///
/// A function that has no data of its own: a named function, or a closure that captures nothing. It takes one argument,
/// a tuple if there are several, which travels to the worker by way of [serde](https://serde.rs), and so does the result.
/// All of this is checked when the program is compiled. A function that is chosen at run time goes through
/// [`submit_fn`](Self::submit_fn). One that lives in a library which was loaded at run time, a plug-in, is refused
/// ([`Refusal::NotPortable`]), since workers do not have that.
///
/// # Large data
///
/// [`Bytes`](crate::Bytes), anywhere in an argument or a result, travel past serde, through memory that is shared with the
/// worker. A [`Shared`](crate::Shared) value is sent to each worker once, however many tasks have it in their argument. There
/// is no limit on either but memory; if that runs out, it is the error of the task.
///
/// ```
/// use concurrent_futures_process_pool::{Bytes, ProcessPoolExecutor, Shared};
///
/// fn count((haystack, needle): (Shared<Bytes>, u8)) -> usize {
///     haystack.iter().filter(|byte| **byte == needle).count()
/// }
///
/// let haystack = Shared::new(Bytes::from(vec![7; 1 << 20]));
/// let pool = ProcessPoolExecutor::with_max_workers(2)?;
/// let tasks = (0..100).map(|needle| (haystack.clone(), needle));
/// let counts: Vec<usize> = pool.map(count, tasks).collect::<Result<_, _>>()?;
/// assert_eq!((counts[6], counts[7]), (0, 1 << 20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Processes
///
/// The first task starts the [fork server](crate::StartMethod::ForkServer), and then workers are started when there are
/// tasks for them, up to [`max_workers`](Builder::max_workers), and only if none is free. Statics of the program have the
/// values they had before `main` in a worker, and keep from task to task what tasks leave in them.
///
/// A worker has its own process group, an empty standard input, this process's standard output, and a standard error whose
/// content is passed on to that of this process. Whatever it leaves running in its group when it ends is killed. If this
/// process goes away, by whatever means, all workers are killed, with their groups.
///
/// # When a worker dies
///
/// The task that it was running fails with [`TaskError::WorkerDied`], which tells of what it died. Nothing else fails: the
/// worker is replaced when it is needed. The pool breaks only if its workers cannot be made ready: when an
/// [initializer](Builder::initializer) fails, or when several in a row die before they are ready. Then all that was
/// submitted fails with [`TaskError::Broken`], which tells why, and no more is accepted.
///
/// [`TaskError::WorkerDied`]: concurrent_futures_executor::future::TaskError::WorkerDied
/// [`TaskError::Broken`]: concurrent_futures_executor::future::TaskError::Broken
///
/// # Order
///
/// Tasks start in the order in which they were submitted; but one whose worker dies before it could start it, starts
/// again in another. A worker that is busy with short tasks is sent some more, and tasks that wait there may be overtaken by
/// later ones that go to a worker which is free sooner.
///
/// # Cancellation
///
/// [`Future::cancel`] stops a task that has not started, wherever it waits. One that runs can be stopped with the whole pool:
/// [`kill_workers`](Self::kill_workers).
///
/// # Callbacks
///
/// [Done-callbacks](Future::add_done_callback) run in threads of the pool, in this process. One that takes long holds up
/// neither results nor other callbacks of other futures. Results are decoded, and arguments dropped, there or in a thread that
/// waits for a result of this pool or submits a task to it.
///
/// # Dropping
///
/// Dropping the pool runs everything that was submitted and waits for it, and for all processes to be gone, unless
/// [another policy](Builder::drop_policy) was chosen. While the thread panics, what has not started is cancelled. In a
/// process forked from the one that made it, dropping a pool does nothing.
pub struct ProcessPoolExecutor {
    supervisor: Arc<Supervisor>,
    drop_policy: DropPolicy,
}

impl ProcessPoolExecutor {
    /// A pool with one worker for each processor that this process may use.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where worker processes cannot be.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A pool with at most this many workers.
    ///
    /// # Errors
    ///
    /// [`BuildError::ZeroWorkers`] if there are to be none, and others as for [`new`](Self::new).
    pub fn with_max_workers(max_workers: usize) -> Result<Self, BuildError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// All the choices.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(supervisor: Arc<Supervisor>, drop_policy: DropPolicy) -> Self {
        Self { supervisor, drop_policy }
    }

    /// Submits the call of `function` with `argument`, and returns the future of its result.
    ///
    /// The argument is encoded before this returns. One that cannot be is the future's error.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with function and argument inside, if the pool has been shut down, is broken, or cannot start its
    /// first process.
    pub fn submit<F, A, R>(
        &self,
        function: F,
        argument: A,
    ) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: Fn(A) -> R + PortableFn,
        A: Portable,
        R: Portable,
    {
        ExecutorExt::submit(self, function, argument)
    }

    /// As [`submit`](Self::submit), for a function that is chosen at run time.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there.
    pub fn submit_fn<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Future<R>, SubmitError<A>>
    where
        A: Portable,
        R: Portable,
    {
        ExecutorExt::submit_fn(self, function, argument)
    }

    /// Calls `function` for every item and returns the results in order; see [`ExecutorExt::map`].
    pub fn map<F, A, R, I>(&self, function: F, items: I) -> Map<'_, I::IntoIter, R>
    where
        F: Fn(A) -> R + PortableFn,
        I: IntoIterator<Item = A>,
        A: Portable,
        R: Portable,
    {
        ExecutorExt::map(self, function, items)
    }

    /// As [`map`](Self::map), with options; see [`ExecutorExt::map_with`].
    ///
    /// # Errors
    ///
    /// [`InvalidMapOptions`] for a chunk or buffer of no items.
    pub fn map_with<F, A, R, I>(
        &self,
        options: MapOptions,
        function: F,
        items: I,
    ) -> Result<Map<'_, I::IntoIter, R>, InvalidMapOptions>
    where
        F: Fn(A) -> R + PortableFn,
        I: IntoIterator<Item = A>,
        A: Portable,
        R: Portable,
    {
        ExecutorExt::map_with(self, options, function, items)
    }

    /// Starts workers before there are tasks for them, so that there are at least so many, up to the maximum. Does not wait
    /// until they are ready. Those that die are replaced at once from then on.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the pool has been shut down, is broken, or cannot start its first process.
    pub fn prestart(&self, workers: usize) -> Result<(), Refusal> {
        self.supervisor.prestart(workers)
    }

    /// Accepts no more tasks, runs those that it has taken, and returns when all is done and all processes are gone; see
    /// [`Executor::shutdown`].
    pub fn shutdown(&self) {
        Executor::shutdown(self);
    }

    /// Accepts no more tasks, and does with those that it has taken as `how` says.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if this could not wait for the end: the time ran out, or it was called by a done-callback of the
    /// pool. The pool is shut down all the same.
    pub fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        Executor::shutdown_with(self, how)
    }

    /// Shuts down, cancels what has not started, and asks all workers to end, with `SIGTERM`; Python's
    /// `terminate_workers()`. Does not wait.
    ///
    /// What runs fails with [`TaskError::WorkerDied`](concurrent_futures_executor::future::TaskError::WorkerDied), unless a
    /// task has made arrangements for the signal.
    pub fn terminate_workers(&self) {
        self.supervisor.stop_workers(libc::SIGTERM);
    }

    /// As [`terminate_workers`](Self::terminate_workers), and waits as `how` says.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] as for [`shutdown_with`](Self::shutdown_with).
    pub fn terminate_workers_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        self.terminate_workers();
        self.shutdown_with(how)
    }

    /// Shuts down, cancels what has not started, and kills all workers and what they have started, with `SIGKILL`; Python's
    /// `kill_workers()`. Does not wait.
    ///
    /// What runs fails with [`TaskError::WorkerDied`](concurrent_futures_executor::future::TaskError::WorkerDied); of a chunk of
    /// a `map`, the items that were not done.
    pub fn kill_workers(&self) {
        self.supervisor.stop_workers(libc::SIGKILL);
    }

    /// As [`kill_workers`](Self::kill_workers), and waits as `how` says.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] as for [`shutdown_with`](Self::shutdown_with).
    pub fn kill_workers_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        self.kill_workers();
        self.shutdown_with(how)
    }

    /// How many tasks run at the same time at most.
    #[must_use]
    pub fn max_workers(&self) -> usize {
        Executor::max_workers(self)
    }

    /// What the pool has done and is doing, in one consistent snapshot.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.supervisor.stats()
    }

    /// The ids of the worker processes that there are at this moment.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.supervisor.worker_pids()
    }

    /// Why the pool is broken, if it is.
    #[must_use]
    pub fn broken(&self) -> Option<BrokenExecutor> {
        self.supervisor.broken()
    }
}

impl Executor for ProcessPoolExecutor {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        self.supervisor.execute(task)
    }

    fn max_workers(&self) -> usize {
        self.supervisor.config().max_workers.get()
    }

    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        self.supervisor.shut_down(how)
    }
}

impl Drop for ProcessPoolExecutor {
    fn drop(&mut self) {
        let outcome = self.supervisor.shut_down(self.drop_policy.shutdown());
        if let (Err(ShutdownError::Timeout(_)), DropPolicy::WaitFor(_)) =
            (outcome, self.drop_policy)
        {
            self.kill_workers();
        }
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("ProcessPoolExecutor")
            .field("name", &self.supervisor.config().name)
            .field("max_workers", &self.supervisor.config().max_workers)
            .field("workers", &stats.workers)
            .field("queued", &stats.queued)
            .field("running", &stats.running)
            .finish_non_exhaustive()
    }
}
