//! The narrow waist: what an executor must do, and all that follows from it.

use std::sync::Arc;

use concurrent_futures_future::{Future, PackagedTask};

use crate::{
    chunk::ChunkCall,
    error::{InvalidMapOptions, ShutdownError, SubmitError},
    map::{Map, MapOptions, Submitter},
    portable::{Portable, PortableFn, portable_call},
    shutdown::Shutdown,
    task::{PointerCall, Task, TaskWork, package},
};

/// Something that runs tasks: threads, processes, or the caller itself; Python's `concurrent.futures.Executor`.
///
/// Code that takes an executor, generically or as `&dyn Executor` or `Arc<dyn Executor>`, leaves the choice to its
/// user. Tasks are submitted with the methods of [`ExecutorExt`], which every executor has.
///
/// ```
/// use concurrent_futures_executor::{Executor, ExecutorExt, InlineExecutor};
///
/// fn sum_of_squares(executor: &dyn Executor, upto: u64) -> Result<u64, Box<dyn std::error::Error>> {
///     let mut sum = 0;
///     for square in executor.map(|n| n * n, 1..=upto) {
///         sum += square?;
///     }
///     Ok(sum)
/// }
///
/// assert_eq!(sum_of_squares(&InlineExecutor::new(), 10)?, 385);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What a task may be
///
/// An executor may run its tasks in another process, so a task must be able to cross: its function has no data of its
/// own (a named function, or a closure that captures nothing), and takes one argument, a tuple if there are several,
/// which serde can write and read, and so for the result. The compiler checks all of this:
///
/// ```compile_fail
/// # use concurrent_futures_executor::{Executor, ExecutorExt, InlineExecutor};
/// let factor = 3;
/// let executor: &dyn Executor = &InlineExecutor::new();
/// executor.submit(|n: u64| n * factor, 14); // captures `factor`: pass it in the argument
/// ```
///
/// Executors that run in this process offer methods of their own with looser bounds.
///
/// # Contract
///
/// Every executor keeps this, and may rely on others doing so.
///
/// - **Completion.** A task that was accepted ends its future: with its value, with its panic, or with the reason why
///   it could not be run. A task that was refused is given back.
/// - **Once.** A task runs at most once. It does not run if its future was cancelled before it started, and its future
///   cannot be cancelled after.
/// - **Order.** Tasks of one submitting thread start in the order in which they were submitted, unless the executor
///   documents another. They end in any.
/// - **Memory effects.** What a thread did before it submitted a task happens before the task; the task happens before
///   anybody sees that its future is done. Where no memory is shared, this holds for what was passed and returned.
/// - **Panics.** A panic of a task is its future's error. It harms neither the executor nor other tasks.
/// - **Shutdown.** After it has begun no task is accepted, also not from running tasks. What was accepted is run,
///   unless cancelling was asked for. It may be asked for any number of times, in any way, from any thread.
/// - **Drop.** Dropping an executor shuts it down and waits, as leaving Python's `with` block does; executors may
///   offer other choices at construction. A drop while the thread panics cancels what has not started.
///
/// # Implementing it
///
/// Three methods are required. [`execute`](Self::execute) takes a [`Task`], which knows how to run itself; what people
/// call is [`ExecutorExt`], which is written once on top of it.
pub trait Executor: Send + Sync {
    /// Takes a task, to be run as soon as a worker is free. Does not wait for one, unless that is what the executor is
    /// for.
    ///
    /// This is for executors to implement; to submit something, there is `submit`.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task inside, if it is not going to be run. A broken executor says so whether or not it
    /// has also been shut down.
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>>;

    /// How many tasks run at the same time at most. At least 1.
    fn max_workers(&self) -> usize;

    /// Accepts no more tasks from now on, and does with those that it has taken as `how` says.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if this could not wait for the end. The executor is shut down all the same, and it can be
    /// waited for again.
    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError>;

    /// Accepts no more tasks, runs those that it has taken, and returns when all is done; Python's `shutdown()`.
    ///
    /// A worker that calls this for its own executor does not wait for itself: the call returns at once, and the
    /// executor ends when its tasks have. [`shutdown_with`](Self::shutdown_with) has all the choices.
    fn shutdown(&self) {
        // The one error possible without a deadline is that of a worker, described above.
        drop(self.shutdown_with(Shutdown::wait()));
    }
}

/// What people call: `submit` and `map`, for every [`Executor`], trait objects included.
///
/// A trait of its own because a trait object can have no generic methods; it is implemented for every executor, and is
/// not to be implemented otherwise. The executors of this library have methods of these names themselves, so this has to
/// be imported only where the executor is a type parameter or a trait object.
pub trait ExecutorExt: Executor {
    /// Submits the call of `function` with `argument`, and returns the future of its result.
    ///
    /// ```
    /// # use concurrent_futures_executor::{ExecutorExt, InlineExecutor};
    /// # let executor = InlineExecutor::new();
    /// let power = executor.submit(|(base, exponent)| u64::pow(base, exponent), (2, 10))?;
    /// assert_eq!(power.result()?, 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with function and argument inside, if the executor refuses: it has been shut down, it is
    /// broken, or it could not start a worker.
    fn submit<F, A, R>(&self, function: F, argument: A) -> Result<Future<R>, SubmitError<(F, A)>>
    where
        F: Fn(A) -> R + PortableFn,
        A: Portable,
        R: Portable,
    {
        submit_portable(self, function, argument)
    }

