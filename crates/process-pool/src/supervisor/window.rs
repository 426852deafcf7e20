//! What one worker was sent and has not answered, in that order.
//!
//! The first of it is what the worker runs. What comes after was sent ahead, so that the worker need not wait for the pool
//! between two short tasks; of that, anything that the worker has not started can still be taken back.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use concurrent_futures_executor::{SentTask, StartedTask, Task, future::FutureId};

use crate::{
    channel::{PoolEnd, WINDOW_MAX},
    payload::TaskFrame,
    region::Region,
};

/// How much time the tasks may take that a worker has before it. It should be longer than it takes to wake a thread that
/// sends more, several times; and no longer, as a task that was sent ahead waits for this worker.
const WINDOW_NANOS: u64 = 200_000;

/// A task that was sent.
pub(super) struct Sent {
    pub(super) hold: Hold,
    pub(super) id: u64,
    /// Which of the claims in the shared memory is its own.
    pub(super) slot: u32,
    /// To be sent again if the worker dies early.
    pub(super) frame: Arc<TaskFrame>,
    pub(super) attempts: u32,
    /// When it became the first, or when the worker said that it has started.
    pub(super) began: Option<Instant>,
}

pub(super) enum Hold {
    /// Its future says that it runs.
    Running(StartedTask),
    /// Was sent ahead.
    Ahead(SentTask),
    /// Was sent ahead and taken back. The worker skips it.
    Revoked,
}

#[derive(Default)]
pub(super) struct Window {
    entries: VecDeque<Sent>,
    /// How many tasks were sent, ever, and how many of them were answered.
    sent: u64,
    answered: u64,
    /// The first task is too long for a ring, and on its way to its place. Nothing may be sent after it.
    pub(super) loading: bool,
}

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether any task was answered, ever.
    pub(super) fn has_answered(&self) -> bool {
        self.answered > 0
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Sent> {
        self.entries.front_mut()
    }

    /// Whether a task was sent and not answered.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.entries.iter().any(|sent| sent.id == id)
    }

    /// Which claim is the next task's.
    pub(super) fn next_slot(&self) -> u32 {
        // The remainder fits.
        #[expect(clippy::cast_possible_truncation, reason = "less than WINDOW_MAX")]
        let slot = (self.sent % WINDOW_MAX as u64) as u32;
        slot
    }

    pub(super) fn push(&mut self, sent: Sent) {
        self.sent += 1;
        self.entries.push_back(sent);
    }

    /// The first, which was answered.
    pub(super) fn pop(&mut self) -> Option<Sent> {
        self.answered += 1;
        self.loading = false;
        self.entries.pop_front()
    }

    /// All of it, because the worker is gone.
    pub(super) fn take(&mut self) -> VecDeque<Sent> {
        std::mem::take(&mut self.entries)
    }

    /// Which answer is worth a bell, counted from the first ever: the one after which half of what was sent is left.
    pub(super) fn bell(&self) -> u64 {
        self.answered + (self.entries.len() as u64 / 2).max(1)
    }

    /// The same when one more is sent.
    pub(super) fn bell_with_another(&self) -> u64 {
        self.answered + (self.entries.len() as u64).div_ceil(2).max(1)
    }

    /// Takes out the last, which was not sent after all.
    pub(super) fn retract(&mut self) -> Option<Sent> {
        self.sent -= 1;
        self.loading = false;
        self.entries.pop_back()
    }

    /// How many tasks may be here at a time, by what they cost: one, if that is not known.
    pub(super) fn limit(&self, cost: u64) -> usize {
        if self.loading {
            return 0;
        }
        match WINDOW_NANOS.checked_div(cost) {
            Some(limit) => usize::try_from(limit).unwrap_or(WINDOW_MAX).clamp(1, WINDOW_MAX),
            None => 1,
        }
    }

    /// Whether the first has been running for longer than all that is here was to take.
    pub(super) fn is_overdue(&self) -> bool {
        let began = self.entries.front().and_then(|first| first.began);
        began.is_some_and(|began| began.elapsed().as_nanos() > u128::from(WINDOW_NANOS))
    }

    /// How many were sent ahead and not taken back.
    pub(super) fn ahead(&self) -> usize {
        self.entries.iter().filter(|sent| matches!(sent.hold, Hold::Ahead(_))).count()
    }

    /// How many are known to run: one at most, if all is well.
    pub(super) fn running_count(&self) -> usize {
        self.entries.iter().filter(|sent| matches!(sent.hold, Hold::Running(_))).count()
    }

    /// The one that runs, if it is known to.
    pub(super) fn running(&self) -> Option<&Sent> {
        self.entries.iter().find(|sent| matches!(sent.hold, Hold::Running(_)))
    }

    /// Has the future of the first task say that it runs, as the worker takes that next. True if it was sent ahead.
    pub(super) fn promote(&mut self, now: Instant) -> bool {
        let first = self.entries.iter_mut().find(|sent| !matches!(sent.hold, Hold::Revoked));
        let Some(first) = first.filter(|first| matches!(first.hold, Hold::Ahead(_))) else {
            return false;
        };
        if let Hold::Ahead(task) = std::mem::replace(&mut first.hold, Hold::Revoked)
            && let Some(task) = task.start()
        {
            first.hold = Hold::Running(task);
            first.began = Some(now);
        }
        true
    }

    /// The task that was sent ahead and whose future this is.
    fn find(&mut self, id: FutureId) -> Option<&mut Sent> {
        self.entries
            .iter_mut()
            .find(|sent| matches!(&sent.hold, Hold::Ahead(task) if task.id() == id))
    }

    /// Takes back the task of a future that is to be cancelled, which `cancel` does. `None` if it is not here; false if the
    /// worker has it.
    pub(super) fn revoke(
        &mut self,
        end: &PoolEnd<Region>,
        id: FutureId,
        cancel: &mut dyn FnMut(),
    ) -> Option<bool> {
        let sent = self.find(id)?;
        if !end.revoke(sent.slot, sent.id) {
            return Some(false);
        }
        cancel();
        sent.hold = Hold::Revoked;
        sent.frame = Arc::default();
        Some(true)
    }

    /// Whether the worker has started the task of this future. `None` if it was not sent ahead here.
    pub(super) fn has_started(&mut self, end: &PoolEnd<Region>, id: FutureId) -> Option<bool> {
        self.find(id).map(|sent| end.has_started(sent.slot, sent.id))
    }

    /// Takes back up to so many of those that were sent ahead, the last first. They come in the order in which they were sent;
    /// of those that were cancelled, the count.
    pub(super) fn take_back(
        &mut self,
        end: &PoolEnd<Region>,
        max: usize,
    ) -> (Vec<TakenBack>, usize) {
        let mut taken = Vec::new();
        let mut cancelled = 0;
        for sent in self.entries.iter_mut().rev() {
            if taken.len() == max {
                break;
            }
            if !matches!(sent.hold, Hold::Ahead(_)) {
                continue;
            }
            if !end.revoke(sent.slot, sent.id) {
                // And so it has all before it.
                break;
            }
            if let Hold::Ahead(task) = std::mem::replace(&mut sent.hold, Hold::Revoked) {
                let frame = std::mem::take(&mut sent.frame);
                match task.take_back() {
                    Some(task) => taken.push(TakenBack { task, id: sent.id, frame }),
                    None => cancelled += 1,
                }
            }
        }
        taken.reverse();
        (taken, cancelled)
    }
}

/// A task that was sent ahead, and is as if it had not been.
pub(super) struct TakenBack {
    pub(super) task: Task,
    pub(super) id: u64,
    pub(super) frame: Arc<TaskFrame>,
}
