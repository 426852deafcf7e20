//! A task for another process with a variable of this one.

use concurrent_futures::ProcessPoolExecutor;

fn main() {
    let pool = ProcessPoolExecutor::new().unwrap();
    let factor = 3;
    pool.submit(move |n: u64| n * factor, 14).unwrap();
}
