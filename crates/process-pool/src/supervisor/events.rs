//! What happens, and what it means: something can be read from a worker or the server, or one of them has ended.

use std::{io, sync::Arc};

use concurrent_futures_executor::future::TaskError;

use crate::{
    channel::{ELSEWHERE, PoolEnd, split_frame},
    frame::{HEADER_SIZE, ProtocolError, Read},
    journal::Part,
    message::Ending,
    payload::Shelf,
    region::Region,
    supervisor::{
        Supervisor,
        effects::{Body, Effects},
        link::{Link, lock},
        reactor::Source,
        traffic::Answer,
    },
    sys,
};

impl Supervisor {
    /// Reads the answers that are in the memory shared with a worker. `None` if there are none.
    pub(super) fn drain(&self, id: u64, link: &Link) -> Option<Effects> {
        let end = link.shared()?;
        // Held until the table has been changed, so that another thread does not come first with a later answer.
        let mut receiving = lock(&end.receiving);
        if !end.has_answers() {
            return None;
        }
        let mut bytes = Vec::new();
        let answers = end
            .receive(&mut receiving, &mut bytes)
            .map_err(|error| error.to_string())
            .and_then(|()| answers(end, &bytes, &self.cx.shelf));
        let mut fx = Effects::with_bytes(bytes);
        // It may wait for room.
        if end.must_wake() {
            end.wake();
        }
        self.change_with(&mut fx, |table, cx, fx| {
            let outcome = answers.and_then(|answers| {
                let outcome = table.worker_answered(cx, id, answers, fx);
                outcome.map_err(|error| error.to_string())
            });
            if let Err(error) = outcome {
                table.worker_raved(cx, id, error);
            }
        });
        Some(fx)
    }

    /// Reads what a worker has put into the shared memory, until there is nothing more.
    pub(super) fn drain_all(self: &Arc<Self>, id: u64, link: &Arc<Link>) {
        loop {
            while let Some(fx) = self.take_answers(id, link) {
                self.perform_rest(fx);
            }
            if !lock(&self.state).table.expect_bell(id) {
                return;
            }
        }
    }

    pub(super) fn handle(self: &Arc<Self>, source: Source) {
        match source {
            Source::Wake => self.help(),
            Source::Link(id) => {
                let (link, is_server) = {
                    let state = lock(&self.state);
                    (state.table.link(id), state.table.server_id() == Some(id))
                };
                let Some(link) = link else { return };
                link.flush(&self.cx.reactor);
                if is_server {
                    self.listen_to_server(id, &link);
                } else {
                    self.listen(id, &link);
                    self.drain_all(id, &link);
                }
            }
            Source::Stderr(id) => self.collect_stderr(id),
            Source::Process(id) => {
                let link = {
                    let state = lock(&self.state);
                    (state.table.server_id() == Some(id)).then(|| state.table.link(id))
                };
                let Some(Some(link)) = link else { return };
                // What it has said before it ended is read first: how its workers ended, and what their pids are.
                link.shut_down();
                self.listen_to_server(id, &link);
            }
        }
    }

    /// Reads what a worker has sent, until there is nothing more.
    pub(super) fn listen(self: &Arc<Self>, id: u64, link: &Link) {
        loop {
            let (goes_on, fx) = self.listen_once(id, link);
            self.perform(fx);
            if !goes_on {
                return;
            }
        }
    }

    /// Reads one frame and acts upon it. Whether there may be another.
    pub(super) fn listen_once(&self, id: u64, link: &Link) -> (bool, Effects) {
        // Held until the table has been changed, so that another thread does not come first with a later frame.
        let mut decoder = lock(&link.decoder);
        match link.read(&mut decoder) {
            Ok(Read::Frame(frame)) => {
                self.change(|table, cx, fx| match table.worker_said(cx, id, frame, fx) {
                    Ok(()) => true,
                    Err(error) => {
                        table.worker_raved(cx, id, error.to_string());
                        false
                    }
                })
            }
            Ok(Read::Pending) => (false, Effects::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.change(|table, cx, _| {
                    table.worker_raved(cx, id, error.to_string());
                    false
                })
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.change(|table, cx, _| {
                    table.worker_raved(cx, id, format!("its result is too large: {error}"));
                    false
                })
            }
            Ok(Read::Closed) | Err(_) => self.change(|table, _, _| {
                table.worker_hung_up(id);
                false
            }),
        }
    }

    pub(super) fn collect_stderr(self: &Arc<Self>, id: u64) {
        let Some(stderr) = lock(&self.state).table.stderr(id) else { return };
        loop {
            let mut fx = Effects::default();
            let may_be_more = stderr.read(self.cx.output(&mut fx));
            self.perform(fx);
            if !may_be_more {
                return;
            }
        }
    }

