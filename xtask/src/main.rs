//! Automation of the workspace, run as `cargo xtask <verb>`.
//!
//! Everything a contributor or a runner does beyond `cargo build` is a verb here, so that a laptop
//! and a runner agree on what "checked" means. It stays light: no toolchain beyond stable Rust is
//! needed to build it, and a verb whose tool is missing says so instead of passing in silence.

mod group;
mod outcome;
mod output;
mod step;
mod tidy;
mod verbs;
mod workspace;

use std::process::ExitCode;

use crate::outcome::Failure;
use crate::verbs::Verb;

/// A step failed, or a rule was broken.
const EXIT_FAILED: u8 = 1;
/// The command line was not understood, and nothing ran.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        verbs::print_help();
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        verbs::print_help();
        return ExitCode::SUCCESS;
    }
    let Some(verb) = Verb::named(&name) else {
        output::error(&format!("there is no verb `{name}`"));
        verbs::print_help();
        return ExitCode::from(EXIT_USAGE);
    };
    match verb.run(&args.collect::<Vec<_>>()) {
        Ok(report) => {
            for note in report.not_run() {
                output::note(note);
            }
            output::note(&format!("verdict on {name}: {}", report.verdict()));
            ExitCode::SUCCESS
        }
        Err(Failure::Usage(problem)) => {
            output::error(&format!("{problem}\nusage: cargo xtask {}", verb.usage()));
            ExitCode::from(EXIT_USAGE)
        }
        Err(Failure::Steps(causes)) => {
            for cause in causes {
                output::error(&format!("{name} FAILED at {cause}"));
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}
