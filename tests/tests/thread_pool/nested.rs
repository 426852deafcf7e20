//! Tasks that wait for tasks of their own pool: Python documents the deadlock, and here there is none.

use std::{
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::Duration,
};

use concurrent_futures::{
    CompletionSet, Executor, ExecutorExt, Future, InlineExecutor, MapOptions, Progress, ReturnWhen,
    Shutdown, ThreadPoolExecutor, as_completed, as_completed_timeout, promise, wait, wait_timeout,
};
use concurrent_futures_tests::{Gate, MinimalExecutor, WireExecutor, delays, guarded};

use super::{occupy, pool, share};

type Pool = Arc<ThreadPoolExecutor>;

/// Runs `task` in a pool of one worker, then of two, then of three.
fn inside<R: Send + 'static>(task: impl Fn(Pool) -> R + Clone + Send + 'static) -> Vec<R> {
    [1, 2, 3]
        .into_iter()
        .map(|workers| {
            let task = task.clone();
            guarded(move || {
                let pool = Arc::new(pool(workers));
                let inner = Arc::clone(&pool);
                pool.spawn(move || task(inner)).unwrap().result().unwrap()
            })
        })
        .collect()
}

fn numbers(pool: &Pool, count: u64) -> Vec<Future<u64>> {
    (0..count).map(|n| pool.spawn(move || n).unwrap()).collect()
}

/// The example of Python's documentation: each waits for the other's result, with one worker and with two.
#[test]
fn f111_the_documented_deadlock() {
    guarded(|| {
        let pool = Arc::new(pool(1));
        let inner = Arc::clone(&pool);
        let outer = pool.spawn(move || {
            let future = inner.spawn(|| u64::pow(5, 2)).unwrap();
            future.result().unwrap()
        });
        assert_eq!(outer.unwrap().result().unwrap(), 25);

        let pool = Arc::new(self::pool(2));
        let (a, b_gives) = promise::<Future<u64>>();
        let (b, a_gives) = promise::<Future<u64>>();
        let waits_on_b = pool.spawn(move || b_gives.result().map(drop)).unwrap();
        let waits_on_a = pool.spawn(move || a_gives.result().map(drop)).unwrap();
        // Two that wait for two tasks which are behind them.
        let answers = numbers(&pool, 2).into_iter();
        for (promise, answer) in [a, b].into_iter().zip(answers) {
            pool.spawn(move || promise.set_result(answer).map_err(drop)).unwrap().wait();
        }
        waits_on_b.result().unwrap().unwrap();
        waits_on_a.result().unwrap().unwrap();
    });
}

fn fibonacci(pool: &Pool, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let futures = [n - 1, n - 2].map(|n| {
        let inner = Arc::clone(pool);
        pool.spawn(move || fibonacci(&inner, n)).unwrap()
    });
    futures.into_iter().map(|future| future.result().unwrap()).sum()
}

/// Recursion by submitting and waiting, at every level by every worker.
#[test]
fn p01_recursion() {
    assert_eq!(inside(|pool| fibonacci(&pool, 16)), [987; 3]);
}

/// As deep as it is wide: each task waits for one that it has submitted itself.
#[test]
fn p01_a_long_chain() {
    fn chain(pool: &Pool, depth: u64) -> u64 {
        if depth == 0 {
            return 0;
        }
        let inner = Arc::clone(pool);
        pool.spawn(move || chain(&inner, depth - 1)).unwrap().result().unwrap() + 1
    }
    assert_eq!(inside(|pool| chain(&pool, 200)), [200; 3]);
}

