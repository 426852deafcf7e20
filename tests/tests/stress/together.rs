//! Tasks that meet: as many as there are workers, submitted from anywhere, between others that come and go. If one of
//! them lies where nobody looks, or a worker that could take it sleeps, none of them ends.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use concurrent_futures::{Blocked, Future, ThreadPoolExecutor};
use concurrent_futures_tests::seed::Random;

use super::rounds;

#[test]
fn tasks_that_meet() {
    rounds(round);
}

fn round(random: &mut Random) {
    let workers = 2 + random.index(4);
    let builder = ThreadPoolExecutor::builder().max_workers(workers);
    let builder = if random.once_in(4) { builder.idle_timeout(Duration::ZERO) } else { builder };
    let builder = if random.once_in(4) { builder.initializer(thread::yield_now) } else { builder };
    let pool = Arc::new(builder.build().unwrap());
    for _ in 0..100 {
        meet(&pool, workers, random);
    }
}

fn meet(pool: &Arc<ThreadPoolExecutor>, workers: usize, random: &mut Random) {
    let barrier = Arc::new(Barrier::new(workers));
    let short = Arc::new(AtomicUsize::new(0));
    let mut futures: Vec<Future<()>> = Vec::new();
    let mut left = workers;
    while left > 0 {
        // Some of them by a task, which is one of those that meet, and the others from here.
        let together = 1 + random.index(left);
        left -= together;
        let (inner, barrier) = (Arc::clone(pool), Arc::clone(&barrier));
        let (short, mut random) = (Arc::clone(&short), random.fork());
        let task = move || {
            for _ in 1..together {
                disturb(&inner, &short, &mut random);
                let barrier = Arc::clone(&barrier);
                drop(inner.spawn(move || arrive(&barrier)).unwrap());
            }
            disturb(&inner, &short, &mut random);
            if random.once_in(4) {
                // Out of action for a moment, so that there are more workers than places afterwards.
                let _out_of_action = Blocked::enter();
                thread::yield_now();
            }
            arrive(&barrier);
        };
        futures.push(pool.spawn(task).unwrap());
    }
    for future in futures {
        future.result().unwrap();
    }
}

fn arrive(barrier: &Barrier) {
    let _leads = barrier.wait();
}

/// Other tasks, short ones, of which some are waited for.
fn disturb(pool: &ThreadPoolExecutor, ran: &Arc<AtomicUsize>, random: &mut Random) {
    for _ in 0..random.index(6) {
        let counts = Arc::clone(ran);
        let future = pool.spawn(move || counts.fetch_add(1, Ordering::Relaxed)).unwrap();
        match random.below(4) {
            0 => assert!(future.result().is_ok()),
            1 => assert_eq!(future.cancel(), future.cancelled()),
            _ => drop(future),
        }
    }
}
