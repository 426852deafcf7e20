//! The [`Executor`] trait: anything that can run a task, and `submit`, `map` and `shutdown` over it.
//!
//! This is the narrow waist of [`concurrent-futures`](https://docs.rs/concurrent-futures). Above it is everything that
//! people call, written once; below it is whatever runs tasks: the thread pool, the process pool, or an executor of your
//! own, which is three methods.
//!
//! ```
//! use concurrent_futures_executor::InlineExecutor;
//!
//! let executor = InlineExecutor::new();
//! for square in executor.map(|n: u64| n * n, [1, 2, 3]) {
//!     println!("{}", square?);
//! }
//! # Ok::<(), concurrent_futures_executor::MapError>(())
//! ```
//!
//! # Features
//!
//! `portable`, off by default, gives every [`Task`] that can cross to another process the means to do so. Executors
//! with workers in other processes switch it on. The bounds of all methods are the same with and without it.

#![deny(unsafe_code)]
#![cfg_attr(not(feature = "portable"), forbid(unsafe_code))]

mod bytes;
mod chunk;
#[cfg(feature = "portable")]
mod codec;
mod error;
mod executor;
mod inline;
pub mod local;
mod map;
#[cfg(feature = "portable")]
mod out_of_band;
mod portable;
mod shared;
mod shutdown;
mod task;

pub use concurrent_futures_future as future;

pub use bytes::Bytes;
pub use error::{InvalidMapOptions, MapError, Refusal, ShutdownError, StillRunning, SubmitError};
pub use executor::{Executor, ExecutorExt};
pub use inline::InlineExecutor;
pub use map::{Map, MapOptions};
#[cfg(feature = "portable")]
pub use portable::{Entry, Trampoline, wire};
pub use portable::{Portable, PortableFn};
pub use shared::Shared;
pub use shutdown::{DropPolicy, Shutdown, Wait};
pub use task::Task;
#[cfg(feature = "portable")]
pub use task::{DecodedTask, SentTask, StartedTask};
