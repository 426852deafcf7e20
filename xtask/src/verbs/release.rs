//! `release --dry-run`: everything that must hold before a release.
//!
//! Publishing itself stays in the hands of a person, because it cannot be taken back. The flag is
//! required so that nobody mistakes the verb for more than it is.

use super::ci;
use crate::outcome::{Failure, Outcome};

const VERBS: [&str; 6] = ["lint", "test", "docs", "features", "package", "deps"];

pub(super) fn run(args: &[String]) -> Outcome {
    if args.first().map(String::as_str) != Some("--dry-run") {
        return Err(Failure::Usage(
            "publishing is done by hand; only --dry-run is here".to_owned(),
        ));
    }
    ci::run_all(&VERBS)
}
