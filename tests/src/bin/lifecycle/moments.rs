//! The moments at which the program is killed. It prints `there` when it has come to one, and waits.

use concurrent_futures_process_pool::ProcessPoolExecutor;

use crate::{
    Setup,
    tasks::{Bytes, add_one, announce_and_park, await_test, park, print, start_family},
};

/// More than any socket holds, so that it is on its way for long.
const LARGE: usize = 1 << 28;

pub(crate) fn reach(setup: &Setup<'_>) {
    let pool = setup.pool();
    match setup.which {
        "built" => print("there"),
        "starting" => {
            // The test kills some time after this.
            print("there");
            drop(pool.submit(add_one, 1));
            drop(pool.submit(add_one, 1));
        }
        "starting-many" => {
            let pool = setup.builder().max_workers(12).build().expect("a pool");
            print("there");
            pool.prestart(12).expect("a server");
            let mut tasks = (0..24).map(|_| pool.submit(leave_sleeper, ()));
            tasks.try_for_each(|task| task.map(drop)).expect("accepted");
            park();
        }
        "idle" => {
            work(&pool);
            print("there");
        }
        "running" => drop(pool.submit(announce_and_park, ())),
        "family" => drop(pool.submit(start_family, ())),
        "argument" => {
            // The worker is stopped by the test, so that the argument stays on its way.
            print(
                &pool
                    .submit(|()| std::process::id(), ())
                    .expect("accepted")
                    .result()
                    .expect("a pid")
                    .to_string(),
            );
            await_test();
            drop(pool.submit(length, Bytes(vec![1; LARGE])));
            print("there");
        }
        "argument-read" => {
            let task = pool.submit(length, Bytes(vec![1; LARGE]));
            print("there");
            drop(task.expect("accepted").result());
        }
        "result" => {
            drop(pool.submit(
                |()| {
                    print("there");
                    Bytes(vec![1; LARGE])
                },
                (),
            ));
        }
        "preload" => start(setup.builder().preload(announce_and_park, ()).build()),
        "preload-held" => start(setup.builder().preload(park_quietly, ()).build()),
        "initializer" => start(setup.builder().initializer(announce_and_park, ()).build()),
        "busy-and-stopped" => {
            drop(pool.submit(start_family, ()));
            drop(pool.submit(park_quietly, ()));
        }
        _ => setup.unknown(),
    }
    park();
}

fn park_quietly((): ()) {
    park();
}

/// Leaves a process in the worker's group.
fn leave_sleeper((): ()) {
    drop(std::process::Command::new("sleep").arg("1000").spawn());
}

fn length(bytes: Bytes) -> usize {
    bytes.0.len()
}

fn work(pool: &ProcessPoolExecutor) {
    let results: Vec<_> =
        pool.map(add_one, 0..10).map(|result| result.expect("a number")).collect();
    assert_eq!(results, (1..11).collect::<Vec<_>>());
}

fn start<E: std::fmt::Debug>(pool: Result<ProcessPoolExecutor, E>) {
    let pool = pool.expect("a pool");
    drop(pool.submit(add_one, 1).expect("accepted"));
    // Alive for as long as the program.
    Box::leak(Box::new(pool));
}

/// Holds a process that was started as a fork server or worker before it looks at its connection, until the program that
/// started it is gone: what takes long at the start of a program is between the two.
extern "C" fn hold() {
    // SAFETY: the name is a C string, and nobody changes the environment before `main`.
    if unsafe { libc::getenv(c"LIFECYCLE_HOLD".as_ptr()) }.is_null() {
        return;
    }
    // Those that the pool starts lead a group of their own; the program that the test has started does not.
    // SAFETY: takes nothing, returns a number.
    let parent = unsafe { libc::getppid() };
    // SAFETY: as above.
    let group = unsafe { libc::getpgrp() };
    // SAFETY: as above.
    if group != unsafe { libc::getpid() } {
        return;
    }
    print("there");
    // SAFETY: as above.
    while unsafe { libc::getppid() } == parent {
        // SAFETY: takes a number.
        unsafe { libc::usleep(1000) };
    }
}

#[used]
// SAFETY: the section holds pointers to functions of this kind; `hold` needs nothing that is not there before `main`.
#[unsafe(link_section = ".init_array.00300")]
static HOLD: extern "C" fn() = hold;
