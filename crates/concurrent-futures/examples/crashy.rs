//! Runs good tasks among tasks that crash in every way there is, and prints what became of each.
//!
//! In a pool of threads the first of them would end the program. Here each costs the task that did it, and nothing else:
//! the good ones all succeed. One task loops for ever; it ends when the pool is told to kill its workers.
//!
//! ```console
//! $ cargo run --release --example crashy
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

use std::{error::Error, hint::black_box, process, ptr, time::Duration};

use concurrent_futures::{Future, ProcessPoolExecutor, Shutdown, TaskError};
use serde::{Deserialize, Serialize};

/// What a task does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Deed {
    Square(u64),
    Panic,
    Segfault,
    Abort,
    OverflowTheStack,
    RunOutOfMemory,
    Exit,
    LoopForEver,
}

fn do_it(deed: Deed) -> u64 {
    match deed {
        Deed::Square(n) => n * n,
        Deed::Panic => panic!("this task panics"),
        // SAFETY: none; that is what this task is for.
        Deed::Segfault => unsafe { black_box(ptr::null::<u64>().wrapping_add(1)).read_volatile() },
        Deed::Abort => process::abort(),
        Deed::OverflowTheStack => recurse(0),
        Deed::RunOutOfMemory => {
            black_box(Vec::<u64>::with_capacity(black_box(1 << 50))).capacity() as u64
        }
        Deed::Exit => process::exit(3),
        Deed::LoopForEver => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(black_box([depth; 64])[0] + recurse(depth + 1))
}

fn main() -> Result<(), Box<dyn Error>> {
    let bad = [
        Deed::Panic,
        Deed::Segfault,
        Deed::Abort,
        Deed::OverflowTheStack,
        Deed::RunOutOfMemory,
        Deed::Exit,
    ];
    let mut deeds: Vec<_> = (1..=30).map(Deed::Square).collect();
    for (index, deed) in bad.into_iter().enumerate() {
        deeds.insert(index * 5, deed);
    }

    // What the dying say is in the errors; here it would only get in between.
    let pool = ProcessPoolExecutor::builder().max_workers(3).forward_stderr(false).build()?;
    let endless = pool.submit(do_it, Deed::LoopForEver)?;
    let futures: Vec<(Deed, Future<u64>)> = deeds
        .into_iter()
        .map(|deed| Ok((deed, pool.submit(do_it, deed)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;

    let (mut good, mut expected) = (0, 0);
    for (deed, future) in futures {
        expected += u32::from(matches!(deed, Deed::Square(_)));
        match future.result() {
            Ok(square) => {
                good += 1;
                println!("{deed:?}: {square}");
            }
            Err(error) => println!("{deed:?}: {error}"),
        }
    }

    pool.kill_workers_with(Shutdown::wait())?;
    match endless.result() {
        Err(TaskError::WorkerDied(died)) => println!("LoopForEver: {died}"),
        other => println!("LoopForEver: {other:?}"),
    }
    println!("{good} of {expected} good tasks succeeded; {:?}", pool.stats());
    if good == expected { Ok(()) } else { Err("a good task has failed".into()) }
}
