//! async-executor, with threads that drive it.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use async_executor::{Executor, Task};
use futures::channel::oneshot;
use futures_lite::future::block_on;

use super::{Fire, Pool, Submit};

pub(crate) struct AsyncExecutor {
    executor: Arc<Executor<'static>>,
    /// Dropping one ends the thread that waits for it.
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool for AsyncExecutor {
    const NAME: &'static str = "async-executor";

    fn start(workers: usize) -> Self {
        let executor = Arc::new(Executor::new());
        let (stops, stopped): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| oneshot::channel::<()>()).unzip();
        let threads = stopped.into_iter().map(|stopped| {
            let executor = Arc::clone(&executor);
            thread::spawn(move || {
                // The error is that the sender is gone, which is the signal.
                block_on(executor.run(stopped)).unwrap_or_default();
            })
        });
        Self { threads: threads.collect(), executor, stops }
    }

    fn stop(self) {
        drop(self.stops);
        for thread in self.threads {
            thread.join().expect("the thread does not fail");
        }
    }
}

impl Fire for AsyncExecutor {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.executor.spawn(async move { task() }).detach();
    }
}

impl Submit for AsyncExecutor {
    type Handle<T: Send + 'static> = Task<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        self.executor.spawn(async move { task() })
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
