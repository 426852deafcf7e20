//! Work that is left to a thread of the crew which is about to wait.

use std::sync::Arc;

use loom::{sync::atomic::AtomicUsize, sync::atomic::Ordering, thread};

use super::{Bell, model};
use crate::supervisor::backlog::Backlog;

/// The backlog, the reactor from which the crew is woken, and how much has been done.
#[derive(Clone, Default)]
struct Crew {
    backlog: Arc<Backlog<u32>>,
    bell: Bell,
    done: Arc<(AtomicUsize, Bell)>,
}

impl Crew {
    /// Does what is there. The first of it ends only when the second has begun: callbacks may wait for one another.
    fn work_off(&self) {
        loop {
            let (next, calls) = self.backlog.next();
            if calls {
                self.bell.ring();
            }
            match next {
                Some(1) => self.done.1.wait(),
                Some(_) => self.done.1.ring(),
                None => return,
            }
            if self.done.0.fetch_add(1, Ordering::Relaxed) == 1 {
                // Whoever waits may go.
                self.bell.ring();
            }
        }
    }

    fn help(&self) {
        if self.backlog.come() {
            self.work_off();
        }
    }

    /// Waits, and helps, until both are done.
    fn wait_and_help(&self) {
        while self.done.0.load(Ordering::Relaxed) < 2 {
            self.bell.wait();
            self.help();
        }
        // The next one is to go as well.
        self.bell.ring();
    }
}

/// One of the crew finds two completions; another, who looks now and then, comes by in that moment, stops looking, and waits
/// to be woken. Whoever relied on it is not left alone. Defends what `stop_looking` returns.
#[test]
fn loom_completions_vs_end_of_looking() {
    model(|| {
        let crew = Crew::default();
        assert!(crew.backlog.begin_looking());
        let looker = thread::spawn({
            let crew = crew.clone();
            move || {
                crew.help();
                if crew.backlog.stop_looking() {
                    crew.help();
                }
                crew.wait_and_help();
            }
        });
        crew.backlog.add([1, 2]);
        crew.work_off();
        looker.join().unwrap();
    });
}

/// The same, of what a guest leaves, which does nothing about it itself. Defends the same, and `come` being one step.
#[test]
fn loom_guest_vs_end_of_looking() {
    model(|| {
        let crew = Crew::default();
        assert!(crew.backlog.begin_looking());
        let looker = thread::spawn({
            let crew = crew.clone();
            move || {
                crew.help();
                if crew.backlog.stop_looking() {
                    crew.help();
                }
                crew.wait_and_help();
            }
        });
        let other = thread::spawn({
            let crew = crew.clone();
            move || crew.wait_and_help()
        });
        for item in [1, 2] {
            if crew.backlog.leave([item]) {
                crew.bell.ring();
            }
        }
        looker.join().unwrap();
        other.join().unwrap();
    });
}
