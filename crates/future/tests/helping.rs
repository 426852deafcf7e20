//! What futures know of the pool whose worker waits for them: a worker runs the task itself, or says that it sleeps.

mod common;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use common::{Call, brief, guarded};
use concurrent_futures_future::{
    Blocked, CompletionSet, Future, Host, PackagedTask, PoolId, Ran, ReturnWhen, Work,
    as_completed, blocking, promise, wait, wait_timeout, work_for,
};

/// Writes down what it is told.
#[derive(Default)]
struct Diary(RefCell<Vec<&'static str>>);

impl Diary {
    fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

impl Host for Diary {
    fn blocked(&self) {
        self.0.borrow_mut().push("blocked");
    }

    fn unblocked(&self) {
        self.0.borrow_mut().push("unblocked");
    }

    fn finishing(&self, ran: Ran) {
        self.0.borrow_mut().push(if ran == Ran::Succeeded { "finishing" } else { "failing" });
    }

    fn running_callbacks(&self) {
        self.0.borrow_mut().push("running callbacks");
    }

    fn ran_in_place(&self, ran: Ran) {
        self.0.borrow_mut().push(if ran == Ran::Failed {
            "failed in place"
        } else {
            "ran in place"
        });
    }
}

fn queued<R: Send + 'static, F: FnOnce() -> R + Send + 'static>(
    pool: PoolId,
    f: F,
) -> (Arc<PackagedTask<Call<F>>>, Future<R>) {
    let (task, future) = PackagedTask::new(Call(f));
    task.set_pool(pool);
    (task, future)
}

#[test]
fn a_worker_runs_what_it_waits_for() {
    guarded(|| {
        let (pool, diary) = (PoolId::new(), Rc::new(Diary::default()));
        work_for(pool, diary.clone(), || {
            let here = thread::current().id();
            let in_place = || queued(pool, || thread::current().id()).1;
            assert_eq!(in_place().result().unwrap(), here);
            assert!(in_place().exception().is_none());
            in_place().wait();
            assert_eq!(in_place().share().result().unwrap(), &here);
            let futures = [in_place(), in_place()];
            assert_eq!(wait(&futures, ReturnWhen::AllCompleted).done.len(), 2);
            let futures = [in_place(), in_place()];
            assert_eq!(wait(&futures, ReturnWhen::FirstException).done.len(), 2);
            // For the first of them, the first one is enough.
            let futures = [in_place(), in_place()];
            assert_eq!(wait(&futures, ReturnWhen::FirstCompleted).done, [&futures[0]]);
            assert_eq!(as_completed([in_place(), in_place()]).count(), 2);
            let flat = queued(pool, || Err::<u8, _>("flat")).1.flatten();
            assert!(flat.result().is_err());
        });
        let told = diary.take();
        assert_eq!(told.len(), 12);
        assert!(told.iter().all(|it| *it == "ran in place"), "{told:?}");
    });
}

#[test]
fn a_wait_with_a_deadline_does_not_help() {
    guarded(|| {
        let (pool, diary) = (PoolId::new(), Rc::new(Diary::default()));
        work_for(pool, diary.clone(), || {
            let (_task, future) = queued(pool, || 1);
            assert!(future.wait_timeout(brief()).is_err());
            assert!(wait_timeout([&future], brief(), ReturnWhen::AllCompleted).done.is_empty());
            let mut set = CompletionSet::from_iter([&future]);
            assert!(set.next_timeout(brief()).is_err());
            // It said each time that it slept, and that it was awake again.
            assert_eq!(diary.take(), ["blocked", "unblocked"].repeat(3));
            assert!(set.next().is_some());
        });
        assert_eq!(diary.take(), ["ran in place"]);
    });
}

#[test]
fn others_do_not_help() {
    guarded(|| {
        let (pool, other) = (PoolId::new(), PoolId::new());
        let (task, future) = PackagedTask::new(Call(|| 1));
        task.set_pool(pool);
        // Neither a worker of another pool nor a thread that is nobody's worker.
        let diary = Rc::new(Diary::default());
        work_for(other, diary.clone(), || {
            assert!(other.is_current() && !pool.is_current());
            thread::scope(|scope| {
                scope.spawn(|| {
                    future.wait_timeout(brief()).unwrap_err();
                    assert_eq!(task.run(), Ran::Succeeded);
                });
                future.wait();
            });
        });
        assert!(!pool.is_current() && !other.is_current());
        let told = diary.take();
        assert!(told.is_empty() || told == ["blocked", "unblocked"], "{told:?}");
    });
}

#[test]
fn a_task_that_is_running_elsewhere_is_slept_for() {
    guarded(|| {
        let (pool, diary) = (PoolId::new(), Rc::new(Diary::default()));
        let (may_end, wait_for_it) = mpsc::channel::<()>();
        let (task, future) = PackagedTask::new(Call(move || wait_for_it.recv().unwrap()));
        task.set_pool(pool);
        thread::scope(|scope| {
            let worker = scope.spawn(|| task.run());
            while !future.running() {
                thread::yield_now();
            }
            struct EndsIt(Diary, mpsc::Sender<()>);
            impl Host for EndsIt {
                fn blocked(&self) {
                    self.0.blocked();
                    self.1.send(()).unwrap();
                }
                fn unblocked(&self) {
                    self.0.unblocked();
                }
            }
            let host = Rc::new(EndsIt(Diary::default(), may_end));
            // Whoever stands in for this worker makes the task end.
            work_for(pool, host.clone(), || future.result().unwrap());
            assert_eq!(host.0.take(), ["blocked", "unblocked"]);
            assert_eq!(worker.join().unwrap(), Ran::Succeeded);
        });
        assert!(diary.take().is_empty());
    });
}

#[test]
fn a_worker_is_told_of_the_end_of_its_task() {
    guarded(|| {
        let (pool, diary) = (PoolId::new(), Rc::new(Diary::default()));
        work_for(pool, diary.clone(), || {
            let (task, _future) = queued(pool, || 1);
            assert_eq!(task.run(), Ran::Succeeded);
            assert_eq!(diary.take(), ["finishing"]);
            let (task, future) = queued(pool, || -> u8 { panic!("in the task") });
            future.add_done_callback(|it| assert!(it.exception().is_some()));
            assert_eq!(task.run(), Ran::Failed);
            assert_eq!(diary.take(), ["failing", "running callbacks"]);
            // Nothing comes of one that is not run, nor of one that is none of the pool's.
            let (task, future) = queued(pool, || 1);
            future.cancel();
            assert_eq!(task.run(), Ran::Not);
            let (task, _future) = PackagedTask::new(Call(|| 1));
            assert_eq!(task.run(), Ran::Succeeded);
            assert!(diary.take().is_empty());
            let (_task, future) = queued(pool, || -> u8 { panic!("in place") });
            assert!(future.result().is_err());
            assert_eq!(diary.take(), ["failed in place"]);
        });
    });
}

#[test]
fn other_sleeps_are_announced_by_hand() {
    guarded(|| {
        let diary = Rc::new(Diary::default());
        work_for(PoolId::new(), diary.clone(), || {
            let blocked = Blocked::enter();
            assert_eq!(diary.take(), ["blocked"]);
            assert_eq!(format!("{blocked:?}"), "Blocked { host: Some(Host) }");
            drop(blocked);
            assert_eq!(diary.take(), ["unblocked"]);
            assert_eq!(blocking(|| diary.take()), ["blocked"]);
        });
        assert_eq!(diary.take(), ["unblocked"]);
        // Outside of a pool there is nobody to tell.
        assert_eq!(format!("{:?}", Blocked::enter()), "Blocked { host: None }");
    });
}

#[test]
fn being_awake_again_is_announced_after_a_panic_too() {
    guarded(|| {
        let diary = Rc::new(Diary::default());
        work_for(PoolId::new(), diary.clone(), || {
            let thrown = std::panic::catch_unwind(|| blocking(|| panic!("asleep")));
            assert!(thrown.is_err());
        });
        assert_eq!(diary.take(), ["blocked", "unblocked"]);
    });
}

#[test]
fn pools_within_pools() {
    guarded(|| {
        let (outer, inner) = (PoolId::new(), PoolId::new());
        let host = || Rc::new(Diary::default());
        work_for(outer, host(), || {
            let thrown = std::panic::catch_unwind(|| {
                work_for(inner, Rc::new(Diary::default()), || {
                    assert!(inner.is_current() && !outer.is_current());
                    panic!("inside");
                });
            });
            // What was found is put back, whichever way it ended.
            assert!(thrown.is_err() && outer.is_current());
        });
        assert!(!outer.is_current());
        assert_ne!(outer, inner);
    });
}

/// Waits for the next one of a chain.
struct Link(Future<usize>);

impl Work for Link {
    type Output = usize;

    fn call(self) -> usize {
        self.0.result().unwrap() + 1
    }
}

type Queue = Arc<Mutex<Vec<Arc<PackagedTask<Link>>>>>;

/// Starts another thread for a worker that sleeps, as a pool does.
struct StandsIn {
    pool: PoolId,
    queue: Queue,
    threads: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
    in_place: Cell<usize>,
}

impl StandsIn {
    fn new(
        pool: PoolId,
        queue: &Queue,
        threads: &Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
    ) -> Rc<Self> {
        let (queue, threads) = (Arc::clone(queue), Arc::clone(threads));
        Rc::new(Self { pool, queue, threads, in_place: Cell::new(0) })
    }
}

impl Host for StandsIn {
    fn blocked(&self) {
        let (pool, queue, threads) =
            (self.pool, Arc::clone(&self.queue), Arc::clone(&self.threads));
        let worker = thread::spawn(move || {
            work_for(pool, StandsIn::new(pool, &queue, &threads), || {
                loop {
                    let Some(task) = queue.lock().unwrap().pop() else { break };
                    task.run();
                }
            });
        });
        self.threads.lock().unwrap().push(worker);
    }

    fn unblocked(&self) {}

    fn ran_in_place(&self, _: Ran) {
        self.in_place.set(self.in_place.get() + 1);
    }
}

/// Every task run in place takes room on the worker's stack. A chain of tasks, each waiting for the next, used to end the
/// process with a stack overflow.
#[test]
fn p01_a_long_chain_of_waiting_tasks_does_not_overflow_the_stack() {
    guarded(|| {
        const LENGTH: usize = 3000;
        let pool = PoolId::new();
        let (kept, mut last) = promise();
        kept.set_result(0).unwrap();
        let queue = Queue::default();
        for _ in 0..LENGTH {
            let (task, future) = PackagedTask::new(Link(last));
            task.set_pool(pool);
            // The one that waits for all the others is taken first.
            queue.lock().unwrap().push(task);
            last = future;
        }
        let threads = Arc::default();
        let (threads_too, queue_too) = (Arc::clone(&threads), Arc::clone(&queue));
        // Room enough for a worker that knows its limit.
        let small = thread::Builder::new().stack_size(1 << 20);
        let worker = small.spawn(move || {
            let host = StandsIn::new(pool, &queue_too, &threads_too);
            let sum = work_for(pool, host.clone(), || last.result().unwrap());
            (sum, host.in_place.get())
        });
        let (sum, in_place) = worker.unwrap().join().unwrap();
        assert_eq!(sum, LENGTH);
        assert!(in_place > 1, "it helps as deep as it may");
        loop {
            let Some(thread) = threads.lock().unwrap().pop() else { break };
            thread.join().unwrap();
        }
        assert!(queue.lock().unwrap().iter().all(|task| task.run() == Ran::Not));
    });
}

#[test]
fn a_timed_wait_in_a_worker_that_is_over_at_once() {
    guarded(|| {
        let (pool, diary) = (PoolId::new(), Rc::new(Diary::default()));
        work_for(pool, diary.clone(), || {
            let (_task, future) = queued(pool, || 1);
            assert!(future.wait_timeout(Duration::ZERO).is_err());
            assert!(as_completed([&future]).next().is_some());
            assert!(future.wait_timeout(Duration::ZERO).is_ok());
        });
        assert_eq!(diary.take(), ["ran in place"]);
    });
}
