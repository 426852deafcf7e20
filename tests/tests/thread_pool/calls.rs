//! Nobody sleeps while there is a task: wherever tasks come from, as many of them run at once as there are workers.
//!
//! In most of these tests tasks meet at a barrier, which lets them go when as many have come as were to run at once. So a
//! worker that was not called, or a task that lies where nobody looks, is a hang. The barrier is the standard library's:
//! to the pool, tasks that wait there are tasks that compute, and nobody stands in for them.

use std::{
    sync::{Arc, Barrier, Mutex, mpsc},
    task::{Context, Wake, Waker},
    time::Duration,
};

use concurrent_futures::{Blocked, Future, ReturnWhen, ThreadPoolExecutor, promise, wait};
use concurrent_futures_tests::{Gate, delays, guard::guarded_for, guarded, threads};

use super::{named, occupy, pool, share};

const ROUNDS: usize = 3_000;

fn arrive(barrier: &Barrier) {
    let _leads = barrier.wait();
}

fn meet<S: 'static>(pool: &ThreadPoolExecutor<S>, count: usize) -> Vec<Future<()>> {
    let barrier = Arc::new(Barrier::new(count));
    (0..count)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            pool.spawn(move || arrive(&barrier)).unwrap()
        })
        .collect()
}

fn finish(futures: Vec<Future<()>>) {
    for future in futures {
        future.result().unwrap();
    }
}

/// Tasks that are submitted together from outside run together.
#[test]
fn tasks_from_outside_run_at_once() {
    for workers in [2, 3, 5] {
        guarded(move || {
            let pool = pool(workers);
            for _ in 0..ROUNDS {
                finish(meet(&pool, workers));
            }
            assert_eq!(pool.thread_count(), workers);
        });
    }
}

/// So do tasks that a task submits; it meets them itself, so that it cannot run them in place.
#[test]
fn tasks_from_inside_run_at_once() {
    for workers in [2, 3, 5] {
        guarded(move || {
            let pool = Arc::new(pool(workers));
            for _ in 0..ROUNDS {
                let inner = Arc::clone(&pool);
                let outer = pool.spawn(move || {
                    let barrier = Arc::new(Barrier::new(workers));
                    for _ in 1..workers {
                        let barrier = Arc::clone(&barrier);
                        drop(inner.spawn(move || arrive(&barrier)).unwrap());
                    }
                    barrier.wait();
                });
                outer.unwrap().result().unwrap();
            }
        });
    }
}

/// Short tasks are taken in batches; one among them that takes longer does not hold up those behind it.
#[test]
fn tasks_behind_a_long_one_are_found_by_others() {
    guarded(|| {
        let pool = pool(3);
        for round in 0..ROUNDS / 10 {
            let short: Vec<_> = (0..50).map(|n| pool.spawn(move || n).unwrap()).collect();
            let together = meet(&pool, 3);
            let more: Vec<_> = (0..round % 40).map(|n| pool.spawn(move || n).unwrap()).collect();
            finish(together);
            wait(short.iter().chain(&more), ReturnWhen::AllCompleted);
        }
    });
}

/// Tasks from outside and tasks from inside, at once.
#[test]
fn tasks_from_everywhere_run_at_once() {
    guarded(|| {
        let pool = Arc::new(pool(4));
        for _ in 0..ROUNDS {
            let barrier = Arc::new(Barrier::new(4));
            let (inner, meeting) = (Arc::clone(&pool), Arc::clone(&barrier));
            let outer = pool
                .spawn(move || {
                    let barrier = Arc::clone(&meeting);
                    drop(inner.spawn(move || arrive(&barrier)).unwrap());
                    meeting.wait();
                })
                .unwrap();
            let two: Vec<_> = (0..2)
                .map(|_| {
                    let barrier = Arc::clone(&barrier);
                    pool.spawn(move || arrive(&barrier)).unwrap()
                })
                .collect();
            outer.result().unwrap();
            finish(two);
        }
    });
}

/// A worker that was called and then runs a long task is not one that still searches: the next task calls the other
/// worker. Each round takes both workers through sleep, call and task, so every count that a worker keeps of its rounds
/// goes through all its values.
#[cfg_attr(not(target_os = "linux"), ignore = "sees in /proc when the workers sleep")]
#[test]
fn a_called_worker_that_has_found_a_task_has_stopped_searching() {
    guarded(|| {
        let (builder, prefix) = named();
        let pool = builder.max_workers(2).build().unwrap();
        finish(meet(&pool, 2));
        for _ in 0..200 {
            threads::wait_until_asleep(&prefix);
            let gate = Gate::closed();
            let long = occupy(&pool, &gate, 1);
            assert_eq!(pool.spawn(|| 1).unwrap().result().unwrap(), 1);
            gate.open();
            finish(long);
        }
    });
}

