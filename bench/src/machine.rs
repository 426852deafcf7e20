//! Where and when: what a reader must know before comparing numbers with those of another day.

use std::{fs, process::Command, thread};

/// The lock file says which releases were measured.
const LOCK: &str = include_str!("../Cargo.lock");

/// The crates that are measured, and those that they cannot be measured without: for results and for blocking.
const PEERS: [&str; 13] = [
    "rayon",
    "tokio",
    "async-executor",
    "async-task",
    "crossbeam-channel",
    "oneshot",
    "threadpool",
    "rusty_pool",
    "futures",
    "blocking",
    "chili",
    "futures-lite",
    "rayon-core",
];

/// One paragraph on the machine at this moment.
pub(crate) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    format!(
        "{date}; {cpu}, {cores} processors; Linux {kernel}; {rustc}; load average at the start {load}",
        date = date(),
        cpu = cpu(),
        kernel = read("/proc/sys/kernel/osrelease").trim(),
        rustc = env!("BENCH_RUSTC"),
    )
}

/// The releases that were measured.
pub(crate) fn peers() -> String {
    PEERS.map(|name| format!("{name} {}", version(name).unwrap_or("?"))).join(", ")
}

fn version(name: &str) -> Option<&'static str> {
    let (_, package) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    package.split('"').next()
}

fn cpu() -> String {
    let text = read("/proc/cpuinfo");
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    model.unwrap_or("an unknown processor").trim().to_owned()
}

fn date() -> String {
    let output = Command::new("date").arg("+%Y-%m-%d").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "an unknown day".to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    //! The lock file is understood.

    use super::{PEERS, version};

    #[test]
    fn every_peer_has_a_version() {
        for name in PEERS {
            assert!(version(name).is_some(), "{name}");
        }
    }
}
