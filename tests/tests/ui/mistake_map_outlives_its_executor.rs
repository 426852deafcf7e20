//! A map that is still there when its executor is not.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let squares = {
        let pool = ThreadPoolExecutor::new();
        pool.map(|n: u64| n * n, 0..10)
    };
    let _sum: u64 = squares.map(Result::unwrap).sum();
}
