//! The pool as its users see it.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use concurrent_futures_executor::{
    DropPolicy, Executor, InvalidMapOptions, Map, MapError, MapOptions, Shutdown, ShutdownError,
    SubmitError, Task, future::Future, local,
};

use crate::{
    builder::{BuildError, Builder},
    items::Items,
    join, map_vec,
    scope::{self, Scope},
    shared::{Patience, Shared},
    stats::PoolStats,
    sync::Instant,
    worker::with_state,
};

/// Runs tasks on a pool of threads; Python's `concurrent.futures.ThreadPoolExecutor`.
///
/// ```
/// use concurrent_futures_thread_pool::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new();
/// let greeting = String::from("hello");
/// let future = pool.submit(move |name: &str| format!("{greeting}, {name}"), "world")?;
/// assert_eq!(future.result()?, "hello, world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its own methods take any closure and any value that can be sent to another thread. Through the
/// [`Executor`] trait it takes what any executor takes, so that code written against the trait can run elsewhere.
///
/// Threads are started when there are tasks for them, up to
/// [`max_workers`](Builder::max_workers), and only if no worker is free. `S` is the type of the
/// [state](Builder::initializer) that each worker has, if any.
///
/// # Order
///
/// Tasks submitted from outside start in the order in which they were submitted. When they are short, a few microseconds
/// each, workers take several at once, and the order is kept to within as many. Tasks that a task submits start in their
/// order too, as a rule on the worker that runs it; so as not to keep the others waiting, a worker takes a task from
/// outside after at most 62 of its own.
/// [`Builder::queue_order`] has other orders.
///
/// # Tasks that wait for tasks
///
/// A task may wait for another task of the same pool, in any of the ways in which a future can be waited for. If the
/// other task has not started, the waiting worker runs it in place, up to 64 tasks deep; otherwise a thread stands in for
/// the worker while it sleeps. So there can be more threads than `max_workers`, one for each worker that sleeps inside a
/// task; no more than `max_workers` are awake, but for a moment when one of them wakes up. Stand-ins leave when they have
/// not been needed for half a second. If the operating system gives no thread, the pool makes do with those that there
/// are. A wait with a time-out does not run tasks in place, since they might take longer than that. Waits that this
/// library knows nothing of, as on a channel or a lock, are announced with
/// [`blocking`](concurrent_futures_executor::future::blocking).
///
/// # Cancellation
///
/// [`Future::cancel`] stops a task that has not started. Nothing stops one that has.
///
/// # Panics
///
/// A panic of a task becomes the error of its future; the worker lives on.
///
/// # Dropping
///
/// Dropping the pool runs everything that was submitted and waits for it, unless
/// [another policy](Builder::drop_policy) was chosen. (Of a pool in an [`Arc`], that is the drop of the last one: a clone
/// that lives for ever, as in a signal handler, should be a [`Weak`](std::sync::Weak).) While the thread panics, what has not started is cancelled. A pool
/// that is dropped by one of its own workers, as part of a task, ends without being waited for. In a process forked
/// from the one that made it, a pool has no threads: it must not be submitted to, and dropping it does nothing.
pub struct ThreadPoolExecutor<S = ()> {
    shared: Arc<Shared>,
    drop_policy: DropPolicy,
    state: PhantomData<fn() -> S>,
}

impl ThreadPoolExecutor {
    /// A pool with as many workers as suit tasks that mostly wait: see [`Builder::max_workers`].
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the default choices are valid")]
    pub fn new() -> Self {
        Self::builder().build().expect("the default choices are valid")
    }

    /// A pool with at most this many workers.
    ///
    /// # Errors
    ///
    /// [`BuildError::ZeroWorkers`] if there are to be none.
    pub fn with_max_workers(max_workers: usize) -> Result<Self, BuildError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// All the choices.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Default for ThreadPoolExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: 'static> ThreadPoolExecutor<S> {
    pub(crate) fn from_parts(shared: Arc<Shared>, drop_policy: DropPolicy) -> Self {
        Self { shared, drop_policy, state: PhantomData }
    }

