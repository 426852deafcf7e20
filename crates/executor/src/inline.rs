//! The smallest executor: it runs each task in the thread that submits it.

use std::sync::atomic::{AtomicBool, Ordering};

use concurrent_futures_future::Future;

use crate::{
    Executor, InvalidMapOptions, Map, MapOptions, Refusal, Shutdown, ShutdownError, SubmitError,
    Task, local,
};

/// Runs every task at once, in the thread that submits it.
///
/// For tests, for debugging (everything happens in one thread, in order), and wherever an [`Executor`] is asked for and
/// there is nothing to gain from running things elsewhere. The futures that it returns have always ended.
///
/// ```
/// use concurrent_futures_executor::InlineExecutor;
///
/// let executor = InlineExecutor::new();
/// let future = executor.submit(|n: u64| n * n, 12)?;
/// assert_eq!(future.result()?, 144);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct InlineExecutor {
    shut_down: AtomicBool,
}

impl InlineExecutor {
    /// An executor that is ready to run tasks.
    #[must_use]
    pub const fn new() -> Self {
        Self { shut_down: AtomicBool::new(false) }
    }

    /// As [`ExecutorExt::submit`](crate::ExecutorExt::submit), for any function and argument: nothing leaves this thread.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] if the executor has been shut down.
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

    /// As [`ExecutorExt::map`](crate::ExecutorExt::map), for any function and items.
    pub fn map<F, I, R>(&self, function: F, items: I) -> Map<'_, I::IntoIter, R>
    where
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        I: IntoIterator<Item: Send + 'static>,
        R: Send + 'static,
    {
        local::map(self, function, items)
    }

    /// As [`ExecutorExt::map_with`](crate::ExecutorExt::map_with), for any function and items.
    ///
    /// # Errors
    ///
    /// [`InvalidMapOptions`] as there.
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
}

impl Executor for InlineExecutor {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        // Acquire: pairs with the Release in `shutdown_with`.
        if self.shut_down.load(Ordering::Acquire) {
            return Err(SubmitError::new(Refusal::ShutDown, task));
        }
        task.run();
        Ok(())
    }

    fn max_workers(&self) -> usize {
        1
    }

    fn shutdown_with(&self, _how: Shutdown) -> Result<(), ShutdownError> {
        self.shut_down.store(true, Ordering::Release);
        Ok(())
    }
}