    /// As [`submit`](Self::submit), for a function that is chosen at run time.
    ///
    /// ```
    /// # use concurrent_futures_executor::{ExecutorExt, InlineExecutor};
    /// # let executor = InlineExecutor::new();
    /// fn double(n: u64) -> u64 { 2 * n }
    /// fn square(n: u64) -> u64 { n * n }
    ///
    /// for (name, function) in [("double", double as fn(u64) -> u64), ("square", square)] {
    ///     println!("{name}: {}", executor.submit_fn(function, 12)?.result()?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SubmitError`] as there.
    fn submit_fn<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Future<R>, SubmitError<A>>
    where
        A: Portable,
        R: Portable,
    {
        submit_work(self, PointerCall { function, argument })
            .map_err(|refused| refused.map(|work| work.argument))
    }

    /// Calls `function` for every item, and returns the results in the order of the items.
    ///
    /// The iterator keeps a window of items submitted: the first are submitted before this returns, and each result
    /// that is taken lets another item in. So the items may be endless, and memory is bounded. See [`MapOptions`] for
    /// the size of the window, chunks, a deadline, and results in the order in which they come.
    ///
    /// Each result is by itself: an item that fails yields its error, and the iterator goes on. Each item is run once at most.
    ///
    /// ```
    /// # use concurrent_futures_executor::{ExecutorExt, InlineExecutor};
    /// # let executor = InlineExecutor::new();
    /// let words = ["3", "x", "5"].map(str::to_owned);
    /// let lengths: Vec<_> = executor
    ///     .map(|word: String| word.parse::<u32>().ok(), words)
    ///     .collect::<Result<_, _>>()?;
    /// assert_eq!(lengths, [Some(3), None, Some(5)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping the iterator cancels what has not started, whether or not anything was taken from it.
    /// [`Map::detach`] leaves it running.
    ///
    /// # Panics
    ///
    /// If the iterator of items panics, so does this call or that of `next`; results of items that were submitted are
    /// still to be had from `next`.
    fn map<F, A, R, I>(&self, function: F, items: I) -> Map<'_, I::IntoIter, R>
    where
        F: Fn(A) -> R + PortableFn,
        I: IntoIterator<Item = A>,
        A: Portable,
        R: Portable,
    {
        map_portable(self, function, items)
    }

    /// As [`map`](Self::map), with options.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use concurrent_futures_executor::{ExecutorExt, InlineExecutor, MapOptions};
    /// # let executor = InlineExecutor::new();
    /// let options = MapOptions::new().chunksize(100).timeout(Duration::from_secs(10));
    /// let total = executor.map_with(options, |n: u64| n % 7, 0..10_000)?.sum::<Result<u64, _>>()?;
    /// # assert_eq!(total, (0..10_000).map(|n| n % 7).sum());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidMapOptions`] for a chunk or buffer of no items.
    fn map_with<F, A, R, I>(
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
        map_portable_with(self, options, function, items)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}

macro_rules! forward_executor {
    ($($pointer:ty),*) => {$(
        impl<E: Executor + ?Sized> Executor for $pointer {
            fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
                (**self).execute(task)
            }

            fn max_workers(&self) -> usize {
                (**self).max_workers()
            }

            fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
                (**self).shutdown_with(how)
            }

            fn shutdown(&self) {
                (**self).shutdown();
            }
        }
    )*};
}

forward_executor!(&E, Box<E>, Arc<E>);

/// Submits work of any kind; the work comes back if the executor refuses.
pub(crate) fn submit_work<W: TaskWork>(
    executor: &(impl Executor + ?Sized),
    work: W,
) -> Result<Future<W::Output>, SubmitError<W>> {
    let (task, future) = package(work);
    let refused = match executor.execute(task) {
        Ok(()) => return Ok(future),
        Err(refused) => refused,
    };
    let (reason, task) = refused.into_parts();
    let Some(work) = PackagedTask::<W>::take_work_of(&future) else {
        // An executor that refuses what it has already run has broken the contract, but the future still tells.
        return Ok(future);
    };
    // Nobody has seen the future; ending it this way is not reported as a failure.
    task.cancel();
    Err(SubmitError::new(reason, work))
}

fn submit_portable<F, A, R>(
    executor: &(impl Executor + ?Sized),
    function: F,
    argument: A,
) -> Result<Future<R>, SubmitError<(F, A)>>
where
    F: Fn(A) -> R + PortableFn,
    A: Portable,
    R: Portable,
{
    submit_work(executor, portable_call(function, argument))
        .map_err(|refused| refused.map(|work| (work.function, work.argument)))
}

fn map_portable<'a, F, A, R, I>(
    executor: &'a (impl Executor + ?Sized),
    function: F,
    items: I,
) -> Map<'a, I::IntoIter, R>
where
    F: Fn(A) -> R + PortableFn,
    I: IntoIterator<Item = A>,
    A: Portable,
    R: Portable,
{
    map_portable_with(executor, MapOptions::new(), function, items)
        .expect("the default options are valid")
}

fn map_portable_with<'a, F, A, R, I>(
    executor: &'a (impl Executor + ?Sized),
    options: MapOptions,
    function: F,
    items: I,
) -> Result<Map<'a, I::IntoIter, R>, InvalidMapOptions>
where
    F: Fn(A) -> R + PortableFn,
    I: IntoIterator<Item = A>,
    A: Portable,
    R: Portable,
{
    let submitter = Submitter {
        one: Box::new(move |item| {
            submit_portable(executor, function, item)
                .map_err(|refused| refused.map(|(_, item)| item))
        }),
        many: Box::new(move |items| {
            submit_work(executor, ChunkCall::new(function, items))
                .map_err(|refused| refused.map(|work| work.items))
        }),
    };
    Map::start(executor.max_workers(), options, submitter, items.into_iter())
}
