//! chili, which forks and joins and does nothing else.

use std::num::NonZeroUsize;

use chili::{Config, Scope, ThreadPool};

use super::{Join, Pool};

pub(crate) struct Chili(ThreadPool);

impl Pool for Chili {
    const NAME: &'static str = "chili";

    /// The caller counts as one of the workers, and works.
    fn start(workers: usize) -> Self {
        Self(ThreadPool::with_config(Config {
            thread_count: NonZeroUsize::new(workers),
            ..Config::default()
        }))
    }

    fn stop(self) {
        drop(self.0);
    }
}

impl Join for Chili {
    type Context<'a> = Scope<'a>;

    fn enter<R: Send>(&self, closure: impl for<'a> FnOnce(&mut Scope<'a>) -> R + Send) -> R {
        closure(&mut self.0.scope())
    }

    fn join<A: Send, B: Send>(
        context: &mut Scope<'_>,
        a: impl for<'a> FnOnce(&mut Scope<'a>) -> A + Send,
        b: impl for<'a> FnOnce(&mut Scope<'a>) -> B + Send,
    ) -> (A, B) {
        context.join(a, b)
    }
}
