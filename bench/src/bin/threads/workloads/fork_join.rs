//! Fork and join: the Fibonacci numbers by two recursive calls that may run at the same time.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::{Settings, Unit, Workload};
use crate::{
    goal::{Bound, Goal},
    measure::{Sample, Stopwatch},
    pools::{Chili, Join, Pool, Rayon, joining},
};

/// Which number, unless a trial with a smaller one says that it would take too long.
const N: u64 = 27;
const N_TRIAL: u64 = 12;
const SPAN_MAX: Duration = Duration::from_secs(1);

/// The whole is repeated for as long as this.
const SPAN: Duration = Duration::from_millis(200);

pub(super) fn workloads() -> Vec<Workload> {
    let goal = Goal {
        must: Bound::Peer(1.0, <Rayon as Pool>::NAME),
        moonshot: Bound::Peer(1.0, <Chili as Pool>::NAME),
    };
    vec![
        Workload::new(
            "fork_join",
            "the 27th Fibonacci number (a smaller one for a pool that would take more than 1 s), forking at every call; \
             per fork",
            joining!(fork_join),
        )
        .metric("fork-join fib(27), per fork", Unit::Nanoseconds, Some(goal)),
    ]
}

fn fork_join<P: Join>(settings: &Settings) -> Sample {
    let pool = P::start(settings.workers);
    let begin = Instant::now();
    run(&pool, N_TRIAL);
    let per_fork = begin.elapsed() / u32::try_from(forks(N_TRIAL)).expect("a few hundred");
    let n = (N_TRIAL..=N).rev().find(|n| {
        let forks = u32::try_from(forks(*n)).expect("fewer than a million");
        per_fork.saturating_mul(forks) <= SPAN_MAX
    });
    let n = n.unwrap_or(N_TRIAL);
    run(&pool, n);

    let watch = Stopwatch::start();
    let begin = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || begin.elapsed() < settings.span(SPAN) {
        run(&pool, n);
        rounds += 1;
    }
    let cost = watch.stop();
    pool.stop();
    Sample::per_operation(&cost, rounds * forks(n))
}

fn run<P: Join>(pool: &P, n: u64) {
    let value = pool.enter(|context| fib::<P>(context, black_box(n)));
    assert_eq!(value, sequential(n));
}

fn fib<P: Join>(context: &mut P::Context<'_>, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = P::join(
        context,
        move |context| fib::<P>(context, n - 1),
        move |context| fib::<P>(context, n - 2),
    );
    a + b
}

pub(super) fn sequential(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// How many calls of `fib(n)` fork.
fn forks(n: u64) -> u64 {
    sequential(n + 1) - 1
}
