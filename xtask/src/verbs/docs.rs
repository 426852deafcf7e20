//! `docs`: the documentation builds without a warning, as docs.rs would show it and without features.
//!
//! With all features a link to a gated item resolves. Each published crate is therefore also built
//! alone with its default features, where such a link breaks.

use crate::outcome::{Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

pub(super) fn run(_args: &[String]) -> Outcome {
    const FLAGS: (&str, &str) = ("RUSTDOCFLAGS", "-D warnings");

    Step::cargo("docs, all features", ["doc", "--workspace", "--no-deps", "--all-features"])
        .flags(FLAGS.0, FLAGS.1)
        .run()?;
    for package in Workspace::load()?.published() {
        Step::cargo(&format!("docs of {}", package.name), ["doc", "--no-deps"])
            .packages([&package.name])
            .flags(FLAGS.0, FLAGS.1)
            .run()?;
    }
    Ok(Report::default())
}
