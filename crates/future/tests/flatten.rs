//! Futures of a `Result`, whose error becomes the future's own.

mod common;

use std::{error::Error, fmt, sync::mpsc, thread};

use common::{
    Call, Oops, asleep,
    drops::{Counted, Drops, Explosive},
    events::{self, Recorded, destructor_panics},
    guarded, ran,
};
use concurrent_futures_future::{
    Future, PackagedTask, Progress, Ran, ReturnWhen, State, TaskError, as_completed, promise, wait,
};

fn failing() -> Future<u8> {
    ran(|| Err(Oops(1))).flatten()
}

#[test]
fn the_value_and_the_error() {
    guarded(|| {
        assert_eq!(ran(|| Ok::<u8, Oops>(1)).flatten().result().unwrap(), 1);
        let error = failing().result().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Oops(1)));
        assert_eq!(error.to_string(), "oops 1");
        // Any error that can be boxed, text included.
        let error = ran(|| Err::<u8, _>("plain text")).flatten().result().unwrap_err();
        assert_eq!(error.to_string(), "plain text");
        // What the task did not return stays what it is.
        assert!(
            ran(|| -> Result<u8, Oops> { panic!("thrown") })
                .flatten()
                .result()
                .unwrap_err()
                .is_panic()
        );
        let (promise, future) = promise::<Result<u8, Oops>>();
        drop(promise);
        assert!(matches!(future.flatten().result(), Err(TaskError::Abandoned)));
    });
}

#[derive(Debug)]
struct Outer(Oops);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn p52_the_chain_of_causes_is_kept() {
    guarded(|| {
        let error = ran(|| Err::<u8, _>(Outer(Oops(3)))).flatten().result().unwrap_err();
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        assert_eq!(chain, ["outer", "oops 3"]);
        // As itself, not as text.
        assert_eq!(error.downcast_ref::<Outer>().unwrap().0, Oops(3));
        let TaskError::Failed(failure) = &error else { panic!("not a failure") };
        assert_eq!(
            (failure.to_string(), format!("{failure:?}")),
            ("outer".into(), "Outer(Oops(3))".into())
        );
        assert!(failure.get_ref().is::<Outer>());
    });
}

#[test]
fn every_way_of_asking_sees_the_failure() {
    guarded(|| {
        assert!(failing().exception().is_some());
        let (sender, told) = mpsc::channel();
        failing().add_done_callback(move |it| sender.send(it.exception().is_some()).unwrap());
        assert!(told.recv().unwrap());
        let (sender, told) = mpsc::channel();
        failing().on_done(move |outcome| sender.send(outcome.is_err()).unwrap());
        assert!(told.recv().unwrap());
        assert!(failing().share().result().is_err());
        assert!(failing().try_result().unwrap().is_err());
        let future = failing();
        let text = format!("{future:?}");
        assert!(text.ends_with("finished, failed with flatten::common::Oops)"), "{text}");
        assert!(as_completed([future]).next().unwrap().result().is_err());
        let future = ran(|| Ok::<u8, Oops>(1)).flatten();
        assert!(format!("{future:?}").ends_with("finished, returned u8)"));
    });
}

#[test]
fn it_is_the_same_future() {
    guarded(|| {
        let (task, future) = PackagedTask::new(Call(|| Ok::<u8, Oops>(1)));
        let id = future.id();
        let future = future.flatten();
        assert_eq!((future.id(), future.state(), task.id()), (id, State::Pending, id));
        assert!(future.cancel() && task.state() == State::Cancelled);
        assert_eq!(task.run(), Ran::Not);
        assert!(future.result().unwrap_err().is_cancelled());
    });
}

#[test]
fn first_exception_sees_it_end() {
    guarded(|| {
        let (kept, future) = promise();
        let (_promise, other) = promise::<u8>();
        let future = future.flatten();
        thread::scope(|scope| {
            let waiter =
                asleep(scope, || wait([&future, &other], ReturnWhen::FirstException).done.len());
            kept.set_result(Err::<u8, _>(Oops(1))).unwrap();
            assert_eq!(waiter.join().unwrap(), 1);
        });
    });
}

#[test]
fn twice_nested() {
    guarded(|| {
        type Nested = Result<Result<u8, Oops>, Outer>;
        let nested = |value: fn() -> Nested| ran(value).flatten().flatten().result();
        assert_eq!(nested(|| Ok(Ok(1))).unwrap(), 1);
        assert!(nested(|| Ok(Err(Oops(2)))).unwrap_err().downcast_ref::<Oops>().is_some());
        assert!(nested(|| Err(Outer(Oops(2)))).unwrap_err().downcast_ref::<Outer>().is_some());
    });
}

/// An error whose conversion panics.
struct Unconvertible;

impl From<Unconvertible> for Box<dyn Error + Send + Sync> {
    fn from(_: Unconvertible) -> Self {
        panic!("while converting")
    }
}

#[test]
fn a_conversion_that_panics_is_the_error() {
    guarded(|| {
        let future = ran(|| Err::<u8, _>(Unconvertible)).flatten();
        for error in [future.exception().unwrap(), future.result().unwrap_err()] {
            assert!(error.to_string().ends_with("while converting"), "{error}");
        }
    });
}

