//! rayon, with either of two channels for results: it has no handles of its own.

use rayon::{
    ThreadPool, ThreadPoolBuilder,
    iter::{IntoParallelIterator, ParallelIterator},
};

use super::{Fire, Join, Map, Pool, Submit};

/// With `crossbeam-channel` for results.
pub(crate) struct Rayon(ThreadPool);

impl Pool for Rayon {
    const NAME: &'static str = "rayon";

    fn start(workers: usize) -> Self {
        let pool = ThreadPoolBuilder::new().num_threads(workers).build();
        Self(pool.expect("threads can be started"))
    }

    /// Its threads end later: there is nothing to wait for them with.
    fn stop(self) {
        drop(self.0);
    }
}

impl Fire for Rayon {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.0.spawn(task);
    }
}

impl Submit for Rayon {
    type Handle<T: Send + 'static> = crossbeam_channel::Receiver<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.0.spawn(move || drop(sender.send(task())));
        receiver
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task does not fail")
    }
}

impl Map for Rayon {
    fn map(
        &self,
        n: u64,
        function: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Vec<u64> {
        self.0.install(|| (0..n).into_par_iter().map(function).collect())
    }
}

impl Join for Rayon {
    type Context<'a> = ();

    fn enter<R: Send>(&self, closure: impl for<'a> FnOnce(&mut ()) -> R + Send) -> R {
        self.0.install(|| closure(&mut ()))
    }

    fn join<A: Send, B: Send>(
        _context: &mut (),
        a: impl for<'a> FnOnce(&mut ()) -> A + Send,
        b: impl for<'a> FnOnce(&mut ()) -> B + Send,
    ) -> (A, B) {
        rayon::join(|| a(&mut ()), || b(&mut ()))
    }
}

/// With `oneshot` for results.
pub(crate) struct RayonOneshot(Rayon);

impl Pool for RayonOneshot {
    const NAME: &'static str = "rayon+oneshot";

    fn start(workers: usize) -> Self {
        Self(Rayon::start(workers))
    }

    fn stop(self) {
        self.0.stop();
    }
}

impl Fire for RayonOneshot {
    fn fire(&self, task: impl FnOnce() + Send + 'static) {
        self.0.fire(task);
    }
}

impl Submit for RayonOneshot {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn submit<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Self::Handle<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.fire(move || drop(sender.send(task())));
        receiver
    }

    fn collect<T: Send + 'static>(&self, handle: Self::Handle<T>) -> T {
        handle.recv().expect("the task does not fail")
    }
}

/// Forks by `rayon::scope`, whose tasks are allocated and may outlive the closure that spawned them.
pub(crate) struct RayonScope(Rayon);

impl Pool for RayonScope {
    const NAME: &'static str = "rayon::scope";

    fn start(workers: usize) -> Self {
        Self(Rayon::start(workers))
    }

    fn stop(self) {
        self.0.stop();
    }
}

impl Join for RayonScope {
    type Context<'a> = ();

    fn enter<R: Send>(&self, closure: impl for<'a> FnOnce(&mut ()) -> R + Send) -> R {
        self.0.enter(closure)
    }

    fn join<A: Send, B: Send>(
        _context: &mut (),
        a: impl for<'a> FnOnce(&mut ()) -> A + Send,
        b: impl for<'a> FnOnce(&mut ()) -> B + Send,
    ) -> (A, B) {
        let mut of_a = None;
        let of_b = rayon::scope(|scope| {
            scope.spawn(|_| of_a = Some(a(&mut ())));
            b(&mut ())
        });
        (of_a.expect("the scope has waited for it"), of_b)
    }
}
