//! A future of a task that borrows, which leaves the scope that waits for the task.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let text = String::from("borrowed");
    let future = pool.scope(|scope| scope.spawn(|| text.len()).unwrap());
    drop(text);
    let _length = future.result();
}
