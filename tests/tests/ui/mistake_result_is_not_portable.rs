//! A result that serde knows nothing of, from any executor.

use concurrent_futures::{Executor, ExecutorExt, InlineExecutor};

struct Report(String);

fn main() {
    let executor: &dyn Executor = &InlineExecutor::new();
    let _future = executor.submit(|n: u64| Report(n.to_string()), 1);
}
