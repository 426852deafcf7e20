//! `loom [name]`: the models in the crates that own a synchronisation protocol.
//!
//! A filter that matches nothing is a success to `cargo test`, so a renamed module would switch its
//! models off without a word. The tests that ran are therefore counted.

use crate::outcome::{Failure, Outcome, Report};
use crate::step::Step;
use crate::workspace::Workspace;

/// Crates with loom models. A new protocol belongs here from its first day.
const LOOM_CRATES: [&str; 3] = [
    "concurrent-futures-future",
    "concurrent-futures-thread-pool",
    "concurrent-futures-process-pool",
];

/// What the path of every model contains.
const MODELS: &str = "loom_";

/// Bounds the search: almost every known bug needs no more than this many preemptions.
const PREEMPTIONS_MAX: &str = "3";

pub(super) fn run(args: &[String]) -> Outcome {
    // Two filters would select the tests that match either, so a name replaces the usual one.
    let filter = args.first().map_or(MODELS, String::as_str);
    let target = Workspace::load()?.target_dir("loom");
    let mut report = Report::default();
    let mut total = 0;
    for name in LOOM_CRATES {
        let ran = Step::cargo(&format!("loom models of {name}"), ["test", "--release"])
            .flags("RUSTFLAGS", "--cfg loom")
            .env_default("LOOM_MAX_PREEMPTIONS", PREEMPTIONS_MAX)
            .packages([name])
            .target_dir(&target)
            .args(["--lib", "--", filter])
            .run_tests()?;
        if ran == 0 && args.is_empty() {
            report.skip(&format!("loom models of {name}"), "there are none");
        }
        total += ran;
    }
    if total == 0 {
        return Err(Failure::step("loom", format!("no test matches `{filter}`")));
    }
    Ok(report)
}
