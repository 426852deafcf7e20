//! Runs good tasks among tasks that crash in every way there is, and prints what became of each.
//!
//! In a pool of threads the first of them would end the program. Here each costs the task that did it, and nothing else:
//! the good ones all succeed. One task loops for ever; it ends when the pool is told to kill its workers.
//!
//! ```console
//! $ cargo run --release --example crashy
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

use std::{error::Error, hint::black_box, process, ptr, thread, time::Duration};

use concurrent_futures::{Future, ProcessPoolExecutor, Shutdown, TaskError};

fn square(n: u64) -> u64 {
    n * n
}

fn segfault((): ()) -> u64 {
    // SAFETY: none; that is what this task is for.
    unsafe { black_box(ptr::null::<u64>().wrapping_add(1)).read_volatile() }
}

fn run_out_of_memory((): ()) -> u64 {
    black_box(Vec::<u64>::with_capacity(black_box(1 << 50))).capacity() as u64
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    black_box(black_box([depth; 64])[0] + recurse(depth + 1))
}

fn loop_for_ever((): ()) -> u64 {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // What the dying say is in the errors; here it would only get in between.
    let pool = ProcessPoolExecutor::builder().max_workers(3).forward_stderr(false).build()?;
    let endless = pool.submit(loop_for_ever, ())?;

    let bad: Vec<(&str, Future<u64>)> = vec![
        ("panic", pool.submit(|()| panic!("this task panics"), ())?),
        ("segfault", pool.submit(segfault, ())?),
        ("abort", pool.submit(|()| process::abort(), ())?),
        ("stack overflow", pool.submit(recurse, 0)?),
        ("out of memory", pool.submit(run_out_of_memory, ())?),
        ("exit", pool.submit(|()| process::exit(3), ())?),
    ];
    let good: Vec<(u64, Future<u64>)> = (1..=30)
        .map(|n| Ok((n, pool.submit(square, n)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;

    for (name, future) in bad {
        match future.result() {
            Ok(value) => println!("{name}: {value}?"),
            Err(error) => println!("{name}: {error}"),
        }
    }
    let mut succeeded = 0;
    for (n, future) in good {
        match future.result() {
            Ok(value) if value == n * n => succeeded += 1,
            other => println!("{n} squared: {other:?}"),
        }
    }

    pool.kill_workers_with(Shutdown::wait())?;
    match endless.result() {
        Err(TaskError::WorkerDied(died)) => println!("loop for ever: {died}"),
        other => println!("loop for ever: {other:?}"),
    }
    println!("{succeeded} of 30 good tasks succeeded; {:?}", pool.stats());
    if succeeded == 30 { Ok(()) } else { Err("a good task has failed".into()) }
}
