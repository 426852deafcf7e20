//! The processes that this one has started, and those that they have: what they cost together.

use std::{collections::HashMap, fs, time::Duration};

use nix::{sys::time::TimeSpec, time::clock_getcpuclockid, unistd::Pid};

use crate::measure::{Cost, Stopwatch};

/// All descendants that are alive, in no order.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    let entries = fs::read_dir("/proc").expect("a Linux system");
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        // A process that has ended meanwhile is none.
        if let Some(parent) = parent(pid) {
            children.entry(Pid::from_raw(parent)).or_default().push(Pid::from_raw(pid));
        }
    }
    let mut found = children.remove(&Pid::this()).unwrap_or_default();
    let mut looked_at = 0;
    while let Some(pid) = found.get(looked_at) {
        let grandchildren = children.remove(pid).unwrap_or_default();
        found.extend(grandchildren);
        looked_at += 1;
    }
    found
}

fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the parent is the second field after it.
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// The processor time of all descendants that are alive, all their threads together.
fn cpu() -> Duration {
    let clocks = descendants().into_iter().filter_map(|pid| clock_getcpuclockid(pid).ok());
    clocks.filter_map(|clock| clock.now().ok()).map(|time: TimeSpec| Duration::from(time)).sum()
}

/// Takes the cost of a stretch of the program in which no worker starts or ends.
#[derive(Debug)]
pub(crate) struct FamilyStopwatch {
    cpu: Duration,
    own: Stopwatch,
}

impl FamilyStopwatch {
    pub(crate) fn start() -> Self {
        let cpu = cpu();
        Self { cpu, own: Stopwatch::start() }
    }

    pub(crate) fn stop(self) -> Cost {
        let own = self.own.stop();
        Cost { cpu: own.cpu + cpu().saturating_sub(self.cpu), ..own }
    }
}

/// What a process has in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What nobody else has: the unique set size.
    pub(crate) uss_bytes: f64,
    /// The same, and its part of what it shares with others: the proportional set size.
    pub(crate) pss_bytes: f64,
}

impl Memory {
    pub(crate) fn of(pid: Pid) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it is alive");
        let bytes = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
            1024.0 * kib.unwrap_or_else(|| panic!("{name} is in the kernel's list"))
        };
        Self {
            uss_bytes: bytes("Private_Clean:") + bytes("Private_Dirty:"),
            pss_bytes: bytes("Pss:"),
        }
    }

    /// The mean of several.
    pub(crate) fn mean(pids: &[Pid]) -> Self {
        let all: Vec<_> = pids.iter().copied().map(Self::of).collect();
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Self {
            uss_bytes: mean(|memory| memory.uss_bytes),
            pss_bytes: mean(|memory| memory.pss_bytes),
        }
    }
}
