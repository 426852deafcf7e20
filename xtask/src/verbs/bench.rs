//! `bench threads|processes [--quick] [--save] [--only list]`: a pool beside its peers, optimised.
//!
//! The benchmarks are a workspace of their own, so that the peers stay out of this one's dependencies, its lock file and
//! its checks. They are built beside everything else, into `target/bench`. Only the usual runs are here; the programs
//! themselves have filters for profiling one thing:
//! `cargo run --release --manifest-path bench/Cargo.toml --bin threads -- --help`.

use crate::outcome::{Failure, Outcome};
use crate::step::Step;
use crate::workspace::Workspace;

/// What can be measured; each is a program.
const PROGRAMS: [&str; 2] = ["threads", "processes"];

/// Where `--save` writes, from the root.
const FOLDER: &str = "docs";

pub(super) fn run(args: &[String]) -> Outcome {
    let (program, options) = command(args)?;
    let target = Workspace::load()?.target_dir("bench");
    let name = format!("bench {program}");
    Step::cargo(&name, ["run", "--release", "--manifest-path", "bench/Cargo.toml"])
        .target_dir(&target)
        .args(["--bin", program, "--"])
        .args(options)
        .run()
}

/// The program, and its options that ours stand for.
fn command(args: &[String]) -> Result<(&str, Vec<&str>), Failure> {
    let usage = |problem: String| Err(Failure::Usage(problem));
    let mut args = args.iter().map(String::as_str);
    let Some(program) = args.next().filter(|name| PROGRAMS.contains(name)) else {
        return usage(format!("say what to measure: {}", PROGRAMS.join(" or ")));
    };
    let (mut options, mut saves, mut is_part) = (Vec::new(), false, false);
    while let Some(arg) = args.next() {
        match arg {
            "--quick" => options.push("--quick"),
            "--save" => {
                options.extend(["--save", FOLDER]);
                saves = true;
            }
            "--only" => {
                let Some(list) = args.next() else {
                    return usage("--only: say which workloads".to_owned());
                };
                options.extend(["--only", list]);
                is_part = true;
            }
            _ => return usage(format!("there is no option `{arg}`")),
        }
    }
    if saves && is_part {
        return usage("--save: a part of the results would replace the whole".to_owned());
    }
    Ok((program, options))
}

#[cfg(test)]
mod tests;
