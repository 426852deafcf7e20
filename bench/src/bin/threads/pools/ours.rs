//! Our own pool.

use concurrent_futures_bench::workload::OURS;
use concurrent_futures_executor::future::Future;
use concurrent_futures_thread_pool::ThreadPoolExecutor;

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
        let results = self.0.map(function, 0..n);
        results.map(|result| result.expect("the task does not fail")).collect()
    }
}

/// By a scope with one task, since there is no `join` by that name.
impl Join for Ours {
    type Context<'a> = &'a ThreadPoolExecutor;

    fn enter<R: Send>(
        &self,
        closure: impl for<'a> FnOnce(&mut Self::Context<'a>) -> R + Send,
    ) -> R {
        let pool = &self.0;
        self.0.scope(|scope| {
            let task = accepted(scope.spawn(move || closure(&mut { pool })));
            task.result().expect("the task does not fail")
        })
    }

    fn join<A: Send, B: Send>(
        context: &mut Self::Context<'_>,
        a: impl for<'a> FnOnce(&mut Self::Context<'a>) -> A + Send,
        b: impl for<'a> FnOnce(&mut Self::Context<'a>) -> B + Send,
    ) -> (A, B) {
        let pool = *context;
        pool.scope(|scope| {
            let a = accepted(scope.spawn(move || a(&mut { pool })));
            let b = b(&mut { pool });
            (a.result().expect("the task does not fail"), b)
        })
    }
}

fn accepted<T, E>(submitted: Result<T, E>) -> T {
    match submitted {
        Ok(accepted) => accepted,
        Err(_refused) => panic!("a pool that has not been shut down takes tasks"),
    }
}
