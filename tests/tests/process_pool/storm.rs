//! Workers, and now and then the fork server, are killed while thousands of tasks run: every future ends once, with its
//! value or with the death of its worker. The target `stress` has a longer one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use concurrent_futures::{Future, TaskError};
use concurrent_futures_tests::{
    functions::double,
    processes::{kill_fork_server, send_signal},
    seed::{self, Random},
};

use super::{SETUPS, alone, leaks::Baseline, wait_until};

const TASKS: u64 = 3000;

/// What a task takes: so little that some are sent ahead.
const TASK_TIME: Duration = Duration::from_micros(50);

/// Takes long enough that there is somebody to be killed.
fn double_at_leisure(n: u64) -> u64 {
    let begin = Instant::now();
    while begin.elapsed() < TASK_TIME {}
    double(n)
}

#[test]
fn p14_p24_a_kill_storm() {
    alone(|| {
        for setup in SETUPS {
            let mut random = Random::new(seed::of_this_run());
            let (baseline, choices) = Baseline::take(setup.builder(4));
            let pool = choices.build().unwrap();
            let ended = Arc::new(AtomicUsize::new(0));
            let futures: Vec<_> = (0..TASKS)
                .map(|n| {
                    let future = pool.submit(double_at_leisure, n).unwrap();
                    let ended = Arc::clone(&ended);
                    future.add_done_callback(move |_| {
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                    future
                })
                .collect();
            let all_done = AtomicBool::new(false);
            let (killed, last) = std::thread::scope(|scope| {
                let killer = scope.spawn(|| {
                    let mut killed = 0;
                    let mut last = Vec::new();
                    while !all_done.load(Ordering::SeqCst) {
                        let pids = pool.worker_pids();
                        if random.once_in(30) {
                            killed += usize::from(kill_fork_server(&pids));
                            last = pids;
                        } else if !pids.is_empty() {
                            let pid = pids[random.index(pids.len())];
                            send_signal(pid, libc::SIGKILL);
                            killed += 1;
                            last = vec![pid];
                        }
                        // Some tasks must come through, since workers that never get ready break the pool.
                        let before = ended.load(Ordering::SeqCst);
                        let more = 1 + random.index(40);
                        wait_until(|| {
                            all_done.load(Ordering::SeqCst)
                                || ended.load(Ordering::SeqCst) >= before + more
                        });
                    }
                    (killed, last)
                });
                futures.iter().for_each(Future::wait);
                all_done.store(true, Ordering::SeqCst);
                killer.join().unwrap()
            });
            assert!(killed > 10, "{killed}");
            let mut lost = 0;
            for (n, future) in (0..).zip(futures) {
                match future.result() {
                    Ok(value) => assert_eq!(value, 2 * n),
                    Err(TaskError::WorkerDied(died)) => {
                        assert!(died.pid().is_some(), "{died:?}");
                        lost += 1;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert!(lost < TASKS / 2, "{lost}");
            // The last that was killed may be dying still, and would take the next task along.
            wait_until(|| !pool.worker_pids().iter().any(|pid| last.contains(pid)));
            assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
            drop(pool);
            assert_eq!(ended.load(Ordering::SeqCst) as u64, TASKS);
            baseline.check();
        }
    });
}
