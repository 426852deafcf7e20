//! What the table knows of each process: the workers, and the fork server.

use std::{sync::Arc, time::Instant};

use crate::{
    message::LastWords,
    supervisor::{
        Context,
        launch::ServerProcess,
        link::{Link, Stderr},
        window::Window,
    },
    value::SentValues,
};

pub(super) enum Phase {
    Starting {
        greeted: bool,
        /// It has said so, and the server has not said yet that it has forked it.
        ready: bool,
    },
    Idle {
        since: Instant,
    },
    /// There is something in its window.
    Busy,
    Leaving,
}

/// Why the pool kills a worker.
#[derive(Clone)]
pub(super) enum Verdict {
    Stopped,
    Disconnected,
    Violation(String),
}

pub(super) struct Worker {
    pub(super) link: Arc<Link>,
    pub(super) stderr: Arc<Stderr>,
    pub(super) pid: Option<u32>,
    pub(super) phase: Phase,
    pub(super) window: Window,
    pub(super) values: SentValues,
    /// It is in the list of those that have room for more.
    pub(super) open: bool,
    pub(super) tasks_left: Option<u64>,
    /// When it is killed if it has not ended.
    pub(super) deadline: Option<Instant>,
    pub(super) verdict: Option<Verdict>,
    pub(super) hung_up: bool,
    /// It was sent SIGKILL.
    pub(super) condemned: bool,
    pub(super) last_words: Option<LastWords>,
}

impl Worker {
    /// It has nothing to do, and is not to get anything, as its connection is closed.
    pub(super) fn lose(&mut self) {
        self.phase = Phase::Leaving;
        self.verdict.get_or_insert(Verdict::Disconnected);
    }

    /// Has it end by then, unless it is to end earlier.
    pub(super) fn end_until(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |other| other.min(deadline)));
    }

    /// Whether nothing was heard of it yet, and nobody counts on it.
    pub(super) fn is_unborn(&self) -> bool {
        matches!(self.phase, Phase::Starting { greeted: false, .. }) && self.window.is_empty()
    }
}

pub(super) struct Server {
    pub(super) id: u64,
    pub(super) link: Arc<Link>,
    pub(super) process: ServerProcess,
    pub(super) phase: ServerPhase,
    pub(super) deadline: Option<Instant>,
}

impl Server {
    /// Whether it may be asked for workers.
    pub(super) fn takes_orders(&self, cx: &Context) -> bool {
        match self.phase {
            ServerPhase::Starting { .. } => takes_early_orders(cx),
            ServerPhase::Ready => true,
            ServerPhase::Leaving | ServerPhase::Gone { .. } => false,
        }
    }
}

/// Whether a server may be asked for workers before it has said that it is ready. It forks them when it is, and the sooner it
/// is asked, the sooner they are there. But while it runs what is to be preloaded, nothing may be sent to it.
pub(super) fn takes_early_orders(cx: &Context) -> bool {
    cx.config.preload.is_none()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerPhase {
    Starting {
        greeted: bool,
    },
    Ready,
    Leaving,
    /// It has ended, and its workers are being settled. Nothing is to be asked of it any more.
    Gone {
        expected: bool,
    },
}
