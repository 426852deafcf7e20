//! `docs`: the documentation builds without a warning, as docs.rs would show it and without features.
//!
//! With all features a link to a gated item resolves. Each published crate is therefore also built
//! alone, with its default features and with none, where such a link breaks.

use crate::outcome::{Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

pub(super) fn run(_args: &[String]) -> Outcome {
    const FLAGS: (&str, &str) = ("RUSTDOCFLAGS", "-D warnings");

    Step::cargo("docs, all features", ["doc", "--workspace", "--no-deps", "--all-features"])
        .flags(FLAGS.0, FLAGS.1)
        .run()?;
    for package in Workspace::load()?.published() {
        for selection in [None, Some("--no-default-features")] {
            let name = format!("docs of {} {}", package.name, selection.unwrap_or_default());
            Step::cargo(name.trim_end(), ["doc", "--no-deps"])
                .packages([&package.name])
                .flags(FLAGS.0, FLAGS.1)
                .args(selection)
                .run()?;
        }
    }
    Ok(Report::default())
}
