//! A closure with data of its own, submitted to any executor.

use concurrent_futures::{Executor, ExecutorExt, InlineExecutor};

fn main() {
    let executor: &dyn Executor = &InlineExecutor::new();
    let factor = 3;
    let _future = executor.submit(move |n: u64| n * factor, 14);
}
