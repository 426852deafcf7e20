//! The state of a future in one atomic word, and the only transitions that it has.
//!
//! Python keeps the state under a lock and has five of them; here a single compare-and-swap decides every race, and
//! the word has four states, because cancelling is complete in one step (there is no "cancelled but not yet notified"
//! in which a waiter could be missed).
//!
//! ```text
//!               start                 finish
//!   PENDING ------------> RUNNING ------------> FINISHED
//!      |
//!      +----------------> CANCELLED
//!               cancel
//! ```
//!
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | 0–1 | the state | its transition | never goes back |
//! | 2 `WAITERS` | the waiter list may hold entries | a registration, with its entry pushed, under the list's lock | never |
//! | 3 `ABANDONED` | nobody holds a handle through which the outcome could be read | the last handle's drop | never |
//! | 4 `OBSERVED` | somebody has been told of the failure | a reader | never |
//! | 5 `FAILED` | it has finished, with an error | the transition to `FINISHED` | never |
//! | 6 `TAKEN` | somebody has, or had, the right to the value | whoever takes or drops it | never |
//! | 7 `LENT` | it is pending, and somebody looks at the work | `lend` | `return_loan`, by the same |
//! | 8 `SENT` | it is pending, and was sent to a worker that may start it without this process knowing | `send` | the `*_sent` transitions |
//!
//! Invariants:
//!
//! 1. Exactly one `start` and one `cancel` can win, and not both: each is a compare-and-swap out of `PENDING`.
//! 2. Exactly one caller finishes: `finish` is for whoever won `start`.
//! 3. The outcome is stored before `finish` (Release) and read only after a load that saw `FINISHED` (Acquire).
//! 4. A registered waiter is never missed. Its entry is pushed before `WAITERS` is set; the end of the future is a
//!    read-modify-write of the same word. If setting the bit comes first, the end sees it and drains the list; if it
//!    comes second, the registration, which still holds the lock, sees the end and takes its entry back.
//! 5. An unread failure is reported exactly once. `ABANDONED` and the end are read-modify-writes of one word, so
//!    exactly one of them comes second, and that one reports.
//! 6. Work and value share one place in memory, and exactly one thread at a time may touch it: before the future starts,
//!    whoever has set `LENT`; then whoever won `start`, until it finishes, or whoever won `cancel`, for ever; then whoever
//!    has set `TAKEN`. `start` and `cancel` wait for a loan to be returned, so a loan must be short; it is only given out
//!    for encoding the work.
//! 7. While `SENT` is set, nobody leaves `PENDING` but through a `*_sent` transition, which is for whoever has made sure,
//!    with the [`Remote`](crate::Remote) that sent it, that no worker starts it meanwhile, or that one has.

use crate::sync::{AtomicU16, Ordering, thread};

const STATE: u16 = 0b11;
const PENDING: u16 = 0;
const RUNNING: u16 = 1;
const CANCELLED: u16 = 2;
const FINISHED: u16 = 3;
const WAITERS: u16 = 1 << 2;
const ABANDONED: u16 = 1 << 3;
const OBSERVED: u16 = 1 << 4;
const FAILED: u16 = 1 << 5;
const TAKEN: u16 = 1 << 6;
const LENT: u16 = 1 << 7;
const SENT: u16 = 1 << 8;

/// Where a future is in its life, as in [PEP 3148](https://peps.python.org/pep-3148/#future-objects).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Waiting to be run; can still be cancelled.
    Pending,
    /// Being run; can no longer be cancelled.
    Running,
    /// Cancelled before it was run. It never will be.
    Cancelled,
    /// Run to its end, with a value or with an error.
    Finished,
}

/// The word as it was at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot(u16);

impl Snapshot {
    pub(crate) fn state(self) -> State {
        match self.0 & STATE {
            PENDING => State::Pending,
            RUNNING => State::Running,
            CANCELLED => State::Cancelled,
            _ => State::Finished,
        }
    }

