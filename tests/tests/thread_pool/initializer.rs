//! What each worker has before its first task, how that can fail, and how it ends.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    io,
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
};

use concurrent_futures::{
    Builder, Refusal, Shutdown, ShutdownError, TaskError, ThreadPoolExecutor,
};
use concurrent_futures_tests::{
    Gate, delays,
    drops::{DropCounter, Token},
    events, guarded,
};

use super::{named, occupy, share};

fn builder(max_workers: usize) -> Builder {
    ThreadPoolExecutor::builder().max_workers(max_workers)
}

/// Once in each worker that is started, in its own thread, before its first task; not for workers that never are.
#[test]
fn f105_it_runs_once_in_each_worker() {
    guarded(|| {
        let ran_in: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
        let pool = {
            let ran_in = Arc::clone(&ran_in);
            let initializer = move || ran_in.lock().unwrap().push(thread::current().id());
            builder(4).initializer(initializer).build().unwrap()
        };
        assert!(ran_in.lock().unwrap().is_empty(), "there is no worker yet");
        let check = {
            let ran_in = Arc::clone(&ran_in);
            move || ran_in.lock().unwrap().contains(&thread::current().id())
        };
        for _ in 0..10 {
            assert!(pool.spawn(check.clone()).unwrap().result().unwrap());
        }
        assert_eq!(ran_in.lock().unwrap().len(), 1);
        let gate = Gate::closed();
        drop(occupy(&pool, &gate, 3));
        gate.open();
        pool.shutdown();
        let ran_in = ran_in.lock().unwrap();
        assert_eq!(ran_in.len(), 3);
        assert_eq!(ran_in.iter().collect::<HashSet<_>>().len(), 3);
    });
}

/// The three ways for an initializer to go wrong.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Error,
    Text,
    Panic,
}

/// Works for the first worker, and fails for the second once the gate is open.
fn fails_second(
    failing: Failing,
    gate: Arc<Gate>,
) -> impl Fn() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let started = AtomicUsize::new(0);
    move || {
        if started.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(());
        }
        gate.pass();
        match failing {
            Failing::Error => Err(io::Error::other("no database").into()),
            Failing::Text => Err("no database".into()),
            Failing::Panic => panic!("no database"),
        }
    }
}

/// If a worker cannot be made ready, the pool is broken and says why: tasks that wait fail, a task that runs on another
/// worker ends as usual, submissions are refused, also after a shutdown, and shutting down works.
#[test]
fn f106_a_failing_initializer_breaks_the_pool() {
    events::record();
    for failing in [Failing::Error, Failing::Text, Failing::Panic] {
        guarded(move || {
            let (builder, prefix) = named();
            let builder = builder.max_workers(2);
            let (fail, finish) = (Gate::closed(), Gate::closed());
            let pool =
                builder.try_initializer(fails_second(failing, share(&fail))).build().unwrap();
            let running = occupy(&pool, &finish, 1);
            let queued: Vec<_> = (0..5).map(|n| pool.submit(|n| n, n).unwrap()).collect();
            fail.open();

            for future in queued {
                let error = future.result().unwrap_err();
                let TaskError::Broken(broken) = &error else { panic!("{error:?}") };
                let cause = std::error::Error::source(broken).expect("what the initializer said");
                assert!(cause.to_string().contains("no database"), "{cause}");
                assert!(broken.to_string().contains("initializer of a worker"), "{broken}");
            }
            assert!(running[0].running());
            let refused = pool.submit(|n| n, 7).unwrap_err();
            assert!(matches!(refused.reason(), Refusal::Broken(_)), "{refused:?}");
            assert_eq!(refused.into_inner().1, 7);
            finish.open();
            running.into_iter().for_each(|future| future.result().unwrap());

            pool.shutdown();
            assert_eq!(pool.thread_count(), 0);
            // F075: broken comes before shut down.
            let refused = pool.spawn(|| ()).unwrap_err();
            assert!(matches!(refused.reason(), Refusal::Broken(_)), "{refused:?}");
            let event = events::wait_for(|event| event.executor.as_ref() == Some(&prefix));
            assert_eq!(event.kind, "ExecutorBroken");
            assert!(event.text.contains(&prefix), "{}", event.text);
        });
    }
}

