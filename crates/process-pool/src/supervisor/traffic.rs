//! The part of the table that is about tasks on their way: which worker is sent which, what becomes of the answers, and what
//! is taken back and moved.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use concurrent_futures_executor::{
    StartedTask, Task,
    future::{FutureId, TaskError, WorkerDied},
};

use crate::{
    channel::{PoolEnd, WINDOW_MAX},
    frame::{Frame, FrameBuilder, Kind, ProtocolError},
    journal::Part,
    message::{ChunkSite, decode_failure},
    payload::{Received, TaskFrame},
    region::Region,
    supervisor::{
        Context,
        effects::{Argument, Body, Effects, Transfer, Undelivered},
        link::Link,
        processes::{Phase, Verdict, Worker},
        table::{ATTEMPTS_MAX, Table},
        window::{Hold, Sent, TakenBack, Window},
    },
};

/// Tasks that were sent ahead are moved to an idle worker if what is left of them would take longer than this: about as long
/// as it takes to wake that worker.
const MOVE_NANOS: u64 = 50_000;

/// A task and the frame that carries it, to be sent when a worker is free.
pub(crate) struct Queued {
    pub(super) task: QueuedTask,
    pub(super) id: u64,
    pub(super) frame: Arc<TaskFrame>,
}

pub(super) enum QueuedTask {
    Fresh(Task),
    /// Was sent to a worker that died without having started it, or, of a chunk, come to its end.
    Moved(StartedTask, u32),
}

impl Queued {
    pub(crate) fn new(task: Task, id: u64, frame: TaskFrame) -> Self {
        Self { task: QueuedTask::Fresh(task), id, frame: Arc::new(frame) }
    }

    /// The task, if it was never sent.
    pub(crate) fn into_task(self) -> Option<Task> {
        match self.task {
            QueuedTask::Fresh(task) => Some(task),
            QueuedTask::Moved(..) => None,
        }
    }
}

/// What a worker has to say of a task.
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    /// An error if there is no memory for it here.
    pub(crate) body: Result<Body, TaskError>,
}

/// What the result may be decoded with.
fn argument_of(frame: Arc<TaskFrame>) -> Argument {
    (!frame.buffers.is_empty()).then_some(frame)
}

pub(super) fn out_of_turn(kind: Kind, about: u64) -> ProtocolError {
    ProtocolError(format!("a {kind:?} frame about {about} out of turn"))
}

impl Worker {
    /// How many tasks it may have at this moment.
    fn limit(&self) -> usize {
        let Some(end) = self.link.shared() else { return 1 };
        if self.verdict.is_some() || self.hung_up {
            return 0;
        }
        self.window.limit(end.cost()).min(self.window_max())
    }

    /// How many tasks it may have, however short they are.
    fn window_max(&self) -> usize {
        let left = self.tasks_left.and_then(|left| usize::try_from(left).ok());
        left.map_or(WINDOW_MAX, |left| left.min(WINDOW_MAX))
    }
}

impl Table {
    // Sending.

