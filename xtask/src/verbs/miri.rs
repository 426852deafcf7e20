//! `miri [crate]`: unit tests under an interpreter that sees undefined behaviour and data races.
//!
//! Crates that fork are left out, because miri has no processes. Where miri is missing the verb says
//! so and succeeds: a contributor without it is no worse off than before, but must not believe that
//! something was checked.

use super::CHECKABLE;
use crate::outcome::{Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

pub(super) fn run(args: &[String]) -> Outcome {
    let workspace = Workspace::load()?;
    let crates = match args.first() {
        Some(name) => vec![workspace.find(name)?.name.as_str()],
        None => CHECKABLE.to_vec(),
    };
    // This also builds miri's standard library, so it notices a missing rust-src as well.
    if let Err(reason) = Step::cargo("miri setup", ["+nightly", "miri", "setup"]).ask() {
        return Ok(Report::skipped("miri", &reason));
    }
    Step::cargo("miri", ["+nightly", "miri", "test"])
        // Property tests look for their regression files, which isolation forbids.
        .env_default("MIRIFLAGS", "-Zmiri-disable-isolation")
        .packages(crates)
        .args(["--lib"])
        .run_some_tests()
}
