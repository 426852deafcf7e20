//! `ThreadPoolExecutor`: Python's `concurrent.futures` thread pool, for any closure, with handles for results.
//!
//! ```
//! use concurrent_futures_thread_pool::ThreadPoolExecutor;
//! use concurrent_futures_executor::future::as_completed;
//!
//! let pool = ThreadPoolExecutor::with_max_workers(4)?;
//! let futures: Vec<_> =
//!     (1..=10_u64).map(|n| pool.submit(|n| (n, n * n), n)).collect::<Result<_, _>>()?;
//! for future in as_completed(futures) {
//!     let (n, square) = future.result()?;
//!     println!("{n} squared is {square}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is part of [`concurrent-futures`](https://docs.rs/concurrent-futures), which re-exports it, and complete by
//! itself.

#![deny(unsafe_code)]

mod batch;
mod builder;
mod hooks;
#[expect(unsafe_code, reason = "items that several threads take; see the head of the file")]
mod items;
#[expect(unsafe_code, reason = "closures on the stack of another thread; see the head of the file")]
mod join;
#[expect(unsafe_code, reason = "a vector that several threads fill; see the head of the file")]
mod map_vec;
#[cfg_attr(
    all(target_os = "linux", not(miri)),
    expect(unsafe_code, reason = "a system call that std has not")
)]
mod pages;
mod pool;
#[expect(unsafe_code, reason = "tasks that borrow; see the head of the file")]
mod scope;
mod shared;
mod stats;
mod sync;
mod worker;

#[cfg(all(test, loom))]
mod loom_models;

pub use builder::{BuildError, Builder};
pub use concurrent_futures_executor::{self as executor, DropPolicy};
pub use hooks::{TaskEnd, TaskInfo, TaskObserver};
pub use items::Items;
pub use join::join;
pub use pool::ThreadPoolExecutor;
pub use scope::{Scope, ScopedFuture};
pub use shared::QueueOrder;
pub use stats::PoolStats;
