//! Pools that live for a moment: made, used by several threads, shut down by some of them, and dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use concurrent_futures::{Future, Refusal, Shutdown, ThreadPoolExecutor};
use concurrent_futures_tests::{seed::Random, threads};

use super::rounds;

#[test]
fn short_lives() {
    rounds(round);
}

fn round(random: &mut Random) {
    for _ in 0..50 {
        life(random);
    }
}

fn life(random: &mut Random) {
    let prefix = threads::unique_prefix();
    let workers = 1 + random.index(3);
    let idle_timeout = Duration::from_micros(random.below(200));
    let pool = ThreadPoolExecutor::builder()
        .max_workers(workers)
        .thread_name_prefix(&*prefix)
        .idle_timeout(idle_timeout)
        .build()
        .unwrap();
    let pool = Arc::new(pool);
    let ran = Arc::new(AtomicUsize::new(0));
    let users: Vec<_> = (0..2)
        .map(|_| {
            let (pool, ran, mut random) = (Arc::clone(&pool), Arc::clone(&ran), random.fork());
            thread::spawn(move || {
                let mut futures: Vec<Future<usize>> = Vec::new();
                for _ in 0..random.index(40) {
                    let (counts, holds) = (Arc::clone(&ran), Arc::clone(&pool));
                    let task = move || {
                        drop(holds);
                        counts.fetch_add(1, Ordering::SeqCst)
                    };
                    match pool.spawn(task) {
                        Ok(future) => futures.push(future),
                        Err(refused) => {
                            assert!(matches!(refused.reason(), Refusal::ShutDown), "{refused:?}");
                            break;
                        }
                    }
                    if random.once_in(5) {
                        (0..random.below(3000)).for_each(|_| std::hint::spin_loop());
                    }
                    if random.once_in(10) {
                        let given_up = futures.pop();
                        assert!(
                            given_up.is_none_or(|future| future.cancel() == future.cancelled())
                        );
                    }
                }
                if random.once_in(4) {
                    let how = Shutdown::no_wait();
                    let how = if random.once_in(2) { how.cancel_futures() } else { how };
                    pool.shutdown_with(how).unwrap();
                }
                drop(pool);
                futures.into_iter().filter(|future| future.exception().is_none()).count()
            })
        })
        .collect();
    drop(pool);
    let succeeded: usize = users.into_iter().map(|user| user.join().unwrap()).sum();
    threads::wait_for_count(&prefix, 0);
    // Some have run whose futures were given up.
    assert!(succeeded <= ran.load(Ordering::SeqCst));
}
