//! Waiting for one future, and for several at once.

use std::collections::HashSet;
use std::time::Duration;

use crate::{
    any::{AnyFuture, Sealed},
    cell::{AnyCell, Header},
    spin,
    task::Ran,
    time::Deadline,
    waiter::{Countdown, ReadyQueue, Signal, Waiter, WaiterKey},
    worker,
};

/// Waits until the future has ended or the deadline has passed; says whether it has ended.
///
/// Every wait of this crate helps before it sleeps: if the calling thread is a worker, and the task is in its own
/// pool's queue, it does the task's work itself. Not so a wait with a deadline, which the work might overrun.
pub(crate) fn wait_for(cell: &dyn AnyCell, deadline: Deadline) -> bool {
    let header = cell.header();
    if header.is_done() {
        return true;
    }
    if deadline.is_never() {
        help(cell);
    } else if deadline.has_passed() {
        return header.is_done();
    }
    if poll(header) {
        return true;
    }
    let signal = Signal::new();
    let Ok(key) = header.register(Waiter::Thread(signal.clone())) else {
        return true;
    };
    if signal.wait(deadline.instant()) {
        return true;
    }
    header.deregister(key);
    header.is_done()
}

/// Looks for a moment whether the future ends, before the thread goes to sleep.
fn poll(header: &Header) -> bool {
    let done = || header.is_done();
    match header.remote() {
        Some(remote) => remote.poll_until(&done),
        None => spin::until(done),
    }
}

/// Does the work of a task that waits in the queue of the pool that this thread works for.
pub(crate) fn help(cell: &dyn AnyCell) {
    if let Some(_nested) = cell.header().nest() {
        match cell.run_in_place() {
            Ran::Not => {}
            ran => worker::ran_in_place(ran),
        }
    }
}

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ReturnWhen {
    /// When any future has ended; Python's `FIRST_COMPLETED`.
    FirstCompleted,
    /// When any future has failed, or all have ended; Python's `FIRST_EXCEPTION`. Being cancelled is no failure.
    FirstException,
    /// When all futures have ended; Python's `ALL_COMPLETED`.
    #[default]
    AllCompleted,
}

/// What [`wait`] found: the futures that had ended, and the others, both in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoneAndNotDone<F> {
    /// Finished or cancelled, before or during the wait.
    pub done: Vec<F>,
    /// Not ended when the wait did.
    pub not_done: Vec<F>,
}

/// Waits for several futures; Python's `concurrent.futures.wait`.
///
/// Takes futures by value or by reference, of one executor or of several, also `&dyn AnyFuture` for futures of
/// different types. A future that is given twice counts, and is returned, once. No future at all is no wait at all.
/// No future is cancelled or read by this.
///
/// ```
/// use concurrent_futures_future::{ReturnWhen, promise, wait};
///
/// let (promise, quick) = promise();
/// let (_slow_promise, slow) = concurrent_futures_future::promise();
/// promise.set_result(1).unwrap();
///
/// let waited = wait([quick, slow], ReturnWhen::FirstCompleted);
/// assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
/// ```
pub fn wait<I>(futures: I, return_when: ReturnWhen) -> DoneAndNotDone<I::Item>
where
    I: IntoIterator<Item: AnyFuture>,
{
    wait_until(futures, Deadline::NEVER, return_when)
}

/// As [`wait`], for as long as `timeout`. Running out of time is not an error: it returns what has ended so far.
///
/// A zero timeout only looks.
pub fn wait_timeout<I>(
    futures: I,
    timeout: Duration,
    return_when: ReturnWhen,
) -> DoneAndNotDone<I::Item>
where
    I: IntoIterator<Item: AnyFuture>,
{
    wait_until(futures, Deadline::after(timeout), return_when)
}

fn wait_until<I>(futures: I, deadline: Deadline, return_when: ReturnWhen) -> DoneAndNotDone<I::Item>
where
    I: IntoIterator<Item: AnyFuture>,
{
    let mut seen = HashSet::new();
    let futures: Vec<I::Item> = futures
        .into_iter()
        .filter(|future| seen.insert(identity(future.cell().header())))
        .collect();
    // Looking alone needs no entry in any list, nor does a worker that looks count as blocked.
    if !deadline.has_passed() {
        let cells: Vec<&dyn AnyCell> = futures.iter().map(|future| future.cell()).collect();
        match return_when {
            ReturnWhen::AllCompleted => wait_for_all(&cells, deadline),
            ReturnWhen::FirstCompleted => wait_for_first(&cells, deadline),
            ReturnWhen::FirstException => wait_for_failure(&cells, deadline),
        }
    }
    let (done, not_done) = futures.into_iter().partition(AnyFuture::done);
    DoneAndNotDone { done, not_done }
}

/// Two handles of one future have the same header, which stays where it is while either is held.
pub(crate) fn identity(header: &Header) -> usize {
    std::ptr::from_ref(header).addr()
}

fn wait_for_all(cells: &[&dyn AnyCell], deadline: Deadline) {
    // One wake-up for all of them, when the last one ends.
    let countdown = Countdown::new();
    let mut registered = Registered::default();
    for cell in cells {
        if deadline.is_never() && !cell.header().is_done() {
            help(*cell);
        }
        countdown.add();
        match cell.header().register(Waiter::Countdown(countdown.clone())) {
            Ok(key) => registered.0.push((cell.header(), key)),
            Err(_ended) => countdown.count_down(),
        }
    }
    countdown.wait(deadline.instant());
}

fn wait_for_first(cells: &[&dyn AnyCell], deadline: Deadline) {
    if cells.is_empty() || cells.iter().any(|cell| cell.header().is_done()) {
        return;
    }
    if deadline.is_never() {
        for cell in cells {
            help(*cell);
            if cell.header().is_done() {
                return;
            }
        }
    }
    let signal = Signal::new();
    let mut registered = Registered::default();
    for cell in cells {
        match cell.header().register(Waiter::Thread(signal.clone())) {
            Ok(key) => registered.0.push((cell.header(), key)),
            Err(_ended) => return,
        }
    }
    signal.wait(deadline.instant());
}

fn wait_for_failure(cells: &[&dyn AnyCell], deadline: Deadline) {
    let failed = |cell: &dyn AnyCell| {
        cell.header().is_done() && cell.error().is_some_and(|error| !error.is_cancelled())
    };
    // Looked at before anything is waited for or helped with: a failure that is there is a reason to return at once.
    if cells.iter().any(|cell| failed(*cell)) {
        return;
    }
    // Each completion is looked at once, so the whole stays linear.
    let queue = ReadyQueue::new();
    let mut registered = Registered::default();
    let mut pending = 0_usize;
    for (token, cell) in (0_u64..).zip(cells) {
        if deadline.is_never() && !cell.header().is_done() {
            help(*cell);
        }
        match cell.header().register(Waiter::Set(queue.clone(), token)) {
            Ok(key) => {
                registered.0.push((cell.header(), key));
                pending += 1;
            }
            Err(_ended) if failed(*cell) => return,
            Err(_ended) => {}
        }
    }
    while pending > 0 {
        let Some(token) = queue.pop(deadline.instant()) else { return };
        pending -= 1;
        if usize::try_from(token).is_ok_and(|index| failed(cells[index])) {
            return;
        }
    }
}

/// Takes a wait's entries out of the futures' lists again, however the wait ends.
#[derive(Default)]
struct Registered<'a>(Vec<(&'a Header, WaiterKey)>);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        for (header, key) in self.0.drain(..) {
            if !header.is_done() {
                header.deregister(key);
            }
        }
    }
}
