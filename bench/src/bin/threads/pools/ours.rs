//! Our own pool, which maps in two ways.

use concurrent_futures_bench::workload::OURS;
use concurrent_futures_executor::future::Future;
use concurrent_futures_thread_pool::{ThreadPoolExecutor, join};

use super::{Fire, Join, Map, Pool, Submit};

pub(crate) struct Ours(ThreadPoolExecutor);

impl Pool for Ours {
    const NAME: &'static str = OURS;

    fn start(workers: usize) -> Self {
        Self(ThreadPoolExecutor::with_max_workers(workers).expect("there are workers"))
    }

    fn stop(self) {
        self.0.shutdown();
    }
}

impl Fire for Ours {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        drop(accepted(self.0.spawn(task)));
    }
}

impl Submit for Ours {
    type Handle<T: Send + 'static> = Future<T>;

    fn submit<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> Future<T> {
        accepted(self.0.spawn(task))
    }

    fn collect<T: Send + 'static>(&self, handle: Future<T>) -> T {
        handle.result().expect("the task does not fail")
    }
}

impl Map for Ours {
    fn map(
        &self,
        n: u64,
        function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Vec<u64> {
        self.0.map_vec(function, 0..n).expect("the function does not fail")
    }
}

/// With the iterator that `map` returns.
pub(crate) struct OursIterator(Ours);

impl Pool for OursIterator {
    const NAME: &'static str = "ours: map";

    fn start(workers: usize) -> Self {
        Self(Ours::start(workers))
    }

    fn stop(self) {
        self.0.stop();
    }
}

impl Fire for OursIterator {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.0.fire(task);
    }
}

impl Map for OursIterator {
    fn map(
        &self,
        n: u64,
        function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Vec<u64> {
        let results = self.0.0.map(function, 0..n);
        results.map(|result| result.expect("the task does not fail")).collect()
    }
}

impl Join for Ours {
    type Context<'a> = ();

    fn enter<R: Send>(&self, closure: impl for<'a> FnOnce(&mut ()) -> R + Send) -> R {
        self.0.join(|| closure(&mut ()), || ()).0
    }

    fn join<A: Send, B: Send>(
        _context: &mut (),
        a: impl for<'a> FnOnce(&mut ()) -> A + Send,
        b: impl for<'a> FnOnce(&mut ()) -> B + Send,
    ) -> (A, B) {
        join(|| a(&mut ()), || b(&mut ()))
    }
}

fn accepted<T, E>(submitted: Result<T, E>) -> T {
    match submitted {
        Ok(accepted) => accepted,
        Err(_refused) => panic!("a pool that has not been shut down takes tasks"),
    }
}
