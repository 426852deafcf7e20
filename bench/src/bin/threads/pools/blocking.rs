//! The crate `blocking`, whose one pool belongs to the whole program.

use std::num::NonZeroUsize;

use blocking::{Task, unblock};
use futures_lite::future::block_on;

use super::{Fire, Pool, Submit};

pub(crate) struct Blocking;

impl Pool for Blocking {
    const NAME: &'static str = "blocking";

    fn start(workers: usize) -> Self {
        blocking::set_max_blocking_threads(NonZeroUsize::new(workers).expect("there are workers"));
        Self
    }

    /// It cannot be stopped.
    fn stop(self) {}
}

impl Fire for Blocking {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        unblock(task).detach();
    }
}

impl Submit for Blocking {
    type Handle<T: Send + 'static> = Task<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        unblock(task)
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        block_on(handle)
    }

    fn collect_all<T: Send + 'static>(
        &self,
        handles: Vec<Self::Handle<T>>,
        mut each: impl FnMut(T),
    ) {
        block_on(async {
            for handle in handles {
                each(handle.await);
            }
        });
    }
}
