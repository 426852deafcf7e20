//! `lint`: formatting, clippy and tidy.
//!
//! Warnings are denied by an argument to clippy and not by `RUSTFLAGS`, which would rebuild every
//! dependency. Default features get a pass of their own: code that only compiles next to an optional
//! feature, and items that only that feature uses, show up in no other way.

use crate::outcome::Outcome;
use crate::step::Step;
use crate::tidy;

pub(super) fn run(_args: &[String]) -> Outcome {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    let clippy = ["clippy", "--workspace", "--all-targets"];

    Step::cargo("fmt", ["fmt", "--all", "--check"]).run()?;
    Step::cargo("clippy, all features", clippy).args(["--all-features"]).args(DENY).run()?;
    Step::cargo("clippy, default features", clippy).args(DENY).run()?;
    tidy::run()
}
