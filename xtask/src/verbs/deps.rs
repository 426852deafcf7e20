//! `deps`: what we depend on, and above all what the light crates must not depend on.
//!
//! A user who only wants threads is promised a thread pool without the machinery of processes. One
//! line in a manifest breaks that promise without any test noticing, so it is checked here.

use crate::outcome::{Failure, Outcome, Report};
use crate::step::Step;
use crate::workspace;

#[cfg(test)]
mod tests;

/// Packages that must stay light, and what to build of them.
const LIGHT: [(&str, &[&str]); 2] = [
    ("concurrent-futures-thread-pool", &[]),
    ("concurrent-futures", &["--no-default-features", "--features=thread-pool"]),
];

/// Only the process pool needs these.
const HEAVY: [&str; 3] = ["nix", "bincode", "serde_derive"];

pub(super) fn run(_args: &[String]) -> Outcome {
    if !workspace::root().join("Cargo.lock").is_file() {
        return Err(Failure::step("deps", "there is no Cargo.lock, so no run can be repeated"));
    }
    for (name, features) in LIGHT {
        let step = format!("dependencies of {name}");
        let tree = Step::cargo(&step, ["tree", "-e", "normal", "--prefix", "none"])
            .packages([name])
            .args(features.iter().copied())
            .run_and_keep_output()?;
        if let Some(heavy) = heavy_in(&tree) {
            return Err(Failure::step(&step, format!("{heavy} must not be among them")));
        }
    }
    if let Err(reason) = Step::cargo("cargo-deny", ["deny", "--version"]).ask() {
        let mut report = Report::default();
        report.skip("licences and advisories", &reason);
        return Ok(report);
    }
    Step::cargo("licences and advisories", ["deny", "check"]).run()
}

/// The first heavy package in the output of `cargo tree --prefix none`, a package on each line.
fn heavy_in(tree: &str) -> Option<&str> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).find(|name| HEAVY.contains(name))
}
