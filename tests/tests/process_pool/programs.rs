//! The life of the program that has the pool, and what becomes of the processes when it ends. Each test runs
//! `src/bin/processes.rs` in a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use super::{beside, wait_until};

const METHODS: [&str; 2] = ["fork-server", "spawn"];

fn command(scenario: &str, method: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_processes"));
    command.args([scenario, method]).env("RUST_BACKTRACE", "0");
    command
}

fn run(scenario: &str, method: &str) -> String {
    let output = command(scenario, method).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// How workers end is known whatever the program does with its own children, be it that it ignores them or that it reaps
/// all that there are.
#[test]
fn programs_that_reap_or_ignore_children() {
    beside(|| {
        for method in METHODS {
            for scenario in ["ignore-sigchld", "reap-everything"] {
                assert_eq!(
                    run(scenario, method),
                    "Aborted\n0\nAborted\n2\nAborted\n4\n",
                    "{scenario}"
                );
            }
            // Inherited.
            let mut command = command("end-of-main", method);
            let ignore = || {
                // SAFETY: ignoring a signal runs no code.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
                Ok(())
            };
            // SAFETY: what runs in the child is one system call.
            unsafe { command.pre_exec(ignore) };
            assert_eq!(command.output().unwrap().stdout.split(|byte| *byte == b'\n').count(), 21);
        }
    });
}

/// A pool that goes out of scope at the end of `main` has run all that was submitted.
#[test]
fn f136_the_end_of_main_waits() {
    beside(|| {
        for method in METHODS {
            assert_eq!(run("end-of-main", method).lines().count(), 20);
        }
    });
}

/// The processes of the group, and of the groups of its members' children, that are there.
fn processes_with(marker: &str) -> usize {
    let folder = fs::read_dir("/proc").expect("a list of processes");
    let has_mark = |path: &std::path::Path| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
    };
    folder.flatten().filter(|entry| has_mark(&entry.path())).count()
}

/// A program that exits, or is killed, in the middle of its tasks leaves no process behind.
#[test]
fn p33_nothing_outlives_the_program() {
    const VARIABLE: &str = "CONCURRENT_FUTURES_TESTS_PROGRAM";

    beside(|| {
        for method in METHODS {
            let marker = format!("{}-{method}", std::process::id());
            let entry = format!("{VARIABLE}={marker}");
            assert!(command("exit", method).env(VARIABLE, &marker).status().unwrap().success());
            wait_until(|| processes_with(&entry) == 0);

            let mut command = command("busy", method);
            command.env(VARIABLE, &marker).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            assert!(processes_with(&entry) >= 3);
            child.kill().unwrap();
            child.wait().unwrap();
            wait_until(|| processes_with(&entry) == 0);
        }
    });
}
