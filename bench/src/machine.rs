//! Where and when: what a reader must know before comparing numbers with those of another day.

use std::{fs, process::Command, thread};

/// The lock file says which releases were measured.
const LOCK: &str = include_str!("../Cargo.lock");

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

/// The releases of these crates that were measured.
pub(crate) fn releases(crates: &[&str]) -> String {
    let releases = crates.iter().map(|name| format!("{name} {}", version(name).unwrap_or("?")));
    releases.collect::<Vec<_>>().join(", ")
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

    use super::releases;

    #[test]
    fn releases_are_those_of_the_lock_file() {
        let text = releases(&["rayon", "no-such-crate"]);
        assert!(text.starts_with("rayon 1."), "{text}");
        assert!(text.ends_with(", no-such-crate ?"), "{text}");
    }
}
