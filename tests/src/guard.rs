//! A test that hangs becomes a test that fails, and says what everyone was doing.

use std::{
    panic::resume_unwind,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::{delays, threads};

/// Runs `body` on a thread of its own, and fails if it has not ended within [`delays::hang`].
///
/// A panic of the body is a panic of the caller. The thread of a body that hangs is left behind: there is no safe way
/// to end it, and the test process ends soon.
///
/// # Panics
///
/// If the body takes too long.
pub fn guarded<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    guarded_for(delays::hang(), body)
}

/// As [`guarded`], with a limit of one's own.
///
/// # Panics
///
/// If the body takes longer than `limit`.
pub fn guarded_for<R: Send + 'static>(
    limit: Duration,
    body: impl FnOnce() -> R + Send + 'static,
) -> R {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let (report, ended) = channel::<()>();
    let body = thread::Builder::new()
        .name(name)
        .spawn(move || {
            // Dropped when the body ends, in whichever way.
            let _report = report;
            body()
        })
        .expect("a thread for the test's body");
    match ended.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => {
            panic!("the test has not ended after {limit:?}; its process:\n{}", threads::describe())
        }
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match body.join() {
            Ok(value) => value,
            Err(payload) => resume_unwind(payload),
        },
    }
}
