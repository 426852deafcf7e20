//! The pool that one makes by hand from `async-task` and a queue of `crossbeam-channel`.

use std::thread::{self, JoinHandle};

use async_task::{Runnable, Task};
use crossbeam_channel::{Sender, unbounded};
use futures_lite::future::block_on;

use super::{Fire, Pool, Submit};

pub(crate) struct AsyncTask {
    /// Leaked, as in the documentation of `async-task`, so that tasks need not count references to it. `None` ends one
    /// worker.
    queue: &'static Sender<Option<Runnable>>,
    threads: Vec<JoinHandle<()>>,
}

impl AsyncTask {
    fn spawn<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let queue = self.queue;
        let schedule = move |runnable| drop(queue.send(Some(runnable)));
        let (runnable, task) = async_task::spawn(async move { task() }, schedule);
        runnable.schedule();
        task
    }
}

impl Pool for AsyncTask {
    const NAME: &'static str = "async-task";

    fn start(workers: usize) -> Self {
        let (sender, receiver) = unbounded::<Option<Runnable>>();
        let threads = (0..workers).map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || {
                while let Ok(Some(runnable)) = receiver.recv() {
                    runnable.run();
                }
            })
        });
        Self { threads: threads.collect(), queue: Box::leak(Box::new(sender)) }
    }

    fn stop(self) {
        for _ in &self.threads {
            self.queue.send(None).expect("the workers are there");
        }
        for thread in self.threads {
            thread.join().expect("the thread does not fail");
        }
    }
}

impl Fire for AsyncTask {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.spawn(task).detach();
    }
}

impl Submit for AsyncTask {
    type Handle<T: Send + 'static> = Task<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        self.spawn(task)
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
