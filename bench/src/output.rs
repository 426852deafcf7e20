//! The only module that prints: results to stdout, what is being done to stderr.
//!
//! A reader that has gone away, such as `head`, is no reason to fail.

use std::io::{Write, stderr, stdout};

/// Prints something the user asked for.
pub(crate) fn result(text: &str) {
    drop(writeln!(stdout(), "{text}"));
}

/// Prints what is going on.
pub(crate) fn note(text: &str) {
    drop(writeln!(stderr(), "{text}"));
}
