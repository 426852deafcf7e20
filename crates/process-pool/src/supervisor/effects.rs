//! What is to be done about a change of the table, after the lock on it was released.
//!
//! Completing a future decodes its result, drops its argument and runs its callbacks: all of it the user's code, which may
//! take any time, submit the next task, or shut the pool down. None of it may happen under a lock.

use std::os::fd::AsFd;

use concurrent_futures_executor::{
    StartedTask, Task,
    future::{BrokenExecutor, Event, TaskError, report},
};
use nix::{
    errno::Errno,
    libc::PIPE_BUF,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

#[derive(Default)]
pub(crate) struct Effects {
    completions: Vec<Completion>,
    output: Vec<u8>,
    broken: Option<(String, BrokenExecutor)>,
}

enum Completion {
    Finished(StartedTask, Vec<u8>),
    Failed(StartedTask, TaskError),
    Refused(Task, TaskError),
    Cancelled(Task),
}

impl Effects {
    pub(crate) fn finish(&mut self, task: StartedTask, result: Vec<u8>) {
        self.completions.push(Completion::Finished(task, result));
    }

    pub(crate) fn fail(&mut self, task: StartedTask, error: TaskError) {
        self.completions.push(Completion::Failed(task, error));
    }

    pub(crate) fn refuse(&mut self, task: Task, error: TaskError) {
        self.completions.push(Completion::Refused(task, error));
    }

    pub(crate) fn cancel(&mut self, task: Task) {
        self.completions.push(Completion::Cancelled(task));
    }

    /// What `other` has, after what this has.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.completions.append(&mut other.completions);
        self.output.append(&mut other.output);
        self.broken = self.broken.take().or(other.broken);
    }

    /// What is to be written to this process's standard error: what workers have written to theirs.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Lets everybody know that the pool is broken.
    pub(crate) fn report_broken(&mut self, executor: &str, error: &BrokenExecutor) {
        self.broken = Some((executor.to_owned(), error.clone()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.completions.is_empty() && self.output.is_empty() && self.broken.is_none()
    }

    /// Does all of it. To be called without any lock.
    pub(crate) fn perform(self) {
        if let Some((executor, error)) = &self.broken {
            report(&Event::ExecutorBroken { executor, error });
        }
        // What a task has printed is there before anybody hears of its end, if somebody reads it. If not, results do not
        // wait for that.
        let mut output = &self.output[..];
        while !output.is_empty() && print(&mut output, Patience::None) {}
        for completion in self.completions {
            match completion {
                Completion::Finished(task, result) => task.complete_encoded(&result),
                Completion::Failed(task, error) => task.fail(error),
                Completion::Refused(task, error) => task.fail(error),
                Completion::Cancelled(task) => drop(task.cancel()),
            }
        }
        while !output.is_empty() && print(&mut output, Patience::Endless) {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    Endless,
}

/// Writes the beginning of `output` to standard error. False if there is no room, or nowhere to write to.
///
/// Not through `std`, whose lock the user may hold while waiting for a result.
fn print(output: &mut &[u8], patience: Patience) -> bool {
    let stderr = std::io::stderr();
    if patience == Patience::None {
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut fds, PollTimeout::ZERO).is_err() || fds[0].any() != Some(true) {
            return false;
        }
    }
    // A pipe that says it has room has room for this much.
    let piece = &output[..output.len().min(PIPE_BUF)];
    match nix::unistd::write(stderr.as_fd(), piece) {
        Ok(written) => *output = &output[written..],
        Err(Errno::EINTR) => {}
        Err(_) => *output = &[],
    }
    true
}
