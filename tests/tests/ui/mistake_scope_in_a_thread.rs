//! A scope that is taken to a thread which may outlive it.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    pool.scope(|scope| {
        std::thread::spawn(move || {
            let _future = scope.spawn(|| 1);
        });
    });
}
