//! A function that is known by its address, and not by its type.

use concurrent_futures::{Executor, ExecutorExt, InlineExecutor};

fn double(n: u64) -> u64 {
    n * 2
}

fn main() {
    let executor: &dyn Executor = &InlineExecutor::new();
    let function: fn(u64) -> u64 = double;
    let _future = executor.submit(function, 14);
}