/// Waiting in every way there is, for tasks that wait behind the one that waits.
#[test]
fn p01_every_way_to_wait() {
    let sums = inside(|pool| {
        let mut sums = Vec::new();
        sums.push(numbers(&pool, 20).into_iter().map(|f| f.result().unwrap()).sum());
        for when in [ReturnWhen::AllCompleted, ReturnWhen::FirstException] {
            let waited = wait(numbers(&pool, 20), when);
            assert!(waited.not_done.is_empty());
            sums.push(waited.done.into_iter().map(|f| f.result().unwrap()).sum());
        }
        sums.push(as_completed(numbers(&pool, 20)).map(|f| f.result().unwrap()).sum());
        let mut set: CompletionSet<_> = numbers(&pool, 20).into_iter().collect();
        let mut sum = 0;
        while let Some(future) = set.next() {
            sum += future.result().unwrap();
        }
        sums.push(sum);
        let shared: Vec<_> = numbers(&pool, 20).into_iter().map(Future::share).collect();
        sums.push(shared.iter().map(|future| *future.result().unwrap()).sum());
        sums.push(pool.map(|n| n, 0..20).map(Result::unwrap).sum());
        let options = || MapOptions::new().buffersize(3);
        let mapped = pool.map_with(options().chunksize(2), |n| n, 0..20).unwrap();
        sums.push(mapped.map(Result::unwrap).sum());
        let mapped = pool.map_with(options().unordered(), |n| n, 0..20).unwrap();
        sums.push(mapped.map(Result::unwrap).sum());
        assert!(numbers(&pool, 20).into_iter().all(|future| future.exception().is_none()));
        sums
    });
    assert!(sums.into_iter().flatten().all(|sum: u64| sum == 190));
}

/// Waiting with a deadline, which does not run tasks in place, but lets another thread do so.
#[test]
fn p01_every_way_to_wait_with_a_deadline() {
    let sums = inside(|pool| {
        let mut sums = Vec::new();
        let timed = |future: Future<u64>| future.result_timeout(delays::long()).unwrap().unwrap();
        sums.push(numbers(&pool, 10).into_iter().map(timed).sum());
        let all = ReturnWhen::AllCompleted;
        let waited = wait_timeout(numbers(&pool, 10), delays::long(), all);
        assert!(waited.not_done.is_empty());
        sums.push(waited.done.into_iter().map(timed).sum());
        let completed = as_completed_timeout(numbers(&pool, 10), delays::long());
        sums.push(completed.map(|future| timed(future.unwrap())).sum());
        let options = MapOptions::new().timeout(delays::long());
        sums.push(pool.map_with(options, |n| n, 0..10).unwrap().map(Result::unwrap).sum());
        sums
    });
    assert!(sums.into_iter().flatten().all(|sum: u64| sum == 45));
}

/// Waiting again and again, each time for next to nothing. A stand-in needs longer than that to begin, and finds each
/// time that there is no room for it; it must not give up.
#[test]
fn p01_waiting_in_tiny_steps() {
    let counts = inside(|pool| {
        let mut future = pool.spawn(|| 3).unwrap();
        loop {
            match future.result_timeout(Duration::from_micros(1)) {
                Ok(outcome) => break outcome.unwrap(),
                Err(timeout) => future = timeout.into_inner(),
            }
        }
    });
    assert_eq!(counts, [3; 3]);
}

/// A task that waits for a promise, which a task behind it keeps: there is nothing to run in place.
#[test]
fn p01_waiting_for_what_another_task_completes() {
    let kept = inside(|pool| {
        let mut last = 0;
        for n in 0..50 {
            let (promise, promised) = promise();
            let keeps = pool.spawn(move || promise.set_result(n).unwrap()).unwrap();
            last += promised.result().unwrap();
            keeps.result().unwrap();
        }
        last
    });
    assert_eq!(kept, [1225; 3]);
}

/// All workers wait at once, and what they wait for comes later and from outside.
#[test]
fn p01_all_workers_wait_for_what_comes_later() {
    guarded(|| {
        let pool = pool(3);
        let (promises, waiting): (Vec<_>, Vec<_>) = (0..10)
            .map(|_| {
                let (promise, promised) = promise::<u64>();
                (promise, pool.spawn(move || promised.result().unwrap()).unwrap())
            })
            .unzip();
        for (n, promise) in (0..).zip(promises) {
            pool.spawn(move || promise.set_result(n).unwrap()).unwrap().result().unwrap();
        }
        assert!(waiting.into_iter().map(|future| future.result().unwrap()).eq(0..10));
        // The stand-ins are gone, or will be when they are needed no more.
        assert_eq!(pool.spawn(|| 1).unwrap().result().unwrap(), 1);
    });
}

