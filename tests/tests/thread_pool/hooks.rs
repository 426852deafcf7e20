//! What a pool does around each of its tasks if it was asked to: observers are told, and context is carried.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use concurrent_futures::{
    Builder, ExecutorExt, Future, FutureId, MapOptions, Shutdown, TaskEnd, TaskError, TaskInfo,
    TaskObserver, ThreadPoolExecutor,
};
use concurrent_futures_tests::{Gate, delays, events, guarded};

use super::occupy;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Start { id: FutureId, in_place: bool },
    End { id: FutureId, panic: Option<String> },
}

/// Writes down all that it is told.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<Seen>>,
    names: Mutex<Vec<&'static str>>,
    durations: Mutex<Vec<Duration>>,
}

impl Recorder {
    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl TaskObserver for Recorder {
    fn task_started(&self, task: &TaskInfo) {
        self.seen.lock().unwrap().push(Seen::Start { id: task.id, in_place: task.in_place });
    }

    fn task_ended(&self, task: &TaskInfo, end: &TaskEnd<'_>) {
        let panic = end.panic.map(|panic| panic.message().to_owned());
        self.seen.lock().unwrap().push(Seen::End { id: task.id, panic });
        self.names.lock().unwrap().push(task.name);
        self.durations.lock().unwrap().push(end.duration);
    }
}

fn observed(max_workers: usize) -> (ThreadPoolExecutor, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let pool = ThreadPoolExecutor::builder()
        .max_workers(max_workers)
        .observer(Arc::clone(&recorder))
        .build()
        .unwrap();
    (pool, recorder)
}

/// Start and end come in order, with the future's identity, the function's name, the panic, and a time; all of it before
/// anybody can have the result.
#[test]
fn p47_an_observer_is_told_of_starts_and_ends() {
    fn sleeps(duration: Duration) {
        std::thread::sleep(duration);
    }

    guarded(|| {
        let (pool, recorder) = observed(1);
        let returns = pool.submit(sleeps, delays::task()).unwrap();
        let panics: Future<()> = pool.spawn(|| panic!("for the observer")).unwrap();
        let ids = [returns.id(), panics.id()];
        returns.result().unwrap();
        let first =
            [Seen::Start { id: ids[0], in_place: false }, Seen::End { id: ids[0], panic: None }];
        assert_eq!(recorder.seen()[..2], first);
        assert!(recorder.names.lock().unwrap()[0].ends_with("sleeps"));
        assert!(recorder.durations.lock().unwrap()[0] >= delays::task());
        let error = panics.result().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        let second = [
            Seen::Start { id: ids[1], in_place: false },
            Seen::End { id: ids[1], panic: Some("for the observer".to_owned()) },
        ];
        assert_eq!(recorder.seen()[2..], second);
    });
}

/// A task that a waiting worker runs in place is observed like any other, in the middle of the one that waits.
#[test]
fn p47_an_observer_is_told_of_tasks_in_place() {
    guarded(|| {
        let (pool, recorder) = observed(1);
        let pool = Arc::new(pool);
        let inner = Arc::clone(&pool);
        let outer = pool
            .spawn(move || {
                let future = inner.spawn(|| ()).unwrap();
                let id = future.id();
                future.result().unwrap();
                id
            })
            .unwrap();
        let outer_id = outer.id();
        let inner_id = outer.result().unwrap();
        let expected = [
            Seen::Start { id: outer_id, in_place: false },
            Seen::Start { id: inner_id, in_place: true },
            Seen::End { id: inner_id, panic: None },
            Seen::End { id: outer_id, panic: None },
        ];
        assert_eq!(recorder.seen(), expected);
    });
}

/// Whichever way tasks come in, each is observed once; those that are cancelled before they start are not.
#[test]
fn p47_an_observer_is_told_of_tasks_of_all_kinds() {
    guarded(|| {
        let (pool, recorder) = observed(2);
        pool.map(|n: u32| n, 0..3).map(Result::unwrap).for_each(drop);
        pool.scope(|scope| scope.spawn(|| ()).unwrap().result().unwrap());
        pool.try_submit(|n: u32| n, 1).unwrap().result().unwrap();
        ExecutorExt::submit(&pool, |n: u32| n, 1_u32).unwrap().result().unwrap();
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 2);
        let cancelled = pool.spawn(|| ()).unwrap();
        let id = cancelled.id();
        assert!(cancelled.cancel());
        gate.open();
        busy.into_iter().for_each(|future| future.result().unwrap());
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!(stats.cancelled, 1);
        let seen = recorder.seen();
        assert_eq!(seen.len() as u64, 2 * stats.succeeded, "{seen:?}");
        assert!(seen.iter().all(|seen| *seen != Seen::Start { id, in_place: false }));
    });
}

