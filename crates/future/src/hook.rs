//! What happened where no caller could be told of it, and who wants to hear.
//!
//! Python logs a failing callback and a failing initializer, and says nothing of a task whose error nobody looks at.
//! All three are reported here. By default they go to the [`log`] crate, target `concurrent_futures`.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    error::TaskError,
    id::FutureId,
    panic::{Panic, drop_quietly},
};

/// Something that happened where no caller could be told of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A done-callback panicked. The callbacks after it ran, and the future's outcome is what it was.
    CallbackPanicked {
        /// The future that the callback was for.
        future: FutureId,
        /// What the callback threw.
        panic: &'a Panic,
    },
    /// A future failed, and its last handle was dropped without anybody having looked.
    FailureUnread {
        /// The future that failed.
        future: FutureId,
        /// What it failed with.
        error: &'a TaskError,
    },
    /// A worker could not be made ready, and the executor is broken because of it.
    ExecutorBroken {
        /// The executor's name, as it also appears in its workers'.
        executor: &'a str,
        /// What happened.
        error: &'a (dyn std::error::Error + 'static),
    },
    /// A destructor of user code panicked in a worker, which lives on.
    DestructorPanicked {
        /// What the destructor threw.
        panic: &'a Panic,
    },
    /// A hook around a task panicked. The task's outcome is what it was.
    HookPanicked {
        /// The future of the task.
        future: FutureId,
        /// What the hook threw.
        panic: &'a Panic,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallbackPanicked { future, panic } => {
                write!(f, "a done-callback of future {future} {panic}")
            }
            Self::FailureUnread { future, error } => {
                write!(f, "future {future} failed and nobody looked: {error}")?;
                let mut source = std::error::Error::source(error);
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            Self::ExecutorBroken { executor, error } => {
                write!(f, "executor {executor} is broken: {error}")
            }
            Self::DestructorPanicked { panic } => write!(f, "a destructor in a worker {panic}"),
            Self::HookPanicked { future, panic } => {
                write!(f, "a hook around the task of future {future} {panic}")
            }
        }
    }
}

type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

static HOOK: RwLock<Option<Hook>> = RwLock::new(None);

/// Calls `hook` for every [`Event`] of this process from now on, in place of the hook set before.
///
/// The default writes the event to the [`log`] crate, target `concurrent_futures`: a broken executor as an error, the
/// rest as warnings. The hook is called in the thread where the event happened, outside of any lock; it should be
/// quick. If it panics, the panic is dropped.
///
/// # Examples
///
/// ```
/// use concurrent_futures_future::{promise, set_event_hook};
///
/// set_event_hook(|event| eprintln!("concurrent-futures: {event}"));
/// ```
pub fn set_event_hook(hook: impl Fn(&Event<'_>) + Send + Sync + 'static) {
    let previous = HOOK.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(hook));
    drop(previous);
}

/// For executor authors: tells the program's hook of `event`.
pub fn report(event: &Event<'_>) {
    let hook = HOOK.read().unwrap_or_else(PoisonError::into_inner).clone();
    let outcome = Panic::catch(|| match hook {
        Some(hook) => hook(event),
        None => log(event),
    });
    drop_quietly(outcome);
}

fn log(event: &Event<'_>) {
    let level = match event {
        Event::ExecutorBroken { .. } => log::Level::Error,
        _ => log::Level::Warn,
    };
    log::log!(target: "concurrent_futures", level, "{event}");
}
