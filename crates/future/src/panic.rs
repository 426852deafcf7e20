//! Catching what user code throws: the one place of this library where a panic is caught and turned into a value.
//!
//! `catch_unwind` hands over the payload alone. Where the panic happened, and its backtrace, are known only while the
//! panic hook runs, so the first [`Panic::catch`] of a process puts a hook in front of the present one. It notes place
//! and backtrace for a thread that is inside `catch`, then calls the hook that it found; every other thread sees no
//! difference. A program that replaces the hook later loses these two details and nothing else.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, Once, PoisonError},
};

/// A panic that was caught: its message, where it happened, and what it threw.
///
/// Clones are cheap and share the payload.
#[derive(Clone)]
pub struct Panic(Arc<Caught>);

struct Caught {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
    /// What was thrown. Taken by [`Panic::resume`]; absent when the panic happened in another process.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panic {
    /// Calls `f`, and returns what it returned or the panic that ended it.
    ///
    /// For executor authors. Whatever `f` captures is gone when this returns, whichever way it ended, so unwind safety
    /// is a question only for state that `f` shares with others; it is theirs to answer, as with a thread that panics.
    ///
    /// # Errors
    ///
    /// The panic, if `f` panicked.
    pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Self> {
        install_hook();
        let _inside = Inside::enter();
        catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
            let noted = swap_noted(None).map(|noted| *noted);
            let Details { location, backtrace } = noted.unwrap_or_default();
            let message = message_of(&*payload);
            Self(Arc::new(Caught {
                message,
                location,
                backtrace,
                payload: Mutex::new(Some(payload)),
            }))
        })
    }

    /// A panic known only by what was written down of it, as when it happened in another process.
    #[must_use]
    pub fn from_parts(
        message: impl Into<String>,
        location: Option<String>,
        backtrace: Option<String>,
    ) -> Self {
        let payload = Mutex::new(None);
        Self(Arc::new(Caught { message: message.into(), location, backtrace, payload }))
    }

    /// What was thrown, if it was text, as it is after `panic!`; a placeholder otherwise.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it was thrown, as `file:line:column`.
    ///
    /// `None` if the program replaced the panic hook after this library had set its own, or if the panic was thrown
    /// without calling the hook, as by [`resume_unwind`](std::panic::resume_unwind).
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The stack at the panic, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asked for it
    /// (see [`std::backtrace`]).
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.0.backtrace.as_deref()
    }

    /// Throws it again, in this thread, without calling the panic hook a second time. If it is caught as a `Panic` again, place
    /// and backtrace are still those of the first time.
    ///
    /// The payload is the original one for the first caller, and the [message](Self::message) for any other, since a
    /// payload cannot be cloned.
    pub fn resume(self) -> ! {
        let payload = self.0.payload.lock().unwrap_or_else(PoisonError::into_inner).take();
        if DEPTH.try_with(Cell::get).unwrap_or(0) > 0 {
            // For whoever catches it again: the hook, which would have noted this, is not called.
            let (location, backtrace) = (self.0.location.clone(), self.0.backtrace.clone());
            drop(swap_noted(Some(Box::new(Details { location, backtrace }))));
        }
        match payload {
            Some(payload) => resume_unwind(payload),
            None => resume_unwind(Box::new(self.0.message.clone())),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.0.message)
            .field("location", &self.0.location)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.location {
            Some(location) => write!(f, "panicked at {location}: {}", self.0.message),
            None => write!(f, "panicked: {}", self.0.message),
        }
    }
}

impl std::error::Error for Panic {}

impl Drop for Caught {
    fn drop(&mut self) {
        // A payload may have a destructor that panics, and it may be dropped by a worker that has to live on.
        if let Some(payload) = self.payload.get_mut().unwrap_or_else(PoisonError::into_inner).take()
        {
            drop_quietly(payload);
        }
    }
}

/// Drops `value`, which belongs to the user, where a panic in its destructor must not travel further.
///
/// A panic is still seen by the panic hook; what it threw is leaked if dropping that panics as well.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value)))
        && let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        #[expect(
            clippy::mem_forget,
            reason = "its destructor may panic for ever; memory is the cheaper loss"
        )]
        std::mem::forget(again);
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(a value that is not text)".to_owned()
    }
}

#[derive(Default)]
struct Details {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// How many calls of `catch` this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether there is anything in `NOTED`; cheaper to ask, since it needs no destructor.
    static ANY_NOTED: Cell<bool> = const { Cell::new(false) };
    /// What the hook noted of the latest panic inside the innermost `catch` of this thread.
    static NOTED: Cell<Option<Box<Details>>> = const { Cell::new(None) };
}

/// Puts `details` in place of what was noted. Nothing is noted in a thread that is ending, where it has no place.
#[inline]
fn swap_noted(details: Option<Box<Details>>) -> Option<Box<Details>> {
    if !ANY_NOTED.replace(details.is_some()) && details.is_none() {
        return None;
    }
    swap_noted_anyhow(details)
}

#[cold]
fn swap_noted_anyhow(details: Option<Box<Details>>) -> Option<Box<Details>> {
    NOTED.try_with(|noted| noted.replace(details)).ok().flatten()
}

/// The time spent in one call of `catch`.
struct Inside {
    /// What was noted in the `catch` around this one: the destructors that run while a panic unwinds may catch panics
    /// of their own, and those must not be taken for it.
    outer: Option<Box<Details>>,
}

impl Inside {
    #[inline]
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self { outer: swap_noted(None) }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        // What is there now is left over if user code has caught a panic by itself.
        drop(swap_noted(self.outer.take()));
    }
}

#[inline]
fn install_hook() {
    static INSTALL: Once = Once::new();
    if !INSTALL.is_completed() {
        install_hook_once(&INSTALL);
    }
}

#[cold]
fn install_hook_once(install: &Once) {
    // The hook cannot be changed by a thread that is panicking; leave it to the next caller.
    if std::thread::panicking() {
        return;
    }
    install.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note(info);
            previous(info);
        }));
    });
}

/// Runs inside the panic hook, where a second panic would abort: thread-locals may be gone already, hence `try_with`.
fn note(info: &PanicHookInfo<'_>) {
    if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
        return;
    }
    let backtrace = Backtrace::capture();
    let details = Details {
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    };
    drop(swap_noted(Some(Box::new(details))));
}
