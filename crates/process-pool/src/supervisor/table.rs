//! The table of workers, and what each was sent: the one place that knows.
//!
//! ```text
//!                  Forked, Hello, Ready            Finished, Failed
//!   start --> Starting ----------------> Idle <---------------------- Busy
//!                |                       | |                           ^ |
//!                |                       | +---------- Task -----------+ |  enough tasks
//!                |  closing              |  idle for too long, closing   |
//!                +-------------------> Leaving <-------------------------+
//!                                        |
//!            from anywhere: Ended -------+---> (not in the table)
//! ```
//!
//! Rules, which the code cites by number:
//!
//! 1. A worker that is idle is sent a task, and its future is marked as running at that moment. A worker that is busy may be
//!    sent more, through shared memory, if its tasks are short; their futures stay pending until the worker has answered what
//!    was before them, and can be cancelled, or moved to a worker that is idle, until the worker has claimed them.
//! 2. A worker is in the table until the fork server has reported its end, and by then all that it ever sent has been
//!    read. So what is known of its tasks when it leaves the table is all that will ever be known.
//! 3. A task that the worker has not started, or what is left of a chunk, goes to another one, unless it was unlucky too often.
//! 4. The pool breaks when its workers cannot be made ready, and only then.
//! 5. What runs the user's code goes into [`Effects`].

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use concurrent_futures_executor::{
    Task,
    future::{BrokenExecutor, DeathCause, TaskError, WorkerDied},
};
use nix::unistd::Pid;

use crate::{
    frame::{Fields, Frame, FrameBuilder, Kind, ProtocolError},
    journal::Part,
    message::{Configure, Ending, Hello, LastWords, Signal, decode_failure},
    payload::Received,
    stats::PoolStats,
    supervisor::{
        Context,
        effects::{Body, Effects},
        launch,
        link::{Link, Stderr},
        post_mortem::{Remains, post_mortem},
        processes::{Phase, Server, ServerPhase, Verdict, Worker, takes_early_orders},
        traffic::{Answer, Queued, QueuedTask, out_of_turn},
        window::{Hold, Sent, Window},
    },
    value::SentValues,
};

/// How often in a row a worker, or the fork server, may fail to become ready before the pool breaks.
const STARTS_MAX: u32 = 5;

/// How long the pool waits after the first failure to start a worker; twice as long after each of the next.
const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How often a task may be sent to a worker that dies before it has started it, or any other.
pub(super) const ATTEMPTS_MAX: u32 = 3;

/// How long a process may take to end after it was told to, or has closed its connection, before it is killed.
const EXIT_TIME_MAX: Duration = Duration::from_secs(10);
const DISCONNECTED_TIME_MAX: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Table {
    pub(super) queue: VecDeque<Queued>,
    pub(super) workers: BTreeMap<u64, Worker>,
    /// Those that are idle; the one that has been for the shortest time is the last, and the next to be sent something.
    pub(super) idle: Vec<u64>,
    /// Those that are busy and may have room for more. Others may be in it, too.
    pub(super) open: VecDeque<u64>,
    /// How many tasks were sent ahead.
    pub(super) ahead: usize,
    /// Of that, workers have started whatever is left: the rest was taken back, and no more is sent ahead.
    pub(super) all_taken_back: bool,
    /// Somebody looks for answers all the time, so that there is no need for bells.
    pub(super) watched: bool,
    /// Each answer is worth a bell at the moment.
    pub(super) each_rings: bool,
    /// The workers that share memory are not those that they were.
    links_changed: bool,
    server: Option<Server>,
    next_id: u64,
    /// How many workers to have at least.
    prestart: usize,
    /// There has been a server.
    started: bool,
    closed: bool,
    /// Whatever has not ended is not to be run by anybody else.
    pub(super) stopped: bool,
    broken: Option<BrokenExecutor>,
    /// Failures to start a worker since the last success.
    failed_starts: u32,
    not_before: Option<Instant>,
    ended: bool,
    pub(crate) stats: PoolStats,
}

