//! What a pool must not leave behind: processes, zombies, threads, descriptors.

use std::{collections::BTreeMap, fs, process};

use concurrent_futures_process_pool::Builder;
use concurrent_futures_tests::threads;

use super::wait_until;

const MARKER: &str = "CONCURRENT_FUTURES_TESTS_MARKER";

/// What there was before a pool, to be compared with what there is after it. For tests that run alone.
pub(super) struct Baseline {
    /// In the environment of all processes of the pool, and what the names of its threads begin with.
    mark: String,
    descriptors: BTreeMap<String, String>,
}

impl Baseline {
    /// Looks around, and marks what `builder` makes.
    pub(super) fn take(builder: Builder) -> (Self, Builder) {
        let mark = threads::unique_prefix();
        let builder = builder.env(MARKER, format!("{}-{mark}", process::id())).name(&*mark);
        (Self { mark, descriptors: descriptors() }, builder)
    }

    /// The processes of the pool, with all that they have started.
    pub(super) fn processes(&self) -> Vec<u32> {
        let entry = format!("{MARKER}={}-{}", process::id(), self.mark);
        let has_mark = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        };
        pids().filter(has_mark).collect()
    }

    /// Returns when all is gone that belonged to the pool, which was dropped.
    pub(super) fn check(self) {
        // The pool has waited for these.
        assert_eq!(self.processes(), []);
        assert_eq!(children(), [] as [String; 0]);
        assert_eq!(descriptors(), self.descriptors);
        // A thread that was joined can be seen for a little longer.
        threads::wait_for_count(&self.mark, 0);
    }

    /// As `check`, for a pool whose end was not waited for.
    pub(super) fn wait_and_check(self) {
        wait_until(|| self.processes().is_empty() && children().is_empty());
        threads::wait_for_count(&self.mark, 0);
        wait_until(|| descriptors() == self.descriptors);
        self.check();
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let folder = fs::read_dir("/proc").expect("a list of processes");
    folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The children of this process, zombies included, as the system describes them.
fn children() -> Vec<String> {
    let own = process::id().to_string();
    pids()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter(|stat| {
            let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            after_name.split(' ').nth(1) == Some(&*own)
        })
        .collect()
}

/// The open descriptors of this process, and what they lead to.
fn descriptors() -> BTreeMap<String, String> {
    let folder = fs::read_dir("/proc/self/fd").expect("a list of descriptors");
    folder
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            // Not the one by which they are listed.
            let is_list = target.ends_with("/fd");
            (!is_list).then(|| (entry.file_name().to_string_lossy().into_owned(), target))
        })
        .collect()
}
