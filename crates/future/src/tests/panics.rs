//! Panics that were caught: what is known of them, and what catching them leaves alone.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Panic, Promise, TaskError, panic::drop_quietly, promise};

/// The line of the panic that was caught.
fn line(panic: &Panic) -> Option<u32> {
    panic.location()?.rsplit(':').nth(1)?.parse().ok()
}

#[test]
fn what_did_not_panic_is_returned() {
    assert_eq!(Panic::catch(|| 1).unwrap(), 1);
    let text = String::from("moved in and out");
    assert_eq!(Panic::catch(move || text).unwrap(), "moved in and out");
}

#[test]
fn the_message_for_every_kind_of_payload() {
    let caught = |f: fn()| Panic::catch(f).unwrap_err();
    assert_eq!(caught(|| panic!("literal")).message(), "literal");
    assert_eq!(caught(|| panic!("formatted {}", 7)).message(), "formatted 7");
    assert_eq!(caught(|| panic_any("a &str")).message(), "a &str");
    assert_eq!(caught(|| panic_any(String::from("a String"))).message(), "a String");
    assert_eq!(caught(|| panic_any(7)).message(), "(a value that is not text)");
    assert_eq!(caught(|| panic_any(())).message(), "(a value that is not text)");
    assert_eq!(caught(|| resume_unwind(Box::new("no hook"))).message(), "no hook");
    assert_eq!(caught(|| assert_eq!(1, 2)).message().lines().count(), 3);
    assert_eq!(caught(|| panic!()).message(), "explicit panic");
}

#[test]
fn the_location_is_that_of_the_panic() {
    let (panic, here) = (Panic::catch(|| panic!("here")).unwrap_err(), line!());
    let location = panic.location().unwrap();
    assert!(location.starts_with(file!()), "{location}");
    assert_eq!(line(&panic), Some(here));
    assert_eq!(panic.to_string(), format!("panicked at {location}: here"));
    assert_eq!(
        format!("{panic:?}"),
        format!("Panic {{ message: \"here\", location: Some({location:?}), .. }}")
    );
}

#[test]
fn a_panic_that_did_not_call_the_hook_has_no_location() {
    let panic = Panic::catch(|| resume_unwind(Box::new("quiet"))).unwrap_err();
    assert_eq!((panic.location(), panic.backtrace()), (None, None));
    assert_eq!(panic.to_string(), "panicked: quiet");
    // Nor that of a panic before it, whether that was caught here or by the user.
    drop(Panic::catch(|| panic!("earlier")).unwrap_err());
    let panic = Panic::catch(|| resume_unwind(Box::new("quiet"))).unwrap_err();
    assert_eq!(panic.location(), None);
    drop(Panic::catch(|| drop(catch_unwind(|| panic!("caught by the user")))));
    let panic = Panic::catch(|| resume_unwind(Box::new("quiet"))).unwrap_err();
    assert_eq!(panic.location(), None);
}

#[test]
fn a_panic_that_is_passed_on_keeps_its_location() {
    let here = line!() + 2;
    let panic: Result<(), _> = Panic::catch(|| {
        let Err(payload) = catch_unwind(|| panic!("passed on"));
        resume_unwind(payload);
    });
    assert_eq!(line(&panic.unwrap_err()), Some(here));
}

#[test]
fn nested_catches_each_know_their_own() {
    let (outer, inner_line, outer_line);
    (outer, inner_line, outer_line) = {
        let mut inner_line = None;
        let outer_line = line!() + 4;
        let outer = Panic::catch(|| {
            let inner = Panic::catch(|| panic!("inner")).unwrap_err();
            inner_line = line(&inner);
            panic!("outer after {}", inner.message());
        });
        (outer.unwrap_err(), inner_line, outer_line)
    };
    assert_eq!(outer.message(), "outer after inner");
    assert_eq!(line(&outer), Some(outer_line));
    assert_eq!(inner_line, Some(outer_line - 2));
}

/// A panic unwinds through destructors, and those may run callbacks, whose panics are caught as well. The latest panic's
/// place used to be all that was kept, so that the outer one lost its own.
#[test]
fn a_panic_caught_while_another_one_unwinds_does_not_take_its_place() {
    struct CatchesOne;
    impl Drop for CatchesOne {
        fn drop(&mut self) {
            let inner = Panic::catch(|| panic!("inner, while unwinding")).unwrap_err();
            assert!(inner.location().is_some());
        }
    }
    let here = line!() + 3;
    let outer = Panic::catch(|| {
        let _guard = CatchesOne;
        panic!("outer");
    });
    let outer = outer.unwrap_err();
    assert_eq!((outer.message(), line(&outer)), ("outer", Some(here)));
}