impl Table {
    pub(crate) fn broken(&self) -> Option<&BrokenExecutor> {
        self.broken.as_ref()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// It takes no more tasks, and ends when it has none.
    pub(crate) fn refuses(&self) -> bool {
        self.closed || self.broken.is_some()
    }

    /// Nothing is left: no task, no worker, no server; and there will not be.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// There is a server, or has been; then it is replaced when it is needed, and not by whoever submits a task.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// How many tasks have not started.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.ahead
    }

    /// How many tasks were not sent to any worker.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The names of the tasks that workers run.
    pub(crate) fn running(&self) -> Vec<&'static str> {
        self.sent()
            .filter_map(|sent| match &sent.hold {
                Hold::Running(task) => Some(task.name()),
                _ => None,
            })
            .collect()
    }

    fn sent(&self) -> impl Iterator<Item = &Sent> {
        self.workers.values().filter_map(|worker| worker.window.running())
    }

    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        self.workers.values().filter_map(|worker| worker.pid).collect()
    }

    pub(crate) fn snapshot(&self) -> PoolStats {
        PoolStats {
            queued: self.queued() as u64,
            running: self.sent().count() as u64,
            workers: self.workers.len(),
            idle_workers: self.idle.len(),
            ..self.stats
        }
    }

    pub(crate) fn link(&self, id: u64) -> Option<Arc<Link>> {
        match &self.server {
            Some(server) if server.id == id => Some(Arc::clone(&server.link)),
            _ => self.workers.get(&id).map(|worker| Arc::clone(&worker.link)),
        }
    }

    pub(crate) fn stderr(&self, id: u64) -> Option<Arc<Stderr>> {
        self.workers.get(&id).map(|worker| Arc::clone(&worker.stderr))
    }

    pub(crate) fn worker_pid(&self, id: u64) -> Option<Pid> {
        let pid = self.workers.get(&id)?.pid?;
        Some(Pid::from_raw(pid.cast_signed()))
    }

    pub(crate) fn server_id(&self) -> Option<u64> {
        self.server.as_ref().map(|server| server.id)
    }

    /// The links of the workers that share memory, if they have changed since this was asked before.
    pub(crate) fn changed_links(&mut self) -> Option<Vec<(u64, Arc<Link>)>> {
        std::mem::take(&mut self.links_changed).then(|| {
            let links = self.workers.iter().map(|(&id, worker)| (id, Arc::clone(&worker.link)));
            links.filter(|(_, link)| link.shared().is_some()).collect()
        })
    }

    pub(crate) fn worker_ids(&self) -> Vec<u64> {
        self.workers.keys().copied().collect()
    }

    pub(super) fn has_lost_its_server(&self) -> bool {
        matches!(&self.server, Some(Server { phase: ServerPhase::Gone { .. }, .. }))
    }

    /// A name for a worker or server, never used again.
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    // What the pool's users ask for.

    pub(crate) fn enqueue(&mut self, queued: Queued) {
        self.stats.submitted += 1;
        self.queue.push_back(queued);
    }

    pub(crate) fn prestart(&mut self, count: usize) {
        self.prestart = self.prestart.max(count);
    }

    pub(crate) fn close(&mut self, cancel_futures: bool, fx: &mut Effects) {
        self.closed = true;
        if cancel_futures {
            self.take_all_back();
            self.empty_queue(fx, |task, stats, fx| {
                stats.cancelled += 1;
                fx.cancel(task);
            });
        }
    }

    /// Closes, cancels what has not started, and sends `signal` to all workers.
    pub(crate) fn stop(&mut self, cx: &Context, signal: i32, fx: &mut Effects) {
        self.stopped = true;
        self.close(true, fx);
        // What is left was sent to workers that died. It counts as running, but nobody is to start it any more.
        for queued in std::mem::take(&mut self.queue) {
            if let QueuedTask::Moved(task, _) = queued.task {
                self.stats.failed += 1;
                fx.fail(task, TaskError::WorkerDied(WorkerDied::new(DeathCause::Stopped)));
            }
        }
        for id in self.worker_ids() {
            self.condemn(cx, id, Verdict::Stopped, signal);
        }
    }

    /// Takes all out of the queue that was never sent.
    fn empty_queue(
        &mut self,
        fx: &mut Effects,
        mut dispose: impl FnMut(Task, &mut PoolStats, &mut Effects),
    ) {
        for queued in std::mem::take(&mut self.queue) {
            match queued.task {
                QueuedTask::Fresh(task) => dispose(task, &mut self.stats, fx),
                QueuedTask::Moved(..) => self.queue.push_back(queued),
            }
        }
    }

    fn break_pool(&mut self, cx: &Context, error: BrokenExecutor, fx: &mut Effects) {
        if self.broken.is_some() {
            return;
        }
        fx.report_broken(&cx.config.name, &error);
        self.take_all_back();
        self.refuse_queue(&error, fx);
        self.broken = Some(error);
    }

    /// Fails everything in the queue of a pool that is broken.
    pub(super) fn refuse_queue(&mut self, error: &BrokenExecutor, fx: &mut Effects) {
        for queued in std::mem::take(&mut self.queue) {
            self.stats.failed += 1;
            let error = TaskError::Broken(error.clone());
            match queued.task {
                QueuedTask::Fresh(task) => fx.refuse(task, error),
                QueuedTask::Moved(task, _) => fx.fail(task, error),
            }
        }
    }

    // What follows from the present state.

    /// Does all that can be done now. To be called after every change.
    pub(crate) fn advance(&mut self, cx: &Context, fx: &mut Effects) {
        self.dispatch(cx, fx);
        // If it is closing, and nobody is left to run what is queued, somebody has to be started.
        if !self.refuses() || self.has_work() {
            self.start_workers(cx, fx);
        }
        // Not otherwise: the above may have broken the pool, and nothing else may happen after that.
        if self.refuses() && !self.has_work() {
            self.wind_up(cx);
        }
    }

    /// Whether there is something to do for a worker that has nothing. What was sent ahead goes to such a one if the task before
    /// it takes long.
    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.ahead > 0 && !self.all_taken_back
    }

    /// How many workers there are that are not about to end.
    fn live(&self) -> usize {
        self.workers.values().filter(|worker| !matches!(worker.phase, Phase::Leaving)).count()
    }

    fn start_workers(&mut self, cx: &Context, fx: &mut Effects) {
        loop {
            let live = self.live();
            let starting = |worker: &&Worker| matches!(worker.phase, Phase::Starting { .. });
            let free = self.idle.len() + self.workers.values().filter(starting).count();
            let wanted = self.queued() > free || live < self.prestart;
            let max = cx.config.max_workers.get();
            // Those that are about to end do not count, unless they take so long that they pile up.
            if !wanted || live >= max || self.workers.len() >= max.saturating_mul(2) {
                return;
            }
            if self.not_before.is_some_and(|moment| Instant::now() < moment) {
                return;
            }
            let outcome = match &self.server {
                Some(server) if server.takes_orders(cx) => {
                    let link = Arc::clone(&server.link);
                    self.start_worker(cx, &link).map(drop)
                }
                Some(_) => return,
                None => self.start_server(cx, true),
            };
            if let Err(error) = outcome {
                self.start_failed(cx, "a worker could not be started", error, fx);
                return;
            }
        }
    }

    /// Starts a server, and asks it for a worker if there is to be one.
    ///
    /// All that it is to do at first is sent before it is executed, and so is there when it looks, whatever else this thread
    /// has to do, or waits for, meanwhile.
    pub(crate) fn start_server(&mut self, cx: &Context, for_worker: bool) -> io::Result<()> {
        let id = self.new_id();
        let (link, theirs) = launch::server_link(cx, id)?;
        // If it cannot be, that is found out, and told, when it is asked for again.
        let order = for_worker && takes_early_orders(cx);
        let ordered = order.then(|| self.start_worker(cx, &link).ok()).flatten();
        let process = match launch::server(cx, id, theirs) {
            Ok(process) => process,
            Err(error) => {
                if let Some(worker) = ordered {
                    self.remove(cx, worker);
                }
                return Err(error);
            }
        };
        let phase = ServerPhase::Starting { greeted: false };
        self.server = Some(Server { id, link, process, phase, deadline: None });
        self.started = true;
        Ok(())
    }

    /// Ends the server that has just been started, as there is nobody to look after it.
    pub(crate) fn abandon_server(&mut self, cx: &Context) {
        for id in self.worker_ids() {
            self.remove(cx, id);
        }
        let Some(mut server) = self.server.take() else { return };
        cx.reactor.forget(server.link.as_fd());
        server.process.reap(&cx.reactor);
        self.started = false;
    }

    /// Asks the server for a worker, and says which.
    fn start_worker(&mut self, cx: &Context, server: &Link) -> io::Result<u64> {
        let id = self.new_id();
        let (link, stderr, fds) = launch::worker(cx, id)?;
        let start = FrameBuilder::new(Kind::Start, id).finish();
        let shared_memory = link.shared().map(|end| end.region().as_fd().try_clone_to_owned());
        let shared_memory: Vec<_> = shared_memory.transpose()?.into_iter().collect();
        let configure = Configure {
            build_id: cx.image.build_id(),
            stack_size: cx.config.stack_size as u64,
            shared_memory: !shared_memory.is_empty(),
            initializer: cx.config.initializer.clone(),
        };
        self.links_changed = true;
        server.send(&cx.reactor, Arc::new(start), fds);
        link.send(&cx.reactor, Arc::new(configure.encode()), shared_memory);
        self.workers.insert(
            id,
            Worker {
                link,
                stderr,
                pid: None,
                phase: Phase::Starting { greeted: false, ready: false },
                window: Window::default(),
                values: SentValues::default(),
                open: false,
                tasks_left: cx.config.tasks_max(id),
                deadline: None,
                verdict: None,
                hung_up: false,
                condemned: false,
                last_words: None,
            },
        );
        Ok(id)
    }

    /// Rule 4.
    fn start_failed(
        &mut self,
        cx: &Context,
        what: &str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
        fx: &mut Effects,
    ) {
        self.failed_starts += 1;
        let healthy = |worker: &Worker| {
            matches!(worker.phase, Phase::Idle { .. } | Phase::Busy) && worker.verdict.is_none()
        };
        if self.failed_starts >= STARTS_MAX && !self.workers.values().any(healthy) {
            self.break_pool(cx, BrokenExecutor::with_source(what, error), fx);
            return;
        }
        let exponent = self.failed_starts.min(16) - 1;
        let delay = BACKOFF.saturating_mul(1 << exponent).min(BACKOFF_MAX);
        self.not_before = Some(Instant::now() + delay);
    }

    pub(super) fn start_succeeded(&mut self) {
        self.failed_starts = 0;
        self.not_before = None;
    }

    /// Lets everything end, one after the other: tasks, workers, the server.
    fn wind_up(&mut self, cx: &Context) {
        let mut may_have_forked = false;
        if let Some(Server { phase: ServerPhase::Starting { .. }, .. }) = self.server
            && self.workers.values().all(Worker::is_unborn)
        {
            // The server may never come to fork them. If it has, they end with it.
            for id in self.worker_ids() {
                self.remove(cx, id);
                may_have_forked = true;
            }
        }
        for id in self.worker_ids() {
            let waits = |worker: &Worker| {
                matches!(worker.phase, Phase::Idle { .. } | Phase::Starting { .. })
            };
            if self.workers.get(&id).is_some_and(waits) {
                self.dismiss(cx, id);
            }
        }
        if !self.workers.is_empty() {
            return;
        }
        match &mut self.server {
            None => self.ended = true,
            Some(server) => match server.phase {
                ServerPhase::Leaving | ServerPhase::Gone { .. } => {}
                ServerPhase::Ready => {
                    server.phase = ServerPhase::Leaving;
                    server.deadline = Some(Instant::now() + EXIT_TIME_MAX);
                    server.link.send_exit(&cx.reactor);
                }
                ServerPhase::Starting { .. } if may_have_forked => {
                    // Unlike the kernel, which would kill its workers a little later, it ends when they are gone.
                    server.phase = ServerPhase::Leaving;
                    server.deadline = Some(Instant::now() + DISCONNECTED_TIME_MAX);
                    server.link.send_exit(&cx.reactor);
                }
                ServerPhase::Starting { .. } => {
                    // It has no worker, and may be busy with what is to be preloaded for none.
                    server.phase = ServerPhase::Leaving;
                    server.process.kill();
                }
            },
        }
    }

    /// Tells a worker to end when it has nothing to do.
    pub(super) fn dismiss(&mut self, cx: &Context, id: u64) {
        self.idle.retain(|&idle| idle != id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.phase = Phase::Leaving;
            // It may have hung up while it was starting, or was sent SIGKILL.
            worker.end_until(Instant::now() + EXIT_TIME_MAX);
            worker.link.send_exit(&cx.reactor);
        }
    }

    /// Sends a worker a signal that is meant to end it.
    fn condemn(&mut self, cx: &Context, id: u64, verdict: Verdict, signal: i32) {
        self.idle.retain(|&idle| idle != id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.verdict.get_or_insert(verdict);
        // Another signal changes nothing about when it is to be gone.
        if signal == libc::SIGKILL && !worker.condemned {
            worker.condemned = true;
            // If its end has not been reported by then, the server is not in a state to do so.
            worker.deadline = Some(Instant::now() + EXIT_TIME_MAX);
        }
        if matches!(worker.phase, Phase::Idle { .. }) {
            worker.phase = Phase::Leaving;
            if signal != libc::SIGKILL {
                // It may ignore the signal, because a task has it do so, or this process does.
                worker.deadline = Some(Instant::now() + EXIT_TIME_MAX);
                worker.link.send_exit(&cx.reactor);
            }
        }
        if let Some(server) = &self.server {
            let signal = Signal { number: signal, group: signal == libc::SIGKILL };
            server.link.send(&cx.reactor, Arc::new(signal.encode(id)), Vec::new());
        }
    }

    // What workers and the server say.

    /// A frame from a worker. An error means that it is no worker of ours, or not in its right mind.
    pub(crate) fn worker_said(
        &mut self,
        cx: &Context,
        id: u64,
        frame: Frame,
        fx: &mut Effects,
    ) -> Result<(), ProtocolError> {
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
        if matches!(worker.verdict, Some(Verdict::Violation(_))) {
            return Ok(());
        }
        match (frame.kind, &mut worker.phase) {
            (Kind::LastWords, _) => worker.last_words = Some(LastWords::decode(&frame)?),
            (Kind::Hello, Phase::Starting { greeted: greeted @ false, .. }) => {
                Hello::decode(&frame, cx.image)?;
                *greeted = true;
            }
            (Kind::Ready, Phase::Starting { greeted: true, ready: ready @ false }) => {
                Fields(&frame.body).end()?;
                *ready = true;
                self.admit(id);
            }
            (Kind::Unready, Phase::Starting { greeted: true, ready: false }) => {
                let error = decode_failure(&frame)?;
                worker.phase = Phase::Leaving;
                worker.deadline = Some(Instant::now() + EXIT_TIME_MAX);
                let what = "the initializer failed in a worker";
                self.break_pool(cx, BrokenExecutor::with_source(what, error), fx);
            }
            // It was told to leave before it had said this.
            (Kind::Hello | Kind::Ready | Kind::Unready, Phase::Leaving) => {}
            // It only has somebody read what is in the shared memory.
            (Kind::Bell, _) if worker.link.shared().is_some() => {}
            (Kind::Started, Phase::Busy) if worker.link.shared().is_none() => {
                Fields(&frame.body).end()?;
                let sent = worker.window.front_mut();
                match sent.filter(|sent| sent.id == frame.id && sent.began.is_none()) {
                    Some(sent) => {
                        sent.began = Some(Instant::now());
                        // It is not sent again; but the result may have the buffers.
                        if sent.frame.buffers.is_empty() {
                            sent.frame = Arc::default();
                        }
                    }
                    None => return Err(out_of_turn(frame.kind, frame.id)),
                }
            }
            (Kind::Finished | Kind::FinishedWithBuffers | Kind::Failed, Phase::Busy)
                if worker.link.shared().is_none() =>
            {
                let Frame { kind, id: task, body } = frame;
                let front = worker.window.front_mut();
                if !front.is_some_and(|sent| sent.id == task && sent.began.is_some()) {
                    return Err(out_of_turn(kind, task));
                }
                let body = Ok(Body::Whole(Received::from_socket(kind, body)?));
                let answer = Answer { kind, id: task, body };
                self.worker_answered(cx, id, [answer], fx)?;
            }
            (kind, _) => return Err(out_of_turn(kind, frame.id)),
        }
        Ok(())
    }

    /// What a worker said made no sense. It is killed, since nothing else it says can be relied on.
    pub(crate) fn worker_raved(&mut self, cx: &Context, id: u64, error: String) {
        if let Some(end) = self.workers.get(&id).and_then(|worker| worker.link.shared()) {
            end.ignore_answers();
        }
        self.condemn(cx, id, Verdict::Violation(error), libc::SIGKILL);
    }

    /// A worker has closed its connection. As a rule it has died, and the server is about to say how.
    pub(crate) fn worker_hung_up(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.hung_up = true;
            // One that was sent SIGKILL has died of that. It is for the server to say so, which has its own deadline.
            if !worker.condemned {
                worker.end_until(Instant::now() + DISCONNECTED_TIME_MAX);
            }
            // It gets no more tasks.
            self.idle.retain(|&idle| idle != id);
            if matches!(worker.phase, Phase::Idle { .. }) {
                worker.lose();
            }
        }
    }

    /// A frame from the server. A worker's end is returned: what the worker has said must be read first (rule 2).
    pub(crate) fn server_said(
        &mut self,
        cx: &Context,
        frame: &Frame,
        fx: &mut Effects,
    ) -> Result<Option<(u64, Ending)>, ProtocolError> {
        let Some(server) = &mut self.server else { return Ok(None) };
        match (frame.kind, &mut server.phase) {
            (Kind::LastWords, _) => {}
            (Kind::Hello, ServerPhase::Starting { greeted: greeted @ false }) => {
                Hello::decode(frame, cx.image)?;
                *greeted = true;
            }
            (Kind::Ready, phase @ ServerPhase::Starting { greeted: true }) => {
                *phase = ServerPhase::Ready;
            }
            (Kind::Unready, ServerPhase::Starting { greeted: true }) => {
                let error = decode_failure(frame)?;
                server.phase = ServerPhase::Leaving;
                server.deadline = Some(Instant::now() + EXIT_TIME_MAX);
                let what = "the fork server could not be prepared";
                self.break_pool(cx, BrokenExecutor::with_source(what, error), fx);
            }
            (
                Kind::Hello | Kind::Ready | Kind::Unready,
                ServerPhase::Leaving | ServerPhase::Gone { .. },
            ) => {}
            (Kind::Forked, _) => {
                let mut fields = Fields(&frame.body);
                let pid = fields.u32()?;
                fields.end()?;
                if let Some(worker) = self.workers.get_mut(&frame.id) {
                    worker.pid = Some(pid);
                    self.admit(frame.id);
                }
            }
            (Kind::NotForked, _) => {
                let error = io::Error::from_raw_os_error(Fields(&frame.body).i32()?);
                self.remove(cx, frame.id);
                self.start_failed(cx, "a worker could not be forked", error, fx);
            }
            (Kind::Ended, _) => return Ok(Some((frame.id, Ending::decode(frame)?))),
            (kind, _) => return Err(ProtocolError(format!("a {kind:?} frame out of turn"))),
        }
        Ok(None)
    }

    /// The server is in a state in which it cannot be the server: it is killed, and its end will be noticed.
    pub(crate) fn server_raved(&mut self, cx: &Context, error: ProtocolError, fx: &mut Effects) {
        if let Some(server) = &mut self.server {
            server.process.kill();
            let what = "the fork server cannot be talked to";
            self.break_pool(cx, BrokenExecutor::with_source(what, error), fx);
        }
    }

    fn remove(&mut self, cx: &Context, id: u64) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.idle.retain(|&idle| idle != id);
        self.links_changed |= worker.link.shared().is_some();
        cx.reactor.forget(worker.link.as_fd());
        cx.reactor.forget(worker.stderr.as_fd());
        Some(worker)
    }

    /// A worker has ended, and all that it said has been read.
    pub(crate) fn settle(
        &mut self,
        cx: &Context,
        id: u64,
        ending: Ending,
        part: Option<Part>,
        fx: &mut Effects,
    ) {
        let Some(mut worker) = self.remove(cx, id) else { return };
        let died = post_mortem(&Remains {
            pid: worker.pid,
            verdict: worker.verdict.as_ref(),
            hung_up: worker.hung_up,
            last_words: worker.last_words,
            stderr: worker.stderr.tail(),
            ending,
        });
        match worker.phase {
            Phase::Busy => {
                self.stats.worker_deaths += 1;
                self.dispose(&mut worker, &died, part, fx);
            }
            // If the server is gone, that is one failure, however many workers it was starting.
            Phase::Starting { .. } if self.has_lost_its_server() => {
                // It may have been forked, or not.
                self.stats.worker_deaths += u64::from(worker.pid.is_some());
            }
            Phase::Starting { .. } if !matches!(worker.verdict, Some(Verdict::Stopped)) => {
                self.stats.worker_deaths += 1;
                self.start_failed(cx, "workers die before they are ready", died, fx);
            }
            Phase::Idle { .. } => self.stats.worker_deaths += 1,
            // It was idle when it hung up.
            Phase::Leaving if matches!(worker.verdict, Some(Verdict::Disconnected)) => {
                self.stats.worker_deaths += 1;
            }
            Phase::Starting { .. } | Phase::Leaving => {}
        }
    }

    /// The server has ended. False if that is known, or if it was another one. From now on no worker is started by it: one
    /// that was would be in the table for ever, as nobody would report its end.
    pub(crate) fn server_is_gone(&mut self, id: u64) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| server.id == id) else {
            return false;
        };
        if matches!(server.phase, ServerPhase::Gone { .. }) {
            return false;
        }
        server.phase = ServerPhase::Gone { expected: server.phase == ServerPhase::Leaving };
        server.deadline = None;
        true
    }

    /// The server has ended, and so have, or will very soon, all of its workers; they have been settled.
    pub(crate) fn server_ended(&mut self, cx: &Context, id: u64, fx: &mut Effects) {
        let Some(mut server) = self.server.take_if(|server| server.id == id) else { return };
        cx.reactor.forget(server.link.as_fd());
        let status = server.process.reap(&cx.reactor);
        if server.phase != (ServerPhase::Gone { expected: true }) {
            let error = format!("the fork server ended: {status}");
            self.start_failed(cx, "the fork server keeps dying", error, fx);
        }
    }

    // What follows from time alone.

    /// When to call `expire`.
    pub(crate) fn deadline(&self, cx: &Context) -> Option<Instant> {
        let workers = self.workers.values().filter_map(|worker| match worker.phase {
            Phase::Idle { since } => idle_until(cx, since),
            _ => worker.deadline,
        });
        let server = self.server.as_ref().and_then(|server| server.deadline);
        // For what was sent ahead as well: nobody may come by otherwise before the task that it waits for is done.
        let backoff = self.not_before.filter(|_| self.queued() > 0 || self.prestart > 0);
        workers.chain(server).chain(backoff).min()
    }

    pub(crate) fn expire(&mut self, cx: &Context, now: Instant) {
        if self.not_before.is_some_and(|moment| moment <= now) {
            self.not_before = None;
        }
        let mut surplus = self.live().saturating_sub(self.prestart);
        for id in self.worker_ids() {
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            match &mut worker.phase {
                Phase::Idle { since } => {
                    if idle_until(cx, *since).is_none_or(|until| until > now) {
                        continue;
                    }
                    if surplus > 0 {
                        surplus -= 1;
                        self.dismiss(cx, id);
                    } else {
                        *since = now;
                    }
                }
                _ if worker.condemned => {
                    if worker.deadline.is_some_and(|deadline| deadline <= now) {
                        worker.deadline = None;
                        if let Some(server) = &mut self.server {
                            server.process.kill();
                        }
                    }
                }
                phase => {
                    if worker.deadline.is_some_and(|deadline| deadline <= now) {
                        let verdict = match phase {
                            Phase::Busy | Phase::Starting { .. } => Verdict::Disconnected,
                            _ => Verdict::Stopped,
                        };
                        self.condemn(cx, id, verdict, libc::SIGKILL);
                    }
                }
            }
        }
        if let Some(server) = &mut self.server
            && server.deadline.is_some_and(|deadline| deadline <= now)
        {
            server.deadline = None;
            server.process.kill();
        }
    }
}

/// When a worker has had nothing to do for too long. Never, if that is beyond all time.
fn idle_until(cx: &Context, since: Instant) -> Option<Instant> {
    since.checked_add(cx.config.idle_timeout?)
}
