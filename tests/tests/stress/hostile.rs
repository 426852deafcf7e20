//! Workers of a process pool that write random bytes to all memory that they share with it.

use concurrent_futures_process_pool::ProcessPoolExecutor;
use concurrent_futures_tests::hostile;

use super::rounds;

#[test]
fn workers_out_of_their_minds() {
    rounds(|random| {
        hostile::round(random, || {
            ProcessPoolExecutor::builder()
                .max_workers(2)
                .forward_stderr(false)
                .env("RUST_BACKTRACE", "0")
        });
    });
}
