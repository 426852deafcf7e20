//! Which types can go to other threads, be moved while pinned, or pass through `catch_unwind`.

use std::{
    cell::{Cell, RefCell},
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
};

use crate::{
    AnyFuture, AsCompleted, AsCompletedTimeout, AsCompletedTimeoutError, Blocked, BrokenExecutor,
    CancelOnDrop, CodecError, Completed, CompletionSet, Crossing, DoneAndNotDone, Event, Failure,
    Future, FutureId, InvalidStateError, PackagedTask, Panic, PoolId, Progress, ProgressSnapshot,
    Promise, Ran, ReturnWhen, SharedFuture, State, TaskError, TimeoutError, Work,
};

const fn send<T: Send>() {}
const fn sync<T: Sync>() {}
const fn unpin<T: Unpin>() {}
const fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

/// `Send` and not `Sync`.
type Unshared = Cell<u8>;

/// Answers whether a type has a trait, also where it has not: the inherent constant, which needs the bound, hides that
/// of the trait.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        #[allow(dead_code, reason = "not used where the bound holds")]
        trait Fallback {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Fallback for T {}
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "not used where the bound does not hold")]
        impl<T: ?Sized + $bound> Probe<T> {
            const HAS: bool = true;
        }
        Probe::<$type>::HAS
    }};
}

struct Job;

impl Work for Job {
    type Output = Unshared;

    fn call(self) -> Unshared {
        Cell::new(1)
    }
}

#[test]
fn the_probe_tells_the_difference() {
    assert!(has!(u8: Send) && has!(Cell<u8>: Send));
    assert!(!has!(Rc<u8>: Send) && !has!(Cell<u8>: Sync));
}

#[test]
fn handles_go_to_other_threads_if_the_value_does() {
    // The value is moved out and never shared, so it need not be `Sync`.
    send::<Future<Unshared>>();
    sync::<Future<Unshared>>();
    send::<CancelOnDrop<Unshared>>();
    sync::<CancelOnDrop<Unshared>>();
    send::<Promise<Unshared>>();
    sync::<Promise<Unshared>>();
    send::<PackagedTask<Job>>();
    sync::<PackagedTask<Job>>();
    send::<Completed>();
    sync::<Completed>();
    send::<CompletionSet<Future<Unshared>>>();
    sync::<CompletionSet<Future<Unshared>>>();
    send::<AsCompleted<Future<Unshared>>>();
    send::<AsCompletedTimeout<Future<Unshared>>>();
    send::<DoneAndNotDone<Future<Unshared>>>();
    send::<TimeoutError<Future<Unshared>>>();
}

#[test]
fn shared_handles_go_to_other_threads_only_if_the_value_may_be_shared() {
    send::<SharedFuture<u8>>();
    sync::<SharedFuture<u8>>();
    assert!(!has!(SharedFuture<Unshared>: Send));
    assert!(!has!(SharedFuture<Unshared>: Sync));
    assert!(!has!(SharedFuture<RefCell<u8>>: Send));
}

#[test]
fn what_belongs_to_a_worker_stays_there() {
    assert!(!has!(Blocked: Send) && !has!(Blocked: Sync));
}

#[test]
fn errors_and_plain_values_go_anywhere() {
    macro_rules! anywhere {
        ($($type:ty),* $(,)?) => {
            $(send::<$type>(); sync::<$type>(); unpin::<$type>();)*
        };
    }
    anywhere!(
        TaskError,
        Failure,
        BrokenExecutor,
        CodecError,
        Panic,
        TimeoutError,
        InvalidStateError,
        AsCompletedTimeoutError,
        Crossing,
        FutureId,
        PoolId,
        Progress,
        ProgressSnapshot,
        Ran,
        ReturnWhen,
        State,
    );
}

#[test]
fn errors_are_errors_and_can_be_boxed() {
    const fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<TaskError>();
    error::<Panic>();
    error::<BrokenExecutor>();
    error::<CodecError>();
    error::<TimeoutError<Future<Unshared>>>();
    error::<InvalidStateError<u8>>();
    error::<AsCompletedTimeoutError>();
}

#[test]
fn everything_that_is_polled_is_unpin() {
    struct Pinned(#[allow(dead_code, reason = "only its type matters")] std::marker::PhantomPinned);
    unpin::<Future<Pinned>>();
    unpin::<SharedFuture<u8>>();
    unpin::<CancelOnDrop<Pinned>>();
    unpin::<CompletionSet<Future<Pinned>>>();
    unpin::<Promise<u8>>();
}

#[test]
fn what_passes_through_catch_unwind() {
    unwind_safe::<Progress>();
    unwind_safe::<Panic>();
    unwind_safe::<(FutureId, PoolId, State, Ran, ReturnWhen, Crossing, ProgressSnapshot)>();
    // These hold trait objects of which the compiler knows nothing; `AssertUnwindSafe` is needed, and right: an outcome
    // is there as a whole or not at all.
    assert!(!has!(Future<u8>: UnwindSafe) && !has!(SharedFuture<u8>: UnwindSafe));
    assert!(!has!(TaskError: UnwindSafe));
    assert!(!has!(Promise<u8>: UnwindSafe) && !has!(PackagedTask<Job>: RefUnwindSafe));
}

#[test]
fn trait_objects_of_futures() {
    fn takes(_: &dyn AnyFuture) {}
    let (promise, future) = crate::promise::<Unshared>();
    takes(&future);
    drop(promise);
    takes(&future.share());
    // An event is made and used up in one thread.
    const fn sized<T>() -> usize {
        size_of::<T>()
    }
    assert!(sized::<Event<'_>>() > 0);
}

#[test]
fn handles_are_small() {
    // A program may hold millions of them.
    assert!(size_of::<Future<[u8; 4096]>>() <= 4 * size_of::<usize>());
    assert!(size_of::<SharedFuture<[u8; 4096]>>() <= 2 * size_of::<usize>());
    assert_eq!(size_of::<Promise<[u8; 4096]>>(), size_of::<usize>());
    assert!(size_of::<TaskError>() <= 5 * size_of::<usize>());
}
