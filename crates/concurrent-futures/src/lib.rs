//! Python's [`concurrent.futures`](https://docs.python.org/3/library/concurrent.futures.html) for Rust: one small API
//! over anything that can run a task.
//!
//! ```
//! use concurrent_futures::{ThreadPoolExecutor, as_completed};
//!
//! let pool = ThreadPoolExecutor::with_max_workers(5)?;
//! let futures: Vec<_> = ["one", "two", "three"]
//!     .into_iter()
//!     .map(|word| pool.submit(|word: &str| (word, word.len()), word))
//!     .collect::<Result<_, _>>()?;
//! for future in as_completed(futures) {
//!     match future.result() {
//!         Ok((word, length)) => println!("{word} has {length} letters"),
//!         Err(error) => println!("a task failed: {error}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
pub use concurrent_futures_executor::{
    Executor, ExecutorExt, InlineExecutor, InvalidMapOptions, Map, MapError, MapOptions, Portable,
    Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait, local,
};
pub use concurrent_futures_future::{
    AnyFuture, AsCompleted, AsCompletedTimeout, AsCompletedTimeoutError, Blocked, BrokenExecutor,
    CancelOnDrop, CodecError, Completed, CompletionSet, Crossing, DoneAndNotDone, Event, Failure,
    Future, FutureId, Host, InvalidStateError, PackagedTask, Panic, PoolId, Progress,
    ProgressSnapshot, Promise, ReturnWhen, SharedFuture, State, TaskError, TimeoutError, Work,
    as_completed, as_completed_timeout, promise, report, set_event_hook, wait, wait_timeout,
    work_for,
};
#[cfg(feature = "thread-pool")]
pub use concurrent_futures_thread_pool::{
    BuildError, Builder, DropPolicy, Scope, ScopedFuture, ThreadPoolExecutor,
};
