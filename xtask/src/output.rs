//! The only module that prints, so that the lint against printing needs one exception.
//!
//! Results go to stdout. What is being done goes to stderr, where cargo reports its progress too,
//! which keeps both in order when they share a terminal.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is this module's purpose")]

/// Prints something the user asked for.
pub(crate) fn result(text: &str) {
    println!("{text}");
}

/// Prints the command that is about to run, as it could be typed.
pub(crate) fn command(name: &str, line: &str) {
    eprintln!("\n==> {name}\n  $ {line}");
}

/// Prints something the user should know.
pub(crate) fn note(text: &str) {
    eprintln!("xtask: {text}");
}

/// Prints why xtask is about to fail.
pub(crate) fn error(text: &str) {
    eprintln!("xtask: error: {text}");
}
