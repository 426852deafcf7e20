//! The end of the program, and what a pool is told by the system it runs on. Each test runs `src/bin/scenario.rs` in a
//! process of its own.

use std::process::{Command, Output};

use concurrent_futures_tests::guarded;

/// Runs a scenario, and returns what it printed.
fn run(scenario: &'static str) -> String {
    guarded(move || {
        let output = output(scenario);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{scenario}: {}\n{text}\n{errors}", output.status);
        text
    })
}

fn output(scenario: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scenario"));
    // A backtrace takes long to print, and tasks go on meanwhile: a panic unwinds only after that.
    command.arg(scenario).env("RUST_BACKTRACE", "0").output().unwrap()
}

/// A pool that goes out of scope at the end of `main` is waited for, with all that was queued; Python does so at exit.
#[test]
fn f146_f147_the_end_of_main_waits_for_its_pools() {
    let text = run("drop-at-end");
    assert_eq!(text.lines().filter(|line| line.starts_with("task ")).count(), 20);
    assert_eq!(text.lines().last(), Some("task 19"));
}

/// Also after a shutdown that did not wait: the drop does.
#[test]
fn f148_a_shutdown_without_waiting_is_waited_for_at_the_end() {
    assert_eq!(run("no-wait-at-end").lines().last(), Some("task 19"));
}

/// A detached pool lets the program end, though a task is stuck; so does one that gives up after a while, and one that
/// nobody drops.
#[test]
fn p35_a_stuck_task_does_not_keep_the_program_if_so_chosen() {
    for scenario in ["detach-stuck", "wait-for-stuck", "static-stuck"] {
        assert_eq!(run(scenario), "the end of main\n", "{scenario}");
    }
}

/// Worker threads do not keep the program alive by themselves: it ends with `main`, after the drops there.
#[test]
fn f104_threads_alone_do_not_keep_the_program() {
    assert_eq!(run("forget-at-end"), "the end of main\n");
}

/// There is no flag for the whole process: near its end, in an exit handler, a pool still takes tasks and runs them.
#[test]
fn f149_p36_tasks_may_be_submitted_until_the_very_end() {
    assert_eq!(run("submit-at-exit"), "the end of main\nat exit: 42\n");
}

/// An error that leaves `main` by a panic cancels what is queued instead of waiting for it.
#[test]
fn f147_p38_a_panic_in_main_does_not_wait_for_the_queue() {
    guarded(|| {
        let output = output("panic-in-main");
        assert_eq!(output.status.code(), Some(101));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "task 0\n");
    });
}

/// The default number of workers counts the processors that this process may use.
#[cfg_attr(not(target_os = "linux"), ignore = "sets the processors that a process may use")]
#[test]
fn f098_p43_the_default_respects_the_affinity() {
    assert_eq!(run("one-processor"), "5\n");
}

/// A forked child has the pool and none of its threads. Dropping the pool there, or shutting it down, returns at once,
/// and the parent's goes on as if nothing had been.
#[cfg_attr(not(unix), ignore = "forks")]
#[test]
fn f112_p54_a_forked_child_does_not_wait_for_threads_it_does_not_have() {
    assert_eq!(run("fork"), "child 0\nparent 7\n");
}

/// If some worker exists and no other can be started, a task is accepted, and runs when that worker comes to it.
#[cfg_attr(not(target_os = "linux"), ignore = "limits the memory of a process")]
#[test]
fn f107_with_a_worker_the_task_runs_later() {
    assert_eq!(run("no-second-thread"), "1 thread\n0 1 2 3 4\n");
}

/// Nor does a task that waits for another one of its pool need a second thread, as long as it can run that in place.
#[cfg_attr(not(target_os = "linux"), ignore = "limits the memory of a process")]
#[test]
fn p01_waiting_needs_no_second_thread() {
    assert_eq!(run("wait-without-second-thread"), "1 thread\n190\n");
}
