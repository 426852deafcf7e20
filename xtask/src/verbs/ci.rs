//! `ci`: what a pull request runs, and a table of how it went.
//!
//! Every verb runs even when an early one fails, because a second round on a runner costs more than
//! the rest of the first.

use std::time::Instant;

use super::Verb;
use crate::outcome::{Failure, Outcome, Report};
use crate::output;

/// Quick verdicts first, and the order shares builds: `lint` checks what `docs` will document.
const VERBS: [&str; 7] = ["lint", "test", "docs", "features", "package", "deps", "msrv"];

pub(super) fn run(_args: &[String]) -> Outcome {
    run_all(&VERBS)
}

/// Runs these verbs one after the other and sums them up.
pub(super) fn run_all(names: &[&str]) -> Outcome {
    let mut rows = Vec::new();
    let mut report = Report::default();
    let mut causes = Vec::new();
    for name in names {
        let verb = Verb::named(name).ok_or_else(|| Failure::step(name, "there is no such verb"))?;
        let start = Instant::now();
        let outcome = verb.run(&[]);
        let seconds = start.elapsed().as_secs();
        rows.push(row(name, &outcome, seconds));
        match outcome {
            Ok(part) => report.absorb(part),
            Err(Failure::Usage(cause)) => causes.push(format!("{name}: {cause}")),
            Err(Failure::Steps(part)) => {
                causes.extend(part.into_iter().map(|cause| format!("{name}, {cause}")));
            }
        }
    }
    output::result(&format!("\n{:<10} {:<8} {:>7}  remarks", "step", "verdict", "seconds"));
    for row in rows {
        output::result(&row);
    }
    if causes.is_empty() { Ok(report) } else { Err(Failure::Steps(causes)) }
}

fn row(name: &str, outcome: &Outcome, seconds: u64) -> String {
    let (verdict, remarks) = match outcome {
        Ok(report) => (report.verdict(), report.not_run().join("; ")),
        Err(Failure::Usage(cause)) => ("FAILED", cause.clone()),
        Err(Failure::Steps(causes)) => ("FAILED", causes.join("; ")),
    };
    format!("{name:<10} {verdict:<8} {seconds:>7}  {remarks}").trim_end().to_owned()
}