    /// Submits the call of `function` with `argument`, and returns the future of its result.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with function and argument inside, if the pool has been shut down, is broken, or has no worker
    /// and cannot start one.
    pub fn submit<F, A, R>(
        &self,
        function: F,
        argument: A,
    ) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        local::submit(self, function, argument)
    }

    /// Submits the call of `function`, for closures that capture all they need; otherwise as [`submit`](Self::submit).
    ///
    /// ```
    /// # use concurrent_futures_thread_pool::ThreadPoolExecutor;
    /// # let pool = ThreadPoolExecutor::new();
    /// let numbers = vec![1, 2, 3];
    /// let sum = pool.spawn(move || numbers.iter().sum::<i32>())?;
    /// assert_eq!(sum.result()?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there.
    pub fn spawn<F, R>(&self, function: F) -> Result<Future<R>, SubmitError<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        local::spawn(self, function)
    }

    /// As [`submit`](Self::submit), without waiting for room in a [bounded](Builder::queue_capacity) queue.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there, and with [`Refusal::Full`](concurrent_futures_executor::Refusal::Full) if there is no room.
    pub fn try_submit<F, A, R>(
        &self,
        function: F,
        argument: A,
    ) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        let attempt = Attempt { shared: &self.shared, patience: Patience::None, priority: 0 };
        local::submit(&attempt, function, argument)
    }

    /// As [`submit`](Self::submit), waiting for room in a [bounded](Builder::queue_capacity) queue no longer than
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there, and with [`Refusal::Full`](concurrent_futures_executor::Refusal::Full) if there is no room
    /// in time.
    pub fn submit_timeout<F, A, R>(
        &self,
        timeout: Duration,
        function: F,
        argument: A,
    ) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        // A moment that the clock cannot express is farther away than anybody can wait for.
        let patience =
            Instant::now().checked_add(timeout).map_or(Patience::Endless, Patience::Until);
        let attempt = Attempt { shared: &self.shared, patience, priority: 0 };
        local::submit(&attempt, function, argument)
    }

    /// As [`submit`](Self::submit), with a priority, for a pool that starts tasks by
    /// [priority](crate::QueueOrder::Priority): the higher, the sooner. Everything else is submitted with priority 0. Under
    /// other [orders](Builder::queue_order) it means nothing.
    ///
    /// ```
    /// use concurrent_futures_thread_pool::{QueueOrder, ThreadPoolExecutor};
    ///
    /// let pool = ThreadPoolExecutor::builder().queue_order(QueueOrder::Priority).build()?;
    /// let report = pool.submit_with_priority(-10, |pages| format!("{pages} pages"), 500)?;
    /// let answer = pool.submit_with_priority(10, |question: &str| question.len(), "now")?;
    /// # answer.result()?;
    /// # report.result()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there.
    pub fn submit_with_priority<F, A, R>(
        &self,
        priority: i8,
        function: F,
        argument: A,
    ) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        let attempt = Attempt { shared: &self.shared, patience: Patience::Endless, priority };
        local::submit(&attempt, function, argument)
    }

    /// As [`submit`](Self::submit), with the state of the worker lent to the function.
    ///
    /// The state is that of whichever worker runs the task, made by the pool's [initializer](Builder::initializer). It
    /// is shared with the tasks that this one may run [in place](Self#tasks-that-wait-for-tasks) while it waits, hence
    /// the shared reference; use a [`Cell`](std::cell::Cell) or [`RefCell`](std::cell::RefCell) to change it.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there.
    pub fn submit_with_state<F, A, R>(
        &self,
        function: F,
        argument: A,
    ) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: FnOnce(&S, A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        let call = |(function, argument): (F, A)| with_state(|state| function(state, argument));
        local::submit(self, call, (function, argument))
            .map_err(|refused| refused.map(|(_, function_and_argument)| function_and_argument))
    }

    /// Calls `function` for every item and returns the results in order; see [`ExecutorExt::map`](concurrent_futures_executor::ExecutorExt::map).
    ///
    /// For cheap calls whose results all go into a vector, [`map_vec`](Self::map_vec) is several times quicker.
    pub fn map<F, I, R>(&self, function: F, items: I) -> Map<'_, I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        local::map(self, function, items)
    }

    /// As [`map`](Self::map), with options; see [`ExecutorExt::map_with`](concurrent_futures_executor::ExecutorExt::map_with).
    ///
    /// # Errors
    ///
    /// [`InvalidMapOptions`] for a chunk or buffer of no items.
    pub fn map_with<F, I, R>(
        &self,
        options: MapOptions,
        function: F,
        items: I,
    ) -> Result<Map<'_, I::IntoIter, R>, InvalidMapOptions>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        local::map_with(self, options, function, items)
    }

    /// Calls `function` for all items of a vector, a slice or a range, and returns all results in order: the quickest way to a
    /// vector, and one that may borrow.
    ///
    /// ```
    /// # use concurrent_futures_thread_pool::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new();
    /// let squares = pool.map_vec(|n| n * n, 0..1000_u64)?;
    /// assert_eq!(squares[999], 998_001);
    ///
    /// let words = vec!["borrowed", "items", "and"];
    /// let suffix = String::from(" results");
    /// let long = pool.map_vec(|word| format!("{word}{suffix}"), &words)?;
    /// assert_eq!(long[2], "and results");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// It gives what `pool.map(function, items).collect::<Result<Vec<_>, _>>()` gives. That passes each item and each result
    /// through the calling thread, which for calls of less than a microsecond takes longer than the calls; here the workers take the
    /// items and write the results into the vector themselves. In exchange the items must be of a kind that can be divided, see
    /// [`Items`], and there is nothing before there is everything. For an endless or lazy input, for results as they come, for an error for
    /// each item, or a deadline, there is [`map`](Self::map).
    ///
    /// The whole is one task: one in the [statistics](Self::stats), and to an [observer](crate::Builder::observer). All workers that
    /// have nothing else to do take part in it; tasks that are submitted meanwhile come first, a millisecond later, on all workers but one.
    /// In a task of this pool the calling worker begins at once, and it is no task of its own.
    ///
    /// # Cancellation
    ///
    /// There is none: what was begun is finished, also if the pool is shut down meanwhile.
    ///
    /// # Errors
    ///
    /// [`MapError::Task`], with the panic, if calls have panicked: that of the first item in order. No further items are taken
    /// then; those that were not, and results that there are, are dropped. [`MapError::Refused`] if the pool has been shut
    /// down, is broken, or has no worker and cannot start one; and [`MapError::Task`] also if the pool is shut down or breaks
    /// before it has begun.
    pub fn map_vec<F, I, R>(&self, function: F, items: I) -> Result<Vec<R>, MapError>
    where
        F: Fn(I::Item) -> R + Sync,
        I: Items,
        R: Send,
    {
        map_vec::map_vec(self, &self.shared, function, items)
    }

    /// Runs `f` with a scope, through which tasks may borrow what outlives the scope; waits for all of them.
    ///
    /// ```
    /// # use concurrent_futures_thread_pool::ThreadPoolExecutor;
    /// # let pool = ThreadPoolExecutor::new();
    /// let words = vec!["scoped".to_owned(), "tasks".to_owned(), "borrow".to_owned()];
    /// let longest = pool.scope(|scope| {
    ///     let lengths: Vec<_> =
    ///         words.iter().map(|word| scope.spawn(|| word.len())).collect::<Result<_, _>>()?;
    ///     let mut longest = 0;
    ///     for length in lengths {
    ///         longest = longest.max(length.result()?);
    ///     }
    ///     Ok::<_, Box<dyn std::error::Error>>(longest)
    /// })?;
    /// assert_eq!(longest, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `f` panics, what has not started is cancelled, the rest is waited for, and the panic goes on. A panic of a
    /// task is its future's error.
    pub fn scope<'env, F, T>(&self, f: F) -> T
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
    {
        scope::scope(self, f)
    }

    /// Runs both closures on the pool, at the same time if it has workers to spare, and returns what they return; for
    /// divide-and-conquer. Both may borrow, and may call [`join`](crate::join()) in their turn.
    ///
    /// ```
    /// # use concurrent_futures_thread_pool::ThreadPoolExecutor;
    /// # let pool = ThreadPoolExecutor::new();
    /// let mut numbers = [3, 1, 4, 1, 5, 9, 2, 6];
    /// let (left, right) = numbers.split_at_mut(4);
    /// pool.join(|| left.sort(), || right.sort());
    /// assert_eq!(numbers, [1, 1, 3, 4, 2, 5, 6, 9]);
    /// ```
    ///
    /// In a task of this pool it is the same as the function [`join`](crate::join()), which says all the rest. Elsewhere it makes
    /// the call of that function a task of this pool, and waits for it. If the pool does not take the task, because it has been
    /// shut down, is broken, or has no worker and cannot start one, the calling thread runs `a`, then `b`.
    ///
    /// # Panics
    ///
    /// If `a` or `b` panics, so does this, after both have ended; with the panic of `a` if both have panicked.
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        join::join_in(self, &self.shared, a, b)
    }

    /// Accepts no more tasks, runs those that it has taken, and returns when all is done; see
    /// [`Executor::shutdown`].
    pub fn shutdown(&self) {
        Executor::shutdown(self);
    }

    /// Accepts no more tasks, and does with those that it has taken as `how` says.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use concurrent_futures_thread_pool::ThreadPoolExecutor;
    /// use concurrent_futures_thread_pool::executor::Shutdown;
    /// # let pool = ThreadPoolExecutor::new();
    /// pool.shutdown_with(Shutdown::timeout(Duration::from_secs(5)).cancel_futures())?;
    /// # Ok::<(), concurrent_futures_thread_pool::executor::ShutdownError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if this could not wait for the end: the time ran out, or a worker of the pool asked. The pool is
    /// shut down all the same.
    pub fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        Executor::shutdown_with(self, how)
    }

    /// How many tasks run at the same time at most.
    #[must_use]
    pub fn max_workers(&self) -> usize {
        Executor::max_workers(self)
    }

    /// What the names of the pool's threads begin with.
    #[must_use]
    pub fn thread_name_prefix(&self) -> &str {
        &self.shared.config.name
    }

    /// What the pool has done and is doing, in one consistent snapshot.
    ///
    /// ```
    /// # use concurrent_futures_thread_pool::ThreadPoolExecutor;
    /// # let pool = ThreadPoolExecutor::new();
    /// pool.spawn(|| ())?.result()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.submitted, stats.queued, stats.running, stats.succeeded), (1, 0, 0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.shared.stats()
    }

    /// How many threads the pool has at this moment.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.shared.snapshot().0
    }
}

