//! What is kept alive and for how long, and what runs while a lock is held: nothing of the user's, ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use concurrent_futures::{
    Executor, Future, InlineExecutor, MapOptions, Shutdown, ShutdownError, SubmitError, Task,
    ThreadPoolExecutor, local,
};
use concurrent_futures_tests::{
    Gate,
    drops::{DropCounter, Token},
    guarded,
};

use super::{occupy, pool, share};

/// What a task has captured and what it was given is gone before anybody can see that it has ended.
#[test]
fn p48_captures_are_gone_before_the_result_is_there() {
    guarded(|| {
        let pool = pool(2);
        let counter = DropCounter::new();
        for n in 0..2_000 {
            let (captured, argument) = (counter.token(), counter.token());
            let task = move |_argument: Token| {
                let _captured = &captured;
                n
            };
            let future = pool.submit(task, argument).unwrap();
            while !future.done() {
                thread::yield_now();
            }
            assert_eq!(counter.alive(), 0);
            assert_eq!(future.result().unwrap(), n);
        }
    });
}

/// The same for a task that panics.
#[test]
fn p48_captures_are_gone_before_the_error_is_there() {
    guarded(|| {
        let pool = pool(1);
        let counter = DropCounter::new();
        for _ in 0..20 {
            let (captured, argument) = (counter.token(), counter.token());
            let task = move |_argument: Token| -> u64 {
                let _captured = captured;
                panic!("with captures");
            };
            let future = pool.submit(task, argument).unwrap();
            assert!(future.exception().unwrap().is_panic());
            assert_eq!(counter.alive(), 0);
            drop(future);
        }
    });
}

/// A result belongs to whoever takes it. One that nobody takes goes with the handle, or with the task if the handle went
/// first.
#[test]
fn p48_results_live_as_long_as_their_handle() {
    guarded(|| {
        let pool = pool(2);
        let counter = DropCounter::new();
        for _ in 0..500 {
            let made = counter.clone();
            let kept = pool.spawn(move || made.token()).unwrap();
            kept.wait();
            assert_eq!(counter.alive(), 1);
            drop(kept);
            assert_eq!(counter.alive(), 0);
        }
        for _ in 0..500 {
            let made = counter.clone();
            drop(pool.spawn(move || made.token()).unwrap());
        }
        pool.shutdown();
        assert_eq!((counter.made(), counter.alive()), (1000, 0));
    });
}

/// Cancelling drops the task at once, though its entry stays in the queue.
#[test]
fn p48_a_cancelled_task_is_dropped_at_once() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let counter = DropCounter::new();
        let futures: Vec<_> = (0..10)
            .map(|_| {
                let token = counter.token();
                pool.spawn(move || drop(token)).unwrap()
            })
            .collect();
        for (n, future) in futures.iter().enumerate() {
            assert!(future.cancel());
            assert_eq!(counter.dropped(), n + 1);
        }
        gate.open();
        drop(busy);
    });
}

/// Every task and every result is dropped once, whatever becomes of it.
#[test]
fn p48_everything_is_dropped_once() {
    guarded(|| {
        let counter = DropCounter::new();
        for workers in 1..4 {
            let pool = pool(workers);
            for n in 0..300 {
                let (captured, made) = (counter.token(), counter.clone());
                let task = move || {
                    drop(captured);
                    assert!(n % 7 != 0, "a seventh");
                    made.token()
                };
                let future = pool.spawn(task).unwrap();
                match n % 5 {
                    0 => drop(future),
                    1 => drop(future.cancel()),
                    2 => drop(future.result()),
                    3 => future.on_done(drop),
                    _ => drop(future.share().result().map(|_| ())),
                }
            }
            let tokens: Vec<_> = (0..100).map(|_| counter.token()).collect();
            let options = MapOptions::new().chunksize(3).buffersize(10);
            let mapped = pool.map_with(options, |token| token, tokens).unwrap();
            assert_eq!(mapped.take(20).filter(Result::is_ok).count(), 20);
            pool.shutdown_with(Shutdown::wait().cancel_futures()).unwrap();
        }
        assert_eq!(counter.alive(), 0);
    });
}

/// What the initializer has captured goes with the pool.
#[test]
fn p48_the_initializer_goes_with_the_pool() {
    guarded(|| {
        let counter = DropCounter::new();
        let captured = counter.token();
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .initializer(move || drop(captured.clone()))
            .build()
            .unwrap();
        pool.spawn(|| ()).unwrap().result().unwrap();
        drop(pool);
        assert_eq!(counter.alive(), 0);
    });
}

/// Uses the pool in every way when it is dropped.
struct UsesPool {
    pool: Arc<ThreadPoolExecutor>,
    uses: Arc<AtomicUsize>,
}