    /// Lets a worker have tasks, if it is ready and its process id known: whoever has a result finds its process in the list.
    pub(super) fn admit(&mut self, id: u64) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.verdict.is_some() {
            // It is to be killed for what it has said since it was ready, and nobody has had anything of it.
            return;
        }
        if worker.pid.is_some() && matches!(worker.phase, Phase::Starting { ready: true, .. }) {
            if worker.hung_up {
                worker.lose();
            } else {
                worker.phase = Phase::Idle { since: Instant::now() };
                self.idle.push(id);
            }
            self.start_succeeded();
        }
    }

    /// Sends what can be sent.
    pub(super) fn dispatch(&mut self, cx: &Context, fx: &mut Effects) {
        // Rule 1: who has nothing comes first.
        while let Some(&id) = self.idle.last()
            && let Some(queued) = self.queue.pop_front()
        {
            let (hold, attempts) = match queued.task {
                QueuedTask::Fresh(task) => match task.start() {
                    Some(task) => (Hold::Running(task), 1),
                    None => {
                        fx.discard(queued.frame);
                        self.stats.cancelled += 1;
                        continue;
                    }
                },
                QueuedTask::Moved(task, attempts) => (Hold::Running(task), attempts + 1),
            };
            self.idle.pop();
            let Queued { id: task, frame, .. } = queued;
            self.send_first(cx, id, hold, task, frame, attempts, fx);
        }
        if !self.queue.is_empty() {
            self.send_ahead(cx, fx);
        } else if self.ahead > 0 && !self.idle.is_empty() {
            self.move_some(cx, self.each_rings, fx);
        }
    }

    /// Sends an idle worker a task.
    #[expect(clippy::too_many_arguments, reason = "the parts of a `Queued` whose task has started")]
    fn send_first(
        &mut self,
        cx: &Context,
        id: u64,
        hold: Hold,
        task: u64,
        frame: Arc<TaskFrame>,
        attempts: u32,
        fx: &mut Effects,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let slot = worker.window.next_slot();
        let link = Arc::clone(&worker.link);
        if let Some(end) = link.shared() {
            set_bell(end, &worker.window, self.watched);
        }
        let mut began = None;
        let mut failure = send_values(cx, worker, &frame).map_or_else(Some, |sent| {
            // There is room in a ring for all values that a task may have.
            (!sent).then(no_room)
        });
        match link.shared() {
            _ if failure.is_some() => {}
            None => link.send_task(&cx.reactor, &frame),
            Some(end) if frame.is_long() => {
                // Not when it is in its place: the worker may be given up by then, and the task be another's.
                end.announce(task, slot);
                let (link, frame) = (Arc::clone(&link), Arc::clone(&frame));
                fx.transfer(Transfer { worker: id, link, id: task, slot, frame });
                worker.window.loading = true;
            }
            Some(end) => {
                began = Some(Instant::now());
                failure = match end.send_task(&frame.bytes, task, slot) {
                    Ok(true) => None,
                    Ok(false) => Some(no_room()),
                    Err(error) => Some(error),
                };
            }
        }
        worker.window.push(Sent { hold, id: task, slot, frame, attempts, began });
        worker.phase = Phase::Busy;
        self.after_sending(id, &link, fx);
        if let Some(error) = failure {
            self.worker_raved(cx, id, error.to_string());
        }
    }

    /// Puts a worker that was sent something in the list of those that may get more.
    fn after_sending(&mut self, id: u64, link: &Arc<Link>, fx: &mut Effects) {
        let Some(end) = link.shared() else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !worker.open {
            worker.open = true;
            self.open.push_back(id);
        }
        if end.must_wake() {
            fx.wake(link);
        }
    }

    /// Sends more to workers that are busy with short tasks.
    fn send_ahead(&mut self, cx: &Context, fx: &mut Effects) {
        while let Some(&id) = self.open.front() {
            let Some(queued) = self.queue.front() else { return };
            let ordinary = matches!(queued.task, QueuedTask::Fresh(_));
            if !ordinary || queued.frame.is_long() {
                // They wait for a worker that is idle, and so does what comes after them.
                return;
            }
            let worker = self.workers.get_mut(&id);
            let open = worker.filter(|worker| {
                matches!(worker.phase, Phase::Busy) && worker.window.len() < worker.limit()
            });
            let Some(worker) = open else {
                self.close_window(id);
                continue;
            };
            let link = Arc::clone(&worker.link);
            let (Some(end), Some(queued)) = (link.shared(), self.queue.pop_front()) else { return };
            match push_ahead(cx, worker, end, queued, self.watched) {
                Pushed::Sent => {
                    self.ahead += 1;
                    self.each_rings = false;
                    self.after_sending(id, &link, fx);
                    self.open.rotate_left(1);
                }
                Pushed::Cancelled => self.stats.cancelled += 1,
                Pushed::NoRoom(queued) => {
                    self.put_back(queued);
                    self.close_window(id);
                }
                Pushed::Failed(queued, error) => {
                    self.put_back(queued);
                    self.close_window(id);
                    self.worker_raved(cx, id, error.to_string());
                }
            }
        }
    }

    fn put_back(&mut self, queued: Option<Queued>) {
        match queued {
            Some(queued) => self.queue.push_front(queued),
            None => self.stats.cancelled += 1,
        }
    }

    /// Takes a worker, the first in it, off the list of those that have room.
    fn close_window(&mut self, id: u64) {
        self.open.pop_front();
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.open = false;
        }
    }

    /// A task that was too long for a ring is in its place, or could not be put there.
    pub(crate) fn transferred(
        &mut self,
        cx: &Context,
        transfer: &Transfer,
        outcome: Result<(), Undelivered>,
        fx: &mut Effects,
    ) {
        let Some(worker) = self.workers.get_mut(&transfer.worker) else { return };
        // A worker out of its mind may have answered before it was asked, and got another task meanwhile.
        let first = worker.window.front_mut().filter(|first| first.id == transfer.id);
        let Some(first) = first else { return };
        match outcome {
            Ok(()) => {
                first.began.get_or_insert_with(Instant::now);
                self.after_sending(transfer.worker, &transfer.link, fx);
            }
            // It has not started the task, which goes to another one.
            Err(Undelivered::Raved(error)) => {
                self.worker_raved(cx, transfer.worker, error.to_string());
            }
            Err(Undelivered::Failed(error)) => {
                let Some(Sent { hold: Hold::Running(task), .. }) = worker.window.retract() else {
                    return;
                };
                self.stats.failed += 1;
                fx.fail(task, error);
                self.after_answers(cx, transfer.worker, fx);
            }
        }
    }

    // Taking back.

    /// Takes back the task of a future that is to be cancelled. False if a worker has it, `None` if it was not sent ahead.
    pub(crate) fn revoke(&mut self, id: FutureId, cancel: &mut dyn FnMut()) -> Option<bool> {
        if self.ahead == 0 {
            return None;
        }
        for worker in self.workers.values_mut() {
            let Some(end) = worker.link.shared() else { continue };
            match worker.window.revoke(end, id, cancel) {
                None => {}
                Some(false) => return Some(false),
                Some(true) => {
                    self.ahead -= 1;
                    self.stats.cancelled += 1;
                    return Some(true);
                }
            }
        }
        None
    }

    /// Whether a worker has started the task of this future, which was sent ahead.
    pub(crate) fn has_started_task(&mut self, id: FutureId) -> bool {
        self.workers
            .values_mut()
            .find_map(|worker| worker.window.has_started(worker.link.shared()?, id))
            .unwrap_or(false)
    }

    /// Puts everything that was sent ahead, and not started, back in the queue, of a pool that runs none of it.
    pub(super) fn take_all_back(&mut self) {
        self.all_taken_back = true;
        let mut all = Vec::new();
        for worker in self.workers.values_mut() {
            let Some(end) = worker.link.shared() else { continue };
            let (taken, cancelled) = worker.window.take_back(end, usize::MAX);
            self.ahead -= taken.len() + cancelled;
            self.stats.cancelled += cancelled as u64;
            all.extend(taken);
        }
        self.requeue(all);
    }

    /// Puts tasks in front of the queue. They have been waiting for longer than the others.
    fn requeue(&mut self, tasks: Vec<TakenBack>) {
        for TakenBack { task, id, frame } in tasks.into_iter().rev() {
            self.queue.push_front(Queued { task: QueuedTask::Fresh(task), id, frame });
        }
    }

    /// Moves some of what was sent ahead to a worker that is idle, if there is enough of it or it waits for a task that takes
    /// long, or `at_once`.
    pub(crate) fn move_some(&mut self, cx: &Context, at_once: bool, fx: &mut Effects) {
        while self.ahead > 0
            && let Some(&idle) = self.idle.last()
        {
            let busiest = self.workers.iter_mut().max_by_key(|(_, worker)| worker.window.ahead());
            let Some((_, worker)) = busiest else { return };
            let (ahead, link) = (worker.window.ahead(), Arc::clone(&worker.link));
            let Some(end) = link.shared() else { return };
            // What it costs is a guess from what was before. A task that runs for long proves it wrong.
            let takes_long = || {
                end.cost().saturating_mul(ahead as u64) >= MOVE_NANOS || worker.window.is_overdue()
            };
            if ahead == 0 || !(at_once || takes_long()) {
                return;
            }
            let (taken, cancelled) = worker.window.take_back(end, ahead.div_ceil(2));
            self.ahead -= taken.len() + cancelled;
            self.stats.cancelled += cancelled as u64;
            if taken.is_empty() {
                return;
            }
            let mut taken = VecDeque::from(taken);
            while let Some(TakenBack { task, id, frame }) = taken.pop_front() {
                // The first of them makes the worker busy; the others go where there is room.
                let Some(task) = task.start() else {
                    self.stats.cancelled += 1;
                    continue;
                };
                self.idle.pop();
                self.send_first(cx, idle, Hold::Running(task), id, frame, 1, fx);
                break;
            }
            let Some(worker) = self.workers.get_mut(&idle) else { return };
            let link = Arc::clone(&worker.link);
            while let Some(TakenBack { task, id, frame }) = taken.pop_front() {
                let queued = Queued { task: QueuedTask::Fresh(task), id, frame };
                let pushed = match link.shared() {
                    Some(end) if worker.window.len() < worker.window_max() => {
                        push_ahead(cx, worker, end, queued, self.watched)
                    }
                    _ => Pushed::NoRoom(Some(queued)),
                };
                match pushed {
                    Pushed::Sent => self.ahead += 1,
                    Pushed::Cancelled => self.stats.cancelled += 1,
                    Pushed::NoRoom(queued) | Pushed::Failed(queued, _) => {
                        let rest = taken.drain(..);
                        self.queue.extend(queued);
                        self.queue.extend(rest.map(|TakenBack { task, id, frame }| Queued {
                            task: QueuedTask::Fresh(task),
                            id,
                            frame,
                        }));
                    }
                }
            }
            self.after_sending(idle, &link, fx);
        }
    }

    // Answers.

    /// What a worker has to say of its tasks. An error means that it is not in its right mind.
    pub(crate) fn worker_answered(
        &mut self,
        cx: &Context,
        id: u64,
        answers: impl IntoIterator<Item = Answer>,
        fx: &mut Effects,
    ) -> Result<(), ProtocolError> {
        self.each_rings = false;
        for answer in answers {
            self.task_answered(id, answer, fx)?;
        }
        self.after_answers(cx, id, fx);
        Ok(())
    }

    fn task_answered(
        &mut self,
        id: u64,
        Answer { kind, id: about, body }: Answer,
        fx: &mut Effects,
    ) -> Result<(), ProtocolError> {
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        if matches!(worker.verdict, Some(Verdict::Violation(_))) {
            return Ok(());
        }
        let front = worker.window.front_mut().filter(|sent| sent.id == about);
        let revoked = front.as_ref().is_some_and(|sent| matches!(sent.hold, Hold::Revoked));
        if front.is_none() || revoked != (kind == Kind::Skipped) {
            return Err(out_of_turn(kind, about));
        }
        let outcome = match (kind, body) {
            (Kind::Skipped, _) => {
                worker.window.pop();
                return Ok(());
            }
            (Kind::Finished | Kind::FinishedWithBuffers, body) => body,
            (Kind::Failed, Ok(body)) => {
                let body = fx.bytes(&body);
                Err(decode_failure(&Frame { kind, id: about, body })?)
            }
            (Kind::Failed, Err(error)) => Err(error),
            _ => return Err(out_of_turn(kind, about)),
        };
        let Some(Sent { hold, frame, .. }) = worker.window.pop() else { return Ok(()) };
        let task = match hold {
            Hold::Running(task) => Some(task),
            Hold::Ahead(task) => {
                self.ahead -= 1;
                task.start()
            }
            Hold::Revoked => None,
        };
        let Some(task) = task else { return Err(out_of_turn(kind, about)) };
        if let Some(left) = &mut worker.tasks_left {
            *left = left.saturating_sub(1);
        }
        match outcome {
            Ok(result) => {
                // A chunk that had a worker die has not succeeded, whatever came of the other items.
                if task.has_failed_items() {
                    self.stats.failed += 1;
                } else {
                    self.stats.succeeded += 1;
                }
                fx.finish(task, result, argument_of(frame));
            }
            Err(error) => {
                self.stats.failed += 1;
                fx.fail(task, error);
            }
        }
        Ok(())
    }

    /// What follows for a worker that has answered: it goes on with the next task, or has none. To be called before anybody
    /// learns of a result, so that whoever submits the next task then finds the worker free.
    fn after_answers(&mut self, cx: &Context, id: u64, fx: &mut Effects) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !matches!(worker.phase, Phase::Busy) {
            return;
        }
        if !worker.window.is_empty() {
            if worker.window.promote(Instant::now()) {
                self.ahead -= 1;
            }
            if !worker.open {
                worker.open = true;
                self.open.push_back(id);
            }
            return;
        }
        // It writes nothing now, so what it has written is of the tasks that it has done, and what follows is the next one's.
        worker.stderr.read(cx.output(fx));
        worker.stderr.clear();
        if worker.hung_up {
            // It has answered and died, in this order, and its end was seen first.
            worker.lose();
            return;
        }
        worker.phase = Phase::Idle { since: Instant::now() };
        // One that was told to end by a signal, and has not minded it, has to be told again.
        if worker.tasks_left == Some(0) || worker.verdict.is_some() {
            self.dismiss(cx, id);
        } else {
            self.idle.push(id);
        }
    }

    /// Whether a worker was sent a task that it has not answered.
    pub(crate) fn has_not_answered(&self, id: u64, task: u64) -> bool {
        self.workers.get(&id).is_some_and(|worker| worker.window.contains(task))
    }

    /// Decides about the tasks of a worker that has died, all of whose answers have been read.
    pub(super) fn dispose(
        &mut self,
        worker: &mut Worker,
        died: &WorkerDied,
        part: Option<Part>,
        fx: &mut Effects,
    ) {
        // Not by the worker's verdict: it may have had one before.
        let stopped = self.stopped;
        // Then it has died of what it did before, and a task that comes next is not to blame, however often that happens.
        let has_answered = worker.window.has_answered();
        let mut moved = Vec::new();
        for Sent { hold, id, slot, frame, attempts, began } in worker.window.take() {
            let started = match worker.link.shared() {
                // A worker whose server has died may be alive for another moment, and is not to start it then.
                Some(end) => !end.revoke(slot, id) && end.has_started(slot, id),
                None => began.is_some(),
            };
            let task = match hold {
                Hold::Revoked => continue,
                Hold::Ahead(task) => {
                    self.ahead -= 1;
                    // Of a pool that was stopped, those that are still here could not be taken back then, and are not to be
                    // run by anybody else: what the worker has written over their claims was to no avail.
                    if !started && !stopped {
                        match task.take_back() {
                            Some(task) => {
                                moved.push(Queued { task: QueuedTask::Fresh(task), id, frame })
                            }
                            None => self.stats.cancelled += 1,
                        }
                        continue;
                    }
                    match task.start() {
                        Some(task) => task,
                        None => continue,
                    }
                }
                Hold::Running(task) => task,
            };
            if started {
                let run_time = began.map(|began| began.elapsed()).unwrap_or_default();
                let error = TaskError::WorkerDied(died.clone().with_run_time(run_time));
                let part = part.as_ref().filter(|part| part.task == id);
                if let Some((task, frame)) = self.go_on(task, frame, part, error, stopped, fx) {
                    moved.push(Queued { task: QueuedTask::Moved(task, 0), id, frame });
                }
            } else if stopped || attempts >= ATTEMPTS_MAX && !has_answered {
                self.stats.failed += 1;
                fx.fail(task, TaskError::WorkerDied(died.clone()));
            } else if let Some(error) = self.broken().cloned() {
                self.stats.failed += 1;
                fx.fail(task, TaskError::Broken(error));
            } else {
                // Rule 3.
                // There was none yet for one that was sent ahead and has become the first.
                let attempts = attempts.saturating_sub(u32::from(has_answered));
                moved.push(Queued { task: QueuedTask::Moved(task, attempts), id, frame });
            }
        }
        // They have been waiting for longer than the others.
        for queued in moved.into_iter().rev() {
            self.queue.push_front(queued);
        }
        if let Some(error) = self.broken().cloned() {
            self.refuse_queue(&error, fx);
        }
    }

    /// What becomes of a task whose worker has died after starting it. Returned is what is to be run by another one: the rest
    /// of a chunk.
    fn go_on(
        &mut self,
        mut task: StartedTask,
        mut frame: Arc<TaskFrame>,
        part: Option<&Part>,
        error: TaskError,
        stopped: bool,
        fx: &mut Effects,
    ) -> Option<(StartedTask, Arc<TaskFrame>)> {
        let next = part.and_then(|part| keep(&mut task, &frame.bytes, part, &error));
        match next {
            Some(Next::Item(first)) => {
                let broken = self.broken().cloned();
                // A worker whose server has died may be alive for another moment, and what it does then is done.
                if !stopped && broken.is_none() && !self.has_lost_its_server() {
                    ChunkSite::go_on_with(&mut Arc::make_mut(&mut frame).bytes, first);
                    return Some((task, frame));
                }
                self.stats.failed += 1;
                fx.fail(task, broken.map_or(error, TaskError::Broken));
            }
            Some(Next::End) => {
                if task.has_failed_items() {
                    self.stats.failed += 1;
                } else {
                    self.stats.succeeded += 1;
                }
                fx.finish(task, Body::Whole(Received::plain(Vec::new())), argument_of(frame));
            }
            None => {
                self.stats.failed += 1;
                fx.fail(task, error);
            }
        }
        None
    }

    /// Makes sure that every task is counted once.
    pub(crate) fn check_counts(&self) {
        let windows = || self.workers.values().map(|worker| &worker.window);
        let ahead = windows().map(Window::ahead).sum::<usize>();
        let running = windows().map(Window::running_count).sum::<usize>();
        assert_eq!(self.ahead, ahead, "sent ahead");
        let ended = self.stats.succeeded + self.stats.failed + self.stats.cancelled;
        let there = (self.queue.len() + ahead + running) as u64;
        assert_eq!(self.stats.submitted, ended + there, "{:?}", self.stats);
    }

    // Bells.

    /// Has no worker ring, because somebody looks all the time.
    pub(crate) fn silence_bells(&mut self) {
        self.watched = true;
        for worker in self.workers.values() {
            if let Some(end) = worker.link.shared() {
                end.silence_bell();
            }
        }
    }

    /// Has workers ring again. True if there are answers already.
    pub(crate) fn expect_bells(&mut self) -> bool {
        self.watched = false;
        let mut some = false;
        for worker in self.workers.values() {
            some |= self.expect_bell_of(worker);
        }
        some
    }

    /// Has a worker ring again, unless somebody looks all the time. True if there are answers already.
    pub(crate) fn expect_bell(&mut self, id: u64) -> bool {
        !self.watched && self.workers.get(&id).is_some_and(|worker| self.expect_bell_of(worker))
    }

    fn expect_bell_of(&self, worker: &Worker) -> bool {
        let bell = if self.each_rings { 0 } else { worker.window.bell() };
        worker.link.shared().is_some_and(|end| end.expect_bell(bell))
    }

    /// Whether there may be answers for which no bell was to be rung, so that somebody has to look now and then.
    pub(crate) fn may_have_silent_answers(&self) -> bool {
        self.ahead > 0 && !self.watched && !self.each_rings
    }

    /// Somebody has looked, and there was nothing: the tasks that run take longer than was expected. From now on each answer
    /// is worth a bell, and what waits behind these tasks goes to whoever is idle.
    pub(crate) fn nothing_was_there(&mut self, cx: &Context, fx: &mut Effects) -> bool {
        self.move_some(cx, true, fx);
        self.each_rings = true;
        !self.watched && self.expect_bells()
    }
}