/// What an observer throws is reported, and is nothing to the task, which is still run once.
#[test]
fn p47_a_panic_of_an_observer_is_reported() {
    struct Throws;
    impl TaskObserver for Throws {
        fn task_started(&self, _task: &TaskInfo) {
            panic!("at the start");
        }

        fn task_ended(&self, _task: &TaskInfo, _end: &TaskEnd<'_>) {
            panic!("at the end");
        }
    }

    events::record();
    guarded(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).observer(Throws).build().unwrap();
        let future = pool.spawn(|| 5).unwrap();
        let id = future.id();
        assert_eq!(future.result().unwrap(), 5);
        let seen = events::seen(|event| event.future == Some(id));
        assert_eq!(seen.len(), 2, "{seen:?}");
        for (event, text) in seen.iter().zip(["at the start", "at the end"]) {
            assert_eq!(event.kind, "HookPanicked");
            assert!(event.text.contains(text), "{}", event.text);
        }
        assert_eq!(pool.stats().succeeded, 1);
    });
}

/// A submission that is refused is not observed, also not when its function is run elsewhere.
#[test]
fn p47_a_refused_submission_is_not_observed() {
    guarded(|| {
        let recorder = Arc::new(Recorder::default());
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .queue_capacity(1)
            .observer(Arc::clone(&recorder))
            .build()
            .unwrap();
        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let queued = pool.spawn(|| ()).unwrap();
        let (function, argument) = pool.try_submit(|n: u32| n, 1).unwrap_err().into_inner();
        assert_eq!(function(argument), 1);
        gate.open();
        busy.into_iter().for_each(|future| future.result().unwrap());
        queued.result().unwrap();
        pool.shutdown();
        assert_eq!(recorder.seen().len(), 4);
    });
}

thread_local! {
    static REQUEST: Cell<u32> = const { Cell::new(0) };
}

/// Carries `REQUEST`.
fn carrying() -> Builder {
    ThreadPoolExecutor::builder().max_workers(1).context(
        || REQUEST.get(),
        |request, task| {
            let before = REQUEST.replace(request);
            task();
            REQUEST.set(before);
        },
    )
}

/// Whichever way a task comes in, it runs with what its submitter had at that moment; and the worker keeps nothing of it.
#[test]
fn p49_context_goes_with_tasks_of_all_kinds() {
    guarded(|| {
        let pool = carrying().build().unwrap();
        let next = || {
            let request = REQUEST.get() + 1;
            REQUEST.set(request);
            request
        };
        let n = next();
        assert_eq!(pool.submit(|()| REQUEST.get(), ()).unwrap().result().unwrap(), n);
        let n = next();
        assert_eq!(pool.spawn(|| REQUEST.get()).unwrap().result().unwrap(), n);
        let n = next();
        assert_eq!(pool.try_submit(|()| REQUEST.get(), ()).unwrap().result().unwrap(), n);
        let n = next();
        let future = pool.submit_timeout(Duration::MAX, |()| REQUEST.get(), ()).unwrap();
        assert_eq!(future.result().unwrap(), n);
        let n = next();
        let future = pool.submit_with_state(|(), ()| REQUEST.get(), ()).unwrap();
        assert_eq!(future.result().unwrap(), n);
        let n = next();
        let options = MapOptions::new().chunksize(2);
        let mut seen = pool.map_with(options, |_| REQUEST.get(), 0..5_u8).unwrap();
        assert!(seen.all(|request| request.unwrap() == n));
        let n = next();
        let scoped = pool.scope(|scope| scope.spawn(|| REQUEST.get()).unwrap().result().unwrap());
        assert_eq!(scoped, n);
        let n = next();
        let future = ExecutorExt::submit(&pool, |()| REQUEST.get(), ()).unwrap();
        assert_eq!(future.result().unwrap(), n);
        REQUEST.set(0);
        assert_eq!(pool.spawn(|| REQUEST.get()).unwrap().result().unwrap(), 0);
    });
}

