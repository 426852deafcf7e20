//! `test`: everything a user needs to trust a checkout, with nothing but stable Rust.
//!
//! Each kind is a step of its own, so that a hang is reported with a name that helps. All of them
//! run even when an early one fails. Benchmarks are not run; `lint` compiles them.

use super::loom;
use crate::outcome::{Gathered, Outcome};
use crate::step::Step;

pub(super) fn run(_args: &[String]) -> Outcome {
    let steps = [
        // Before the tests, which may want to run an example as a program.
        Step::cargo("examples", ["build", "--workspace", "--examples"]),
        // `--tests` covers unit and integration tests. `--all-targets` would run benchmarks too.
        Step::cargo("tests", ["test", "--workspace", "--tests", "--no-fail-fast"]),
        // No selection of targets includes doc-tests, so they need this.
        Step::cargo("doc-tests", ["test", "--workspace", "--doc", "--no-fail-fast"]),
    ];
    let mut gathered = Gathered::default();
    for step in steps {
        gathered.add(step.run());
    }
    gathered.add(loom::run(&[]));
    gathered.finish()
}
