//! `ProcessPoolExecutor`: Python's `concurrent.futures` process pool, whose workers may crash without harm to anybody else.
//!
//! ```
//! use concurrent_futures_process_pool::ProcessPoolExecutor;
//!
//! let pool = ProcessPoolExecutor::with_max_workers(2)?;
//! for square in pool.map(|n: u64| n * n, [1, 2, 3]) {
//!     println!("{}", square?);
//! }
//! // What would end this program ends one worker.
//! let crash = pool.submit(|code: i32| if code > 0 { std::process::exit(code) }, 3)?;
//! println!("{}", crash.result().unwrap_err()); // the worker process 4711 exited with code 3 after running the task for 57.0µs
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is part of [`concurrent-futures`](https://docs.rs/concurrent-futures), which re-exports it, and complete by
//! itself.

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("concurrent-futures-process-pool is for Linux; elsewhere, use the thread pool");

#[expect(unsafe_code, reason = "runs before `main`, and calls what would have run there")]
mod boot;
mod builder;
mod channel;
#[expect(unsafe_code, reason = "a signal handler, and the stack that it runs on")]
mod crash;
mod frame;
#[expect(unsafe_code, reason = "reads what the loader says of the executable")]
mod image;
#[expect(unsafe_code, reason = "lends mapped memory to tasks")]
mod inbox;
mod journal;
#[cfg(all(test, loom))]
mod loom_models;
mod message;
mod payload;
mod pool;
#[expect(unsafe_code, reason = "maps memory")]
mod region;
mod ring;
#[expect(unsafe_code, reason = "forks, and takes over descriptors that come in messages")]
mod server;
mod stats;
mod supervisor;
mod sync;
#[expect(unsafe_code, reason = "system calls")]
mod sys;
mod transport;
#[expect(unsafe_code, reason = "maps memory")]
mod value;
#[expect(unsafe_code, reason = "calls functions by their address")]
mod worker;

pub use builder::{BuildError, Builder, StartMethod};
pub use concurrent_futures_executor::{self as executor, Bytes, DropPolicy, Shared};
pub use pool::ProcessPoolExecutor;
pub use stats::PoolStats;
