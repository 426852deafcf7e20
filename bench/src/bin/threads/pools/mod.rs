//! The pools that are measured, behind one small trait for each thing that a pool may be able to do.
//!
//! A workload is written once, for any pool with the trait that it needs. The lists at the end say which pools have
//! which; a pool that is not in a workload's list is shown as "–".

mod async_executor;
mod async_task;
mod blocking;
mod chili;
mod futures;
mod ours;
mod queue;
mod rayon;
mod rusty_pool;
mod std_threads;
mod threadpool;
mod tokio;

pub(crate) use self::{
    async_executor::AsyncExecutor,
    async_task::AsyncTask,
    blocking::Blocking,
    chili::Chili,
    futures::Futures,
    ours::{Ours, OursIterator},
    queue::Queue,
    rayon::{Rayon, RayonOneshot, RayonScope},
    rusty_pool::RustyPool,
    std_threads::StdThreads,
    threadpool::Threadpool,
    tokio::{SpawnBlocking, Tokio},
};

/// Something with a number of threads that run tasks.
pub(crate) trait Pool: Send + Sync + Sized + 'static {
    /// As in tables and filters.
    const NAME: &'static str;

    /// A pool with this many workers.
    fn start(workers: usize) -> Self;

    /// Ends it, and waits for its threads as far as the pool offers that.
    fn stop(self);
}

/// Runs tasks that nobody waits for.
pub(crate) trait Fire: Pool {
    /// Takes the task and returns.
    fn fire(&self, task: impl FnOnce() + Send + 'static);
}

/// Runs tasks whose result is collected by means of a handle.
pub(crate) trait Submit: Fire {
    /// What the result is collected with.
    type Handle<T: Send + 'static>: Send + 'static;

    /// Takes the task and returns.
    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T>;

    /// Waits for the result.
    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T;

    /// Waits for all results in order. For pools that would do this in another way than one by one.
    fn collect_all<T: Send + 'static>(
        &self,
        handles: Vec<Self::Handle<T>>,
        mut each: impl FnMut(T),
    ) {
        for handle in handles {
            each(self.collect(handle));
        }
    }
}

/// Calls a function for every number up to a limit, and chooses chunks itself.
pub(crate) trait Map: Pool {
    /// The results in order.
    fn map(&self, n: u64, function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static)
    -> Vec<u64>;
}

/// Runs two closures that borrow, perhaps at the same time, and waits for both.
pub(crate) trait Join: Pool {
    /// What a closure must have at hand to fork again.
    type Context<'a>;

    /// Calls the closure from where forks are cheapest.
    fn enter<R: Send>(&self, closure: impl for<'a> FnOnce(&mut Self::Context<'a>) -> R + Send)
    -> R;

    /// Runs both.
    fn join<A: Send, B: Send>(
        context: &mut Self::Context<'_>,
        a: impl for<'a> FnOnce(&mut Self::Context<'a>) -> A + Send,
        b: impl for<'a> FnOnce(&mut Self::Context<'a>) -> B + Send,
    ) -> (A, B);
}

/// The contenders of a workload that needs [`Submit`], or less and a handle: `submitters!(run)`.
macro_rules! submitters {
    ($run:ident) => {
        $crate::workloads::contenders!(
            $run: Ours, Rayon, RayonOneshot, Tokio, SpawnBlocking, AsyncExecutor, AsyncTask, Queue, Threadpool,
            RustyPool, Futures, Blocking
        )
    };
}
pub(crate) use submitters;

/// The contenders of a workload that needs [`Fire`].
macro_rules! firing {
    ($run:ident) => {
        $crate::workloads::contenders!(
            $run: Ours, Rayon, Tokio, SpawnBlocking, AsyncExecutor, AsyncTask, Queue, Threadpool, RustyPool, Futures,
            Blocking
        )
    };
}
pub(crate) use firing;

/// Those that can be started and stopped at will: not [`Blocking`], which is one for the whole program.
macro_rules! startable {
    ($run:ident) => {
        $crate::workloads::contenders!(
            $run: Ours, Rayon, Tokio, SpawnBlocking, AsyncExecutor, AsyncTask, Queue, Threadpool, RustyPool, Futures
        )
    };
}
pub(crate) use startable;

/// The contenders of a workload that needs [`Map`].
macro_rules! mapping {
    ($run:ident) => {
        $crate::workloads::contenders!($run: Ours, Rayon, Queue, StdThreads)
    };
}
pub(crate) use mapping;

/// The contenders of a workload that needs [`Join`].
macro_rules! joining {
    ($run:ident) => {
        $crate::workloads::contenders!($run: Ours, Rayon, RayonScope, Chili)
    };
}
pub(crate) use joining;
