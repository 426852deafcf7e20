//! How many threads there are: none before they are needed, one for each task that finds nobody free, and never another
//! while one is free.

use std::{
    collections::HashSet,
    sync::{Arc, Barrier},
    thread,
};

use concurrent_futures::{
    BuildError, Future, MapOptions, ReturnWhen, ThreadPoolExecutor, as_completed, wait,
};
use concurrent_futures_tests::{Gate, guarded, threads};

use super::{named, occupy, pool, share};

/// Enough rounds for a rare interleaving to come up.
const ROUNDS: usize = 10_000;

/// Python's default, for the processors that this process may use.
#[test]
fn f098_the_default_is_four_more_than_the_processors() {
    let processors = thread::available_parallelism().unwrap().get();
    assert_eq!(ThreadPoolExecutor::new().max_workers(), (processors + 4).min(32));
    assert_eq!(
        ThreadPoolExecutor::default().max_workers(),
        ThreadPoolExecutor::new().max_workers()
    );
}

/// Choices that make no sense are typed errors, at construction.
#[test]
fn f099_choices_are_checked_at_construction() {
    let error = ThreadPoolExecutor::with_max_workers(0).unwrap_err();
    assert_eq!(error, BuildError::ZeroWorkers);
    assert_eq!(error.to_string(), "max_workers must be at least 1");
    let error = ThreadPoolExecutor::builder().thread_name_prefix("a\0b").build().unwrap_err();
    assert_eq!(error, BuildError::NulInName);
    assert_eq!(pool(1).max_workers(), 1);
}

/// A pool that is never used never has a thread.
#[test]
fn f100_there_is_no_thread_before_the_first_task() {
    guarded(|| {
        let pool = pool(4);
        assert_eq!(pool.thread_count(), 0);
        pool.shutdown();
        assert_eq!(pool.thread_count(), 0);
    });
}

/// Tasks that find everybody busy get a thread each, up to the limit.
#[test]
fn f100_busy_workers_are_joined_by_others_up_to_the_limit() {
    guarded(|| {
        let pool = pool(3);
        let gate = Gate::closed();
        for count in 1..=3 {
            drop(occupy(&pool, &gate, 1));
            assert_eq!(pool.thread_count(), count);
        }
        let queued: Vec<_> = (0..10).map(|n| pool.submit(|n| n, n).unwrap()).collect();
        assert_eq!(pool.thread_count(), 3);
        assert!(!queued.iter().any(Future::done));
        gate.open();
        assert!(queued.into_iter().map(|future| future.result().unwrap()).eq(0..10));
        assert_eq!(pool.thread_count(), 3);
    });
}

/// Whoever has seen a result finds the worker free that has made it: tasks one after another need one thread. The
/// window is the time between the completion and the worker's next look at the queue, and every round goes through it.
#[test]
fn f101_one_task_after_another_needs_one_thread() {
    guarded(|| {
        let pool = pool(8);
        for n in 0..ROUNDS {
            assert_eq!(pool.submit(|n| n + 1, n).unwrap().result().unwrap(), n + 1);
        }
        assert_eq!(pool.thread_count(), 1);
    });
}

/// It does not matter how one learns that the task has ended.
#[test]
fn f101_every_way_to_learn_of_the_end_finds_the_worker_free() {
    guarded(|| {
        let pool = pool(8);
        for n in 0..ROUNDS / 10 {
            let future = pool.spawn(move || n).unwrap();
            wait([&future], ReturnWhen::AllCompleted);
            let future = pool.spawn(move || n).unwrap();
            wait([&future], ReturnWhen::FirstCompleted);
            let future = pool.spawn(move || n).unwrap();
            assert_eq!(as_completed([future]).count(), 1);
            let future = pool.spawn(move || n).unwrap();
            while !future.done() {
                thread::yield_now();
            }
            let future = pool.spawn(move || n).unwrap().share();
            assert_eq!(*future.result().unwrap(), n);
            let future = pool.spawn(|| panic!("quietly")).unwrap();
            let never: Result<(), _> = future.result();
            assert!(never.unwrap_err().is_panic());
        }
        let one_by_one = MapOptions::new().buffersize(1);
        assert_eq!(pool.map_with(one_by_one, |n| n, 0..ROUNDS / 10).unwrap().count(), ROUNDS / 10);
        assert_eq!(pool.thread_count(), 1);
    });
}

/// The same for two at a time: two workers are free, and both are found.
#[test]
fn f101_two_at_a_time_need_two_threads() {
    guarded(|| {
        let pool = pool(8);
        for n in 0..ROUNDS {
            let (one, two) = (pool.spawn(move || n).unwrap(), pool.spawn(move || n).unwrap());
            one.result().unwrap();
            two.result().unwrap();
        }
        assert!(pool.thread_count() <= 2, "{} threads", pool.thread_count());
    });
}

/// Workers that run callbacks are not free; once they have, they are found free again, and none is counted twice.
#[cfg_attr(not(target_os = "linux"), ignore = "sees in /proc when the workers sleep")]
#[test]
fn f101_callbacks_do_not_upset_the_count() {
    guarded(|| {
        let (builder, prefix) = named();
        let pool = builder.max_workers(8).build().unwrap();
        for n in 0..ROUNDS / 10 {
            let future = pool.spawn(move || n).unwrap();
            future.add_done_callback(|completed| assert!(completed.exception().is_none()));
            assert_eq!(future.result().unwrap(), n);
            threads::wait_until_asleep(&prefix);
        }
        assert_eq!(pool.thread_count(), 1);
        // Without a pause another thread may be needed, but what is counted stays right.
        for n in 0..ROUNDS {
            let future = pool.spawn(move || n).unwrap();
            future.add_done_callback(|completed| assert!(!completed.cancelled()));
            assert_eq!(future.result().unwrap(), n);
        }
        threads::wait_until_asleep(&prefix);
        let threads = pool.thread_count();
        assert!(threads <= 8);
        for n in 0..ROUNDS {
            assert_eq!(pool.spawn(move || n).unwrap().result().unwrap(), n);
        }
        assert_eq!(pool.thread_count(), threads);
    });
}

