//! A task that borrows what is gone before its scope ends.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    pool.scope(|scope| {
        let text = String::from("borrowed");
        let _future = scope.spawn(|| text.len());
    });
}
