//! The order in which tasks that wait are started, if it was chosen.

use std::sync::{Arc, Mutex};

use concurrent_futures::{Future, QueueOrder, Refusal, Shutdown, ThreadPoolExecutor};
use concurrent_futures_tests::{Gate, guarded};

use super::occupy;

/// Of so many tasks that are taken by priority, one is the oldest: as documented.
const AGEING_INTERVAL: usize = 16;

/// As many tasks that were run in place as make a worker look for their entries, and some more.
const MANY: usize = 1_000;

fn ordered(order: QueueOrder) -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder().max_workers(1).queue_order(order).build().unwrap()
}

/// Which tasks were run, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<usize>>>);

impl Log {
    fn add(&self, name: usize) {
        self.0.lock().unwrap().push(name);
    }

    fn read(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }

    /// Submits a task that adds its name.
    fn submit(&self, pool: &ThreadPoolExecutor, priority: i8, name: usize) -> Future<()> {
        let log = self.clone();
        pool.submit_with_priority(priority, move |name| log.add(name), name).unwrap()
    }
}

/// What waits is started in the order that was chosen; whatever is submitted without a priority has the one in the middle.
#[test]
fn p41_each_order_is_kept() {
    for (order, expected) in [
        (QueueOrder::Fifo, [0, 1, 2, 3, 4]),
        (QueueOrder::Lifo, [4, 3, 2, 1, 0]),
        (QueueOrder::Priority, [2, 3, 0, 4, 1]),
    ] {
        guarded(move || {
            let (pool, log) = (ordered(order), Log::default());
            let gate = Gate::closed();
            let mut futures = occupy(&pool, &gate, 1);
            let plain = {
                let log = log.clone();
                pool.spawn(move || log.add(0)).unwrap()
            };
            futures.push(plain);
            for (name, priority) in [(1, -1), (2, 7), (3, 7), (4, 0)] {
                futures.push(log.submit(&pool, priority, name));
            }
            gate.open();
            futures.into_iter().for_each(|future| future.result().unwrap());
            assert_eq!(log.read(), expected, "{order:?}");
        });
    }
}

/// However many urgent tasks there are, one that found so many others waiting is started within the bound.
#[test]
fn p41_a_low_priority_is_overtaken_by_a_bounded_number() {
    const OTHERS: usize = 3;

    guarded(|| {
        let (pool, log) = (ordered(QueueOrder::Priority), Log::default());
        let gate = Gate::closed();
        let mut futures = occupy(&pool, &gate, 1);
        for _ in 0..OTHERS {
            futures.push(log.submit(&pool, i8::MIN, 0));
        }
        futures.push(log.submit(&pool, i8::MIN, 1));
        let bound = AGEING_INTERVAL * (OTHERS + 1);
        for _ in 0..2 * bound {
            futures.push(log.submit(&pool, i8::MAX, 2));
        }
        gate.open();
        futures.into_iter().for_each(|future| future.result().unwrap());
        let started = log.read();
        let place = started.iter().position(|name| *name == 1).unwrap();
        assert!(place < bound, "{place}");
        assert_eq!(started[0], 2);
    });
}

/// Tasks that a task submits take their turn among all others, instead of following it.
#[test]
fn p41_tasks_of_tasks_are_in_order_as_well() {
    guarded(|| {
        let (pool, log) = (Arc::new(ordered(QueueOrder::Priority)), Log::default());
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let (inner, inner_log) = (Arc::clone(&pool), log.clone());
        let submits = pool.submit_with_priority(
            9,
            move |()| [(1, -3), (2, 3)].map(|(name, p)| inner_log.submit(&inner, p, name)),
            (),
        );
        let other = log.submit(&pool, 1, 3);
        gate.open();
        busy.into_iter().for_each(|future| future.result().unwrap());
        for future in submits.unwrap().result().unwrap() {
            future.result().unwrap();
        }
        other.result().unwrap();
        assert_eq!(log.read(), [2, 3, 1]);
    });
}

/// A worker may wait for tasks of any order: those that have not started it runs itself, and their entries do not pile up.
#[test]
fn p41_tasks_may_wait_for_tasks_in_any_order() {
    fn fibonacci(pool: &Arc<ThreadPoolExecutor>, n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let inner = Arc::clone(pool);
        let other = pool.spawn(move || fibonacci(&inner, n - 1)).unwrap();
        fibonacci(pool, n - 2) + other.result().unwrap()
    }

    for order in [QueueOrder::Lifo, QueueOrder::Priority] {
        for max_workers in [1, 2] {
            guarded(move || {
                let builder = ThreadPoolExecutor::builder().max_workers(max_workers);
                let pool = Arc::new(builder.queue_order(order).build().unwrap());
                let inner = Arc::clone(&pool);
                let root = pool.spawn(move || fibonacci(&inner, 12)).unwrap();
                assert_eq!(root.result().unwrap(), 144);
                let inner = Arc::clone(&pool);
                let chain = pool.spawn(move || {
                    (0..MANY).for_each(|_| inner.spawn(|| ()).unwrap().result().unwrap());
                });
                chain.unwrap().result().unwrap();
                pool.shutdown();
                let stats = pool.stats();
                assert_eq!((stats.queued, stats.running, stats.failed), (0, 0, 0));
                assert_eq!(stats.submitted, stats.succeeded);
            });
        }
    }
}

/// The bound of a queue holds for those outside in any order; a worker is never kept waiting by it, nor refused.
#[test]
fn p41_a_bounded_queue_does_not_hold_up_workers() {
    guarded(|| {
        let builder = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1);
        let pool = Arc::new(builder.queue_order(QueueOrder::Lifo).build().unwrap());
        let inner = Arc::clone(&pool);
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let submits = pool.spawn(move || [1, 2, 3].map(|n| inner.submit(|n| n, n).unwrap()));
        let refused = pool.try_submit(|()| (), ()).unwrap_err();
        assert!(matches!(refused.reason(), Refusal::Full));
        gate.open();
        busy.into_iter().for_each(|future| future.result().unwrap());
        let sum: u32 =
            submits.unwrap().result().unwrap().map(|it| it.result().unwrap()).iter().sum();
        assert_eq!(sum, 6);
        assert_eq!(pool.submit(|n| n, 7).unwrap().result().unwrap(), 7);
    });
}

/// A task that is cancelled is passed over; a shutdown runs the others in order, or cancels them beginning with the last.
#[test]
fn p41_cancel_and_shutdown_keep_to_the_order() {
    guarded(|| {
        let (pool, log) = (ordered(QueueOrder::Priority), Log::default());
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let futures = [(1, 1), (2, 2), (3, 3)].map(|(name, p)| log.submit(&pool, p, name));
        assert!(futures[1].cancel());
        pool.shutdown_with(Shutdown::no_wait()).unwrap();
        gate.open();
        pool.shutdown();
        drop((busy, futures));
        assert_eq!(log.read(), [3, 1]);
    });
    guarded(|| {
        let (pool, log) = (ordered(QueueOrder::Lifo), Log::default());
        let cancelled = Log::default();
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        for name in 1..=3 {
            let cancelled = cancelled.clone();
            log.submit(&pool, 0, name).add_done_callback(move |_| cancelled.add(name));
        }
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert_eq!(cancelled.read(), [1, 2, 3]);
        gate.open();
        pool.shutdown();
        drop(busy);
        assert!(log.read().is_empty());
        assert_eq!(pool.stats().cancelled, 3);
    });
}