    pub(crate) fn is_done(self) -> bool {
        matches!(self.0 & STATE, CANCELLED | FINISHED)
    }

    pub(crate) fn has_waiters(self) -> bool {
        self.0 & WAITERS != 0
    }

    /// Whether it is pending, and a worker elsewhere may have started it.
    pub(crate) fn is_sent(self) -> bool {
        self.0 & SENT != 0
    }

    pub(crate) fn is_abandoned(self) -> bool {
        self.0 & ABANDONED != 0
    }

    pub(crate) fn is_observed(self) -> bool {
        self.0 & OBSERVED != 0
    }

    pub(crate) fn is_failed(self) -> bool {
        self.0 & FAILED != 0
    }

    /// Whether there is a value that nobody has a right to yet.
    pub(crate) fn has_value(self) -> bool {
        self.0 & (STATE | FAILED | TAKEN) == FINISHED
    }
}

/// What came of trying to start.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// The caller runs the work, and owes the end of the future.
    Run(Snapshot),
    /// It had been cancelled; the caller owes nothing.
    Cancelled,
    /// It had been started or finished before; the caller has made a mistake, or lost a race to help.
    Taken(State),
}

/// What came of trying to cancel.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) enum Cancel {
    /// The caller cancelled it, and owes the waiters their wake-up.
    Won(Snapshot),
    /// It was cancelled already, and whoever did that wakes the waiters.
    Already,
    /// It is running or finished.
    TooLate,
    /// It was sent to where it may have started: the one that sent it has to be asked.
    Sent,
}

/// The word itself; see the head of this file.
pub(crate) struct StateWord(AtomicU16);

