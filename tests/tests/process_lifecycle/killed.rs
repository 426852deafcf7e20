//! The program is killed, at every moment that differs from others: the fork server, the workers, and whatever is in the
//! workers' groups, are gone soon after.

use std::{thread, time::Duration};

use concurrent_futures_tests::{delays, guarded};

use super::{
    METHODS,
    program::{EXECUTABLE, Process, Program, send_signal},
};

/// Gets the program to a moment, kills it there, and waits until everything is gone.
fn kill_at(moment: &'static str) {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["moment", method, moment]);
            program.expect("there");
            program.kill();
            program.assert_gone();
        });
    }
}

#[test]
fn killed_before_the_first_task() {
    kill_at("built");
}

#[test]
fn killed_while_workers_are_idle() {
    kill_at("idle");
}

#[test]
fn killed_while_a_task_runs() {
    kill_at("running");
}

/// The task has started a shell, and that a program.
#[test]
fn killed_while_a_task_has_descendants() {
    kill_at("family");
}

#[test]
fn killed_while_preloading() {
    kill_at("preload");
}

/// What was preloaded has started a program, in the server's group.
#[test]
fn killed_after_preloading_something_that_goes_on() {
    kill_at("preload-helper");
}

/// Nor does that stay when the pool ends.
#[test]
fn shut_down_after_preloading_something_that_goes_on() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["moment", method, "preload-helper", "shutdown"]);
            program.expect("done");
            program.assert_gone();
        });
    }
}

#[test]
fn killed_while_initializing() {
    kill_at("initializer");
}

#[test]
fn killed_while_a_large_argument_is_read() {
    kill_at("argument-read");
}

/// At one moment after the other, from before the server exists until after the first results.
#[test]
fn killed_while_starting() {
    for method in METHODS {
        guarded(move || {
            // The times are not synchronisation: they spread the kills over the start, which takes some milliseconds.
            for step in 0..20 {
                let mut program = Program::start(["moment", method, "starting"]);
                program.expect("there");
                thread::sleep(delays::moment_number(step, Duration::from_micros(400)));
                program.kill();
                program.assert_gone();
            }
        });
    }
}

/// The same with many workers, which leave processes in their groups.
#[test]
fn killed_while_many_workers_start() {
    for method in METHODS {
        guarded(move || {
            for step in 0..10 {
                let mut program = Program::start(["moment", method, "starting-many"]);
                program.expect("there");
                thread::sleep(delays::moment_number(step, Duration::from_millis(2)));
                program.kill();
                program.assert_gone();
            }
        });
    }
}

/// Neither does a server outlive the program that has been held up before it came to look at its connection, whatever it
/// was about to preload.
#[test]
fn killed_before_the_server_looks_at_its_connection() {
    for method in METHODS {
        guarded(move || {
            let arguments = ["moment", method, "preload-held"];
            let mut program = Program::start_with(EXECUTABLE, arguments, |command| {
                command.env("LIFECYCLE_HOLD", "1");
            });
            program.expect("there");
            program.kill();
            program.assert_gone();
        });
    }
}

/// The worker is stopped in the middle of an argument of some hundred megabytes.
#[test]
fn killed_while_a_large_argument_is_sent() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["moment", method, "argument"]);
            let worker = program.line().parse().unwrap();
            send_signal(worker, libc::SIGSTOP);
            program.go_on();
            program.expect("there");
            program.kill();
            program.assert_gone();
        });
    }
}

/// The program does not read any more when the worker sends a result of some hundred megabytes.
#[test]
fn killed_while_a_large_result_is_sent() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["moment", method, "result"]);
            program.expect("there");
            send_signal(program.pid(), libc::SIGSTOP);
            program.kill();
            program.assert_gone();
        });
    }
}

/// Stops the server, the workers, or both, before the program is killed.
fn kill_with_stopped(server_stops: bool, workers_stop: bool) {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["moment", method, "busy-and-stopped"]);
            program.expect("there");
            let server = program.server();
            // Both workers, and all that one of them has started, are there.
            let workers = program.await_descendants(6);
            let workers = workers.iter().filter(|process| process.parent == server);
            if server_stops {
                stop(server);
            }
            if workers_stop {
                workers.for_each(|worker| stop(worker.pid));
            }
            program.kill();
            program.assert_gone();
        });
    }
}

/// Stops a process, and returns when it is.
fn stop(pid: i32) {
    send_signal(pid, libc::SIGSTOP);
    while Process::look(pid).is_some_and(|process| process.state != 'T') {
        thread::yield_now();
    }
}

#[test]
fn killed_while_the_workers_are_stopped() {
    kill_with_stopped(false, true);
}

/// The workers see to themselves, and the kernel ends a stopped process group that has lost its parent.
#[test]
fn killed_while_the_server_is_stopped() {
    kill_with_stopped(true, false);
}