enum Next {
    Item(u64),
    End,
}

/// Keeps what a worker had done of a chunk, and fails the item that it was on when it died. `None` if what it says cannot be;
/// then nothing is kept.
fn keep(task: &mut StartedTask, frame: &[u8], part: &Part, error: &TaskError) -> Option<Next> {
    let chunk = ChunkSite::of_frame(frame)?;
    let at = chunk.first.checked_add(part.items).filter(|&at| at <= chunk.items)?;
    let done = usize::try_from(part.items).ok()?;
    let items = usize::try_from(chunk.items).ok()?;
    if !task.keep_items(&part.values, &part.failures, done, items) {
        return None;
    }
    if at < chunk.items {
        task.fail_item(error.clone());
    }
    Some(if at + 1 < chunk.items { Next::Item(at + 1) } else { Next::End })
}

/// Says what is worth a bell once one more task is sent. To be called before it is, so that no answer comes too early.
fn set_bell(end: &PoolEnd<Region>, window: &Window, watched: bool) {
    if !watched {
        end.set_bell(window.bell_with_another());
    }
}

pub(super) fn no_room() -> ProtocolError {
    ProtocolError("it has done its tasks and not read them".to_owned())
}

/// How many values a worker is told to forget at once.
const FORGOTTEN_MAX: usize = 64;

