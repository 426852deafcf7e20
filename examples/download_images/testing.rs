//! What the tests share: how long to wait, a guard against hangs, and a look into directories.

use std::{
    fs,
    panic::resume_unwind,
    path::Path,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// Multiplies all delays, as in the other tests of this workspace.
const SCALE_VARIABLE: &str = "CONCURRENT_FUTURES_TIME_SCALE";

/// For a wait that is to run out: nothing happens in it, so it may be too short for nobody.
const SHORT: Duration = Duration::from_millis(30);

/// For a wait that is to succeed: when this has passed, something hangs.
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn short() -> Duration {
    scaled(SHORT)
}

pub(crate) fn long() -> Duration {
    scaled(LONG)
}

fn scaled(delay: Duration) -> Duration {
    let scale = std::env::var(SCALE_VARIABLE).ok().and_then(|scale| scale.parse().ok());
    delay.mul_f64(scale.filter(|scale: &f64| scale.is_finite() && *scale > 0.0).unwrap_or(1.0))
}

/// Runs a test in a thread of its own, so that a hang becomes a failure.
pub(crate) fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel::<()>();
    let thread = thread::spawn(move || {
        test();
        drop(done);
    });
    // Nothing is ever sent: the thread ends, in whatever way, and drops its side.
    match is_done.recv_timeout(long()) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
        Err(RecvTimeoutError::Timeout) => panic!("still not done after {:?}", long()),
    }
}

/// The names of the files in a directory, in order.
pub(crate) fn files_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
