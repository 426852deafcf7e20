//! An argument that serde knows nothing of, for any executor.

use concurrent_futures::{Executor, ExecutorExt, InlineExecutor};

struct Config {
    verbose: bool,
}

fn main() {
    let executor: &dyn Executor = &InlineExecutor::new();
    let _future = executor.submit(|config: Config| config.verbose, Config { verbose: true });
}