/// A worker that makes room for one that is awake again may have been called for a task just then: the call is passed
/// on to a worker that stays. At the call there are two sleepers, and one worker more than there may be. A call that is not
/// passed on is made up for when the worker leaves, which takes half a second; hence the limit.
#[cfg_attr(not(target_os = "linux"), ignore = "sees in /proc when the workers sleep")]
#[test]
fn a_worker_too_many_passes_its_call_on() {
    guarded_for(delays::scaled(Duration::from_secs(20)), || {
        for _ in 0..100 {
            let (builder, prefix) = named();
            let pool = builder.max_workers(2).build().unwrap();
            let gate = Gate::closed();
            let (promise, promised) = promise::<()>();
            // Sleeps inside its task, so that two others may be awake beside it.
            let resumed = {
                let gate = share(&gate);
                pool.spawn(move || {
                    promised.result().unwrap();
                    gate.pass();
                })
                .unwrap()
            };
            finish(meet(&pool, 2));
            threads::wait_until_asleep(&prefix);
            assert_eq!(pool.thread_count(), 3);
            // Now it is awake, and there are two that may be called.
            promise.set_result(()).unwrap();
            gate.wait_for_arrivals(1);
            assert_eq!(pool.spawn(|| 1).unwrap().result().unwrap(), 1);
            gate.open();
            resumed.result().unwrap();
        }
    });
}

/// What wakes an async task when a future ends may submit tasks of its own, in the worker, which was counted free a
/// moment before. A task that was submitted from outside in that moment, and relies on it, does not wait for these.
#[test]
fn a_waker_that_submits_does_not_hide_a_task_from_outside() {
    struct Submits {
        pool: Arc<ThreadPoolExecutor>,
        submitted: Arc<Gate>,
        outside: Arc<Gate>,
        behind: Arc<Gate>,
    }

    impl Wake for Submits {
        fn wake(self: Arc<Self>) {
            let behind = Arc::clone(&self.behind);
            drop(self.pool.spawn(move || behind.pass()).unwrap());
            self.submitted.pass();
            self.outside.pass();
        }
    }

    guarded(|| {
        let pool = Arc::new(pool(2));
        let (start, submitted) = (Gate::closed(), Gate::closed());
        let (outside, behind) = (Gate::closed(), Gate::closed());
        submitted.open();
        // Both workers are there; one is kept busy until both tasks wait.
        finish(meet(&pool, 2));
        let starts = share(&start);
        let mut future = pool.spawn(move || starts.pass()).unwrap();
        let waker = Waker::from(Arc::new(Submits {
            pool: Arc::clone(&pool),
            submitted: share(&submitted),
            outside: share(&outside),
            behind: share(&behind),
        }));
        assert!(
            Future::poll(std::pin::Pin::new(&mut future), &mut Context::from_waker(&waker))
                .is_pending()
        );
        start.open();
        submitted.wait_for_arrivals(1);
        let opens = share(&behind);
        let late = pool.spawn(move || opens.open()).unwrap();
        outside.open();
        late.result().unwrap();
    });
}

/// A worker that sleeps inside a task, by whatever means it says so, is stood in for: also if the task that it waits for
/// was queued before, and everybody was busy then.
#[test]
fn a_worker_that_blocks_leaves_its_place_to_others() {
    guarded(|| {
        for _ in 0..ROUNDS / 10 {
            let pool = Arc::new(pool(1));
            let (sender, receiver) = mpsc::channel();
            let receiver = Mutex::new(receiver);
            let inner = Arc::clone(&pool);
            let waits = pool
                .spawn(move || {
                    drop(inner.spawn(move || sender.send(7).unwrap()).unwrap());
                    let _out_of_action = Blocked::enter();
                    receiver.lock().unwrap().recv().unwrap()
                })
                .unwrap();
            assert_eq!(waits.result().unwrap(), 7);
        }
    });
}

/// A lock that says that it waits may be built on another that does so as well. The worker counts as asleep once.
#[test]
fn a_worker_that_says_twice_that_it_sleeps_counts_once() {
    guarded(|| {
        let pool = pool(1);
        let (promise, promised) = promise::<u64>();
        let waits = pool
            .spawn(move || {
                let _outer = Blocked::enter();
                let _inner = Blocked::enter();
                promised.result().unwrap()
            })
            .unwrap();
        while !waits.running() {
            std::thread::yield_now();
        }
        pool.spawn(move || promise.set_result(3).unwrap()).unwrap().result().unwrap();
        assert_eq!(waits.result().unwrap(), 3);
        assert_eq!(pool.spawn(|| 4).unwrap().result().unwrap(), 4);
    });
}
