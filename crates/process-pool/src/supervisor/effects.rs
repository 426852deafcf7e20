//! What is to be done about a change of the table, after the lock on it was released.
//!
//! Completing a future decodes its result, drops its argument and runs its callbacks: all of it the user's code, which may
//! take any time, submit the next task, or shut the pool down. None of it may happen under a lock.
//!
//! A thread that waits for a result, or submits a task, may come to do this in passing: a guest. It may hold locks of its own,
//! which callbacks may want; so it completes only what nobody has left a callback with, and leaves the rest to the crew.

use std::{ops::Range, os::fd::AsFd, sync::Arc};

use concurrent_futures_executor::{
    DecodedTask, StartedTask, Task,
    future::{BrokenExecutor, Event, TaskError, report},
    wire,
};
use nix::{
    errno::Errno,
    libc::PIPE_BUF,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    channel::ELSEWHERE,
    frame::{HEADER_SIZE, ProtocolError},
    payload::{Received, Tabled, TaskFrame, Way},
    supervisor::{link::Link, traffic::no_room},
};

#[derive(Default)]
pub(crate) struct Effects {
    completions: Vec<Completion>,
    /// Where results are that came through a ring.
    bytes: Vec<u8>,
    /// Links of workers that are to be woken.
    wakes: Vec<Arc<Link>>,
    transfers: Vec<Transfer>,
    /// Of tasks that were cancelled: not to be dropped under the lock.
    discarded: Vec<Arc<TaskFrame>>,
    output: Vec<u8>,
    broken: Option<(String, BrokenExecutor)>,
}

/// An encoded result.
pub(crate) enum Body {
    /// Among the bytes of the effects.
    Range(Range<usize>),
    Whole(Received),
}

impl Body {
    /// Calls `read`, which decodes it. `bytes` are those of the effects.
    fn read<R>(self, argument: Argument, bytes: &[u8], read: impl FnOnce(&[u8]) -> R) -> R {
        let received;
        let (result, incoming) = match self {
            Self::Range(range) => (&bytes[range], Vec::new()),
            Self::Whole(mut whole) => {
                let buffers = std::mem::take(&mut whole.buffers);
                received = whole;
                (received.body(), buffers)
            }
        };
        let argument = argument.map_or_else(Vec::new, |frame| frame.buffers.clone());
        if incoming.is_empty() && argument.is_empty() {
            return read(result);
        }
        wire::out_of_band(incoming, argument, || read(result)).0
    }
}

/// The frame of a task, if its argument has buffers: its result may have them too.
pub(crate) type Argument = Option<Arc<TaskFrame>>;

/// A task that is too long for a ring, which was announced, to be put where it belongs and then sent.
pub(crate) struct Transfer {
    pub(crate) worker: u64,
    pub(crate) link: Arc<Link>,
    pub(crate) id: u64,
    pub(crate) slot: u32,
    pub(crate) frame: Arc<TaskFrame>,
}

impl Transfer {
    /// Puts the task in its place, and tells the worker.
    pub(crate) fn perform(&self) -> Result<(), Undelivered> {
        let Some(end) = self.link.shared() else { return Ok(()) };
        let TaskFrame { bytes, buffers, .. } = &*self.frame;
        let task = Tabled::new(bytes, buffers, Way::Memory);
        end.region().put_task(end.task_room(), &task).map_err(|error| {
            let length = self.frame.length() - HEADER_SIZE;
            Undelivered::Failed(TaskError::failed(format!(
                "no room for the {length} bytes of the argument in shared memory: {error}"
            )))
        })?;
        match end.send(&task.header, self.slot | ELSEWHERE) {
            Ok(true) => Ok(()),
            // The worker is idle, so that there is room. If it says otherwise it is out of its mind.
            Ok(false) => Err(Undelivered::Raved(no_room())),
            Err(error) => Err(Undelivered::Raved(error)),
        }
    }
}

/// Why a long task did not get to its worker.
pub(crate) enum Undelivered {
    /// There is no memory for it, which is its error.
    Failed(TaskError),
    /// The worker is not in its right mind.
    Raved(ProtocolError),
}

/// What is in the backlog.
pub(crate) enum Work {
    One(Pending),
    All(Effects),
    /// A worker's answers, for which no bell has rung.
    Answers(u64, Arc<Link>),
}

/// A completion by itself, for any thread of the crew.
pub(crate) struct Pending {
    completion: Completion,
    bytes: Arc<Vec<u8>>,
}

impl Pending {
    pub(crate) fn perform(self) {
        self.completion.perform(&self.bytes);
    }
}

