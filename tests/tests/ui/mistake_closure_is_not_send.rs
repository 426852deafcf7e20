//! A closure that must stay in its thread.

use std::rc::Rc;

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let number = Rc::new(1);
    let _future = pool.spawn(move || *number + 1);
}