/// A worker that runs a slow callback is out of action, though it was counted free a moment before: a task that is
/// submitted meanwhile starts at once, in another thread.
#[test]
fn f101_a_slow_callback_does_not_hold_up_the_next_task() {
    guarded(|| {
        let pool = pool(2);
        let (start, gate) = (Gate::closed(), Gate::closed());
        for _ in 0..2 {
            // The second round finds both workers there.
            let future = {
                let start = share(&start);
                pool.spawn(move || start.pass()).unwrap()
            };
            let arrived = gate.arrived();
            let slow = share(&gate);
            future.add_done_callback(move |_| slow.pass());
            start.open();
            future.result().unwrap();
            // Perhaps before the callback has begun, perhaps after.
            assert_eq!(pool.spawn(|| 1).unwrap().result().unwrap(), 1);
            gate.wait_for_arrivals(arrived + 1);
            assert_eq!(pool.spawn(|| 2).unwrap().result().unwrap(), 2);
            gate.open();
        }
        assert_eq!(pool.thread_count(), 2);
    });
}

/// The same where both happen at once: the callback and the next task race for the worker, and the callback waits for the
/// task.
#[test]
fn f101_a_callback_may_wait_for_the_next_task() {
    guarded(|| {
        let pool = pool(2);
        for n in 0..ROUNDS / 10 {
            let (start, gate) = (Gate::closed(), Gate::closed());
            let (starts, waits, opens) = (share(&start), share(&gate), share(&gate));
            let future = pool
                .spawn(move || {
                    starts.pass();
                    n
                })
                .unwrap();
            future.add_done_callback(move |_| waits.pass());
            start.open();
            assert_eq!(future.result().unwrap(), n);
            pool.spawn(move || opens.open()).unwrap().result().unwrap();
        }
    });
}

/// Names are the prefix, an underscore and a number; the default prefix is Python's.
#[test]
fn f103_threads_are_numbered_behind_their_prefix() {
    guarded(|| {
        let name = || thread::current().name().map(str::to_owned);
        let pool = ThreadPoolExecutor::builder()
            .max_workers(3)
            .thread_name_prefix("download")
            .build()
            .unwrap();
        assert_eq!(pool.thread_name_prefix(), "download");
        let gate = Gate::closed();
        let names: Vec<_> = (0..3)
            .map(|_| {
                let gate = share(&gate);
                pool.spawn(move || {
                    gate.pass();
                    name().unwrap()
                })
                .unwrap()
            })
            .collect();
        gate.wait_for_arrivals(3);
        gate.open();
        let names: HashSet<_> = names.into_iter().map(|name| name.result().unwrap()).collect();
        let expected = ["download_0", "download_1", "download_2"].map(str::to_owned);
        assert_eq!(names, HashSet::from(expected));

        let (one, two) = (ThreadPoolExecutor::new(), ThreadPoolExecutor::new());
        assert_ne!(one.thread_name_prefix(), two.thread_name_prefix());
        let name = one.spawn(name).unwrap().result().unwrap().unwrap();
        assert_eq!(name, format!("{}_0", one.thread_name_prefix()));
        assert!(name.starts_with("ThreadPoolExecutor-"), "{name}");
    });
}

/// Two submissions do not count on the same idle worker.
///
/// tokio's issue 8056: its blocking pool of that time decided from a count of idle threads whether to wake one or to start
/// another. A submission saw one idle thread and woke it; before that thread had taken itself off the count, the next
/// submission saw it too, and relied on it. When the first task then waited for the second, nobody came. Here the tasks of
/// each round wait for each other, out of the pool's sight, so that each of them needs a worker of its own; workers of the
/// round before are idle, on their way to sleep, or leaving, when those of the next one are submitted, by one thread or
/// by one for each.
#[test]
fn tasks_that_wait_for_each_other_all_have_a_worker() {
    guarded(|| {
        for workers in 2..=4 {
            let (choices, _) = named();
            // So short that some leave between two rounds.
            let choices = choices.idle_timeout(std::time::Duration::from_micros(50));
            let pool = choices.max_workers(workers).build().unwrap();
            for round in 0..ROUNDS / 50 {
                let meeting = Arc::new(Barrier::new(workers));
                let submit = || {
                    let meeting = Arc::clone(&meeting);
                    pool.spawn(move || meeting.wait().is_leader()).unwrap()
                };
                let futures: Vec<_> = if round.is_multiple_of(2) {
                    (0..workers).map(|_| submit()).collect()
                } else {
                    thread::scope(|scope| {
                        let submitters: Vec<_> =
                            (0..workers).map(|_| scope.spawn(submit)).collect();
                        submitters.into_iter().map(|thread| thread.join().unwrap()).collect()
                    })
                };
                let leaders = futures.into_iter().filter_map(|future| future.result().ok());
                assert_eq!(leaders.filter(|leads| *leads).count(), 1);
            }
        }
    });
}
