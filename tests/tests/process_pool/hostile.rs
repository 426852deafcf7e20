//! Workers that write random bytes to all memory that they share with the pool, all the time: each costs its own tasks, and
//! never crashes, hangs or corrupts this process, or what other workers do. The target `stress` has a longer one.

use std::time::{Duration, Instant};

use concurrent_futures_tests::{
    delays,
    functions::double,
    hostile,
    seed::{self, Random},
};

use super::{alone, beside, builder};

/// For how long it goes on here.
const TIME: Duration = Duration::from_secs(3);

#[test]
fn workers_out_of_their_minds() {
    alone(|| {
        let mut seed = seed::of_this_run();
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            hostile::round(&mut Random::new(seed), || builder(2));
            seed = Random::new(seed).next();
        }
    });
}

/// A worker that says of its ring of tasks what cannot be, or has it be full although there is nothing to be done, is killed for
/// that, and a long task that was to be sent to it goes to another one.
#[test]
fn a_long_task_is_not_to_blame_for_its_worker() {
    // Each takes six words of a ring, and so there are two left of 8192.
    const SHORT: u64 = 1365;

    beside(|| {
        for position in [u64::MAX, 0] {
            let pool = builder(1).build().unwrap();
            for n in 1..SHORT {
                assert_eq!(pool.submit(double, n).unwrap().result().unwrap(), 2 * n);
            }
            pool.submit(hostile::forge_position, position).unwrap().result().unwrap();
            let long = pool.submit(|text: String| text.len(), "x".repeat(100_000)).unwrap();
            let outcome = long.result_timeout(delays::scaled(Duration::from_secs(5)));
            assert_eq!(outcome.unwrap().unwrap(), 100_000);
            assert_eq!(pool.stats().worker_deaths, 1);
        }
    });
}

/// There is one place for long answers, and one answer in it at a time. A worker that has many say that theirs is there has this
/// process copy it once.
#[test]
fn one_long_answer_is_copied_once() {
    const LENGTH: u64 = 16 << 20;
    const COUNT: u64 = 60;

    /// How much memory this process has had at most since the last time, in bytes.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    alone(|| {
        let pool = builder(1).build().unwrap();
        peak();
        let before = peak();
        let task = pool.submit(hostile::forge_long_answers, (COUNT, LENGTH)).unwrap();
        assert!(task.result().is_err());
        let more = peak().saturating_sub(before);
        assert!(more < 10 * LENGTH, "{more}");
    });
}
