//! Several pools, one in the other and one beside the other, and pools beside many threads.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use concurrent_futures_process_pool::ProcessPoolExecutor;

use crate::{
    Setup,
    tasks::{add_one, announce_and_park, park, print},
};

pub(crate) fn run(setup: &Setup<'_>) {
    match setup.which {
        "nested" => {
            let pool = setup.pool();
            let sum = pool.submit(nested, 3).expect("accepted").result().expect("a sum");
            assert_eq!(sum, 8);
        }
        "nested-park" => {
            let pool = setup.pool();
            drop(pool.submit(nested_park, 3));
            park();
        }
        "hundred" => {
            let pools: Vec<_> =
                (0..100).map(|_| setup.builder().max_workers(1).build().expect("a pool")).collect();
            let tasks: Vec<_> =
                pools.iter().map(|pool| pool.submit(add_one, 1).expect("accepted")).collect();
            for task in tasks {
                assert_eq!(task.result().expect("a number"), 2);
            }
        }
        "threads" => {
            let over = Arc::new(Barrier::new(301));
            let threads: Vec<_> = (0..300)
                .map(|_| {
                    let over = Arc::clone(&over);
                    thread::spawn(move || over.wait())
                })
                .collect();
            let pool = setup.pool();
            assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
            pool.shutdown();
            over.wait();
            for thread in threads {
                thread.join().expect("it ends");
            }
        }
        _ => setup.unknown(),
    }
    print("done");
}

/// Two to the power of `depth`, by pools in pools.
fn nested(depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let pool = ProcessPoolExecutor::with_max_workers(2).expect("a pool");
    pool.map(nested, [depth - 1, depth - 1]).map(|result| result.expect("a number")).sum()
}

fn nested_park(depth: u32) {
    if depth == 0 {
        announce_and_park(());
    }
    let pool = ProcessPoolExecutor::with_max_workers(1).expect("a pool");
    drop(pool.submit(nested_park, depth - 1).expect("accepted").result());
}
