//! An executor that takes nothing.

use concurrent_futures::{Executor, Refusal, Shutdown, ShutdownError, SubmitError, Task};

/// Refuses every task, for the reason that it was made with.
#[derive(Clone, Debug)]
pub struct RefusingExecutor {
    reason: Refusal,
}

impl RefusingExecutor {
    /// An executor that gives this reason.
    #[must_use]
    pub fn new(reason: Refusal) -> Self {
        Self { reason }
    }
}

impl Executor for RefusingExecutor {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        Err(SubmitError::new(self.reason.clone(), task))
    }

    fn max_workers(&self) -> usize {
        1
    }

    fn shutdown_with(&self, _how: Shutdown) -> Result<(), ShutdownError> {
        Ok(())
    }
}
