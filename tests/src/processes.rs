//! Killing processes of a pool, as somebody from outside might.

#![expect(unsafe_code, reason = "sends signals")]

use std::{fs, thread};

use crate::delays;

/// Sends a signal to a process, if it is there.
pub fn send_signal(pid: u32, signal: i32) {
    // SAFETY: takes two integers.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// Stops a process, and returns when all of its threads have been stopped, or it is gone.
pub fn stop(pid: u32) {
    send_signal(pid, libc::SIGSTOP);
    let goes_on = || {
        let folder = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let stats = folder.flatten().map(|task| fs::read_to_string(task.path().join("stat")));
        let mut states =
            stats.filter_map(|stat| Some(stat.ok()?.rsplit_once(") ")?.1.chars().next()));
        Some(states.any(|state| !matches!(state, Some('T' | 'Z' | 'X'))))
    };
    while goes_on() == Some(true) {
        thread::sleep(delays::poll());
    }
}

/// The fork server of these workers, if one of them still has it.
#[must_use]
pub fn fork_server(workers: &[u32]) -> Option<u32> {
    let parent = workers.iter().find_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(") ")?;
        after_name.split(' ').nth(1)?.parse().ok()
    });
    // A worker that has lost its parent is not there for long, and has another.
    parent.filter(|pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim_end() == "fork-server"
    })
}

/// Kills the fork server of these workers. False if none of them has it any more.
#[expect(clippy::must_use_candidate, reason = "killing is the point")]
pub fn kill_fork_server(workers: &[u32]) -> bool {
    let server = fork_server(workers);
    if let Some(server) = server {
        send_signal(server, libc::SIGKILL);
    }
    server.is_some()
}
