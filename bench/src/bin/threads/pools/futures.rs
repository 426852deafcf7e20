//! The thread pool of the crate `futures`.

use futures::{
    executor::{ThreadPool, block_on},
    future::RemoteHandle,
    task::SpawnExt,
};

use super::{Fire, Pool, Submit};

pub(crate) struct Futures(ThreadPool);

impl Pool for Futures {
    const NAME: &'static str = "futures";

    fn start(workers: usize) -> Self {
        Self(ThreadPool::builder().pool_size(workers).create().expect("threads can be started"))
    }

    /// Its threads end later: there is nothing to wait for them with.
    fn stop(self) {
        drop(self.0);
    }
}

impl Fire for Futures {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.0.spawn_ok(async move { task() });
    }
}

impl Submit for Futures {
    type Handle<T: Send + 'static> = RemoteHandle<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        let spawned = self.0.spawn_with_handle(async move { task() });
        spawned.expect("a pool that runs takes tasks")
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
