//! The crate `threadpool`, with `oneshot` for results: it has no handles of its own.

use threadpool::ThreadPool;

use super::{Fire, Pool, Submit};

pub(crate) struct Threadpool(ThreadPool);

impl Pool for Threadpool {
    const NAME: &'static str = "threadpool";

    fn start(workers: usize) -> Self {
        Self(ThreadPool::new(workers))
    }

    /// Waits for the tasks; the threads end later.
    fn stop(self) {
        self.0.join();
    }
}

impl Fire for Threadpool {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.0.execute(task);
    }
}

impl Submit for Threadpool {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.execute(move || drop(sender.send(task())));
        receiver
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task does not fail")
    }
}
