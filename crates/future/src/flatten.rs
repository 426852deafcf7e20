//! A cell in front of another that turns a returned `Err` into the future's own error.

//!
//! Whoever completes the source takes a returned `Err` for a value. So two things that the completion of any other
//! future sees to are seen to here: that a failure which nobody looked at is reported, and that observers count it as a
//! failure.

use std::{
    error::Error,
    sync::{Arc, Weak},
};

use crate::{
    cell::{AnyCell, Cell, Header, drop_contained},
    error::TaskError,
    future::Future,
    panic::Panic,
    progress::{Observer, Outcome},
    state::Snapshot,
    sync::{Mutex, lock},
    task::Ran,
    waiter::Waiter,
};

/// Shares the header of the future it flattens, and keeps what it took from that future's slot.
pub(crate) struct Flatten<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    source: Future<Result<T, E>>,
    /// Filled from the source by the first who looks after it has ended.
    settled: Mutex<Option<Settled<T>>>,
    this: Weak<Self>,
}

enum Settled<T> {
    Full(Result<T, TaskError>),
    Taken(Option<TaskError>),
}

impl<T, E> Flatten<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    pub(crate) fn new(source: Future<Result<T, E>>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { source, settled: Mutex::new(None), this: Weak::clone(this) })
    }

    /// Lets `f` at the settled outcome of a future that has ended.
    fn with_settled<R>(&self, f: impl FnOnce(&mut Settled<T>) -> R) -> R {
        let mut settled = lock(&self.settled);
        let settled = settled.get_or_insert_with(|| {
            // The source's own error was not looked at yet: this is a way of asking, not of reading.
            Settled::Full(self.source.cell().take().and_then(|returned| returned.map_err(failed)))
        });
        f(settled)
    }
}

/// Makes a returned error one of the task.
///
/// The conversion is the user's code. It cannot reach the cell, so running it under the cell's lock is safe as long as it
/// does not unwind through it.
fn failed<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> TaskError {
    Panic::catch(|| TaskError::failed(error)).unwrap_or_else(TaskError::Panicked)
}

/// Nobody can look at the outcome any more.
impl<T, E> Drop for Flatten<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    fn drop(&mut self) {
        if self.leave_to_callback() {
            return;
        }
        // What the source itself failed with is reported as that of any future, by whoever lets go of it last.
        let source = self.source.cell();
        if source.error().is_none()
            && let Some(error) = self.error()
        {
            source.header().report_unread(&error);
        }
        // This may be a worker that has to live on.
        let left = lock(&self.settled).take();
        drop_contained(|| drop(left));
    }
}

impl<T, E> Flatten<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    /// Leaves the outcome of a future that has not ended to a callback, in the place of the source's handle.
    fn leave_to_callback(&mut self) -> bool {
        // Not a strong reference: the cell would keep itself alive if it were never completed. Whoever completes it has
        // one.
        let source = Arc::downgrade(self.source.cell());
        let callback = move || {
            let Some(source) = source.upgrade() else { return };
            // The last of the callbacks, since nobody can have added one after the last handle was gone.
            match source.take() {
                Ok(Ok(value)) => drop_contained(|| drop(value)),
                Ok(Err(error)) => source.header().report_unread(&failed(error)),
                Err(error) => source.header().report_unread(&error),
            }
        };
        let left = self.header().register(Waiter::Callback(Box::new(callback))).is_ok();
        if left {
            self.source.relinquish();
        }
        left
    }
}

/// An observer of a flattened future.
struct Flattened<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    cell: Arc<Flatten<T, E>>,
    observer: Arc<dyn Observer>,
}

impl<T, E> Observer for Flattened<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    fn started(&self) {
        self.observer.started();
    }

    // Nothing comes of `ending`: whether the value is a failure is known only when it can be taken.
    fn ended(&self, outcome: Outcome) {
        let failed = outcome == Outcome::Succeeded && self.cell.error().is_some();
        self.observer.ended(if failed { Outcome::Failed } else { outcome });
    }
}

impl<T, E> AnyCell for Flatten<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    fn header(&self) -> &Header {
        self.source.cell().header()
    }

    fn error(&self) -> Option<TaskError> {
        if !self.header().is_done() {
            return None;
        }
        self.with_settled(|settled| match settled {
            Settled::Full(Err(error)) | Settled::Taken(Some(error)) => Some(error.clone()),
            Settled::Full(Ok(_)) | Settled::Taken(None) => None,
        })
    }

    fn run_in_place(&self) -> Ran {
        self.source.cell().run_in_place()
    }

    unsafe fn drop_cancelled_work(&self) {
        // SAFETY: passed on to the caller; the header, and so the right, is the source's.
        unsafe { self.source.cell().drop_cancelled_work() };
    }

    fn abandon(&self) -> Snapshot {
        // Not yet: `drop` has a look at the outcome when nobody else can any more, and until then it must not be dropped
        // by whoever completes the source. The source's own handle, which goes after that, says it.
        self.header().snapshot()
    }

    fn drop_outcome(&self) {
        let outcome = self.with_settled(|settled| {
            let error = match settled {
                Settled::Full(outcome) => outcome.as_ref().err().cloned(),
                Settled::Taken(error) => error.clone(),
            };
            std::mem::replace(settled, Settled::Taken(error))
        });
        // Outside of the lock: it may be the user's destructor.
        drop(outcome);
    }

    fn value_type(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn observer(&self, observer: Arc<dyn Observer>) -> Arc<dyn Observer> {
        // Always there: whoever calls this holds the cell.
        match self.this.upgrade() {
            Some(cell) => Arc::new(Flattened { cell, observer }),
            None => observer,
        }
    }
}

impl<T, E> Cell<T> for Flatten<T, E>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    fn take(&self) -> Result<T, TaskError> {
        self.with_settled(|settled| {
            let error = match settled {
                Settled::Full(outcome) => outcome.as_ref().err().cloned(),
                Settled::Taken(error) => error.clone(),
            };
            match std::mem::replace(settled, Settled::Taken(error)) {
                Settled::Full(outcome) => outcome,
                Settled::Taken(error) => Err(error.unwrap_or(TaskError::Abandoned)),
            }
        })
    }

    fn take_and_abandon(&self) -> Result<T, TaskError> {
        // Not abandoned, as in `abandon`.
        self.take()
    }
}