/// Tasks that other workers hold but have not started fail as well, wherever they lie.
#[test]
fn f106_tasks_submitted_by_tasks_fail_as_well() {
    guarded(|| {
        let (fail, finish) = (Gate::closed(), Gate::closed());
        let pool = Arc::new(
            builder(2).try_initializer(fails_second(Failing::Error, share(&fail))).build().unwrap(),
        );
        let outer = {
            let (pool, finish) = (Arc::clone(&pool), share(&finish));
            let inner = Arc::clone(&pool);
            pool.spawn(move || {
                let futures: Vec<_> = (0..5).map(|n| inner.spawn(move || n).unwrap()).collect();
                finish.pass();
                // Dropped in a worker, so that the pool is not waited for by itself.
                drop(inner);
                // With a deadline, so that none is run in place: the pool refuses what is submitted from the moment in which
                // these are taken from the deque, and fails them just after.
                let is_broken = |error: &_| matches!(error, Some(TaskError::Broken(_)));
                let errors = futures
                    .into_iter()
                    .map(|future| future.exception_timeout(delays::long()).unwrap());
                errors.filter(is_broken).count()
            })
            .unwrap()
        };
        finish.wait_for_arrivals(1);
        fail.open();
        while pool.spawn(|| ()).is_ok() {
            thread::sleep(delays::poll());
        }
        finish.open();
        assert_eq!(outer.result().unwrap(), 5);
    });
}

/// While a worker is still being made ready, the others go on: a task that comes meanwhile is taken by one that sleeps.
/// The one that is not ready was once taken for one that looks for tasks, so that nobody was called.
#[test]
fn f105_a_slow_initializer_does_not_hold_up_the_others() {
    guarded(|| {
        let started = AtomicUsize::new(0);
        let gate = Gate::closed();
        let slow = share(&gate);
        let pool = builder(3)
            .initializer(move || {
                if started.fetch_add(1, Ordering::SeqCst) > 0 {
                    slow.pass();
                }
            })
            .build()
            .unwrap();
        let busy = Gate::closed();
        let first = occupy(&pool, &busy, 1);
        // Starts the second worker, which is slow to begin.
        let second = pool.spawn(|| 2).unwrap();
        gate.wait_for_arrivals(1);
        busy.open();
        first.into_iter().for_each(|future| future.result().unwrap());
        assert_eq!(second.result().unwrap(), 2);
        for n in 0..100 {
            // Time for the first worker to fall asleep, in some of the rounds.
            if n % 10 == 0 {
                thread::sleep(delays::moment());
            }
            assert_eq!(pool.spawn(move || n).unwrap().result().unwrap(), n);
        }
        gate.open();
    });
}

/// The state of a worker is made once, lent to each of its tasks, and dropped once, by the worker's own thread; it need
/// not be `Send`.
#[test]
fn p51_state_is_made_lent_and_dropped_once_per_worker() {
    struct Connection {
        made_in: ThreadId,
        uses: Rc<Cell<usize>>,
        _token: Token,
    }

    impl Drop for Connection {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.made_in);
        }
    }

    guarded(|| {
        let counter = DropCounter::new();
        let made = counter.clone();
        let pool = builder(3)
            .initializer(move || Connection {
                made_in: thread::current().id(),
                uses: Rc::default(),
                _token: made.token(),
            })
            .build()
            .unwrap();
        let gate = Gate::closed();
        let using = share(&gate);
        let mut futures: Vec<_> = (0..3)
            .map(|n| {
                let using = Arc::clone(&using);
                pool.submit_with_state(
                    move |connection: &Connection, n: usize| {
                        using.pass();
                        connection.uses.set(connection.uses.get() + 1);
                        assert_eq!(connection.made_in, thread::current().id());
                        n
                    },
                    n,
                )
                .unwrap()
            })
            .collect();
        gate.wait_for_arrivals(3);
        gate.open();
        for n in 3..100 {
            let future = pool.submit_with_state(
                |connection: &Connection, n| {
                    connection.uses.set(connection.uses.get() + 1);
                    n
                },
                n,
            );
            futures.push(future.unwrap());
        }
        assert!(futures.into_iter().map(|future| future.result().unwrap()).eq(0..100));
        assert_eq!((counter.made(), counter.dropped()), (3, 0));
        pool.shutdown();
        assert_eq!((counter.made(), counter.dropped()), (3, 3));
    });
}

/// A task that panics leaves the state as it is, for the next.
#[test]
fn p51_state_outlives_panics() {
    guarded(|| {
        let pool = builder(1).initializer(|| RefCell::new(Vec::new())).build().unwrap();
        for n in 0..5 {
            let failing = |seen: &RefCell<Vec<u64>>, n: u64| {
                seen.borrow_mut().push(n);
                assert!(n % 2 == 1, "even");
            };
            let future = pool.submit_with_state(failing, n).unwrap();
            assert_eq!(future.result().is_err(), n % 2 == 0);
        }
        let seen = pool.submit_with_state(|seen: &RefCell<Vec<u64>>, ()| seen.borrow().clone(), ());
        assert_eq!(seen.unwrap().result().unwrap(), [0, 1, 2, 3, 4]);
    });
}

