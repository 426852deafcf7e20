//! A plug-in, as programs load them at run time. It brings its own copy of the process pool, whose entry before `main`
//! is not among the executable's, and a function that no other run of the executable has.

use concurrent_futures_process_pool::{BuildError, ProcessPoolExecutor};

/// Tries to make a pool in here: 0 if that succeeds, 1 if it is refused because no worker would come of it, 2 if it is
/// refused for another reason.
// SAFETY: no other library that the tests load has a symbol of this name.
#[unsafe(no_mangle)]
pub extern "C" fn process_pool_plugin_builds_a_pool() -> i32 {
    match ProcessPoolExecutor::new() {
        Ok(_) => 0,
        Err(BuildError::NotTakenOver(_)) => 1,
        Err(_) => 2,
    }
}

/// Adds one.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub fn process_pool_plugin_adds_one(n: u64) -> u64 {
    n + 1
}