#[test]
fn the_value_is_dropped_once_on_every_way() {
    guarded(|| {
        let drops = Drops::new();
        let task = |drops: &Drops| {
            let value = drops.value();
            PackagedTask::new(Call(move || Ok::<Counted, Oops>(value)))
        };
        // Read.
        let (it, future) = task(&drops);
        assert_eq!(it.run(), Ran::Succeeded);
        drop(future.flatten().result());
        assert_eq!(drops.count(), 1);
        // Asked and not read; dropped after the end, before it, and cancelled.
        let (it, future) = task(&drops);
        it.run();
        let future = future.flatten();
        assert!(future.exception().is_none());
        drop(future);
        assert_eq!(drops.count(), 2);
        let (it, future) = task(&drops);
        drop(future.flatten());
        assert_eq!((it.run(), drops.count()), (Ran::Succeeded, 3));
        let (_it, future) = task(&drops);
        assert!(future.flatten().cancel());
        assert_eq!(drops.count(), 4);
    });
}

/// Whoever completes the task takes the returned `Err` for a value. If the handle was dropped before that, it used to
/// be dropped like one, and nobody was told.
#[test]
fn p47_a_failure_after_the_handle_was_dropped_is_reported() {
    guarded(|| {
        events::record();
        let (kept, future) = promise();
        let id = future.id();
        drop(future.flatten());
        kept.set_result(Err::<u8, _>(Oops(1))).unwrap();
        let unread = [Recorded::FailureUnread("oops 1".to_owned())];
        assert_eq!(events::of(id), unread);

        // Also if a callback, which does not look, holds on to the future for longer than the handle.
        let (kept, future) = promise();
        let (id, future) = (future.id(), future.flatten());
        future.add_done_callback(|_| {});
        drop(future);
        kept.set_result(Err::<u8, _>(Oops(1))).unwrap();
        assert_eq!(events::of(id), unread);
        // And if the handle is dropped only after the end.
        let future = failing();
        let id = future.id();
        drop(future);
        assert_eq!(events::of(id), unread);
    });
}

#[test]
fn p47_a_failure_that_was_looked_at_is_not_reported() {
    guarded(|| {
        events::record();
        // By a callback, although the handle was dropped before.
        let (kept, future) = promise();
        let (id, future) = (future.id(), future.flatten());
        future.add_done_callback(|it| assert!(it.exception().is_some()));
        drop(future);
        kept.set_result(Err::<u8, _>(Oops(1))).unwrap();
        assert_eq!(events::of(id), []);
        // By `on_done`, and by reading.
        let (kept, future) = promise();
        let id = future.id();
        future.flatten().on_done(|outcome| drop(outcome.unwrap_err()));
        kept.set_result(Err::<u8, _>(Oops(1))).unwrap();
        assert_eq!(events::of(id), []);
        let future = failing();
        let id = future.id();
        assert!(future.result().is_err());
        assert_eq!(events::of(id), []);
        // No failure at all.
        let (kept, future) = promise();
        let id = future.id();
        drop(future.flatten());
        kept.set_result(Ok::<u8, Oops>(1)).unwrap();
        let (_promise, cancelled) = promise::<Result<u8, Oops>>();
        let other = cancelled.id();
        cancelled.cancel();
        drop(cancelled.flatten());
        assert_eq!((events::of(id), events::of(other)), (vec![], vec![]));
        // A panic is reported once, as that of any future.
        let (task, future) = PackagedTask::new(Call(|| -> Result<u8, Oops> { panic!("thrown") }));
        let id = future.id();
        drop(future.flatten());
        task.run();
        assert_eq!(events::of(id).len(), 1);
    });
}

/// Those who count are told by whoever completes the task, to whom the returned `Err` is a value.
#[test]
fn progress_counts_it_as_a_failure() {
    guarded(|| {
        for before in [true, false] {
            for outcome in [Err(Oops(1)), Ok(1_u8)] {
                let failed = u64::from(outcome.is_err());
                let progress = Progress::new();
                let (kept, future) = promise();
                let future = future.flatten();
                if before {
                    progress.watch(&future);
                }
                kept.set_result(outcome).unwrap();
                if !before {
                    progress.watch(&future);
                }
                let counts = progress.snapshot();
                assert_eq!(
                    (counts.failed, counts.succeeded, counts.started),
                    (failed, 1 - failed, 1)
                );
                drop(future);
            }
        }
        // Dropped meanwhile.
        let progress = Progress::new();
        let (kept, future) = promise();
        let future = future.flatten();
        progress.watch(&future);
        drop(future);
        kept.set_result(Err::<u8, _>(Oops(1))).unwrap();
        assert_eq!(progress.snapshot().failed, 1);
        let (_promise, future) = promise::<Result<u8, Oops>>();
        let future = future.flatten();
        progress.watch(&future);
        future.cancel();
        assert_eq!((progress.snapshot().failed, progress.snapshot().cancelled), (1, 1));
    });
}

#[test]
fn a_value_whose_destructor_panics_does_not_leave_the_completion() {
    guarded(|| {
        events::record();
        let drops = Drops::new();
        for (text, watched) in [("flat, not watched", false), ("flat, watched", true)] {
            let (kept, future) = promise();
            let future = future.flatten();
            let progress = Progress::new();
            if watched {
                progress.watch(&future);
            }
            let (sender, told) = mpsc::channel();
            future.add_done_callback(move |_| sender.send(()).unwrap());
            drop(future);
            kept.set_result(Ok::<_, Oops>(Explosive(text, drops.value()))).unwrap();
            told.try_recv().expect("the callback has run");
            assert_eq!(destructor_panics(text), 1);
        }
        assert_eq!(drops.count(), 2);
    });
}
