//! Values that count how many of them have been dropped, and some whose destructor panics.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Makes values and counts their drops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn value(&self) -> Counted {
        Counted(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts when it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Panics with this text when it is dropped, having counted.
#[derive(Debug)]
pub(crate) struct Explosive(pub(crate) &'static str, pub(crate) Counted);

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}
