//! Python's pools: each sample is a run of a script that prints it.

use std::{path::PathBuf, process::Command};

use concurrent_futures_bench::{
    measure::Sample,
    workload::{Settings, Workload},
};

use crate::pools::Named;

/// `concurrent.futures.ProcessPoolExecutor`.
pub(crate) struct PythonExecutor;

impl Named for PythonExecutor {
    const NAME: &'static str = "ProcessPoolExecutor";
}

/// `multiprocessing.Pool`.
pub(crate) struct MultiprocessingPool;

impl Named for MultiprocessingPool {
    const NAME: &'static str = "multiprocessing.Pool";
}

/// Without any pool.
pub(crate) struct PythonSequential;

impl Named for PythonSequential {
    const NAME: &'static str = "Python sequential";
}

const NAMES: [&str; 3] = [PythonExecutor::NAME, MultiprocessingPool::NAME, PythonSequential::NAME];

const INTERPRETER: &str = "python3";

/// A run of one of the scripts. They are read where they were when this program was built.
pub(crate) fn command(script: &str) -> Command {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "python", script].iter().collect();
    let mut command = Command::new(INTERPRETER);
    command.arg(path);
    command
}

/// Takes a sample of one of Python's pools, with the numbers that the workload has.
pub(crate) fn sample<P: Named>(workload: &str, settings: &Settings, numbers: &[u64]) -> Sample {
    let mut command = command("pools.py");
    command.args([workload, P::NAME, &settings.workers.to_string()]);
    command.args(numbers.iter().map(u64::to_string));
    let output = command.output().expect("Python can be started");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = || stderr.lines().last().unwrap_or("no message");
    assert!(output.status.success(), "{}: {}", output.status, last());
    stdout.parse().unwrap_or_else(|error| panic!("{error}: {stdout:?}"))
}

/// Takes Python's pools out if there is no Python, and says which one there is.
pub(crate) fn prepare(workloads: &mut Vec<Workload>) -> Option<String> {
    let output = Command::new(INTERPRETER).arg("--version").output();
    if let Some(output) = output.ok().filter(|output| output.status.success()) {
        return Some(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    for workload in &mut *workloads {
        workload.contenders.retain(|contender| !NAMES.contains(&contender.pool));
    }
    workloads.retain(|workload| !workload.contenders.is_empty());
    Some(format!("There is no `{INTERPRETER}` here, so Python's pools are left out"))
}
