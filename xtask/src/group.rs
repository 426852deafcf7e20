//! Runs a command in a process group of its own, so that a hang can be ended as a whole.
//!
//! Killing only the child would leave what the child started: a test binary under cargo, a worker
//! under the test binary. A group reaches them all, at a price: the terminal no longer delivers
//! Ctrl-C to it. So every group has a guard, a shell that waits on a pipe whose other end only
//! xtask holds. The pipe closes when xtask asks for it, but also when xtask is interrupted,
//! terminated or killed, and the guard then kills the group. The shell's `kill` also spares xtask a
//! dependency on a crate for system calls.
//!
//! Process groups tie xtask to Unix.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use crate::output;

#[cfg(test)]
mod tests;

/// The guard: a line on stdin releases it, the end of stdin makes it kill the group `$1`.
const GUARD: &str = r#"read -r released || kill -s KILL -- "-$1""#;

/// How long output may take to arrive after its writer has exited. A stray grandchild can hold the
/// pipe open for ever, and the verdict must not wait for it.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How many threads of a hung group are listed.
const LISTED_MAX: usize = 60;

/// What to do with the standard output of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    /// Goes wherever xtask's own goes.
    Inherit,
    /// Is shown line by line and kept as well.
    Tee,
}

/// How the command ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself; `stdout` is what it printed, if that was kept.
    Exited { status: ExitStatus, stdout: String },
    /// It exceeded the limit and was killed with its group; `threads` is what ran in it just before.
    Hung { threads: Vec<String> },
}

/// Runs `command` to its end, or to the end of `limit`.
pub(crate) fn run(mut command: Command, limit: Duration, stdout: Stdout) -> io::Result<Ended> {
    command.process_group(0).stdin(Stdio::null());
    if stdout == Stdout::Tee {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn()?;
    let group = child.id();
    let guard = match Guard::over(group) {
        Ok(guard) => guard,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    let kept = child.stdout.take().map(tee);
    let exited = wait_elsewhere(child);

    match exited.recv_timeout(limit) {
        Ok(status) => {
            guard.release()?;
            let stdout = match kept {
                Some(kept) => kept.recv_timeout(DRAIN_MAX).map_err(io::Error::other)?,
                None => String::new(),
            };
            Ok(Ended::Exited { status: status?, stdout })
        }
        Err(_elapsed) => {
            let threads = threads_of(group);
            guard.kill()?;
            // Reap the child, so that nothing of the group is left when the next step starts.
            exited.recv().map_err(io::Error::other)??;
            Ok(Ended::Hung { threads })
        }
    }
}

/// Waits for `child` on another thread, because the standard library's wait takes no timeout.
fn wait_elsewhere(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // The receiver is gone only when the run has failed already.
        sender.send(child.wait()).ok();
    });
    receiver
}

/// Shows each line as it comes and sends the whole text at its end.
fn tee(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            output::result(&line);
            text.push_str(&line);
            text.push('\n');
        }
        sender.send(text).ok();
    });
    receiver
}

/// Kills a group when it is told to, or when xtask is no more.
#[derive(Debug)]
struct Guard {
    shell: Child,
    pipe: ChildStdin,
}

impl Guard {
    fn over(group: u32) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(group.to_string())
            // Ctrl-C must not take the guard along with xtask.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take().ok_or_else(|| io::Error::other("the guard has no stdin"))?;
        Ok(Self { shell, pipe })
    }

    /// Lets the group be.
    fn release(mut self) -> io::Result<()> {
        self.pipe.write_all(b"released\n")?;
        self.shell.wait().map(drop)
    }

    /// Kills the group, and returns when that is done.
    fn kill(mut self) -> io::Result<()> {
        drop(self.pipe);
        self.shell.wait().map(drop)
    }
}

/// A line for each thread in the group: process, thread, state, kernel wait point, name, command.
///
/// This is only for a human who reads about a hang, so a machine without a suitable `ps` gets no
/// list. Test threads carry the name of their test.
fn threads_of(group: u32) -> Vec<String> {
    const FORMAT: &str = "pgid=,pid=,tid=,stat=,wchan:20=,comm:16=,args=";
    let Ok(listing) = Command::new("ps").args(["-eLo", FORMAT]).output() else {
        return Vec::new();
    };
    let group = group.to_string();
    String::from_utf8_lossy(&listing.stdout)
        .lines()
        .filter_map(|line| line.trim_start().split_once(' '))
        .filter(|(pgid, _)| *pgid == group)
        .map(|(_, thread)| thread.chars().take(120).collect())
        .take(LISTED_MAX)
        .collect()
}