    pub(super) fn listen_to_server(self: &Arc<Self>, id: u64, link: &Link) {
        loop {
            let (goes_on, fx) = self.listen_to_server_once(id, link);
            self.perform(fx);
            if !goes_on {
                return;
            }
        }
    }

    pub(super) fn listen_to_server_once(self: &Arc<Self>, id: u64, link: &Link) -> (bool, Effects) {
        let mut decoder = lock(&link.decoder);
        let error = match link.read(&mut decoder) {
            Ok(Read::Frame(frame)) => {
                let (outcome, mut fx) =
                    self.change(|table, cx, fx| match table.server_said(cx, &frame, fx) {
                        Ok(ended) => ended,
                        Err(error) => {
                            table.server_raved(cx, error, fx);
                            None
                        }
                    });
                if let Some((worker, ending)) = outcome {
                    self.worker_ended(worker, ending, &mut fx);
                }
                return (true, fx);
            }
            Ok(Read::Pending) => return (false, Effects::default()),
            Ok(Read::Closed) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = error
            && error.kind() == io::ErrorKind::InvalidData
        {
            let error = ProtocolError(error.to_string());
            let ((), fx) = self.change(|table, cx, fx| table.server_raved(cx, error, fx));
            return (false, fx);
        }
        drop(decoder);
        self.server_ended(id);
        (false, Effects::default())
    }

    /// Reads what a worker that has ended had to say, and draws the conclusions.
    pub(super) fn worker_ended(&self, id: u64, ending: Ending, fx: &mut Effects) {
        let (link, stderr) = {
            let state = lock(&self.state);
            (state.table.link(id), state.table.stderr(id))
        };
        let (Some(link), Some(stderr)) = (link, stderr) else { return };
        // Whoever else holds the other end, which a process that a task has started may do, says nothing any more.
        link.shut_down();
        loop {
            let (goes_on, more) = self.listen_once(id, &link);
            fx.append(more);
            if !goes_on {
                break;
            }
        }
        while let Some(more) = self.drain(id, &link) {
            fx.append(more);
        }
        // What it wrote. Whoever else writes to that is not waited for.
        stderr.read(self.cx.output(fx));
        let part = self.part_of_chunk(id, &link);
        let ((), more) = self.change(|table, cx, fx| table.settle(cx, id, ending, part, fx));
        fx.append(more);
    }

    /// What a worker that has ended had done of a chunk that it has not answered. `None` if there is none, or what it says of
    /// that makes no sense.
    fn part_of_chunk(&self, id: u64, link: &Link) -> Option<Part> {
        let end = link.shared()?;
        let progress = end.journaled();
        // What there is to be read is read without the lock, as it may be much.
        let is_left = lock(&self.state).table.has_not_answered(id, progress.task);
        if is_left { Part::read(progress, end.region()) } else { None }
    }

    /// The server is gone, and the kernel has killed its workers, or is doing so. What they have started is killed here.
    pub(super) fn server_ended(self: &Arc<Self>, id: u64) {
        let mut fx = Effects::default();
        let workers = {
            let mut state = lock(&self.state);
            if !state.table.server_is_gone(id) {
                return;
            }
            state.table.worker_ids()
        };
        for worker in workers {
            if let Some(pid) = lock(&self.state).table.worker_pid(worker) {
                // Not the worker itself: its number may be somebody else's.
                sys::send_signal_to_group(pid, libc::SIGKILL);
            }
            self.worker_ended(worker, Ending::Unknown, &mut fx);
        }
        let ((), more) = self.change(|table, cx, fx| table.server_ended(cx, id, fx));
        fx.append(more);
        self.perform(fx);
    }
}

/// The answers that these bytes are.
fn answers(end: &PoolEnd<Region>, bytes: &[u8], shelf: &Arc<Shelf>) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    // The worker waits until its long answer was read before it sends the next.
    let mut is_long_read = false;
    while !rest.is_empty() {
        let start = bytes.len() - rest.len() + HEADER_SIZE;
        let (header, body, after) = split_frame(rest).map_err(|error| error.to_string())?;
        let body = if header.place & ELSEWHERE == 0 {
            Ok(Body::Range(start..start + body.len()))
        } else if std::mem::replace(&mut is_long_read, true) {
            return Err("two long answers in one place".to_owned());
        } else {
            let body = end.region().take_answer(&header, shelf);
            end.long_answer_was_read();
            match body {
                Ok(body) => Ok(Body::Whole(body)),
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    Err(TaskError::failed(format!("no memory for the result: {error}")))
                }
                Err(error) => return Err(format!("its result cannot be read: {error}")),
            }
        };
        answers.push(Answer { kind: header.kind, id: header.id, body });
        rest = after;
    }
    Ok(answers)
}
