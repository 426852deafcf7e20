//! A cell in front of another that turns a returned `Err` into the future's own error.

use std::error::Error;

use crate::{
    cell::{AnyCell, Cell, Header},
    error::TaskError,
    future::Future,
    panic::Panic,
    sync::{Mutex, lock},
    task::Ran,
};

/// Shares the header of the future it flattens, and keeps what it took from that future's slot.
pub(crate) struct Flatten<T, E> {
    source: Future<Result<T, E>>,
    /// Filled from the source by the first who looks after it has ended.
    settled: Mutex<Option<Settled<T>>>,
}

enum Settled<T> {
    Full(Result<T, TaskError>),
    Taken(Option<TaskError>),
}

impl<T, E> Flatten<T, E>
where
    T: Send,
    E: Into<Box<dyn Error + Send + Sync>> + Send,
{
    pub(crate) fn new(source: Future<Result<T, E>>) -> Self {
        Self { source, settled: Mutex::new(None) }
    }

    /// Lets `f` at the settled outcome of a future that has ended.
    fn with_settled<R>(&self, f: impl FnOnce(&mut Settled<T>) -> R) -> R {
        let mut settled = lock(&self.settled);
        let settled = settled.get_or_insert_with(|| {
            // The source's own error was not looked at yet: this is a way of asking, not of reading.
            let outcome =
                match self.source.cell().take() {
                    Ok(Ok(value)) => Ok(value),
                    // The conversion is the user's code. It cannot reach this cell, so running it under the lock is
                    // safe as long as it does not unwind through it.
                    Ok(Err(error)) => Err(Panic::catch(|| TaskError::failed(error))
                        .unwrap_or_else(TaskError::Panicked)),
                    Err(error) => Err(error),
                };
            Settled::Full(outcome)
        });
        f(settled)
    }
}

impl<T, E> AnyCell for Flatten<T, E>
where
    T: Send,
    E: Into<Box<dyn Error + Send + Sync>> + Send,
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
}

impl<T, E> Cell<T> for Flatten<T, E>
where
    T: Send,
    E: Into<Box<dyn Error + Send + Sync>> + Send,
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
        self.header().abandon();
        self.take()
    }
}
