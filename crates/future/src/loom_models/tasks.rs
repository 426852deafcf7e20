//! Several threads want to run or end one task.

use std::sync::Arc;

use super::{Call, Count, OnDrop, model};
use crate::{PackagedTask, Ran, Surround, Surrounded, TaskError, Work, promise, sync::thread};

struct Counted {
    runs: Count,
    captured: OnDrop,
}

impl Work for Counted {
    type Output = OnDrop;

    fn call(self) -> OnDrop {
        self.runs.up();
        self.captured
    }
}

/// Two workers take the same task, one from the queue and one to help: one runs it.
#[test]
fn loom_run_vs_run() {
    model(|| {
        let (runs, drops) = (Count::default(), Count::default());
        let work = Counted { runs: runs.clone(), captured: drops.on_drop() };
        let (task, future) = PackagedTask::new(work);
        let other = thread::spawn({
            let task = Arc::clone(&task);
            move || task.run()
        });
        let ran = [task.run(), other.join().unwrap()];
        assert_eq!(ran.iter().filter(|ran| **ran == Ran::Succeeded).count(), 1);
        assert_eq!((runs.get(), drops.get()), (1, 0));
        drop(future.result().unwrap());
        assert_eq!(drops.get(), 1);
    });
}

/// Two workers and a cancellation.
#[test]
fn loom_run_vs_run_vs_cancel() {
    model(|| {
        let (runs, drops) = (Count::default(), Count::default());
        let work = Counted { runs: runs.clone(), captured: drops.on_drop() };
        let (task, future) = PackagedTask::new(work);
        let workers = [(); 2].map(|()| {
            let task = Arc::clone(&task);
            thread::spawn(move || task.run() != Ran::Not)
        });
        let cancelled = future.cancel();
        let ran = workers.map(|it| usize::from(it.join().unwrap())).into_iter().sum::<usize>();
        assert_eq!((ran, runs.get()), (usize::from(!cancelled), usize::from(!cancelled)));
        drop(future);
        assert_eq!(drops.get(), 1);
    });
}

/// What is to be done around a task is done if a worker wins, and dropped if a cancellation does; by the time that anybody
/// is told, it is gone.
#[test]
fn loom_surround_vs_cancel() {
    struct Around(Count, #[expect(dead_code, reason = "counts its drop")] OnDrop);
    impl Surround for Around {
        fn surround(self: Box<Self>, task: &mut Surrounded<'_>) {
            self.0.up();
            task.run();
        }
    }

    model(|| {
        let (surrounds, drops) = (Count::default(), Count::default());
        let (task, future) = PackagedTask::new(Call(|| ()));
        task.set_surround(Box::new(Around(surrounds.clone(), drops.on_drop())));
        let worker = thread::spawn({
            let task = Arc::clone(&task);
            move || task.run() != Ran::Not
        });
        let cancelled = future.cancel();
        if cancelled {
            assert_eq!(drops.get(), 1);
        }
        assert_eq!(future.result().is_err(), cancelled);
        assert_eq!(drops.get(), 1);
        assert_eq!(worker.join().unwrap(), !cancelled);
        assert_eq!(surrounds.get(), usize::from(!cancelled));
    });
}

/// The executor gives up a task while a helper runs it: it fails undone, or is run to its end.
#[test]
fn loom_fail_vs_run() {
    model(|| {
        let (runs, drops) = (Count::default(), Count::default());
        let work = Counted { runs: runs.clone(), captured: drops.on_drop() };
        let (task, future) = PackagedTask::new(work);
        let helper = thread::spawn({
            let task = Arc::clone(&task);
            move || task.run() == Ran::Succeeded
        });
        task.fail(TaskError::Abandoned);
        let outcome = future.result();
        let ran = helper.join().unwrap();
        assert_eq!((outcome.is_ok(), runs.get()), (ran, usize::from(ran)));
        drop(outcome);
        assert_eq!(drops.get(), 1);
    });
}

/// A task that is started in one thread and completed by two others, as when a reply and the death of its worker arrive
/// at once: one of them completes it.
#[test]
fn loom_complete_vs_complete() {
    model(|| {
        let (task, future) = PackagedTask::new(Call(|| 1));
        assert!(task.start());
        let other = thread::spawn({
            let task = Arc::clone(&task);
            move || task.complete(Ok(2))
        });
        task.complete(Ok(3));
        other.join().unwrap();
        assert!(matches!(future.try_result().unwrap(), Ok(2 | 3)));
    });
}

/// A value that was computed in one thread is read in another, and the task dropped in a third.
#[test]
fn loom_value_moves_between_threads() {
    model(|| {
        let (task, future) = PackagedTask::new(Call(|| Box::new(7)));
        let worker = thread::spawn(move || task.run());
        let reader = thread::spawn(move || *future.result().unwrap());
        assert_eq!(reader.join().unwrap(), 7);
        assert_eq!(worker.join().unwrap(), Ran::Succeeded);
    });
}

/// Two threads ask a flattened future, which is settled by the first of them.
#[test]
fn loom_two_look_at_a_flattened_future() {
    model(|| {
        let (promise, future) = promise();
        let future = future.flatten();
        promise.set_result(Ok::<_, super::Oops>(7)).unwrap();
        let future = future.share();
        let other = thread::spawn({
            let future = future.clone();
            move || future.exception().is_none()
        });
        assert_eq!(*future.result().unwrap(), 7);
        assert!(other.join().unwrap());
    });
}

/// Two threads take the value of one cell, which handles do not let them do: one of them gets it.
#[test]
fn loom_take_vs_take() {
    model(|| {
        let (promise, future) = promise();
        promise.set_result(7).unwrap();
        let other = thread::spawn({
            let cell = Arc::clone(future.cell());
            move || cell.take().is_ok()
        });
        let here = future.cell().take().is_ok();
        assert_ne!(other.join().unwrap(), here);
    });
}

/// Two threads ask for the id of a future that has none yet: they are given the same.
#[test]
fn loom_id_vs_id() {
    model(|| {
        let (promise, future) = promise::<u8>();
        let other = thread::spawn(move || promise.id());
        let id = future.id();
        assert_eq!(other.join().unwrap(), id);
    });
}
