//! An argument that nobody can write down.

use concurrent_futures::ProcessPoolExecutor;

struct Image(Vec<u8>);

fn main() {
    let pool = ProcessPoolExecutor::new().unwrap();
    pool.submit(|image: Image| image.0.len(), Image(vec![0])).unwrap();
}