impl StateWord {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(AtomicU16::new(PENDING))
    }

    /// Acquire: pairs with the Release in `finish`, so that whoever sees `FINISHED` also sees the outcome.
    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn transition_to_running(&self) -> Start {
        match self.leave_pending(RUNNING) {
            Ok(before) => Start::Run(before),
            Err(now) => match now.state() {
                State::Cancelled => Start::Cancelled,
                other => Start::Taken(other),
            },
        }
    }

    pub(crate) fn transition_to_cancelled(&self) -> Cancel {
        match self.leave_pending(CANCELLED) {
            Ok(before) => Cancel::Won(before),
            Err(now) => match now.state() {
                State::Cancelled => Cancel::Already,
                State::Pending => Cancel::Sent,
                _ => Cancel::TooLate,
            },
        }
    }

    /// Says that from now on a worker elsewhere may start it. False if it is not pending any more.
    pub(crate) fn send(&self) -> bool {
        self.leave_pending(SENT).is_ok()
    }

    /// Starts a future that was sent; for whoever knows that nobody cancels it. `None` if it was not sent.
    pub(crate) fn sent_to_running(&self) -> Option<Snapshot> {
        self.leave_sent(RUNNING)
    }

    /// Cancels a future that was sent; for whoever knows that nobody starts it.
    pub(crate) fn sent_to_cancelled(&self) -> Option<Snapshot> {
        self.leave_sent(CANCELLED)
    }

    /// Makes a future that was sent an ordinary pending one; for whoever knows that nobody starts it.
    pub(crate) fn sent_to_pending(&self) -> Option<Snapshot> {
        self.leave_sent(PENDING)
    }

    /// Ends a running future; only the caller that was told [`Start::Run`] may do so, and only once.
    #[inline]
    pub(crate) fn transition_to_finished(&self, failed: bool) -> Snapshot {
        // RUNNING and FINISHED differ in one bit that nobody else changes, so an unconditional OR is the whole
        // transition and leaves the flags as they are. Release: publishes the outcome. Acquire: sees the list that a
        // registration filled before it set WAITERS.
        let flags = FINISHED | if failed { FAILED } else { 0 };
        let before = Snapshot(self.0.fetch_or(flags, Ordering::AcqRel));
        debug_assert_eq!(before.state(), State::Running);
        before
    }

    /// As `transition_to_finished` with a value, unless the waiter list may hold entries: then nothing changes, and the answer is
    /// `None`. One step, so that whoever is not to run callbacks comes upon none that is added meanwhile.
    pub(crate) fn transition_to_finished_unwatched(&self) -> Option<Snapshot> {
        let mut now = self.0.load(Ordering::Relaxed);
        while now & WAITERS == 0 {
            debug_assert_eq!(Snapshot(now).state(), State::Running);
            let after = now | FINISHED;
            // Release: publishes the outcome.
            match self.0.compare_exchange_weak(now, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(before) => return Some(Snapshot(before)),
                Err(actual) => now = actual,
            }
        }
        None
    }

    /// Claims the value of a finished future; true for one caller at most.
    pub(crate) fn claim_value(&self) -> bool {
        // Acquire: pairs with the Release in `transition_to_finished`.
        Snapshot(self.0.fetch_or(TAKEN, Ordering::Acquire)).has_value()
    }

    /// Claims the value of a finished future and says that the last handle is gone, in one step.
    #[inline]
    pub(crate) fn claim_value_and_abandon(&self) -> Snapshot {
        Snapshot(self.0.fetch_or(TAKEN | ABANDONED, Ordering::AcqRel))
    }

    /// Claims the work of a pending future, to look at it. To be followed by `return_loan`.
    pub(crate) fn lend(&self) -> bool {
        self.leave_pending(LENT).is_ok()
    }

    pub(crate) fn return_loan(&self) {
        // Release: pairs with the Acquire of whoever claims the work next.
        self.0.fetch_and(!LENT, Ordering::Release);
    }

    /// Says that the list holds an entry. The answer is the word just before.
    pub(crate) fn announce_waiter(&self) -> Snapshot {
        // Release: the entry must be visible to whoever sees the bit. Acquire: if the future has ended, the caller
        // goes on to read the outcome.
        Snapshot(self.0.fetch_or(WAITERS, Ordering::AcqRel))
    }

    /// Says that the last handle is gone. The answer is the word just before.
    #[inline]
    pub(crate) fn abandon(&self) -> Snapshot {
        Snapshot(self.0.fetch_or(ABANDONED, Ordering::AcqRel))
    }

    /// Says that somebody has been told of the failure. True if nobody had been before.
    pub(crate) fn observe(&self) -> bool {
        // Relaxed: a flag about the reader itself; the drop of its handle is ordered after it by whatever moved the
        // handle there.
        !Snapshot(self.0.fetch_or(OBSERVED, Ordering::Relaxed)).is_observed()
    }

    /// Moves from PENDING to `target`, keeping the flags.
    #[inline]
    fn leave_pending(&self, target: u16) -> Result<Snapshot, Snapshot> {
        // A guess, and not a look: the word is in the cache of whoever wrote it, and a look would fetch it twice, first to be
        // read and then to be written.
        let mut now = PENDING;
        loop {
            if now & (STATE | SENT) != PENDING {
                // Acquire, so that "too late" and "already" come with what the winner wrote.
                return Err(self.load());
            }
            if now & LENT != 0 {
                thread::yield_now();
                now = self.0.load(Ordering::Relaxed);
                continue;
            }
            match self.0.compare_exchange_weak(
                now,
                now | target,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(before) => return Ok(Snapshot(before)),
                Err(actual) => now = actual,
            }
        }
    }

    /// Moves from PENDING with SENT to `target` without, keeping the other flags. `None` if it was not sent.
    fn leave_sent(&self, target: u16) -> Option<Snapshot> {
        let mut now = self.0.load(Ordering::Relaxed);
        while now & SENT != 0 {
            let after = now & !SENT | target;
            match self.0.compare_exchange_weak(now, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(before) => return Some(Snapshot(before)),
                Err(actual) => now = actual,
            }
        }
        None
    }
}
