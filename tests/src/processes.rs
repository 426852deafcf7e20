//! Killing processes of a pool, as somebody from outside might.

#![expect(unsafe_code, reason = "sends signals")]

use std::fs;

/// Sends a signal to a process, if it is there.
pub fn send_signal(pid: u32, signal: i32) {
    // SAFETY: takes two integers.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// Kills the parent of these workers, which is their fork server. False if none of them has it any more.
pub fn kill_fork_server(workers: &[u32]) -> bool {
    let parent = workers.iter().find_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(") ")?;
        after_name.split(' ').nth(1)?.parse().ok()
    });
    // A worker that has lost its parent is not there for long, and has another.
    let is_server = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim_end() == "fork-server"
    };
    let server = parent.filter(is_server);
    if let Some(server) = server {
        send_signal(server, libc::SIGKILL);
    }
    server.is_some()
}
