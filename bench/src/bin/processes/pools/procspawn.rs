//! procspawn's pool.

use concurrent_futures_executor::Portable;
use nix::sys::resource::{Resource, getrlimit};
use procspawn::{JoinHandle, Pool as ProcspawnPool};
use serde_bytes::ByteBuf;

use super::{Map, Named, Pool};
use crate::jobs::{Job, Square, Squares};

/// A task that waits has three descriptors, and one more is made and closed for it.
const DESCRIPTORS_PER_HANDLE: u64 = 4;
/// For everything else.
const DESCRIPTORS_SPARE: u64 = 100;
/// More make it no faster.
const HANDLES_MAX: u64 = 1000;

pub(crate) struct Procspawn(ProcspawnPool);

impl Named for Procspawn {
    const NAME: &'static str = "procspawn";
}

impl Pool for Procspawn {
    type Handle<R: Portable> = JoinHandle<R>;
    type Bytes = ByteBuf;

    fn start(workers: usize) -> Self {
        Self(ProcspawnPool::new(workers).expect("processes can be started"))
    }

    /// Kills its processes.
    fn stop(self) {
        drop(self.0);
    }

    fn submit<J: Job>(&self, argument: J::Argument) -> JoinHandle<J::Result> {
        self.0.spawn(argument, J::run)
    }

    fn collect<R: Portable>(handle: JoinHandle<R>) -> Result<R, String> {
        handle.join().map_err(|error| error.to_string())
    }

    fn handles_max() -> usize {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("every Linux has this limit");
        let handles = limit.saturating_sub(DESCRIPTORS_SPARE) / DESCRIPTORS_PER_HANDLE;
        usize::try_from(handles.clamp(1, HANDLES_MAX)).expect("a small number")
    }
}

/// By hand: it has no `map`.
impl Map for Procspawn {
    fn map(&self, n: u64, chunksize: Option<usize>) -> u64 {
        let numbers: Vec<u64> = (0..n).collect();
        let mut sum = 0_u64;
        match chunksize.unwrap_or(1) {
            1 => {
                for window in numbers.chunks(Self::handles_max()) {
                    let handles: Vec<_> =
                        window.iter().map(|number| self.submit::<Square>(*number)).collect();
                    for handle in handles {
                        let result = Self::collect(handle).expect("the task does not fail");
                        sum = sum.wrapping_add(result);
                    }
                }
            }
            items => {
                let chunks: Vec<_> = numbers.chunks(items).collect();
                for window in chunks.chunks(Self::handles_max()) {
                    let handles: Vec<_> =
                        window.iter().map(|chunk| self.submit::<Squares>(chunk.to_vec())).collect();
                    for handle in handles {
                        let results = Self::collect(handle).expect("the task does not fail");
                        sum = results.into_iter().fold(sum, u64::wrapping_add);
                    }
                }
            }
        }
        sum
    }
}
