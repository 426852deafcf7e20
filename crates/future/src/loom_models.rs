//! Models in which loom goes through the interleavings of two or three threads, and through the values that their loads
//! may see.
//!
//! ```console
//! $ RUSTFLAGS="--cfg loom" cargo test --release -p concurrent-futures-future --lib -- loom_
//! ```
//!
//! Each model is about one race, which its comment names. What loom sees are the types of `sync.rs`: the state word, the
//! locks, the stage (two threads in it at once are an error by themselves), parking. What it does not see, and what that
//! leaves out:
//!
//! - Time: a wait with a deadline is one without.
//! - `Arc`: the standard one, so its reference counts neither order anything here nor are they in doubt.
//! - `OnceLock` in `SharedFuture`: a second reader that came while the first one fills it would block the one real thread
//!   in which loom runs all of a model's. So no model lets two readers of one shared future race for the value. What they
//!   would race for is a `take`, of which there are models.
//! - Counters of the models themselves, which are standard atomics: they are read when the threads have been joined.

mod cancelling;
mod dropping;
mod registering;
mod results;
mod sent;
mod several;
mod tasks;
mod workers;

use std::{
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{AnyFuture, Event, Future, FutureId, Work, set_event_hook, sync::thread};

/// Almost every known bug needs no more preemptions than this.
const PREEMPTIONS_MAX: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // What the environment says comes first.
    builder.preemption_bound.get_or_insert(PREEMPTIONS_MAX);
    builder.check(f);
}

/// Counts what happened, unseen by loom.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A value that counts its drop.
    fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }

    /// A waker that counts its wakes.
    fn waker(&self) -> Waker {
        Waker::from(Arc::new(CountingWaker(self.clone())))
    }
}

#[derive(Debug)]
struct OnDrop(Count);

impl std::fmt::Debug for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.up();
    }
}

struct CountingWaker(Count);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.up();
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that unparks this thread.
fn unpark() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

fn poll<F: std::future::Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn block_on<F: std::future::Future + Unpin>(mut future: F) -> F::Output {
    let waker = unpark();
    loop {
        if let Poll::Ready(output) = poll(&mut future, &waker) {
            return output;
        }
        thread::park();
    }
}

/// How many entries the future's list has.
fn waiters(future: &impl AnyFuture) -> usize {
    future.cell().header().waiters()
}

/// Work that is a closure.
struct Call<F>(F);

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

/// An error to fail with.
#[derive(Debug)]
struct Oops;

impl std::fmt::Display for Oops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("oops")
    }
}

impl std::error::Error for Oops {}

/// How often the failure of this future was reported as unread. Ids are unique in the process, so models that run at the
/// same time do not count for one another.
fn reports(id: FutureId) -> usize {
    REPORTED.lock().unwrap().iter().filter(|reported| **reported == id).count()
}

static REPORTED: Mutex<Vec<FutureId>> = Mutex::new(Vec::new());

/// To be called before anything is reported that is to be counted.
fn count_reports(future: &Future<impl Sized>) -> FutureId {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        set_event_hook(|event| {
            if let Event::FailureUnread { future, .. } = event {
                REPORTED.lock().unwrap().push(*future);
            }
        });
    });
    future.id()
}