/// A task has the context of the task that submits it, at the moment of that; also if it runs in place, in the middle of a
/// task with another, which finds its own again.
#[test]
fn p49_context_is_inherited_and_restored() {
    guarded(|| {
        let pool = Arc::new(carrying().build().unwrap());
        let inner = Arc::clone(&pool);
        REQUEST.set(5);
        let outer = pool.spawn(move || {
            let same = inner.spawn(|| REQUEST.get()).unwrap();
            REQUEST.set(6);
            let other = inner.spawn(|| REQUEST.replace(9)).unwrap();
            REQUEST.set(7);
            (same.result().unwrap(), other.result().unwrap(), REQUEST.get())
        });
        assert_eq!(outer.unwrap().result().unwrap(), (5, 6, 7));
        REQUEST.set(0);
        assert_eq!(pool.spawn(|| REQUEST.get()).unwrap().result().unwrap(), 0);
    });
}

/// A task that panics does so inside of its context, which is taken down all the same; and what an observer does, it does in
/// there as well.
#[test]
fn p49_context_survives_panics_and_is_there_for_observers() {
    struct Requests(Mutex<Vec<u32>>);
    impl TaskObserver for Requests {
        fn task_started(&self, _task: &TaskInfo) {
            self.0.lock().unwrap().push(REQUEST.get());
        }

        fn task_ended(&self, _task: &TaskInfo, _end: &TaskEnd<'_>) {
            self.0.lock().unwrap().push(REQUEST.get());
        }
    }

    guarded(|| {
        let requests = Arc::new(Requests(Mutex::default()));
        let pool = carrying().observer(Arc::clone(&requests)).build().unwrap();
        REQUEST.set(3);
        let panics: Future<()> = pool.spawn(|| panic!("inside")).unwrap();
        REQUEST.set(4);
        let returns = pool.spawn(|| ()).unwrap();
        assert!(matches!(panics.result(), Err(TaskError::Panicked(_))));
        returns.result().unwrap();
        assert_eq!(*requests.0.lock().unwrap(), [3, 3, 4, 4]);
    });
}

/// What is captured counts how many of it there are.
struct Captured(Arc<AtomicUsize>);

impl Captured {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What was captured is gone when anybody learns that the future has ended, however it did; and with a refusal.
#[test]
fn p49_context_is_dropped_with_the_task() {
    guarded(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .queue_capacity(3)
            .context(move || Captured::new(&counted), |_captured, task| task())
            .build()
            .unwrap();
        let captured = || count.load(Ordering::SeqCst);
        let future = pool.spawn(|| ()).unwrap();
        future.wait();
        assert_eq!(captured(), 0);

        let gate = Gate::closed();
        let busy = occupy(&pool, &gate, 1);
        let futures: Vec<_> = (0..3).map(|_| pool.spawn(|| ()).unwrap()).collect();
        assert_eq!(captured(), 4);
        pool.try_submit(|()| (), ()).unwrap_err();
        assert_eq!(captured(), 4);
        assert!(futures[0].cancel());
        assert_eq!(captured(), 3);
        pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
        assert_eq!(captured(), 1);
        pool.spawn(|| ()).unwrap_err();
        assert_eq!(captured(), 1);
        gate.open();
        busy.into_iter().for_each(|future| future.result().unwrap());
        assert_eq!(captured(), 0);
    });
}

/// Each way for the user's functions to misbehave ends with an outcome, and none with a second run or a lost worker.
#[test]
fn p49_context_that_misbehaves_is_contained() {
    events::record();
    guarded(|| {
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .context(
                || match REQUEST.get() {
                    1 => panic!("no context to be had"),
                    other => other,
                },
                |request, task| match request {
                    2 => {}
                    3 => panic!("before the task"),
                    4 => {
                        task();
                        task();
                        panic!("after the task");
                    }
                    _ => task(),
                },
            )
            .build()
            .unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let submit = |request| {
            REQUEST.set(request);
            let runs = Arc::clone(&runs);
            pool.spawn(move || runs.fetch_add(1, Ordering::SeqCst)).unwrap()
        };
        let thrown = catch_unwind(AssertUnwindSafe(|| submit(1))).unwrap_err();
        assert_eq!(thrown.downcast_ref::<&str>(), Some(&"no context to be had"));
        assert!(matches!(submit(2).result(), Err(TaskError::Abandoned)));
        match submit(3).result() {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "before the task"),
            other => panic!("{other:?}"),
        }
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        let future = submit(4);
        let id = future.id();
        assert_eq!(future.result().unwrap(), 0);
        let seen = events::seen(|event| event.future == Some(id));
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].text.contains("after the task"), "{}", seen[0].text);
        assert_eq!(submit(5).result().unwrap(), 1);
        REQUEST.set(0);
    });
}
