//! The program ends by itself, or ends its pool.

use std::os::unix::process::ExitStatusExt;

use concurrent_futures_tests::guarded;

use super::{
    METHODS,
    program::{EXECUTABLE, Process, Program, send_signal},
};

/// Starts a program whose two workers are busy for ever, and has it go on to its end.
fn end(method: &str, how: &str) -> Program {
    let mut program = Program::start(["end", method, how]);
    program.expect("there");
    program.expect("there");
    program.go_on();
    program
}

/// What runs in a pool that nobody drops does not keep the program, nor does it stay behind.
fn ends_with(how: &'static str, code: Option<i32>, signal: Option<i32>) {
    for method in METHODS {
        guarded(move || {
            let mut program = end(method, how);
            let status = program.wait();
            assert_eq!((status.code(), status.signal()), (code, signal), "{how}");
            program.assert_gone();
        });
    }
}

#[test]
fn main_returns() {
    ends_with("return", Some(0), None);
}

#[test]
fn main_exits() {
    ends_with("exit", Some(3), None);
}

#[test]
fn main_exits_at_once() {
    ends_with("_exit", Some(4), None);
}

#[test]
fn main_panics() {
    ends_with("panic", Some(101), None);
}

#[test]
fn main_aborts() {
    ends_with("abort", None, Some(libc::SIGABRT));
}

#[test]
fn main_forgets_the_pool() {
    ends_with("forget", Some(0), None);
}

#[test]
fn a_detached_pool_does_not_keep_the_program() {
    ends_with("detach", Some(0), None);
}

#[test]
fn a_shutdown_that_does_not_wait_does_not_keep_the_program() {
    ends_with("no-wait", Some(0), None);
}

/// A pool that is dropped while the thread panics cancels what is queued and waits for what runs.
#[test]
fn dropped_while_unwinding() {
    for method in METHODS {
        guarded(move || {
            let folder = tempfile::tempdir().unwrap();
            let gate = folder.path().join("gate");
            Program::start(["end", method, "unwind", gate.to_str().unwrap()]).assert_done();
        });
    }
}

/// After a drop and after a shutdown that wait, there is neither process nor thread nor descriptor left, while the program
/// goes on.
#[test]
fn nothing_is_left_after_waiting() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["end", method, "wait"]);
            program.expect("start");
            let before = program.holdings();
            program.go_on();
            for _ in 0..2 {
                program.expect("over");
                assert!(program.descendants().is_empty());
                assert!(program.children().is_empty());
                assert_eq!(program.holdings(), before);
                program.go_on();
            }
            program.assert_done();
        });
    }
}

/// Many pools, with crashes and all, leave nothing: neither processes, zombies, descriptors, shared memory, threads, nor
/// files.
#[test]
fn nothing_piles_up() {
    for method in METHODS {
        guarded(move || {
            let folder = tempfile::tempdir().unwrap();
            let arguments = ["end", method, "counted"];
            let mut program = Program::start_with(EXECUTABLE, arguments, |command| {
                command.env("TMPDIR", folder.path());
            });
            program.expect("before");
            let before = (program.holdings(), program.descriptors());
            program.go_on();
            program.expect("after");
            assert_eq!((program.holdings(), program.descriptors()), before);
            assert!(program.descendants().is_empty());
            assert!(program.children().is_empty());
            assert_eq!(folder.path().read_dir().unwrap().count(), 0);
            program.go_on();
            program.assert_done();
        });
    }
}

/// A pool that gives up waiting kills, and all that ran is told so.
#[test]
fn dropped_with_a_limit_on_time() {
    for method in METHODS {
        guarded(move || end(method, "kill-after").assert_done());
    }
}

/// An interrupt from the terminal goes to the program's process group, in which none of the pool's processes is.
#[test]
fn an_interrupt_reaches_the_program_alone() {
    for method in METHODS {
        guarded(move || {
            use std::os::unix::process::CommandExt;

            let arguments = ["moment", method, "family"];
            let mut program = Program::start_with(EXECUTABLE, arguments, |command| {
                command.process_group(0);
                // It may be ignored here, as by a shell's job in the background.
                let restore = || {
                    // SAFETY: sets a signal to its default, in the child.
                    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
                    Ok(())
                };
                // SAFETY: a system call is all that happens between fork and exec.
                unsafe { command.pre_exec(restore) };
            });
            program.expect("there");
            let group = program.pid();
            assert_eq!(Process::look(group).unwrap().group, group);
            // The server, the worker, and the three programs that the task starts, one of them a shell.
            let others = program.await_descendants(5);
            assert!(others.iter().all(|process| process.group != group), "{others:?}");
            send_signal(-group, libc::SIGINT);
            assert_eq!(program.wait().signal(), Some(libc::SIGINT));
            program.assert_gone();
        });
    }
}

/// The program becomes another one. All of the pool's descriptors are closed by that.
#[test]
fn the_program_executes_another() {
    for method in METHODS {
        guarded(move || {
            let mut program = end(method, "exec");
            program.expect("other");
            program.await_only(&[program.pid()]);
            // 0 to 2 and what the shell itself has opened.
            assert!(program.descriptors().iter().all(|it| !it.contains("socket")));
            program.go_on();
            program.expect("end");
            program.assert_gone();
        });
    }
}

/// A child that was forked and not executed holds all of the pool's descriptors. Ending the pool there does nothing, and
/// the workers do not outlive the program although the child does.
#[test]
fn a_forked_child_outlives_the_program() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["end", method, "fork"]);
            let lines = [program.line(), program.line()];
            assert!(lines.iter().any(|line| line == "child dropped it"), "{lines:?}");
            let child = lines.iter().find_map(|line| line.strip_prefix("child ")?.parse().ok());
            program.go_on();
            program.expect("there");
            program.kill();
            program.await_only(&[child.unwrap()]);
        });
    }
}

/// Nor does the server, if that happened before it was ready; it notices as soon as it has preloaded.
#[test]
fn a_forked_child_outlives_the_program_while_preloading() {
    for method in METHODS {
        guarded(move || {
            let folder = tempfile::tempdir().unwrap();
            let gate = folder.path().join("gate");
            let gate = gate.to_str().unwrap();
            let mut program = Program::start(["end", method, "fork-preload", gate]);
            let child = program.line().strip_prefix("child ").unwrap().parse().unwrap();
            program.kill();
            std::fs::write(gate, "").unwrap();
            program.await_only(&[child]);
        });
    }
}

/// A forked child neither cancels what was sent ahead to a worker, nor waits for a lock that nobody there holds.
#[test]
fn a_forked_child_asks_about_what_was_sent_ahead() {
    for method in METHODS {
        guarded(move || {
            let folder = tempfile::tempdir().unwrap();
            let gate = folder.path().join("gate");
            Program::start(["end", method, "fork-ahead", gate.to_str().unwrap()]).assert_done();
        });
    }
}

/// The fork server is killed while many workers are starting: none of the tasks is lost, and the pool is not broken.
#[test]
fn the_server_is_killed_while_workers_start() {
    for method in METHODS {
        guarded(move || {
            let folder = tempfile::tempdir().unwrap();
            let gate = folder.path().join("gate");
            let gate = gate.to_str().unwrap();
            Program::start(["end", method, "kill-starting-server", gate]).assert_done();
        });
    }
}

/// The fork server is killed: what its workers ran fails, everything else goes on with another server.
#[test]
fn the_server_is_killed() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["end", method, "kill-server"]);
            for _ in 0..3 {
                program.expect("there");
                program.expect("there");
                program.go_on();
            }
            program.assert_done();
        });
    }
}
