//! Our own pool, with either way of starting workers.

use concurrent_futures_executor::{Bytes, MapOptions, Portable, future::Future};
use concurrent_futures_process_pool::{ProcessPoolExecutor, StartMethod};
use nix::unistd::Pid;

use super::{Map, Named, Pool};
use crate::{
    jobs::{Job, square},
    workload::OURS,
};

/// By the fork server.
pub(crate) struct Ours(ProcessPoolExecutor);

/// Each executed anew.
pub(crate) struct OursSpawned(ProcessPoolExecutor);

impl Named for Ours {
    const NAME: &'static str = OURS;
}

impl Named for OursSpawned {
    const NAME: &'static str = "ours (spawn)";
}

fn start(workers: usize, method: StartMethod) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers).start_method(method);
    builder.build().expect("processes can be started")
}

macro_rules! pool {
    ($pool:ident, $method:expr) => {
        impl Pool for $pool {
            type Handle<R: Portable> = Future<R>;
            type Bytes = Bytes;

            fn start(workers: usize) -> Self {
                Self(start(workers, $method))
            }

            fn stop(self) {
                self.0.shutdown();
            }

            fn submit<J: Job>(&self, argument: J::Argument) -> Future<J::Result> {
                match self.0.submit(J::run, argument) {
                    Ok(future) => future,
                    Err(_refused) => panic!("a pool that has not been shut down takes tasks"),
                }
            }

            fn collect<R: Portable>(handle: Future<R>) -> Result<R, String> {
                handle.result().map_err(|error| error.to_string())
            }

            fn workers(&self) -> Vec<Pid> {
                let raw = self.0.worker_pids().into_iter();
                raw.map(|pid| Pid::from_raw(pid.try_into().expect("the kernel's are small")))
                    .collect()
            }
        }
    };
}

pool!(Ours, StartMethod::ForkServer);
pool!(OursSpawned, StartMethod::Spawn);

impl Map for Ours {
    fn map(&self, n: u64, chunksize: Option<usize>) -> u64 {
        let options = MapOptions::new();
        let options = match chunksize {
            Some(items) => options.chunksize(items),
            None => options,
        };
        let results = self.0.map_with(options, square, 0..n).expect("there are items in a chunk");
        let numbers = results.map(|result| result.expect("the task does not fail"));
        numbers.fold(0, u64::wrapping_add)
    }
}