impl<S> Executor for ThreadPoolExecutor<S> {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        self.shared.execute(task, Patience::Endless, 0)
    }

    fn max_workers(&self) -> usize {
        self.shared.config.max_workers.get()
    }

    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        self.shared.shut_down(how)
    }
}

/// The pool, for a submission that does not wait as long as it takes, or has a priority.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    patience: Patience,
    priority: i8,
}

impl Executor for Attempt<'_> {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        self.shared.execute(task, self.patience, self.priority)
    }

    fn max_workers(&self) -> usize {
        self.shared.config.max_workers.get()
    }

    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        self.shared.shut_down(how)
    }
}

impl<S> Drop for ThreadPoolExecutor<S> {
    fn drop(&mut self) {
        // Nobody is left to be told that this could not wait for the end; the policy says what happens then.
        drop(self.shared.shut_down(self.drop_policy.shutdown()));
    }
}

impl<S> fmt::Debug for ThreadPoolExecutor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, queued, shut_down) = self.shared.snapshot();
        f.debug_struct("ThreadPoolExecutor")
            .field("name", &self.shared.config.name)
            .field("max_workers", &self.shared.config.max_workers)
            .field("threads", &threads)
            .field("queued", &queued)
            .field("shut_down", &shut_down)
            .finish_non_exhaustive()
    }
}
