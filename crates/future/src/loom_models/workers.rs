//! A worker waits for a task of its own pool: it runs it, or says that it sleeps and that it is awake again.

use std::{rc::Rc, sync::Arc};

use super::{Call, Count, model};
use crate::{
    CompletionSet, Host, PackagedTask, PoolId, Ran, ReturnWhen, promise, sync::thread, wait,
    work_for,
};

#[derive(Default)]
struct Told {
    blocked: Count,
    unblocked: Count,
    in_place: Count,
}

impl Host for Told {
    fn blocked(&self) {
        self.blocked.up();
    }

    fn unblocked(&self) {
        assert!(self.unblocked.get() < self.blocked.get());
        self.unblocked.up();
    }

    fn ran_in_place(&self, _: Ran) {
        self.in_place.up();
    }
}

/// The awaited task is taken from the queue by another worker just when this one would run it in place. One of them
/// runs it; if it is the other one, this one sleeps until then.
#[test]
fn loom_help_vs_run() {
    model(|| {
        let pool = PoolId::new();
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || {
            drop(captured);
            7
        }));
        task.set_pool(pool);
        let other = thread::spawn(move || task.run() == Ran::Succeeded);
        let told = Rc::new(Told::default());
        assert_eq!(work_for(pool, told.clone(), || future.result().unwrap()), 7);
        let ran_there = other.join().unwrap();
        assert_eq!(told.in_place.get(), usize::from(!ran_there));
        assert_eq!(told.blocked.get(), told.unblocked.get());
        assert!(ran_there || told.blocked.get() == 0, "it slept for a task that it ran itself");
        assert_eq!(drops.get(), 1);
    });
}

/// The awaited task is cancelled just when this worker would run it.
#[test]
fn loom_help_vs_cancel() {
    model(|| {
        let pool = PoolId::new();
        let runs = Count::default();
        let counted = runs.clone();
        let (task, future) = PackagedTask::new(Call(move || counted.up()));
        task.set_pool(pool);
        let canceller = thread::spawn(move || task.cancel());
        let told = Rc::new(Told::default());
        let outcome = work_for(pool, told.clone(), || future.result());
        let cancelled = canceller.join().unwrap();
        assert_eq!((outcome.is_err(), runs.get()), (cancelled, usize::from(!cancelled)));
        assert_eq!(told.blocked.get(), told.unblocked.get());
    });
}

/// Two workers wait for one task of their pool; both come back, having run it once between them.
#[test]
fn loom_two_helpers() {
    model(|| {
        let pool = PoolId::new();
        let runs = Count::default();
        let counted = runs.clone();
        let (task, future) = PackagedTask::new(Call(move || counted.up()));
        task.set_pool(pool);
        drop(task);
        let future = future.share();
        let other = thread::spawn({
            let future = future.clone();
            move || work_for(pool, Rc::new(Told::default()), || future.wait())
        });
        let told = Rc::new(Told::default());
        work_for(pool, told.clone(), || future.wait());
        other.join().unwrap();
        assert!(future.done());
        assert_eq!((runs.get(), told.blocked.get()), (1, told.unblocked.get()));
    });
}

/// A worker that sleeps says so exactly once for each time, whatever wakes it and whichever wait it is in.
#[test]
fn loom_blocked_and_unblocked_are_paired() {
    for (name, waits) in WAITS {
        model(move || {
            let (promise, future) = promise();
            let producer = thread::spawn(move || promise.set_result(7).unwrap());
            let told = Rc::new(Told::default());
            work_for(PoolId::new(), told.clone(), || waits(&future));
            producer.join().unwrap();
            assert_eq!(told.blocked.get(), told.unblocked.get(), "{name}");
            assert!(told.blocked.get() <= 1, "{name}");
        });
    }
}

type Wait = fn(&crate::Future<u8>);

const WAITS: [(&str, Wait); 4] = [
    ("wait", |future| future.wait()),
    ("all", |future| drop(wait([future], ReturnWhen::AllCompleted))),
    ("first", |future| drop(wait([future], ReturnWhen::FirstCompleted))),
    ("set", |future| assert!(CompletionSet::from_iter([future]).next().is_some())),
];

/// A worker waits for several tasks, one of which is run elsewhere meanwhile: it runs what is left of them.
#[test]
fn loom_help_with_several_vs_run() {
    model(|| {
        let pool = PoolId::new();
        let runs = Count::default();
        let task = || {
            let counted = runs.clone();
            let (task, future) = PackagedTask::new(Call(move || counted.up()));
            task.set_pool(pool);
            (task, future)
        };
        let ((first, one), (_second, two)) = (task(), task());
        let other = thread::spawn({
            let first = Arc::clone(&first);
            move || first.run()
        });
        let told = Rc::new(Told::default());
        let waited = work_for(pool, told.clone(), || wait([&one, &two], ReturnWhen::AllCompleted));
        assert_eq!((waited.done.len(), runs.get()), (2, 2));
        other.join().unwrap();
        assert_eq!(told.blocked.get(), told.unblocked.get());
    });
}
