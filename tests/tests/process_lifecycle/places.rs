//! Tasks that are hard on their worker: whatever they do, their future ends, the pool goes on, and nothing is left behind.

use super::{METHODS, program::run};

fn survives(what: &'static str) {
    for method in METHODS {
        run("place", method, what);
    }
}

#[test]
fn a_task_closes_every_descriptor() {
    survives("closes-descriptors");
}

#[test]
fn a_task_changes_the_directory() {
    survives("changes-directory");
}

#[test]
fn a_task_resets_signals() {
    survives("resets-signals");
}

/// Whatever becomes of the child: it lives on, returns as its parent does, panics, or ends.
#[test]
fn a_task_forks() {
    survives("forks");
}

#[test]
fn a_task_exits() {
    survives("exits");
}

#[test]
fn a_task_leaves_threads() {
    survives("leaves-threads");
}

#[test]
fn a_task_prints_much() {
    survives("prints");
}

/// `terminate_workers` asks. A worker that does not mind ends when it has nothing more to do, as at any shutdown.
#[test]
fn a_task_has_its_worker_ignore_sigterm() {
    survives("ignores-sigterm");
}

#[test]
fn a_task_leaves_its_process_group() {
    survives("leaves-group");
}

#[test]
fn a_task_stops_its_worker() {
    survives("stops");
}
