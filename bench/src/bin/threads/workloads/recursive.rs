//! `recursive submit+wait`: tasks that submit tasks to their own pool and wait for them. With fewer workers than tasks that
//! wait, a pool must do something about it, or it stops for ever.

use std::{future::Future, hint::black_box, pin::Pin, sync::Arc, time::Duration};

use super::{Contender, Settings, Unit, Workload, fork_join::sequential, ready};
use crate::{
    goal::{Bound, Goal},
    measure::{Sample, Stopwatch},
    pools::{Pool, Rayon, StdThreads, Submit, Tokio, submitters},
};

const N: u64 = 16;
const N_QUICK: u64 = 12;
/// A thread for every task: not more at the same time than a system allows.
const N_THREADS: u64 = 12;

const AWAITED: &str = "tokio awaited";
const SCOPED: &str = "rayon::scope";

/// A pool that still runs uses a processor now and then.
const PATIENCE: Duration = Duration::from_millis(700);

pub(super) fn workloads() -> Vec<Workload> {
    let goal = Goal { must: Bound::Finishes, moonshot: Bound::Peer(0.4, AWAITED) };
    let mut contenders = submitters!(submit_and_wait);
    contenders.push(Contender::peer(StdThreads::NAME, thread_per_task));
    contenders.push(Contender::reference(AWAITED, awaited));
    contenders.push(Contender::reference(SCOPED, scoped));
    let mut workload = Workload::new(
        "recursive",
        "the 16th Fibonacci number by tasks that submit two more and wait for both; per task. For comparison also tasks \
         that do not wait but are awaited, and those of rayon::scope",
        contenders,
    )
    .metric("recursive submit+wait, per task", Unit::Nanoseconds, Some(goal));
    workload.patience = PATIENCE;
    vec![workload]
}

fn submit_and_wait<P: Submit>(settings: &Settings) -> Sample {
    with_tasks::<P>(settings, if settings.quick { N_QUICK } else { N })
}

fn thread_per_task(settings: &Settings) -> Sample {
    with_tasks::<StdThreads>(settings, N_THREADS)
}

fn with_tasks<P: Submit>(settings: &Settings, n: u64) -> Sample {
    let pool = Arc::new(P::start(settings.workers));
    ready(&*pool, settings);
    let watch = Stopwatch::start();
    let inner = Arc::clone(&pool);
    let value = pool.collect(pool.submit(move || by_tasks(&inner, black_box(n))));
    let cost = watch.stop();
    assert_eq!(value, sequential(n));
    // Not stopped: the last of the tasks may not have let go of it.
    Sample::per_operation(&cost, calls(n))
}

fn by_tasks<P: Submit>(pool: &Arc<P>, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let submit = |n| {
        let inner = Arc::clone(pool);
        pool.submit(move || by_tasks(&inner, n))
    };
    let (a, b) = (submit(n - 1), submit(n - 2));
    pool.collect(a) + pool.collect(b)
}

fn awaited(settings: &Settings) -> Sample {
    fn fib(n: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if n < 2 {
                return n;
            }
            let (a, b) = (tokio::spawn(fib(n - 1)), tokio::spawn(fib(n - 2)));
            a.await.expect("the task does not fail") + b.await.expect("the task does not fail")
        })
    }
    let n = if settings.quick { N_QUICK } else { N };
    let pool = Tokio::start(settings.workers);
    ready(&pool, settings);
    let watch = Stopwatch::start();
    let root = pool.runtime().spawn(fib(black_box(n)));
    let value = pool.runtime().block_on(root).expect("the task does not fail");
    let cost = watch.stop();
    assert_eq!(value, sequential(n));
    pool.stop();
    Sample::per_operation(&cost, calls(n))
}

fn scoped(settings: &Settings) -> Sample {
    fn fib(n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let (mut a, mut b) = (0, 0);
        rayon::scope(|scope| {
            scope.spawn(|_| a = fib(n - 1));
            scope.spawn(|_| b = fib(n - 2));
        });
        a + b
    }
    let n = if settings.quick { N_QUICK } else { N };
    let pool = Rayon::start(settings.workers);
    ready(&pool, settings);
    let watch = Stopwatch::start();
    let root = pool.submit(move || fib(black_box(n)));
    let value = pool.collect(root);
    let cost = watch.stop();
    assert_eq!(value, sequential(n));
    pool.stop();
    Sample::per_operation(&cost, calls(n))
}

/// How many calls there are for `fib(n)`, each a task.
fn calls(n: u64) -> u64 {
    2 * sequential(n + 1) - 1
}
