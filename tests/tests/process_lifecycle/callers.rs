//! Programs with ways of their own, which a pool has to live with.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use concurrent_futures_tests::guarded;

use super::{
    METHODS,
    program::{EXECUTABLE, Program, run},
};

fn works(what: &'static str) {
    for method in METHODS {
        run("caller", method, what);
    }
}

/// Nobody is told of the ends of this program's children, and what ignores the signal hands that down.
#[test]
fn the_program_ignores_sigchld() {
    works("ignores-sigchld");
}

/// Somebody else has taken the status of the fork server.
#[test]
fn the_program_reaps_all_children() {
    works("reaps-all");
}

/// Started by somebody who ignores every signal that a pool might rely on.
#[test]
fn the_program_was_started_with_signals_ignored() {
    for method in METHODS {
        guarded(move || {
            let script = "trap '' CHLD HUP IO TERM INT PIPE; exec \"$@\"";
            let arguments = ["-c", script, "sh", EXECUTABLE, "caller", method, "plain"];
            Program::start_with("sh", arguments, |_| {}).assert_done();
        });
    }
}

/// As in a container: it is the first process of its namespace.
#[test]
fn the_program_is_pid_1() {
    if !unshare_works(&["--pid"]) {
        return;
    }
    for method in METHODS {
        guarded(move || {
            // With a `/proc` of before, which tells of other processes.
            let arguments = ["--pid", "--fork", EXECUTABLE, "caller", method, "plain"];
            Program::start_with("unshare", arguments, |_| {}).assert_done();
        });
    }
}

/// Neither the executable nor the descriptors nor the threads can be looked up there.
#[test]
fn there_is_no_proc() {
    if !unshare_works(&["--mount"]) {
        return;
    }
    for method in METHODS {
        guarded(move || {
            let script = "mount -t tmpfs none /proc && test ! -e /proc/self && exec \"$@\"";
            let arguments =
                ["--mount", "sh", "-c", script, "sh", EXECUTABLE, "caller", method, "plain"];
            Program::start_with("unshare", arguments, |_| {}).assert_done();
        });
    }
}

/// Whether a process may have such a namespace here. Says so if not.
fn unshare_works(which: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    let command = command.args(which).args(["--fork", "true"]).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        // Past the capture of test output, so that it is seen.
        writeln!(std::io::stderr(), "NOT RUN: no namespace with {which:?} here").ok();
    }
    works
}

/// Whoever sets the variable by hand makes no worker of a program: its standard input is not the socket of a pool.
#[test]
fn the_variable_alone_makes_no_worker() {
    for role in ["server", "worker"] {
        for stdin in ["pipe", "null", "socket"] {
            guarded(move || {
                let arguments = ["caller", "forkserver", "marked"];
                let marker = format!("{role} 1 {}", env!("CARGO_PKG_VERSION"));
                Program::start_with(EXECUTABLE, arguments, |command| {
                    command.env("CONCURRENT_FUTURES_PROCESS_POOL", marker);
                    match stdin {
                        "null" => drop(command.stdin(Stdio::null())),
                        "socket" => {
                            let unconnected = std::os::unix::net::UnixDatagram::unbound().unwrap();
                            command.stdin(Stdio::from(std::os::fd::OwnedFd::from(unconnected)));
                        }
                        _ => {}
                    }
                })
                .assert_done();
            });
        }
    }
}

/// It has no variable, and is an ordinary program, which may have a pool.
#[test]
fn a_task_starts_a_program() {
    works("inner-program");
}

/// What is blocked, ignored and caught is the same in a task and in the `main` of a program.
#[test]
fn signals_are_as_in_any_program() {
    works("signals");
}

/// 0 to 2 and the connection, out of the way.
#[test]
fn descriptors_are_as_in_any_program() {
    works("descriptors");
}

/// The executable is deleted, and another time replaced, between two tasks: workers are still started from the old one.
#[test]
fn the_executable_goes_away() {
    for method in METHODS {
        for replaced in [false, true] {
            guarded(move || {
                let folder = tempfile::tempdir().unwrap();
                let copy = folder.path().join("program");
                fs::copy(EXECUTABLE, &copy).unwrap();
                let mut program = Program::start_with(&copy, ["caller", method, "deleted"], |_| {});
                program.expect("there");
                fs::remove_file(&copy).unwrap();
                if replaced {
                    fs::write(&copy, "something else").unwrap();
                }
                program.go_on();
                program.assert_done();
            });
        }
    }
}

/// A pool made in a library that was loaded at run time is refused, and so are that library's functions as tasks.
#[test]
fn a_plugin_has_neither_pool_nor_tasks() {
    let library = plugin();
    for method in METHODS {
        let library = library.clone();
        guarded(move || {
            let path = library.to_str().unwrap();
            Program::start(["caller", method, "plugin", path]).assert_done();
        });
    }
}

/// Cargo puts the libraries that tests depend on beside the tests.
fn plugin() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = folder.join("libprocess_pool_plugin.so");
    assert!(library.exists(), "{}", library.display());
    library
}
