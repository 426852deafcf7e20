//! What happens where no caller can be told: it goes to the event hook, or, if there is none, to the log.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use concurrent_futures::{Future, TaskError, ThreadPoolExecutor};
use concurrent_futures_tests::{Gate, events, guarded};

use super::{pool, share};

fn panics(pool: &ThreadPoolExecutor, text: &'static str) -> Future<()> {
    pool.spawn(move || panic!("{text}")).unwrap()
}

/// A task that fails while nobody holds its future any more, or whose future is dropped without a look, is reported once,
/// with the future and the error.
#[test]
fn p47_a_failure_that_nobody_sees_is_reported() {
    events::record();
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let passing = share(&gate);
        let dropped_before = pool
            .spawn(move || {
                passing.pass();
                panic!("dropped before");
            })
            .unwrap();
        let before: (_, Future<()>) = (dropped_before.id(), dropped_before);
        drop(before.1);
        gate.open();
        let after = panics(&pool, "dropped after");
        after.wait();
        let after = (after.id(), drop(after)).0;
        pool.shutdown();
        for (id, text) in [(before.0, "dropped before"), (after, "dropped after")] {
            let seen = events::seen(|event| event.future == Some(id));
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert_eq!(seen[0].kind, "FailureUnread");
            assert!(seen[0].text.contains(text), "{}", seen[0].text);
        }
    });
}

/// A failure that somebody has been told of is not reported, in whichever way they were told; nor is a cancellation.
#[test]
fn p47_a_failure_that_somebody_sees_is_not_reported() {
    events::record();
    guarded(|| {
        let pool = pool(1);
        let mut ids = Vec::new();
        let mut failing = |text| {
            let future = panics(&pool, text);
            ids.push(future.id());
            future
        };
        assert!(failing("read").result().is_err());
        assert!(failing("asked for").exception().is_some());
        failing("called back").on_done(|outcome| assert!(outcome.is_err()));
        let callback = failing("seen by a callback");
        callback.add_done_callback(|completed| assert!(completed.exception().is_some()));
        callback.wait();
        drop(callback);
        let shared = failing("shared").share();
        assert!(shared.result().is_err());
        drop(shared);
        let cancelled = failing("cancelled");
        // Or else it fails, and is asked for its error.
        assert_eq!(cancelled.cancel(), cancelled.cancelled());
        assert!(cancelled.exception().is_some());
        pool.shutdown();
        let seen = events::seen(|event| event.future.is_some_and(|id| ids.contains(&id)));
        assert!(seen.is_empty(), "{seen:?}");
    });
}

/// F046: a callback that panics is reported, the others run, and the worker lives on.
#[test]
fn f151_a_callback_that_panics_is_reported() {
    events::record();
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let passing = share(&gate);
        let future = pool
            .spawn(move || {
                passing.pass();
                5
            })
            .unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        for n in 0..3 {
            let calls = Arc::clone(&calls);
            future.add_done_callback(move |_| {
                calls.fetch_add(1, Ordering::SeqCst);
                assert!(n != 1, "the second callback");
            });
        }
        let id = future.id();
        gate.open();
        assert_eq!(future.result().unwrap(), 5);
        assert_eq!(pool.spawn(|| 6).unwrap().result().unwrap(), 6);
        pool.shutdown();
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        let seen = events::seen(|event| event.future == Some(id));
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].kind, "CallbackPanicked");
        assert!(seen[0].text.contains("the second callback"), "{}", seen[0].text);
    });
}

/// A destructor that panics in a worker is reported, and the worker lives on: of a result that nobody takes, and of a
/// capture, where it is a panic of the task.
#[test]
fn f151_a_destructor_that_panics_is_reported() {
    struct Explosive(&'static str);
    impl Drop for Explosive {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "{}", self.0);
        }
    }

    events::record();
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let passing = share(&gate);
        let result = pool
            .spawn(move || {
                passing.pass();
                Explosive("a result that nobody takes")
            })
            .unwrap();
        drop(result);
        gate.open();
        let captured = Explosive("a capture");
        let outcome = pool.spawn(move || drop(captured)).unwrap().result();
        let Err(TaskError::Panicked(panic)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(panic.message(), "a capture");
        assert_eq!(pool.spawn(|| 6).unwrap().result().unwrap(), 6);
        pool.shutdown();
        let seen = events::seen(|event| event.text.contains("a result that nobody takes"));
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].kind, "DestructorPanicked");
    });
}

/// Without a hook it all goes to the `log` crate: a broken executor as an error, the rest as warnings, and nothing of a
/// failure that somebody has seen. In a process of its own, as there is one hook and one logger.
#[test]
fn f151_without_a_hook_it_goes_to_the_log() {
    guarded(|| {
        let output = Command::new(env!("CARGO_BIN_EXE_scenario")).arg("log").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let starts = [
            "WARN concurrent_futures: a done-callback of future #",
            "WARN concurrent_futures: future #",
            "ERROR concurrent_futures: executor logged is broken: ",
        ];
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
        assert!(lines[0].contains("in a callback") && lines[1].contains("nobody looks"), "{text}");
    });
}
