//! The threads of this process, as Linux knows them: how many have a name that begins so, and what they are doing.
//!
//! Elsewhere there are none to be seen: tests that count threads are for Linux alone and say so.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::delays;

/// How many bytes of a thread's name Linux keeps.
const NAME_LENGTH_MAX: usize = 15;

/// A thread of this process.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its number in the system.
    pub id: u64,
    /// Its name, of which Linux keeps the first 15 bytes.
    pub name: String,
    /// What it is doing, in one letter: `R` for running, `S` for sleeping.
    pub state: char,
}

/// All threads of this process.
#[must_use]
pub fn all() -> Vec<Thread> {
    let Ok(folder) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    folder
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.parse().ok()?;
            // A thread may end between two looks at it.
            let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
            let stat = fs::read_to_string(path.join("stat")).ok()?;
            // The name is in parentheses and may hold some itself.
            let state = stat.rsplit_once(") ")?.1.chars().next()?;
            Some(Thread { id, name, state })
        })
        .collect()
}

/// The threads whose name begins with `prefix`.
///
/// # Panics
///
/// If the prefix is longer than what Linux keeps of a name.
#[must_use]
pub fn with_prefix(prefix: &str) -> Vec<Thread> {
    assert!(prefix.len() <= NAME_LENGTH_MAX, "`{prefix}` is longer than the names of threads");
    all().into_iter().filter(|thread| thread.name.starts_with(prefix)).collect()
}

/// How many threads have a name that begins with `prefix`.
#[must_use]
pub fn count(prefix: &str) -> usize {
    with_prefix(prefix).len()
}

/// A prefix for the threads of one pool of one test: tests share their process, and count their own.
///
/// It ends in a letter, so that no prefix is the beginning of another.
#[must_use]
pub fn unique_prefix() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}p", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns when as many threads have such a name. What counts them has no way to be woken, so it looks again and again.
pub fn wait_for_count(prefix: &str, expected: usize) {
    while count(prefix) != expected {
        thread::sleep(delays::poll());
    }
}

/// Returns when all threads with such a name sleep.
pub fn wait_until_asleep(prefix: &str) {
    while with_prefix(prefix).iter().any(|thread| thread.state != 'S') {
        thread::sleep(delays::poll());
    }
}

/// All threads, for people to read.
#[must_use]
pub fn describe() -> String {
    let mut text = String::new();
    for Thread { id, name, state } in all() {
        // Only readable by the process itself, and not everywhere.
        let read = |file| fs::read_to_string(format!("/proc/self/task/{id}/{file}")).ok();
        let call = read("syscall").unwrap_or_default();
        let channel = read("wchan").unwrap_or_default();
        let call = call.split(' ').next().unwrap_or_default().trim_end();
        writeln!(text, "  {id} {name:<15} {state} in call {call} {channel}")
            .expect("writing to a string");
    }
    text
}
