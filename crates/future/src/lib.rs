//! `Future` and `Promise` as in [PEP 3148](https://peps.python.org/pep-3148/), Python's `concurrent.futures`.
//!
//! This crate is the primitive that the executors of [`concurrent-futures`](https://docs.rs/concurrent-futures) hand
//! out, and complete by itself: use it wherever a result comes from elsewhere and somebody waits for it, on a thread or
//! in async code.
//!
//! ```
//! use std::time::Duration;
//! use concurrent_futures_future::{ReturnWhen, promise, wait_timeout};
//!
//! let (promise, future) = promise();
//! std::thread::spawn(move || promise.set_result("done"));
//!
//! let waited = wait_timeout([future], Duration::from_secs(5), ReturnWhen::AllCompleted);
//! for future in waited.done {
//!     assert_eq!(future.result()?, "done");
//! }
//! # Ok::<(), concurrent_futures_future::TaskError>(())
//! ```
//!
//! # Memory effects
//!
//! What the completing thread did before it completed a future is visible to whoever sees that it is done, by any
//! method, wait or callback.
//!
//! # For executor authors
//!
//! [`PackagedTask`] holds a function and the future of its result in one allocation. [`work_for`] tells futures whose
//! worker they are waited for by, so that a task may wait for another one of its own pool; see the module of each.

#![deny(unsafe_code)]

mod any;
#[expect(unsafe_code, reason = "hands the stage to whoever the state word says may touch it")]
mod cell;
mod completion;
mod died;
mod error;
#[expect(unsafe_code, reason = "passes a right on to what it wraps")]
mod flatten;
mod future;
mod hook;
mod id;
mod panic;
mod progress;
#[expect(unsafe_code, reason = "carries on from an earlier start")]
mod promise;
mod remote;
mod shared;
mod spin;
#[expect(
    unsafe_code,
    reason = "one place for work and value, without a lock; see the head of the file"
)]
mod stage;
mod state;
mod surround;
mod sync;
#[expect(unsafe_code, reason = "carries on from an earlier start")]
mod task;
mod time;
mod wait;
mod waiter;
mod worker;

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;

pub use any::AnyFuture;
pub use completion::{
    AsCompleted, AsCompletedTimeout, AsCompletedTimeoutError, CompletionSet, as_completed,
    as_completed_timeout,
};
pub use died::{DeathCause, WorkerDied};
pub use error::{
    BrokenExecutor, CodecError, Crossing, Failure, InvalidStateError, TaskError, TimeoutError,
};
pub use future::{CancelOnDrop, Completed, Future};
pub use hook::{Event, report, set_event_hook};
pub use id::FutureId;
pub use panic::Panic;
pub use progress::{Progress, ProgressSnapshot};
pub use promise::{Promise, promise};
pub use remote::{Remote, RemotePool};
pub use shared::SharedFuture;
pub use state::State;
pub use surround::{Surround, Surrounded};
pub use task::{PackagedTask, Ran, Work};
pub use wait::{DoneAndNotDone, ReturnWhen, wait, wait_timeout};
pub use worker::{Blocked, Host, PoolId, blocking, work_for};