/// Sends a worker the shared values that this task needs and it does not have, and tells it which it does not need any more. To
/// be called before the task is sent. False if there is no room.
fn send_values(
    cx: &Context,
    worker: &mut Worker,
    frame: &TaskFrame,
) -> Result<bool, ProtocolError> {
    let Worker { link, values, .. } = worker;
    for _ in 0..FORGOTTEN_MAX {
        let Some(number) = values.dropped() else { break };
        let forget = FrameBuilder::new(Kind::Forget, number).finish();
        match link.shared() {
            None => link.send(&cx.reactor, Arc::new(forget), Vec::new()),
            Some(end) if end.send(&forget, 0)? => {}
            Some(_) => return Ok(false),
        }
        values.remove(number);
    }
    for value in &frame.values {
        if values.has(value) {
            continue;
        }
        // The worker reads it from the socket when it comes to this, in order with everything else.
        let notice = FrameBuilder::new(Kind::Value, value.number).finish();
        if let Some(end) = link.shared()
            && !end.send(&notice, 0)?
        {
            return Ok(false);
        }
        link.send_value(&cx.reactor, value);
        values.add(value);
    }
    Ok(true)
}

enum Pushed {
    Sent,
    Cancelled,
    NoRoom(Option<Queued>),
    Failed(Option<Queued>, ProtocolError),
}