/// Runs `take` in a task that has submitted two others: a slow one, which ends when it is told to, and a quick one. Both
/// wait in the queue then. The quick one gets a worker once the slow one has begun, wherever that is.
fn first_of_two(
    take: impl FnOnce([Future<u64>; 2], mpsc::Sender<u64>) -> u64 + Send + 'static,
) -> u64 {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let (gate, begun) = (Gate::closed(), Gate::closed());
        begun.open();
        let busy = occupy(&pool, &gate, 1);
        let (inner, begins) = (Arc::clone(&pool), share(&begun));
        let outer = pool.spawn(move || {
            let (release, released) = mpsc::channel();
            let slow = inner
                .spawn(move || {
                    begins.pass();
                    released.recv().unwrap()
                })
                .unwrap();
            let quick = inner.spawn(|| 2).unwrap();
            take([slow, quick], release)
        });
        begun.wait_for_arrivals(1);
        gate.open();
        drop(busy);
        outer.unwrap().result().unwrap()
    })
}

/// When the first of several is waited for, the others may wait for what is done when it is there. So none of them is
/// run in place by the worker that waits: it might never come back from that one.
#[test]
#[ignore = "fails: `wait` for the first of several runs them in place one after another (crates/future/src/wait.rs)"]
fn p01_the_first_of_several_may_release_the_others() {
    let sum = first_of_two(|futures, release| {
        let waited = wait(futures, ReturnWhen::FirstCompleted);
        release.send(1).unwrap();
        let all = waited.done.into_iter().chain(waited.not_done);
        all.map(|future| future.result().unwrap()).sum()
    });
    assert_eq!(sum, 3);
}

/// The same for whoever takes futures as they end.
#[test]
#[ignore = "fails: a `CompletionSet` runs its futures in place one after another (crates/future/src/completion.rs)"]
fn p01_the_first_to_complete_may_release_the_others() {
    let sum = first_of_two(|futures, release| {
        as_completed(futures)
            .map(|future| {
                // Nobody listens when the slow one has come out.
                release.send(1).unwrap_or_default();
                future.result().unwrap()
            })
            .sum()
    });
    assert_eq!(sum, 3);
}

/// A task that a worker runs in place is not ended by its entry in the queue, which another worker comes to meanwhile.
/// It was: the other worker's handle took the running future for its own unfinished business.
#[test]
fn p01_the_entry_of_a_task_in_place_does_nothing() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let (busy, in_place) = (Gate::closed(), Gate::closed());
        let occupied = occupy(&pool, &busy, 1);
        let (inner, passing) = (Arc::clone(&pool), share(&in_place));
        let outer = pool
            .spawn(move || {
                let future = inner.spawn(move || {
                    passing.pass();
                    7
                });
                future.unwrap().result()
            })
            .unwrap();
        in_place.wait_for_arrivals(1);
        busy.open();
        drop(occupied);
        // Behind the entry in the queue, so that the free worker has been there when this has run.
        for _ in 0..10 {
            pool.spawn(|| ()).unwrap().result().unwrap();
        }
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        in_place.open();
        assert_eq!(outer.result().unwrap().unwrap(), 7);
    });
}

/// A task that another worker is running already is slept for, and a third thread takes the sleeper's place.
#[test]
fn p01_a_running_task_is_slept_for() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let gate = Gate::closed();
        let passing = share(&gate);
        let running = pool.spawn(move || passing.pass()).unwrap();
        gate.wait_for_arrivals(1);
        let waits = pool.spawn(move || running.result().unwrap()).unwrap();
        let opens = share(&gate);
        // Both workers are out of action, one computing and one asleep.
        pool.spawn(move || opens.open()).unwrap().result().unwrap();
        waits.result().unwrap();
    });
}

