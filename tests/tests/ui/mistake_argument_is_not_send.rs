//! An argument that must stay in its thread.

use std::rc::Rc;

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let _future = pool.submit(|number: Rc<u64>| *number + 1, Rc::new(1));
}
