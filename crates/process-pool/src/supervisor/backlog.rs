//! What is left to the crew: by guests, who run no callbacks, and by the one of the crew who found several completions at once.
//!
//! Any of it may take the user's time. So whoever takes out the next sees to it first that somebody else comes for what is
//! behind it: one of the crew is woken, unless another was called already and has not come; or there is the looker, who comes
//! by now and then. It spares a wake-up for each batch of short completions, but somebody may rely on it in the very moment
//! in which it stops; so it is told, and comes once more.

use std::{collections::VecDeque, sync::PoisonError};

use crate::sync::{Mutex, MutexGuard};

pub(crate) struct Backlog<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    items: VecDeque<T>,
    /// Somebody was called, or the looker is relied on, and has not come since.
    called: bool,
    /// One of the crew looks now and then.
    looker: bool,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        let inner = Inner { items: VecDeque::new(), called: false, looker: false };
        Self { inner: Mutex::new(inner) }
    }
}

impl<T> Backlog<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing in this file panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the caller is not going to take out. True if it is to wake one of the crew.
    #[must_use]
    pub(crate) fn leave(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut inner = self.lock();
        inner.items.extend(items);
        !std::mem::replace(&mut inner.called, true)
    }

    /// Adds what the caller begins to take out right away.
    pub(crate) fn add(&self, items: impl IntoIterator<Item = T>) {
        self.lock().items.extend(items);
    }

    /// Takes out the next. Also says whether the caller is to wake one of the crew before it does anything about it.
    pub(crate) fn next(&self) -> (Option<T>, bool) {
        let mut inner = self.lock();
        let next = inner.items.pop_front();
        let calls = !inner.items.is_empty() && !std::mem::replace(&mut inner.called, true);
        (next, calls && !inner.looker)
    }

    /// Says that the caller, who is of the crew, has come. True if there is something to be taken out.
    #[must_use]
    pub(crate) fn come(&self) -> bool {
        let mut inner = self.lock();
        inner.called = false;
        !inner.items.is_empty()
    }

    /// Makes the caller the looker. False if there is one.
    pub(crate) fn begin_looking(&self) -> bool {
        !std::mem::replace(&mut self.lock().looker, true)
    }

    /// Leaves nobody as the looker, which the caller was. True if somebody may have relied on it: then it is to come once more,
    /// or to wake another.
    #[must_use]
    pub(crate) fn stop_looking(&self) -> bool {
        let mut inner = self.lock();
        inner.looker = false;
        inner.called
    }

    pub(crate) fn has_looker(&self) -> bool {
        self.lock().looker
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }
}
