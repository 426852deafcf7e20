//! `fuzz [seconds]`: random bytes for the decoder of frames, and for what the pool reads in shared memory, guided by what
//! they reach.
//!
//! The targets are a package of their own in `fuzz/`, outside of the workspace, since nothing else needs libFuzzer.
//! `test` feeds the same decoder with property tests; this one finds what chance does not.

use std::time::Duration;

use crate::outcome::{Failure, Outcome, Report};
use crate::step::Step;

const TARGETS: [&str; 2] = ["frames", "answers"];
const SECONDS_DEFAULT: u64 = 60;

pub(super) fn run(args: &[String]) -> Outcome {
    let seconds = match args.first() {
        Some(arg) => {
            arg.parse::<u64>().map_err(|error| Failure::Usage(format!("`{arg}`: {error}")))?
        }
        None => SECONDS_DEFAULT,
    };
    if let Err(reason) = Step::cargo("cargo-fuzz", ["+nightly", "fuzz", "--version"]).ask() {
        return Ok(Report::skipped("fuzz", &reason));
    }
    // The time is for all of them.
    let seconds = seconds.div_ceil(TARGETS.len() as u64);
    let mut report = Report::default();
    for target in TARGETS {
        let step =
            Step::cargo(&format!("fuzz {target}"), ["+nightly", "fuzz", "run", target, "--"])
                .args([format!("-max_total_time={seconds}")])
                // A frame may claim any length; what is allocated for it must stay small.
                .args(["-malloc_limit_mb=64", "-max_len=4096"])
                .extend_limit(Duration::from_secs(seconds));
        report.absorb(step.run()?);
    }
    Ok(report)
}
