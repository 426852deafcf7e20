//! Real processes, because what is tested is how the system treats them.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Ended, Stdout, run};

/// Far more than any of these commands needs.
const AMPLE: Duration = Duration::from_secs(60);
/// Short, but long enough for the shell to have started its child.
const SHORT: Duration = Duration::from_millis(500);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// The child's own exit code decides, so it must arrive unchanged.
#[test]
fn exit_code_is_reported() {
    let ended = run(shell("exit 7"), AMPLE, Stdout::Inherit).unwrap();
    assert!(matches!(ended, Ended::Exited { status, .. } if status.code() == Some(7)));
}

/// What is counted later (`test result` lines) is exactly what was printed.
#[test]
fn tee_keeps_the_output() {
    let ended = run(shell("printf 'one\\ntwo'"), AMPLE, Stdout::Tee).unwrap();
    assert!(matches!(ended, Ended::Exited { stdout, .. } if stdout == "one\ntwo\n"));
}

/// A grandchild that sleeps would keep the pipe open for a minute if only the child were killed.
#[test]
fn hang_ends_with_the_whole_group() {
    let start = Instant::now();
    let mut command = shell("sleep 60 & wait");
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stderr(writer);
    let ended = run(command, SHORT, Stdout::Inherit).unwrap();
    assert!(matches!(ended, Ended::Hung { .. }));
    std::io::Read::read_to_end(&mut reader, &mut Vec::new()).unwrap();
    assert!(start.elapsed() < AMPLE / 2, "took {:?}", start.elapsed());
}
