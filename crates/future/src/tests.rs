//! Unit tests: what no user of the crate can see from outside, and what every type promises to the compiler.

mod auto_traits;
mod errors;
mod lists;
mod panics;
mod sent;
mod size;
mod state;
mod time;

/// An error to fail with.
#[derive(Debug, PartialEq, Eq)]
struct Oops(u32);

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}