#[test]
fn panics_of_other_threads_are_told_apart() {
    let places = thread::scope(|scope| {
        let threads = [1, 2].map(|n| {
            scope.spawn(move || {
                let place = || Panic::catch(|| panic!("from {n}")).unwrap_err().to_string();
                (0..100).all(|_| place().ends_with(&format!("from {n}")))
            })
        });
        threads.map(|it| it.join().unwrap())
    });
    assert_eq!(places, [true, true]);
}

#[test]
fn resume_throws_the_payload_and_then_the_message() {
    let panic = Panic::catch(|| panic_any(vec![1, 2])).unwrap_err();
    let again = panic.clone();
    let payload = catch_unwind(AssertUnwindSafe(|| panic.resume())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&vec![1, 2]));
    let payload = catch_unwind(AssertUnwindSafe(|| again.resume())).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "(a value that is not text)");
    // One from another process has no payload to begin with.
    let remote =
        Panic::from_parts("far away", Some("a.rs:1:1".to_owned()), Some("frames".to_owned()));
    assert_eq!(remote.backtrace(), Some("frames"));
    let payload = catch_unwind(AssertUnwindSafe(|| remote.resume())).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "far away");
}

#[test]
fn a_payload_is_dropped_with_the_last_clone() {
    let payload = Arc::new(());
    let thrown = Arc::clone(&payload);
    let panic = Panic::catch(|| panic_any(thrown)).unwrap_err();
    let clone = panic.clone();
    drop(panic);
    assert_eq!(Arc::strong_count(&payload), 2);
    drop(clone);
    assert_eq!(Arc::strong_count(&payload), 1);
}

thread_local! {
    /// How many of the next drops of a `Bomb` panic, and how many there were.
    static FUSE: Cell<u32> = const { Cell::new(0) };
    static DROPS: Cell<u32> = const { Cell::new(0) };
}

/// Panics when it is dropped, with another one. Without a size, so that one which is leaked leaks nothing.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
        if let Some(left) = FUSE.get().checked_sub(1) {
            FUSE.set(left);
            panic_any(Self);
        }
    }
}

#[test]
fn payloads_whose_destructors_panic_are_survived() {
    for fuse in 0..4 {
        DROPS.set(0);
        FUSE.set(fuse);
        drop(Panic::catch(|| panic_any(Bomb)).unwrap_err());
        // The third in a row counts as one that goes on for ever, and is leaked.
        assert_eq!(DROPS.get(), fuse.min(1) + 1);
        FUSE.set(0);
        drop_quietly(Bomb);
    }
}

#[test]
fn what_the_closure_captured_is_gone_either_way() {
    for panics in [false, true] {
        let captured = Arc::new(());
        let inside = Arc::clone(&captured);
        let outcome = Panic::catch(move || {
            let _inside = inside;
            assert!(!panics);
        });
        assert_eq!((outcome.is_err(), Arc::strong_count(&captured)), (panics, 1));
    }
}

#[test]
fn the_hook_that_was_there_is_still_called() {
    // Whatever hook is installed now, ours or the test harness's, is put behind this one and called by it; so the chain
    // is whole if this one is called and the location is still found.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<bool> = const { Cell::new(false) });
    drop(Panic::catch(|| ()));
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if MINE.get() {
            CALLS.fetch_add(1, Ordering::SeqCst);
        }
        previous(info);
    }));
    MINE.set(true);
    let panic = Panic::catch(|| panic!("through both")).unwrap_err();
    assert!(panic.location().is_some());
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    MINE.set(false);
}

#[test]
fn a_thread_local_may_end_a_future_while_its_thread_ends() {
    // Thread-locals are dropped in the reverse order of their first use: this one after those of the library, which
    // are then gone for good. Using them all the same used to abort the process.
    thread_local! {
        static KEPT: RefCell<Option<Promise<u8>>> = const { RefCell::new(None) };
    }
    let (kept, future) = promise();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    future.add_done_callback(|_| panic!("in the callback of a thread-local's future"));
    future.add_done_callback(move |it| note.lock().unwrap().push(it.exception()));
    let ending = thread::spawn(move || {
        KEPT.set(Some(kept));
        drop(Panic::catch(|| panic!("so that the library's are used later")));
    });
    ending.join().unwrap();
    assert!(matches!(seen.lock().unwrap()[..], [Some(TaskError::Abandoned)]));
    assert!(matches!(future.result(), Err(TaskError::Abandoned)));
}
