//! Memory: what a queued task takes, what a future takes that nobody has read, and what a worker takes that sleeps.

use std::{
    fs,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{READY, Settings, Unit, Workload, ready};
use crate::{
    alloc,
    measure::Sample,
    pools::{Fire, Submit, firing, submitters},
};

/// Half-way between two powers of two, as queues that double their room go.
const TASKS: u64 = 12_288;

/// Enough for one worker to be visible among what else changes in a program.
const WORKERS: usize = 32;
const SETTLE: Duration = Duration::from_millis(100);

pub(super) fn workloads() -> Vec<Workload> {
    let mut tasks = Workload::new(
        "memory_tasks",
        "12288 tasks; in the queue of a pool whose workers are busy, then done with their handles kept; what has been \
         asked of the allocator, the queue and the handles included",
        submitters!(tasks),
    )
    .metric("memory, per queued task", Unit::Bytes, None)
    .metric("memory, per future held", Unit::Bytes, None)
    .metric("allocations per task", Unit::Number, None);
    tasks.once = true;

    let mut workers = Workload::new(
        "memory_workers",
        "32 workers that have all run something and sleep; private memory of the process",
        firing!(workers),
    )
    .metric("memory, per idle worker", Unit::Bytes, None);
    workers.once = true;
    workers.workers = Some(WORKERS);
    vec![tasks, workers]
}

fn tasks<P: Submit>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    alloc::count();

    let gate = Gate::shut(&pool, settings.workers);
    let before = alloc::heap();
    for _ in 0..TASKS {
        pool.fire(|| {});
    }
    let queued = alloc::heap().live_bytes - before.live_bytes;
    gate.open();
    ready(&pool, settings);
    settle();

    let before = alloc::heap();
    let handles: Vec<_> = (0..TASKS).map(|index| pool.submit(move || index)).collect();
    // Behind the others in the queue, so by its end they are done, or about to be.
    ready(&pool, settings);
    settle();
    let held = alloc::heap().live_bytes - before.live_bytes;
    pool.collect_all(handles, |_| {});
    let allocations = alloc::heap().allocations - before.allocations;
    pool.stop();

    let per_task = |bytes: i64| bytes as f64 / TASKS as f64;
    let values = vec![per_task(queued), per_task(held), allocations as f64 / TASKS as f64];
    Sample { values, cpu: None }
}

fn workers<P: Fire>(settings: &Settings) -> Sample {
    let before = private_bytes();
    let pool = P::start(settings.workers);
    ready(&pool, settings);
    settle();
    let after = private_bytes();
    pool.stop();
    let values = vec![(after - before) / settings.workers as f64];
    Sample { values, cpu: None }
}

fn settle() {
    thread::sleep(SETTLE);
}

/// What the kernel counts as this process's alone.
fn private_bytes() -> f64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("a Linux system");
    let kib = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("a known format")
    };
    (kib("Private_Clean:") + kib("Private_Dirty:")) * 1024.0
}

/// Keeps the workers of a pool busy until opened.
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn shut<P: Fire>(pool: &P, workers: usize) -> Self {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let arrived = Arc::new(AtomicUsize::new(0));
        for _ in 0..workers {
            let (gate, arrived) = (Arc::clone(&gate), Arc::clone(&arrived));
            pool.fire(move || {
                arrived.fetch_add(1, Ordering::SeqCst);
                let open = gate.0.lock().expect("nobody panics");
                drop(gate.1.wait_while(open, |open| !*open).expect("nobody panics"));
            });
        }
        let begin = Instant::now();
        while arrived.load(Ordering::SeqCst) < workers && begin.elapsed() < READY {
            thread::sleep(Duration::from_micros(50));
        }
        Self(gate)
    }

    fn open(self) {
        *self.0.0.lock().expect("nobody panics") = true;
        self.0.1.notify_all();
    }
}
