//! Python's example: which of six big numbers are prime; in a program that runs, and as a program.

use std::{env, process::Command};

use super::{Settings, Unit, Workload, contenders};
use crate::{
    goal::{Bound, Goal},
    measure::{Sample, Stopwatch, per},
    pools::{Named, Ours, OursSpawned, Pool, Procspawn},
    primes::{PROGRAM, RAYON, SEQUENTIAL, by_processes, by_rayon, sequentially},
    python::{self, PythonExecutor, PythonSequential},
    workload::Contender,
};

pub(super) fn workloads() -> Vec<Workload> {
    let of_peers =
        Goal { must: Bound::Peer(1.0, Procspawn::NAME), moonshot: Bound::Peer(1.08, RAYON) };
    let mut processes = contenders!(processes: Ours, Procspawn);
    processes.push(Contender::reference(RAYON, |settings| wall(|| by_rayon(settings.workers))));
    processes.push(Contender::reference(SEQUENTIAL, |_| wall(sequentially)));

    // At least 15 times and 20 times as fast.
    let of_python = Goal {
        must: Bound::Peer(0.066, PythonExecutor::NAME),
        moonshot: Bound::Peer(0.05, PythonExecutor::NAME),
    };
    let mut programs = contenders!(program: Ours, Procspawn; in_python: PythonExecutor);
    programs.push(Contender::reference(OursSpawned::NAME, program::<OursSpawned>));
    programs.push(Contender::reference(RAYON, |_| wall(|| run(RAYON))));
    programs.push(Contender::reference(SEQUENTIAL, |_| wall(|| run(SEQUENTIAL))));
    programs.push(Contender::reference(PythonSequential::NAME, in_python::<PythonSequential>));
    vec![
        Workload::new(
            "primes",
            "make a pool and have it test the six numbers of Python's example; beside threads and one thread alone",
            processes,
        )
        .metric("primes, in process", Unit::Nanoseconds, Some(of_peers)),
        Workload::new(
            "primes_program",
            "a program that does this and nothing else, from starting it until it has ended",
            programs,
        )
        .metric("primes, whole program", Unit::Nanoseconds, Some(of_python)),
    ]
}

fn processes<P: Pool>(settings: &Settings) -> Sample {
    let watch = Stopwatch::start();
    let pool: P = by_processes(settings.workers);
    let cost = watch.stop();
    pool.stop();
    Sample { values: vec![per(cost.wall, 1)], cpu: None }
}

fn program<P: Named>(_settings: &Settings) -> Sample {
    wall(|| run(P::NAME))
}

/// Runs this executable as a program.
fn run(pool: &str) {
    let executable = env::current_exe().expect("it was started from somewhere");
    end_well(Command::new(executable).args([PROGRAM, pool]));
}

fn in_python<P: Named>(_settings: &Settings) -> Sample {
    wall(|| end_well(python::command("primes.py").arg(P::NAME)))
}

fn end_well(command: &mut Command) {
    let status = command.status().expect("the program can be started");
    assert!(status.success(), "{status}");
}

fn wall(action: impl FnOnce()) -> Sample {
    let watch = Stopwatch::start();
    action();
    Sample { values: vec![per(watch.stop().wall, 1)], cpu: None }
}
