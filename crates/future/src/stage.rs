//! The place where a task keeps first its work and then its value: the one place of this crate with unsafe code.
//!
//! A lock in its stead costs three rounds of two atomic operations for each task, a third of what a short task costs
//! altogether; the state word has already decided who may look. Its invariant 6 is what every block below rests on.

use crate::sync::UnsafeCell;

/// Work, then nothing, then a value, then nothing.
pub(crate) struct Stage<W, T>(UnsafeCell<Content<W, T>>);

enum Content<W, T> {
    Empty,
    Work(W),
    Value(T),
}

// SAFETY: whoever shares a stage can get at its content only through the unsafe methods below, whose callers are the one
// thread that may touch it. The content moves between threads, so it must be `Send`; it is never shared.
unsafe impl<W: Send, T: Send> Sync for Stage<W, T> {}

impl<W, T> Stage<W, T> {
    pub(crate) fn new(work: W) -> Self {
        Self(UnsafeCell::new(Content::Work(work)))
    }

    pub(crate) fn empty() -> Self {
        Self(UnsafeCell::new(Content::Empty))
    }

    /// # Safety
    ///
    /// The caller has won `start` and not finished yet, or has won `cancel`.
    pub(crate) unsafe fn take_work(&self) -> Option<W> {
        self.0.with_mut(|content| {
            // SAFETY: by invariant 6 of the state word nobody else touches the content now.
            let content = unsafe { &mut *content };
            match std::mem::replace(content, Content::Empty) {
                Content::Work(work) => Some(work),
                other => {
                    *content = other;
                    None
                }
            }
        })
    }

    /// # Safety
    ///
    /// The caller has set `LENT`, and keeps it set while `f` runs.
    pub(crate) unsafe fn with_work<R>(&self, f: impl FnOnce(&W) -> R) -> Option<R> {
        self.0.with(|content| {
            // SAFETY: by invariant 6 of the state word nobody else touches the content now.
            match unsafe { &*content } {
                Content::Work(work) => Some(f(work)),
                Content::Empty | Content::Value(_) => None,
            }
        })
    }

    /// # Safety
    ///
    /// The caller has won `start` and not finished yet.
    pub(crate) unsafe fn put_value(&self, value: T) {
        let before = self.0.with_mut(|content| {
            // SAFETY: by invariant 6 of the state word nobody else touches the content now.
            let content = unsafe { &mut *content };
            std::mem::replace(content, Content::Value(value))
        });
        // Empty, as the work was taken to be done; if not, its destructor runs here, after the value is in its place.
        drop(before);
    }

    /// # Safety
    ///
    /// The caller has set `TAKEN` on a future that had finished and on which it was not set; or has won `start` and not finished
    /// yet.
    pub(crate) unsafe fn take_value(&self) -> Option<T> {
        self.0.with_mut(|content| {
            // SAFETY: by invariant 6 of the state word nobody else touches the content now.
            let content = unsafe { &mut *content };
            match std::mem::replace(content, Content::Empty) {
                Content::Value(value) => Some(value),
                other => {
                    *content = other;
                    None
                }
            }
        })
    }
}
