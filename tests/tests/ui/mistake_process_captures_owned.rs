//! The same with one that is not `Copy`.

use concurrent_futures::ProcessPoolExecutor;

fn main() {
    let pool = ProcessPoolExecutor::new().unwrap();
    let words = vec![String::from("a")];
    pool.submit(move |n: usize| words[n].len(), 0).unwrap();
}
