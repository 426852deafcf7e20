//! What a pool does around each of its tasks if it was asked to: observers are told, and context is carried.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use concurrent_futures::{
    ExecutorExt, Future, FutureId, TaskEnd, TaskInfo, TaskObserver, ThreadPoolExecutor,
};
use concurrent_futures_tests::{Gate, events, guarded};

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
    const AT_LEAST: Duration = Duration::from_millis(5);

    fn sleeps(duration: Duration) {
        std::thread::sleep(duration);
    }

    guarded(|| {
        let (pool, recorder) = observed(1);
        let returns = pool.submit(sleeps, AT_LEAST).unwrap();
        let panics: Future<()> = pool.spawn(|| panic!("for the observer")).unwrap();
        let ids = [returns.id(), panics.id()];
        returns.result().unwrap();
        let first =
            [Seen::Start { id: ids[0], in_place: false }, Seen::End { id: ids[0], panic: None }];
        assert_eq!(recorder.seen()[..2], first);
        assert!(recorder.names.lock().unwrap()[0].ends_with("sleeps"));
        assert!(recorder.durations.lock().unwrap()[0] >= AT_LEAST);
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