enum Completion {
    Finished(StartedTask, Body, Argument),
    /// Was decoded by a thread that must not go on.
    Decoded(DecodedTask),
    Failed(StartedTask, TaskError),
    Refused(Task, TaskError),
    Cancelled(Task),
}

impl Effects {
    /// Effects to which these bytes belong.
    pub(crate) fn with_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(crate) fn bytes(&self, body: &Body) -> Vec<u8> {
        match body {
            Body::Range(range) => self.bytes[range.clone()].to_vec(),
            Body::Whole(body) => body.body().to_vec(),
        }
    }

    pub(crate) fn wake(&mut self, link: &Arc<Link>) {
        self.wakes.push(Arc::clone(link));
    }

    pub(crate) fn transfer(&mut self, transfer: Transfer) {
        self.transfers.push(transfer);
    }

    pub(crate) fn discard(&mut self, frame: Arc<TaskFrame>) {
        self.discarded.push(frame);
    }

    pub(crate) fn take_transfers(&mut self) -> Vec<Transfer> {
        std::mem::take(&mut self.transfers)
    }

    /// Wakes the workers that are to be woken.
    pub(crate) fn wake_workers(&mut self) {
        for link in self.wakes.drain(..) {
            if let Some(end) = link.shared() {
                end.wake();
            }
        }
    }

    pub(crate) fn finish(&mut self, task: StartedTask, result: Body, argument: Argument) {
        self.completions.push(Completion::Finished(task, result, argument));
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
        let start = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        for mut completion in other.completions {
            if let Completion::Finished(_, Body::Range(range), _) = &mut completion {
                *range = start + range.start..start + range.end;
            }
            self.completions.push(completion);
        }
        self.wakes.append(&mut other.wakes);
        self.transfers.append(&mut other.transfers);
        self.discarded.append(&mut other.discarded);
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

    /// Takes out all completions, if there are several.
    pub(crate) fn take_completions(&mut self) -> Vec<Work> {
        if self.completions.len() < 2 {
            return Vec::new();
        }
        let bytes = Arc::new(std::mem::take(&mut self.bytes));
        let completions = std::mem::take(&mut self.completions).into_iter();
        completions
            .map(|completion| Work::One(Pending { completion, bytes: Arc::clone(&bytes) }))
            .collect()
    }

    /// Completes what nobody has left a callback with, and keeps the rest.
    pub(crate) fn perform_unwatched(&mut self) {
        self.perform_some(Completion::may_be_unwatched);
    }

    /// Of that, completes what takes no time.
    pub(crate) fn perform_plain(&mut self) {
        self.perform_some(|completion| completion.is_plain() && completion.may_be_unwatched());
    }

    fn perform_some(&mut self, which: impl Fn(&Completion) -> bool) {
        // What a task has printed is there before anybody hears of its end.
        if !self.output.is_empty() || self.broken.is_some() {
            return;
        }
        for completion in std::mem::take(&mut self.completions) {
            let left = if which(&completion) {
                completion.perform_unwatched(&self.bytes)
            } else {
                Some(completion)
            };
            self.completions.extend(left);
        }
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
            completion.perform(&self.bytes);
        }
        while !output.is_empty() && print(&mut output, Patience::Endless) {}
    }
}

impl Completion {
    /// Whether it is worth a try to complete it without running callbacks. A failure that nobody is left to read is reported,
    /// which is as good as a callback.
    fn may_be_unwatched(&self) -> bool {
        match self {
            Self::Finished(task, ..) => !task.has_waiters(),
            Self::Decoded(_) | Self::Failed(..) | Self::Refused(..) | Self::Cancelled(_) => false,
        }
    }

    /// Completes it if nobody has left a callback with it; or else returns what is left to be done.
    fn perform_unwatched(self, bytes: &[u8]) -> Option<Self> {
        let left = match self {
            Self::Finished(task, result, argument) => {
                result.read(argument, bytes, |result| task.complete_encoded_unwatched(result))
            }
            other => return Some(other),
        };
        left.map(Self::Decoded)
    }

    /// Whether it runs none of the user's code but for decoding what owns nothing.
    fn is_plain(&self) -> bool {
        match self {
            Self::Finished(task, Body::Range(_), _) => task.is_plain(),
            _ => false,
        }
    }

    fn perform(self, bytes: &[u8]) {
        match self {
            Self::Finished(task, result, argument) => {
                result.read(argument, bytes, |result| task.complete_encoded(result));
            }
            Self::Decoded(task) => task.complete(),
            Self::Failed(task, error) => task.fail(error),
            Self::Refused(task, error) => drop(task.fail(error)),
            Self::Cancelled(task) => drop(task.cancel()),
        }
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
