//! What tasks do, and what the scenarios share.

use std::{
    fmt,
    io::{BufRead, stdin},
    process::Command,
    thread,
};

use concurrent_futures_process_pool::executor::future::{DeathCause, TaskError};
use concurrent_futures_tests::delays;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Prints a line for the test, in one piece. Not through `std`, so that a forked process may.
pub(crate) fn print(line: &str) {
    let line = format!("{line}\n");
    // In a process whose test is gone, nobody reads.
    // SAFETY: the bytes are there.
    unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
}

/// Returns when the test has sent a line.
pub(crate) fn await_test() {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line).expect("standard input");
    assert!(read > 0, "the test has ended");
}

/// Returns when `condition` holds, for what has no way to be waited for.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::sleep(delays::poll());
    }
}

pub(crate) fn park() -> ! {
    loop {
        thread::sleep(delays::long());
    }
}

pub(crate) fn add_one(n: u64) -> u64 {
    n + 1
}

pub(crate) fn announce_and_park((): ()) {
    print("there");
    park();
}

/// Starts a program that starts another one, neither of which ends.
pub(crate) fn start_family((): ()) {
    let mut shell = Command::new("sh").args(["-c", "sleep 1000 & sleep 1000; :"]).spawn();
    print("there");
    drop(shell.as_mut().map(|child| child.wait()));
    park();
}

/// What a death is put down to.
#[track_caller]
pub(crate) fn cause(error: &TaskError) -> DeathCause {
    match error {
        TaskError::WorkerDied(died) => died.cause(),
        other => panic!("not the death of a worker: {other:?}"),
    }
}

/// Bytes that are copied as a whole, unlike a `Vec<u8>`, which serde takes one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Whole)
    }
}