impl Drop for UsesPool {
    fn drop(&mut self) {
        // Refused if the pool has been shut down by now.
        drop(self.pool.spawn(|| ()));
        let _threads = (self.pool.thread_count(), Executor::max_workers(&*self.pool));
        drop(format!("{:?}", self.pool));
        self.uses.fetch_add(1, Ordering::SeqCst);
    }
}

/// No lock is held while anything of the user's is dropped: destructors of captures, of results and of cancelled tasks use
/// the pool, and do not find it locked.
#[test]
fn p45_destructors_may_use_the_pool() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let uses = Arc::new(AtomicUsize::new(0));
        let user = || UsesPool { pool: Arc::clone(&pool), uses: Arc::clone(&uses) };

        let captured = user();
        pool.spawn(move || drop(captured)).unwrap().result().unwrap();
        let returned = user();
        drop(pool.spawn(move || returned).unwrap().result().unwrap());
        let returned = user();
        drop(pool.spawn(move || returned).unwrap());
        let captured = user();
        pool.spawn(|| ()).unwrap().add_done_callback(move |_| drop(captured));

        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 2);
        let cancelled: Vec<_> = (0..3)
            .map(|_| {
                let captured = user();
                pool.spawn(move || drop(captured)).unwrap()
            })
            .collect();
        assert!(cancelled[0].cancel());
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert!(cancelled.iter().all(Future::cancelled));
        // Refused, and dropped with the error.
        let captured = user();
        drop(pool.spawn(move || drop(captured)).unwrap_err());
        gate.open();
        pool.shutdown();
        assert!(busy.iter().all(Future::done));
        assert_eq!(uses.load(Ordering::SeqCst), 8);
    });
}

/// A destructor may even wait for a task: that of a result that nobody takes runs in the worker, which was about to look
/// for the next task.
#[test]
#[ignore = "fails: a result is dropped while its worker counts as free (crates/future/src/cell.rs)"]
fn p45_the_destructor_of_a_result_may_wait() {
    struct Waits {
        pool: Arc<ThreadPoolExecutor>,
        done: Arc<Gate>,
    }
    impl Drop for Waits {
        fn drop(&mut self) {
            let gate = Gate::closed();
            let opens = share(&gate);
            // From a thread that is no worker: a worker's own tasks are looked after differently.
            thread::scope(|scope| {
                scope.spawn(|| drop(self.pool.spawn(move || opens.open()).unwrap()));
            });
            gate.pass();
            self.done.open();
        }
    }

    guarded(|| {
        let pool = Arc::new(pool(2));
        let (start, done) = (Gate::closed(), Gate::closed());
        let (starts, ends, inner) = (share(&start), share(&done), Arc::clone(&pool));
        let future = pool.spawn(move || {
            starts.pass();
            Waits { pool: inner, done: ends }
        });
        drop(future.unwrap());
        start.open();
        done.pass();
    });
}

/// The pool's description takes its lock, and may be asked for at any time.
#[test]
fn p50_a_pool_describes_its_load() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 2);
        let queued: Vec<_> = (0..3).map(|n| pool.spawn(move || n).unwrap()).collect();
        let text = format!("{pool:?}");
        for part in ["max_workers: 2", "threads: 2", "queued: 3", "shut_down: false"] {
            assert!(text.contains(part), "{text}");
        }
        gate.open();
        pool.shutdown();
        let text = format!("{pool:?}");
        assert!(text.contains("threads: 0") && text.contains("shut_down: true"), "{text}");
        assert!(busy.iter().all(Future::done) && queued.iter().all(Future::done));
    });
}

/// A task that the pool has refused is none of its tasks when somebody else runs it, even in one of its workers. It was once
/// counted among those that had succeeded.
#[test]
fn p50_a_refused_task_is_not_counted_by_whoever_runs_it() {
    /// Runs in the submitting thread what the pool refuses.
    struct OrInline(Arc<ThreadPoolExecutor>);

    impl Executor for OrInline {
        fn execute(&self, task: Task) -> Result<(), SubmitError<Task>> {
            let refused = self.0.execute(task);
            refused.or_else(|refused| InlineExecutor::new().execute(refused.into_inner()))
        }

        fn max_workers(&self) -> usize {
            self.0.max_workers()
        }

        fn shutdown_with(&self, how: Shutdown) -> Result<(), ShutdownError> {
            self.0.shutdown_with(how)
        }
    }

    guarded(|| {
        let pool = Arc::new(pool(1));
        let executor = OrInline(Arc::clone(&pool));
        let outer = pool.spawn(move || {
            executor.shutdown_with(Shutdown::no_wait()).unwrap();
            local::spawn(&executor, || 7).unwrap().result().unwrap()
        });
        assert_eq!(outer.unwrap().result().unwrap(), 7);
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.succeeded), (1, 1));
    });
}
