//! Wakers that count, one that does something when it is dropped, and the smallest runtime there is.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker},
    thread::{self, Thread},
};

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Woken {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&woken));
        (woken, waker)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Does something once, when it is woken.
pub(crate) struct OnWake(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl OnWake {
    pub(crate) fn waker(f: impl FnOnce() + Send + 'static) -> Waker {
        Waker::from(Arc::new(Self(Mutex::new(Some(Box::new(f))))))
    }
}

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        let f = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(f) = f {
            f();
        }
    }
}

/// Does something when the last clone of it is dropped, as a runtime does that drops a task with its last waker.
pub(crate) struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl OnDrop {
    pub(crate) fn waker(f: impl FnOnce() + Send + Sync + 'static) -> Waker {
        Waker::from(Arc::new(Self(Some(Box::new(f)))))
    }
}

impl Wake for OnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until there is an outcome, sleeping in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

type OnClone = Box<dyn Fn() + Send + Sync>;

/// A waker that does something whenever it is cloned, as one may that keeps count of itself. Waking it does nothing.
pub(crate) fn reentrant(f: impl Fn() + Send + Sync + 'static) -> Waker {
    // Kept for ever, so that the pointer stays good for as long as anybody may hold a clone, and reachable, so that no
    // checker takes it for a leak.
    static KEPT: Mutex<Vec<&'static OnClone>> = Mutex::new(Vec::new());
    let boxed: Box<OnClone> = Box::new(Box::new(f));
    let f: &'static OnClone = Box::leak(boxed);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(f);
    // SAFETY: `CALLING` keeps the contract of a raw waker: its functions can be called from any thread, since what they
    // call is `Sync`, and there is nothing to release.
    unsafe { Waker::new(std::ptr::from_ref(f).cast(), &CALLING) }
}

static CALLING: RawWakerVTable = RawWakerVTable::new(call_and_clone, |_| {}, |_| {}, |_| {});

/// # Safety
///
/// `data` comes from `reentrant`.
unsafe fn call_and_clone(data: *const ()) -> RawWaker {
    // SAFETY: a leaked `OnClone`, by the contract.
    let f = unsafe { &*data.cast::<OnClone>() };
    f();
    RawWaker::new(data, &CALLING)
}
