//! Executors that show what the trait asks for, and no user would want.

mod minimal;
mod refusing;
mod wire;

pub use minimal::MinimalExecutor;
pub use refusing::RefusingExecutor;
pub use wire::WireExecutor;
