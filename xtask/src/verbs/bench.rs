//! `bench threads [--quick] [--save]`: the thread pool beside its peers, optimised.
//!
//! The benchmarks are a workspace of their own, so that the peers stay out of this one's dependencies, its lock file and
//! its checks. They are built beside everything else, into `target/bench`. Only the usual runs are here; the program
//! itself has filters for profiling one thing:
//! `cargo run --release --manifest-path bench/Cargo.toml --bin threads -- --help`.

use crate::outcome::{Failure, Outcome};
use crate::step::Step;
use crate::workspace::Workspace;

/// Where `--save` writes, from the root.
const FOLDER: &str = "docs";

pub(super) fn run(args: &[String]) -> Outcome {
    let options = options(args)?;
    let target = Workspace::load()?.target_dir("bench");
    Step::cargo("bench threads", ["run", "--release", "--manifest-path", "bench/Cargo.toml"])
        .target_dir(&target)
        .args(["--bin", "threads", "--"])
        .args(options)
        .run()
}

/// The options of the program that ours stand for.
fn options(args: &[String]) -> Result<Vec<&str>, Failure> {
    let flags = match args.split_first() {
        Some((what, flags)) if what == "threads" => flags,
        _ => return Err(Failure::Usage("say what to measure: threads".to_owned())),
    };
    let mut options = Vec::new();
    for flag in flags {
        match flag.as_str() {
            "--quick" => options.push("--quick"),
            "--save" => options.extend(["--save", FOLDER]),
            _ => return Err(Failure::Usage(format!("there is no option `{flag}`"))),
        }
    }
    Ok(options)
}