/// A task that waits by a lock that the library does not know of is one that computes; others go on.
#[test]
fn p01_a_foreign_lock_is_no_wait() {
    guarded(|| {
        let pool = pool(2);
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let waiting = Arc::clone(&pair);
        let waits = pool
            .spawn(move || {
                let (open, changed) = &*waiting;
                let guard = changed.wait_while(open.lock().unwrap(), |open| !*open);
                drop(guard.unwrap());
            })
            .unwrap();
        for n in 0..100 {
            assert_eq!(pool.spawn(move || n).unwrap().result().unwrap(), n);
        }
        *pair.0.lock().unwrap() = true;
        pair.1.notify_all();
        waits.result().unwrap();
        assert_eq!(pool.thread_count(), 2);
    });
}

/// Tasks of other executors inside a task: each knows its own, and the pool does not take their end for its worker's.
#[test]
fn p01_executors_inside_executors() {
    let sums = inside(|pool| {
        let executors: [Box<dyn Executor>; 3] = [
            Box::new(InlineExecutor::new()),
            Box::new(MinimalExecutor::new()),
            Box::new(WireExecutor::new(2)),
        ];
        let mut sum = 0;
        for executor in executors {
            sum += executor.submit(|n: u64| n + 1, 1).unwrap().result().unwrap();
            sum += executor.map(|n: u64| n, 0..10).map(Result::unwrap).sum::<u64>();
            sum += numbers(&pool, 10).into_iter().map(|f| f.result().unwrap()).sum::<u64>();
        }
        sum
    });
    assert_eq!(sums, [276; 3]);
}

/// An executor that runs its tasks in the caller's thread may be used inside a task. The end of such a task is not the end
/// of the worker's, which goes on computing: a task that is submitted meanwhile gets another thread.
#[test]
fn p42_a_task_inside_a_task_does_not_free_the_worker() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let inner = Arc::clone(&pool);
        let outer = pool.spawn(move || {
            InlineExecutor::new().submit(|()| (), ()).unwrap().result().unwrap();
            let (sender, receiver) = mpsc::channel();
            // From a thread that is no worker, as tasks that a worker submits are looked after differently.
            thread::scope(|scope| {
                scope.spawn(|| drop(inner.spawn(move || sender.send(5).unwrap()).unwrap()));
            });
            receiver.recv().unwrap()
        });
        assert_eq!(outer.unwrap().result().unwrap(), 5);
    });
}

/// Nor is it one of the pool's tasks in its statistics.
#[test]
fn p50_a_task_inside_a_task_is_not_counted() {
    guarded(|| {
        let pool = pool(1);
        let outer = pool.spawn(|| InlineExecutor::new().map(|n| n, 0..5_u64).count()).unwrap();
        assert_eq!(outer.result().unwrap(), 5);
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.running, stats.succeeded), (1, 0, 1));
    });
}

/// Threads that stand in are no more than there are sleepers, and go when they are not needed any more.
#[test]
fn p01_there_is_one_thread_more_for_each_sleeper() {
    guarded(|| {
        let pool = Arc::new(
            ThreadPoolExecutor::builder()
                .max_workers(2)
                .idle_timeout(delays::short())
                .build()
                .unwrap(),
        );
        let (promise, promised) = promise::<()>();
        let promised = promised.share();
        let progress = Progress::new();
        let sleepers: Vec<_> = (0..10)
            .map(|_| {
                let promised = promised.clone();
                let future = pool.spawn(move || *promised.result().unwrap()).unwrap();
                progress.watch(&future);
                future
            })
            .collect();
        while progress.snapshot().running() < 10 {
            thread::sleep(delays::poll());
        }
        assert_eq!(pool.spawn(|| 1).unwrap().result().unwrap(), 1);
        assert!((11..=12).contains(&pool.thread_count()), "{}", pool.thread_count());
        promise.set_result(()).unwrap();
        sleepers.into_iter().for_each(|future| future.result().unwrap());
        while pool.thread_count() > 0 {
            thread::sleep(delays::poll());
        }
    });
}
