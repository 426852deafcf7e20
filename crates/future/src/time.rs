//! Deadlines, counted from the call that states them.

use std::time::{Duration, Instant};

/// The moment at which a wait gives up, if ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Self = Self(None);

    /// `timeout` from now. A moment that the clock cannot express is farther away than anybody can wait for.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    pub(crate) fn instant(self) -> Option<Instant> {
        self.0
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(crate) fn is_never(self) -> bool {
        self.0.is_none()
    }
}
