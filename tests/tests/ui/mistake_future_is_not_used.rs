//! A task whose result, and whose failure, nobody looks at.

#![deny(unused_must_use)]

use concurrent_futures::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new();
    pool.spawn(|| panic!("nobody will know")).unwrap();
}
