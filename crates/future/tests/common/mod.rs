//! What the tests of this crate share: a guard against hangs, named delays, and ways of making things happen in order
//! without sleeping.

#![allow(
    dead_code,
    reason = "every file of tests is a crate of its own, and none needs all of this"
)]

pub(crate) mod drops;
pub(crate) mod events;
pub(crate) mod wakers;

use std::{
    any::Any,
    cell::Cell,
    env,
    rc::Rc,
    sync::{
        OnceLock,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

use concurrent_futures_future::{Future, Host, PackagedTask, PoolId, Ran, Work, work_for};

/// Multiplies every delay, for machines that are slow or run under a checker.
const SCALE: &str = "CONCURRENT_FUTURES_TEST_SCALE";

fn scaled(delay: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor =
        FACTOR.get_or_init(|| env::var(SCALE).ok().and_then(|it| it.parse().ok()).unwrap_or(1));
    delay * *factor
}

/// How long a wait lasts that is meant to run out. Nothing depends on what else happens meanwhile.
pub(crate) fn brief() -> Duration {
    scaled(Duration::from_millis(10))
}

/// How long a wait lasts that is not meant to run out.
pub(crate) fn ample() -> Duration {
    scaled(Duration::from_secs(30))
}

/// How long a whole test may take before it counts as hanging.
fn patience() -> Duration {
    scaled(Duration::from_secs(60))
}

/// Runs a test in a thread of its own, and fails if it does not end.
pub(crate) fn guarded(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (ended, end) = mpsc::channel();
    let body = thread::Builder::new().name(name.clone()).spawn(move || {
        // Dropped on every way out, a panic included, which ends the wait below.
        let _ended: Sender<()> = ended;
        test();
    });
    let body = body.expect("a thread for the test");
    if end.recv_timeout(patience()) == Err(RecvTimeoutError::Timeout) {
        panic!("{name} has not ended after {:?}: something waits that nobody wakes", patience());
    }
    if let Err(payload) = body.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Says when its worker is about to sleep.
struct AboutToSleep(Sender<()>);

impl Host for AboutToSleep {
    fn blocked(&self) {
        // The receiver is gone after the first time.
        let _gone = self.0.send(());
    }

    fn unblocked(&self) {}
}

/// Starts a thread that sleeps on a future, and returns when it is registered there and about to sleep.
pub(crate) fn asleep<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    f: impl FnOnce() -> R + Send + 'scope,
) -> ScopedJoinHandle<'scope, R> {
    let (sender, about_to_sleep) = mpsc::channel();
    let sleeper = scope.spawn(move || work_for(PoolId::new(), Rc::new(AboutToSleep(sender)), f));
    about_to_sleep.recv().expect("the thread sleeps before it ends");
    sleeper
}

/// Counts how often its worker goes to sleep.
struct Sleeps(Cell<usize>);

impl Host for Sleeps {
    fn blocked(&self) {
        self.0.set(self.0.get() + 1);
    }

    fn unblocked(&self) {}
}

/// Runs `f`, and says how often it was about to sleep on a future.
pub(crate) fn counting_sleeps(f: impl FnOnce()) -> usize {
    let host = Rc::new(Sleeps(Cell::new(0)));
    work_for(PoolId::new(), host.clone(), f);
    host.0.get()
}

/// Work that is a closure.
pub(crate) struct Call<F>(pub(crate) F);

impl<F, R> Work for Call<F>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Output = R;

    fn call(self) -> R {
        (self.0)()
    }
}

/// A future of what `f` came to, which has been run already.
pub(crate) fn ran<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> Future<R> {
    let (task, future) = PackagedTask::new(Call(f));
    assert_ne!(task.run(), Ran::Not, "nobody else has it");
    future
}

/// What a payload of a panic says, if it is text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(not text)")
}

/// An error to fail with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Oops(pub(crate) u32);

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oops {}", self.0)
    }
}

impl std::error::Error for Oops {}
