//! What the tests of the whole workspace share: executors that no user would want, gates instead of sleeps, and
//! guards that turn a hang into a failure.
//!
//! Tasks that may run on any executor capture nothing, so what they have to do with their test goes by number: see
//! [`registry`].

pub mod arena;
pub mod delays;
pub mod drops;
pub mod events;
pub mod executors;
pub mod functions;
pub mod gate;
pub mod guard;
#[cfg(target_os = "linux")]
pub mod hostile;
#[cfg(target_os = "linux")]
pub mod processes;
pub mod registry;
pub mod seed;
pub mod threads;

pub use executors::{MinimalExecutor, RefusingExecutor, WireExecutor};
pub use gate::Gate;
pub use guard::{guarded, guarded_for};