/// A task that is run in place, by a worker in the middle of another, is lent the same state.
#[test]
fn p51_a_task_in_place_shares_the_state() {
    guarded(|| {
        let pool = Arc::new(builder(1).initializer(|| Cell::new(0_u64)).build().unwrap());
        let inner = Arc::clone(&pool);
        let outer = pool
            .submit_with_state(
                move |count: &Cell<u64>, ()| {
                    count.set(1);
                    let add = |count: &Cell<u64>, n| {
                        count.set(count.get() + n);
                        count.get()
                    };
                    let futures: Vec<_> =
                        (1..=3).map(|n| inner.submit_with_state(add, n).unwrap()).collect();
                    let seen: Vec<_> =
                        futures.into_iter().map(|future| future.result().unwrap()).collect();
                    (seen, count.get())
                },
                (),
            )
            .unwrap();
        assert_eq!(outer.result().unwrap(), (vec![2, 4, 7], 7));
    });
}

/// A destructor that panics is reported, and the worker's end is not lost over it.
#[test]
fn p51_a_state_that_panics_when_dropped_is_contained() {
    struct Explosive;
    impl Drop for Explosive {
        fn drop(&mut self) {
            panic!("this very state");
        }
    }

    events::record();
    guarded(|| {
        let pool = builder(1).initializer(|| Explosive).build().unwrap();
        pool.spawn(|| ()).unwrap().result().unwrap();
        pool.shutdown();
        assert_eq!(pool.thread_count(), 0);
        events::wait_for(|event| {
            event.kind == "DestructorPanicked" && event.text.contains("this very state")
        });
    });
}

/// The end of a pool waits for the destructors of its workers.
#[test]
fn p51_shutdown_waits_for_the_state_to_be_dropped() {
    struct Slow {
        gate: Arc<Gate>,
        _token: Token,
    }
    impl Drop for Slow {
        fn drop(&mut self) {
            self.gate.pass();
        }
    }

    guarded(|| {
        let counter = DropCounter::new();
        let gate = Gate::closed();
        let (made, slow) = (counter.clone(), share(&gate));
        let initializer = move || Slow { gate: Arc::clone(&slow), _token: made.token() };
        let pool = builder(1).initializer(initializer).build().unwrap();
        pool.spawn(|| ()).unwrap().result().unwrap();
        let error = pool.shutdown_with(Shutdown::timeout(delays::short())).unwrap_err();
        let ShutdownError::Timeout(left) = error else { panic!("{error:?}") };
        assert_eq!((left.running.len(), left.queued), (0, 0), "only the worker itself is left");
        assert_eq!(counter.alive(), 1);
        gate.open();
        pool.shutdown();
        assert_eq!(counter.alive(), 0);
    });
}

/// The initializer is the worker's as much as its tasks are: asked to wait for the pool, it is told that it cannot.
#[test]
fn f094_an_initializer_cannot_wait_for_its_own_pool() {
    guarded(|| {
        let pool: Arc<OnceLock<ThreadPoolExecutor<()>>> = Arc::default();
        let outcome = Arc::new(Mutex::new(None));
        let (inside, told) = (Arc::clone(&pool), Arc::clone(&outcome));
        let initializer = move || {
            let pool = inside.get().expect("built before its first worker");
            *told.lock().unwrap() = Some(pool.shutdown_with(Shutdown::wait()));
        };
        let built = pool.get_or_init(|| builder(1).initializer(initializer).build().unwrap());
        assert_eq!(built.spawn(|| 3).unwrap().result().unwrap(), 3);
        built.shutdown();
        let outcome = outcome.lock().unwrap().take().unwrap();
        assert!(matches!(outcome, Err(ShutdownError::CalledFromWorker)), "{outcome:?}");
    });
}

/// So is the destructor of its state, which may be the last to hold the pool: the pool's drop must not wait for the
/// thread that it happens in.
#[test]
fn f094_a_state_may_be_the_last_to_hold_its_pool() {
    type Pool = ThreadPoolExecutor<Holds>;
    struct Holds {
        pool: Arc<Mutex<Option<Arc<Pool>>>>,
        _token: Token,
    }
    impl Drop for Holds {
        fn drop(&mut self) {
            let pool = self.pool.lock().unwrap().take();
            drop(pool);
        }
    }

    guarded(|| {
        let counter = DropCounter::new();
        let slot: Arc<Mutex<Option<Arc<Pool>>>> = Arc::default();
        let (inside, made) = (Arc::clone(&slot), counter.clone());
        let pool = builder(1)
            .idle_timeout(delays::short())
            .initializer(move || Holds { pool: Arc::clone(&inside), _token: made.token() })
            .build()
            .unwrap();
        let pool = Arc::new(pool);
        *slot.lock().unwrap() = Some(Arc::clone(&pool));
        pool.spawn(|| ()).unwrap().result().unwrap();
        drop(pool);
        while counter.dropped() == 0 {
            thread::sleep(delays::poll());
        }
        assert!(slot.lock().unwrap().is_none());
    });
}
