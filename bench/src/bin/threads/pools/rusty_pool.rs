//! rusty_pool, with its own handles.

use rusty_pool::{Builder, JoinHandle, ThreadPool};

use super::{Fire, Pool, Submit};

pub(crate) struct RustyPool(ThreadPool);

impl Pool for RustyPool {
    const NAME: &'static str = "rusty_pool";

    fn start(workers: usize) -> Self {
        Self(Builder::new().core_size(workers).max_size(workers).build())
    }

    fn stop(self) {
        self.0.shutdown_join();
    }
}

impl Fire for RustyPool {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.0.execute(task);
    }
}

impl Submit for RustyPool {
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        self.0.evaluate(task)
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.await_complete()
    }
}
