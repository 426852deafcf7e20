//! No pool at all: threads of the standard library, one for each task or one for each equal part of a map.

use std::thread::{self, JoinHandle};

use super::{Fire, Map, Pool, Submit};

pub(crate) struct StdThreads {
    workers: usize,
}

impl Pool for StdThreads {
    const NAME: &'static str = "std threads";

    fn start(workers: usize) -> Self {
        Self { workers }
    }

    fn stop(self) {}
}

impl Fire for StdThreads {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        drop(thread::spawn(task));
    }
}

/// As many threads as tasks.
impl Submit for StdThreads {
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        thread::spawn(task)
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.join().expect("the task does not fail")
    }
}

/// As many threads as workers, within `thread::scope`.
impl Map for StdThreads {
    fn map(
        &self,
        n: u64,
        function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Vec<u64> {
        let n = usize::try_from(n).expect("fits in memory");
        let part = n.div_ceil(self.workers).max(1);
        let mut results = vec![0; n];
        thread::scope(|scope| {
            for (first, results) in (0_u64..).step_by(part).zip(results.chunks_mut(part)) {
                scope.spawn(move || {
                    for (item, result) in (first..).zip(results) {
                        *result = function(item);
                    }
                });
            }
        });
        results
    }
}
