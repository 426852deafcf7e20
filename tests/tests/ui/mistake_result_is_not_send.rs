//! A result that must stay in the worker's thread.

use std::rc::Rc;

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let _future = pool.spawn(|| Rc::new(1));
}
