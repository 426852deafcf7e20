//! The pools that are measured, behind one trait.

mod ours;
mod procspawn;

use concurrent_futures_executor::Portable;
use nix::unistd::Pid;

pub(crate) use self::{
    ours::{Ours, OursSpawned},
    procspawn::Procspawn,
};
use crate::{
    family,
    jobs::{Buffer, Job},
};

/// Something that takes part.
pub(crate) trait Named {
    /// As in tables and filters.
    const NAME: &'static str;
}

/// A number of processes that run tasks.
pub(crate) trait Pool: Named + Sized {
    /// What the result is collected with.
    type Handle<R: Portable>;

    /// What large data is best sent in.
    type Bytes: Buffer;

    /// A pool with this many workers.
    fn start(workers: usize) -> Self;

    /// Ends it and its processes.
    fn stop(self);

    /// Takes the task and returns.
    fn submit<J: Job>(&self, argument: J::Argument) -> Self::Handle<J::Result>;

    /// Waits for the result. If there is none, this is why.
    fn collect<R: Portable>(handle: Self::Handle<R>) -> Result<R, String>;

    /// How many handles may be kept at the same time.
    fn handles_max() -> usize {
        usize::MAX
    }

    /// The processes that run tasks, at this moment.
    fn workers(&self) -> Vec<Pid> {
        family::descendants()
    }

    /// Runs a task and waits for its result.
    fn call<J: Job>(&self, argument: J::Argument) -> J::Result {
        Self::collect(self.submit::<J>(argument)).expect("the task does not fail")
    }
}

/// Calls [`square`](crate::jobs::square) for every number up to a limit.
pub(crate) trait Map: Pool {
    /// The sum of the results. `chunksize` items at a time, or as many as the pool thinks best, if it can do that.
    fn map(&self, n: u64, chunksize: Option<usize>) -> u64;
}
