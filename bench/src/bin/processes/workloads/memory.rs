//! Memory: what a queued task takes, and what processes take that do nothing.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{Settings, Unit, Workload, contenders, ready};
use crate::{
    alloc,
    family::{self, Memory},
    goal::{Bound, Goal},
    jobs::{Empty, Sleep},
    measure::Sample,
    pools::{Named, Ours, OursSpawned, Pool, Procspawn},
    python::{self, MultiprocessingPool, PythonExecutor},
    workload::Contender,
};

/// Less than procspawn may have, and between two powers of two, as queues that double their room go.
const TASKS: u16 = 192;
/// How long the workers are busy while tasks are queued.
const BUSY: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_millis(100);

pub(super) fn workloads() -> Vec<Workload> {
    let mut tasks = Workload::new(
        "memory_tasks",
        "192 tasks in the queue of a pool whose workers are busy; what has been asked of the allocator in this process, \
         handles included, and the descriptors that were opened",
        contenders!(tasks: Ours, Procspawn),
    )
    .metric("memory, per queued task", Unit::Bytes, None)
    .metric("allocations per task", Unit::Number, None)
    .metric("descriptors per queued task", Unit::Number, None);
    tasks.once = true;

    let uss = Goal { must: Bound::Best(2.0), moonshot: Bound::Best(0.4) };
    let mut contenders =
        contenders!(workers: Ours, Procspawn; in_python: PythonExecutor, MultiprocessingPool);
    contenders.push(Contender::reference(OursSpawned::NAME, workers_spawned));
    let mut workers = Workload::new(
        "memory_workers",
        "a worker that has run something and waits: what is its alone (USS), and with its part of what is shared (PSS)",
        contenders,
    )
    .metric("idle worker, USS", Unit::Bytes, Some(uss))
    .metric("idle worker, PSS", Unit::Bytes, None);
    workers.once = true;

    let mut server = Workload::new(
        "memory_server",
        "the fork server of ours, of which there is one for each pool, beside two workers that wait",
        contenders!(server: Ours),
    )
    .metric("fork server, USS", Unit::Bytes, None)
    .metric("fork server, PSS", Unit::Bytes, None);
    server.contenders.push(Contender::reference(OursSpawned::NAME, server_spawned));
    server.once = true;
    vec![tasks, workers, server]
}

fn tasks<P: Pool>(settings: &Settings) -> Sample {
    let pool: P = ready(settings);
    alloc::count();
    // What the first tasks need that the following ones do not.
    pool.call::<Empty>(0);
    let busy_us = u64::try_from(BUSY.as_micros()).expect("a short time");
    let begin = Instant::now();
    let busy: Vec<_> = (0..settings.workers).map(|_| pool.submit::<Sleep>(busy_us)).collect();
    thread::sleep(SETTLE);

    let (heap, open) = (alloc::heap(), open_descriptors());
    let mut handles = Vec::with_capacity(TASKS.into());
    handles.extend((0..u64::from(TASKS)).map(|number| pool.submit::<Empty>(number)));
    let (bytes, opened) = (alloc::heap().live_bytes - heap.live_bytes, open_descriptors() - open);
    assert!(begin.elapsed() < BUSY, "the workers have begun with the tasks");
    for task in busy {
        P::collect(task).expect("the task does not fail");
    }
    for (number, handle) in (0..).zip(handles) {
        assert_eq!(P::collect(handle), Ok(number));
    }
    let allocations = alloc::heap().allocations - heap.allocations;
    pool.stop();
    let per_task = |total: f64| total / f64::from(TASKS);
    let values = vec![per_task(bytes as f64), per_task(allocations as f64), per_task(opened)];
    Sample { values, cpu: None }
}

fn open_descriptors() -> f64 {
    fs::read_dir("/proc/self/fd").expect("a Linux system").count() as f64
}

fn workers<P: Pool>(settings: &Settings) -> Sample {
    let pool: P = ready(settings);
    thread::sleep(SETTLE);
    let memory = Memory::mean(&pool.workers());
    pool.stop();
    Sample { values: vec![memory.uss_bytes, memory.pss_bytes], cpu: None }
}

/// The same; a name of its own for a contender of another kind.
fn workers_spawned(settings: &Settings) -> Sample {
    workers::<OursSpawned>(settings)
}

/// Of the processes that are there and are no workers.
fn server<P: Pool>(settings: &Settings) -> Sample {
    let pool: P = ready(settings);
    thread::sleep(SETTLE);
    let workers = pool.workers();
    let mut others = family::descendants();
    others.retain(|pid| !workers.contains(pid));
    let memory = Memory::mean(&others);
    pool.stop();
    Sample { values: vec![memory.uss_bytes, memory.pss_bytes], cpu: None }
}

/// The same; a name of its own for a contender of another kind.
fn server_spawned(settings: &Settings) -> Sample {
    server::<OursSpawned>(settings)
}

fn in_python<P: Named>(settings: &Settings) -> Sample {
    python::sample::<P>("memory", settings, &[])
}
