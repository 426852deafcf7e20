//! An executor of one's own: a thread for every task. All that people call comes with the three methods of the trait.

use std::{
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use concurrent_futures::{
    Executor, ExecutorExt, Refusal, Shutdown, ShutdownError, SubmitError, Task, Wait,
};

/// Starts a thread for each task. `None` once it has been shut down.
struct ThreadPerTask(Mutex<Option<Vec<JoinHandle<()>>>>);

impl Executor for ThreadPerTask {
    fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(threads) => threads.push(thread::spawn(|| {
                task.run();
            })),
            None => return Err(SubmitError::new(Refusal::ShutDown, task)),
        }
        Ok(())
    }

    fn max_workers(&self) -> usize {
        usize::MAX
    }

    fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if how.waits() != Wait::No {
            for thread in threads.into_iter().flatten() {
                drop(thread.join());
            }
        }
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = ThreadPerTask(Mutex::new(Some(Vec::new())));
    let greeting = executor.submit(|name: String| format!("hello, {name}"), "world".to_owned())?;
    println!("{}", greeting.result()?);
    let squares: Vec<u64> = executor.map(|n: u64| n * n, 1..=5).collect::<Result<_, _>>()?;
    println!("{squares:?}");
    executor.shutdown();
    Ok(())
}
