//! Measures `ProcessPoolExecutor` beside its peers; `cargo xtask bench processes` runs it, `--help` says what else it can
//! do.
//!
//! Workers of ours are taken over before `main`; those of procspawn come here, and do not get past its `init`. So both
//! live in one program. Python's pools are in `python/pools.py`, of which each sample is a run.

mod family;
mod jobs;
mod pools;
mod primes;
mod python;
mod workloads;

use std::{env, process::ExitCode};

use concurrent_futures_bench::{alloc, goal, measure, suite::Suite, workload};

/// The crates that are measured, and what procspawn sends its messages with.
const CRATES: [&str; 3] = ["procspawn", "ipc-channel", "rayon"];

fn main() -> ExitCode {
    procspawn::init();
    // Ahead of the usual command line: the whole life of this process is measured.
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(primes::PROGRAM) {
        return primes::program(arguments.next().as_deref());
    }
    let suite = Suite {
        name: "processes",
        subject: "process pool",
        executor: "ProcessPoolExecutor",
        crates: &CRATES,
        notes: "`ours` starts its workers by the fork server, `ours (spawn)` executes each. procspawn keeps three \
                descriptors for each task that waits, and so is given tasks in windows of at most 1000, each collected \
                before the next; everybody else has them all at once. `ProcessPoolExecutor` and `multiprocessing.Pool` \
                are Python's. The processor time includes that of the workers.",
        workloads: workloads::all,
        prepare: python::prepare,
    };
    suite.run()
}
