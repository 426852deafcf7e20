//! Something that cannot be called, which Python accepts.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let _future = pool.submit(42, ());
}
