//! The pool that one makes by hand from boxed closures in one queue of `crossbeam-channel`, with `oneshot` for results.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

use super::{Fire, Map, Pool, Submit};

/// How many chunks a worker gets of a map: few enough to cost little, enough to even out.
const CHUNKS_PER_WORKER: u64 = 16;

pub(crate) struct Queue {
    queue: Sender<Box<dyn FnOnce() + Send>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool for Queue {
    const NAME: &'static str = "queue";

    fn start(workers: usize) -> Self {
        let (queue, receiver) = unbounded::<Box<dyn FnOnce() + Send>>();
        let threads = (0..workers).map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || {
                while let Ok(task) = receiver.recv() {
                    task();
                }
            })
        });
        Self { threads: threads.collect(), queue }
    }

    fn stop(self) {
        drop(self.queue);
        for thread in self.threads {
            thread.join().expect("the thread does not fail");
        }
    }
}

impl Fire for Queue {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.queue.send(Box::new(task)).expect("the workers are there");
    }
}

impl Submit for Queue {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        let (sender, receiver) = oneshot::channel();
        self.fire(move || drop(sender.send(task())));
        receiver
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task does not fail")
    }
}

/// By chunks of equal length, each one task.
impl Map for Queue {
    fn map(
        &self,
        n: u64,
        function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Vec<u64> {
        let workers = u64::try_from(self.threads.len()).expect("a number of threads");
        let chunk = n.div_ceil(workers * CHUNKS_PER_WORKER).max(1);
        let tasks = (0..n.div_ceil(chunk)).map(|index| {
            let items = index * chunk..n.min((index + 1) * chunk);
            self.submit(move || items.map(function).collect::<Vec<_>>())
        });
        let tasks: Vec<_> = tasks.collect();
        let mut results = Vec::with_capacity(usize::try_from(n).expect("fits in memory"));
        self.collect_all(tasks, |part| results.extend(part));
        results
    }
}
