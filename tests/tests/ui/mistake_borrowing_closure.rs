//! A closure that borrows from the caller, who may be gone before the task is run.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let text = String::from("borrowed");
    let _future = pool.spawn(|| text.len());
}
