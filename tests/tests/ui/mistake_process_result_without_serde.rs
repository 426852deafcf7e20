//! A result that nobody can write down.

use concurrent_futures::ProcessPoolExecutor;

fn main() {
    let pool = ProcessPoolExecutor::new().unwrap();
    pool.submit(|path: String| std::fs::read(path), String::new()).unwrap();
}
