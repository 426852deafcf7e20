//! A task that expects another state than the pool's workers have.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::builder().initializer(|| String::new()).build().unwrap();
    let _future = pool.submit_with_state(|state: &u64, n: u64| state + n, 1);
}