/// Sends a busy worker one more task, which was never sent.
fn push_ahead(
    cx: &Context,
    worker: &mut Worker,
    end: &PoolEnd<Region>,
    queued: Queued,
    watched: bool,
) -> Pushed {
    let Queued { task, id, frame } = queued;
    let QueuedTask::Fresh(task) = task else {
        return Pushed::NoRoom(Some(Queued { task, id, frame }));
    };
    if frame.values.iter().any(|value| !worker.values.has(value)) {
        // Not while it runs something else: their descriptors would be on their way until it comes to look, and the kernel
        // has a limit on how many there may be.
        return Pushed::NoRoom(Some(Queued { task: QueuedTask::Fresh(task), id, frame }));
    }
    // Now, so that it cannot be cancelled any more without the worker being asked.
    let Some(task) = task.send() else { return Pushed::Cancelled };
    let slot = worker.window.next_slot();
    set_bell(end, &worker.window, watched);
    let sent = send_values(cx, worker, &frame)
        .and_then(|sent| Ok(sent && end.send_task(&frame.bytes, id, slot)?));
    match sent {
        Ok(true) => {
            let hold = Hold::Ahead(task);
            worker.window.push(Sent { hold, id, slot, frame, attempts: 0, began: None });
            Pushed::Sent
        }
        outcome => {
            let task = task.take_back();
            let queued = task.map(|task| Queued { task: QueuedTask::Fresh(task), id, frame });
            match outcome {
                Err(error) => Pushed::Failed(queued, error),
                Ok(_) => Pushed::NoRoom(queued),
            }
        }
    }
}
