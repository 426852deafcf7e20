//! A step must be shown exactly as it runs, and must fail under its own name.

use std::time::Duration;

use super::{LIMIT, Step, joined_flags, limit_from, quoted, tests_run};
use crate::outcome::Failure;

/// The echo can be pasted into a shell.
#[test]
fn line_shows_variables_and_quotes() {
    let step = Step::cargo("loom", ["test", "--", "loom_"])
        .env("RUSTFLAGS", "--cfg loom")
        .packages(["a", "b"]);
    assert_eq!(step.line(), "RUSTFLAGS='--cfg loom' cargo test -- loom_ -p a -p b");
    assert_eq!(quoted("it's"), r"'it'\''s'");
    assert_eq!(quoted(""), "''");
}

/// Flags the user has set (a linker, say) survive.
#[test]
fn flags_are_appended() {
    assert_eq!(joined_flags(None, "--cfg loom"), "--cfg loom");
    assert_eq!(joined_flags(Some(" "), "--cfg loom"), "--cfg loom");
    assert_eq!(joined_flags(Some("-Cdebuginfo=1"), "--cfg loom"), "-Cdebuginfo=1 --cfg loom");
}

/// A typing mistake in the variable must not turn the hang guard off.
#[test]
fn limit_falls_back_to_the_default() {
    assert_eq!(limit_from(Some("90")), Duration::from_secs(90));
    assert_eq!(limit_from(Some("soon")), LIMIT);
    assert_eq!(limit_from(None), LIMIT);
}

/// Whoever reads a long log finds the step by its name.
#[test]
fn failure_names_the_step() {
    let failure = Step::program("broken", "sh", ["-c", "exit 3"]).run().unwrap_err();
    assert_eq!(failure, Failure::step("broken", "exit status: 3"));
    let failure = Step::program("absent", "no-such-program", [""; 0]).run().unwrap_err();
    assert!(matches!(failure, Failure::Steps(causes) if causes[0].starts_with("absent: ")));
}

/// A hang is told apart from a failure, and also carries the name.
#[test]
fn hang_names_the_step() {
    let mut step = Step::program("stuck", "sleep", ["60"]);
    step.limit = Duration::from_millis(100);
    let failure = step.run().unwrap_err();
    assert_eq!(failure, Failure::step("stuck", "HANG, killed after 0 s"));
}

/// Ignored, measured and filtered tests did not run.
#[test]
fn only_tests_that_ran_are_counted() {
    let output = "\
running 4 tests
test loom_cell::race ... ok

test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 20 filtered out; finished in 0.10s

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s
";
    assert_eq!(tests_run(output), 6);
}

/// This is the case the count is for.
#[test]
fn nothing_ran() {
    let output = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n";
    assert_eq!(tests_run(output), 0);
    assert_eq!(tests_run("3 passed; said somebody else"), 0);
}
