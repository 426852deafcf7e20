//! tokio: `spawn` on a runtime with as many workers as asked for, and `spawn_blocking` on its other pool.

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::{Fire, Pool, Submit};

/// Tasks are `spawn`ed.
pub(crate) struct Tokio(Runtime);

impl Tokio {
    /// For workloads that await.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0
    }
}

impl Pool for Tokio {
    const NAME: &'static str = "tokio";

    fn start(workers: usize) -> Self {
        Self(Builder::new_multi_thread().worker_threads(workers).build().expect("threads start"))
    }

    fn stop(self) {
        drop(self.0);
    }
}

impl Fire for Tokio {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn(async move { task() }));
    }
}

impl Submit for Tokio {
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        self.0.spawn(async move { task() })
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        self.0.block_on(handle).expect("the task does not fail")
    }

    fn collect_all<T: Send + 'static>(
        &self,
        handles: Vec<Self::Handle<T>>,
        mut each: impl FnMut(T),
    ) {
        self.0.block_on(async {
            for handle in handles {
                each(handle.await.expect("the task does not fail"));
            }
        });
    }
}

/// Tasks are given to `spawn_blocking`.
pub(crate) struct SpawnBlocking(Runtime);

impl Pool for SpawnBlocking {
    const NAME: &'static str = "spawn_blocking";

    fn start(workers: usize) -> Self {
        // The runtime's own worker only wakes whoever waits; this pool's threads are the blocking ones.
        let runtime =
            Builder::new_multi_thread().worker_threads(1).max_blocking_threads(workers).build();
        Self(runtime.expect("threads start"))
    }

    fn stop(self) {
        drop(self.0);
    }
}

impl Fire for SpawnBlocking {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(task));
    }
}

impl Submit for SpawnBlocking {
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        self.0.spawn_blocking(task)
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        self.0.block_on(handle).expect("the task does not fail")
    }

    fn collect_all<T: Send + 'static>(
        &self,
        handles: Vec<Self::Handle<T>>,
        mut each: impl FnMut(T),
    ) {
        self.0.block_on(async {
            for handle in handles {
                each(handle.await.expect("the task does not fail"));
            }
        });
    }
}
