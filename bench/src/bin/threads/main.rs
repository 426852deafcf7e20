//! Measures `ThreadPoolExecutor` beside its peers; `cargo xtask bench threads` runs it, `--help` says what else it can do.

mod pools;
mod tally;
mod workloads;

use std::process::ExitCode;

use concurrent_futures_bench::{alloc, goal, measure, suite::Suite, work};

/// The crates that are measured, and those that they cannot be measured without: for results and for blocking.
const CRATES: [&str; 13] = [
    "rayon",
    "tokio",
    "async-executor",
    "async-task",
    "crossbeam-channel",
    "oneshot",
    "threadpool",
    "rusty_pool",
    "futures",
    "blocking",
    "chili",
    "futures-lite",
    "rayon-core",
];

fn main() -> ExitCode {
    let suite = Suite {
        name: "threads",
        subject: "thread pool",
        executor: "ThreadPoolExecutor",
        crates: &CRATES,
        notes: "`queue` is a hand-made pool of boxed closures in a crossbeam channel, `async-task` one of runnables; \
                `rayon` gives its results through a crossbeam channel; `rayon+oneshot`, `queue` and `threadpool` through \
                `oneshot`.",
        workloads: workloads::all,
        prepare: |_| None,
    };
    suite.run()
}
