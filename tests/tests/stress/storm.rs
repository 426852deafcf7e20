//! Workers of a process pool, and now and then its fork server, are killed while tasks of all kinds run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use concurrent_futures::{Future, Shutdown, TaskError};
use concurrent_futures_process_pool::{ProcessPoolExecutor, StartMethod};
use concurrent_futures_tests::{
    delays,
    processes::{kill_fork_server, send_signal},
    seed::Random,
};

use super::rounds;

/// What a task does, by number.
fn work((kind, n): (u64, u64)) -> String {
    match kind {
        0 => std::process::abort(),
        1 => std::process::exit(3),
        2 => panic!("{n}"),
        3 => "x".repeat(1 << 20),
        _ => n.to_string(),
    }
}

fn pool(random: &mut Random) -> ProcessPoolExecutor {
    let methods = [StartMethod::ForkServer, StartMethod::Spawn];
    let mut builder = ProcessPoolExecutor::builder()
        .max_workers(1 + random.index(5))
        .start_method(methods[random.index(2)])
        .forward_stderr(false)
        .env("RUST_BACKTRACE", "0");
    if random.once_in(3) {
        builder = builder.max_tasks_per_child(1 + random.below(20)).max_tasks_jitter(5);
    }
    if random.once_in(3) {
        builder = builder.idle_timeout(delays::poll());
    }
    builder.build().expect("a pool")
}

/// Kills now and then until all is done. Some tasks must end in between, since workers that never get ready break the
/// pool.
fn kill(
    pool: &ProcessPoolExecutor,
    all_done: &AtomicBool,
    ended: &AtomicUsize,
    mut random: Random,
) {
    while !all_done.load(Ordering::SeqCst) {
        let pids = pool.worker_pids();
        if random.once_in(20) {
            kill_fork_server(&pids);
        } else if !pids.is_empty() {
            let signals = [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV];
            send_signal(pids[random.index(pids.len())], signals[random.index(3)]);
        }
        let enough = ended.load(Ordering::SeqCst) + 5 + random.index(50);
        while !all_done.load(Ordering::SeqCst) && ended.load(Ordering::SeqCst) < enough {
            thread::sleep(delays::poll());
        }
    }
}

fn round(random: &mut Random) {
    let pool = pool(random);
    let ended = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..50 + random.below(500)).map(|n| (random.below(40), n)).collect();
    let all_done = AtomicBool::new(false);
    let killer = random.fork();
    let futures: Vec<Future<String>> = thread::scope(|scope| {
        scope.spawn(|| kill(&pool, &all_done, &ended, killer));
        let futures: Vec<_> = tasks
            .iter()
            .map(|task| {
                let future = pool.submit(work, *task).expect("accepted");
                let ended = Arc::clone(&ended);
                future.add_done_callback(move |_| {
                    ended.fetch_add(1, Ordering::SeqCst);
                });
                if random.once_in(10) {
                    future.cancel();
                }
                future
            })
            .collect();
        futures.iter().for_each(Future::wait);
        all_done.store(true, Ordering::SeqCst);
        futures
    });
    let killed = random.once_in(2);
    if killed {
        pool.kill_workers_with(Shutdown::wait()).expect("not called by a callback");
    }
    let stats = pool.stats();
    let counted = stats.succeeded + stats.failed + stats.cancelled;
    // Those that were cancelled last may not have been noticed.
    assert_eq!(stats.submitted, counted + stats.queued, "{stats:?}");
    assert!(!killed || stats.queued == 0, "{stats:?}");
    drop(pool);
    assert_eq!(ended.load(Ordering::SeqCst), tasks.len(), "each ends once");
    for ((kind, n), future) in tasks.into_iter().zip(futures) {
        match future.result() {
            Ok(text) => assert_eq!(text, work((kind, n))),
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), n.to_string()),
            Err(TaskError::Cancelled | TaskError::WorkerDied(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_kill_storm() {
    rounds(round);
}
