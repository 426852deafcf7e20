//! Moving the result out of a future for the second time; `share` is for several readers.

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    let future = pool.spawn(|| 1).unwrap();
    let _one = future.result();
    let _two = future.result();
}
