//! An argument that must stay in its thread, for any executor.

use std::rc::Rc;

use concurrent_futures::{Executor, ExecutorExt, InlineExecutor};

fn main() {
    let executor: &dyn Executor = &InlineExecutor::new();
    let _future = executor.submit(|number: Rc<u64>| *number + 1, Rc::new(1));
}
