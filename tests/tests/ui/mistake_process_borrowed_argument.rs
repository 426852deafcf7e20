//! An argument that lives in this process.

use concurrent_futures::ProcessPoolExecutor;

fn main() {
    let pool = ProcessPoolExecutor::new().unwrap();
    let text = String::from("text");
    pool.submit(|text: &str| text.len(), text.as_str()).unwrap();
}
