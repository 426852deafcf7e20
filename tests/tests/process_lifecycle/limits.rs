//! Limits of the operating system: what cannot be had is a typed error, or is done without, and nothing hangs.

use std::{
    os::unix::process::CommandExt,
    sync::atomic::{AtomicU32, Ordering},
};

use concurrent_futures_tests::guarded;

use super::{
    METHODS,
    program::{EXECUTABLE, Program, run},
};

fn descriptors(when: &'static str) {
    for method in METHODS {
        run("limit", method, when);
    }
}

#[test]
fn no_descriptors_at_the_start() {
    descriptors("descriptors-at-start");
}

#[test]
fn no_descriptors_in_mid_run() {
    descriptors("descriptors-in-mid-run");
}

#[test]
fn no_descriptors_while_closing() {
    descriptors("descriptors-while-closing");
}

/// Runs the program as a user who has no other processes, since the limit counts all of a user's, and does not hold for
/// the superuser. Others have no choice but themselves: a limit of none is below whatever they have.
fn processes(when: &'static str) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for method in METHODS {
        guarded(move || {
            let arguments = ["limit", method, when];
            Program::start_with(EXECUTABLE, arguments, |command| {
                // SAFETY: takes nothing, returns a number.
                if unsafe { libc::geteuid() } == 0 {
                    command.uid(61_000 + NEXT.fetch_add(1, Ordering::Relaxed));
                }
            })
            .assert_done();
        });
    }
}

#[test]
fn no_processes_at_the_start() {
    processes("processes-at-start");
}

#[test]
fn no_processes_for_a_replacement() {
    processes("processes-at-replacement");
}

#[test]
fn no_processes_in_mid_run() {
    processes("processes-in-mid-run");
}

/// A user with other processes may reach the limit earlier, which is another test then, and one that passes as well.
#[test]
fn no_threads_in_mid_run() {
    processes("threads-in-mid-run");
}

fn file_size(when: &'static str) {
    for method in METHODS {
        run("limit", method, when);
    }
}

#[test]
fn no_long_files_at_the_start() {
    file_size("file-size-at-start");
}

#[test]
fn no_long_files_in_mid_run() {
    file_size("file-size-in-mid-run");
}
