//! Python's [`concurrent.futures`](https://docs.python.org/3/library/concurrent.futures.html) for Rust: one small API
//! over anything that can run a task.
//!
// The tour is full of thread pools, in examples and in links; without the feature, neither would work.
#![cfg_attr(feature = "thread-pool", doc = include_str!("tour.md"))]
#![cfg_attr(
    not(feature = "thread-pool"),
    doc = "Most of it is behind the feature `thread-pool`, which is on by default and not here."
)]
#![forbid(unsafe_code)]

pub use concurrent_futures_executor::{
    Bytes, DropPolicy, Executor, ExecutorExt, InlineExecutor, InvalidMapOptions, Map, MapError,
    MapOptions, Portable, PortableFn, Refusal, Shared, Shutdown, ShutdownError, StillRunning,
    SubmitError, Task, Wait, local,
};
pub use concurrent_futures_future::{
    AnyFuture, AsCompleted, AsCompletedTimeout, AsCompletedTimeoutError, Blocked, BrokenExecutor,
    CancelOnDrop, CodecError, Completed, CompletionSet, Crossing, DeathCause, DoneAndNotDone,
    Event, Failure, Future, FutureId, Host, InvalidStateError, PackagedTask, Panic, PoolId,
    Progress, ProgressSnapshot, Promise, Ran, ReturnWhen, SharedFuture, State, Surround,
    Surrounded, TaskError, TimeoutError, Work, WorkerDied, as_completed, as_completed_timeout,
    blocking, promise, report, set_event_hook, wait, wait_timeout, work_for,
};
#[cfg(all(feature = "process-pool", target_os = "linux"))]
pub use concurrent_futures_process_pool::{self as process_pool, ProcessPoolExecutor, StartMethod};
#[cfg(feature = "thread-pool")]
pub use concurrent_futures_thread_pool::{
    self as thread_pool, BuildError, Builder, Items, PoolStats, QueueOrder, Scope, ScopedFuture,
    TaskEnd, TaskInfo, TaskObserver, ThreadPoolExecutor, join,
};
