//! What can go wrong: one type for the fate of a task, and one for each operation that can fail by itself.
//!
//! A wait that ran out of time ([`TimeoutError`]) is never mixed up with a task that failed ([`TaskError`]), whatever
//! the task failed with.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use crate::{died::WorkerDied, panic::Panic};

/// Why a future has no value.
///
/// Clones are cheap and share what they hold, so that any number of readers can have the error.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// It was cancelled before it started; Python's `CancelledError`.
    Cancelled,
    /// The task panicked.
    Panicked(Panic),
    /// The task returned an error, and [`Future::flatten`](crate::Future::flatten) made it the future's own; or a
    /// promise was given one. It is displayed in that error's words, and has its source.
    Failed(Failure),
    /// The executor broke before the task could run; Python's `BrokenExecutor`.
    Broken(BrokenExecutor),
    /// The process that was running the task died.
    WorkerDied(WorkerDied),
    /// The promise, or the task, was dropped without ever being completed.
    Abandoned,
    /// A value could not be encoded for its way to another process, or decoded after it.
    Codec(CodecError),
}

impl TaskError {
    /// An error of the task's own.
    #[must_use]
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let type_name = std::any::type_name_of_val(&error);
        Self::Failed(Failure { error: Arc::from(error.into()), type_name })
    }

    /// Whether the future was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// The error that the task returned, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Failed(failure) => failure.error.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled before it started"),
            Self::Panicked(panic) => write!(f, "the task {panic}"),
            // In its own words: who reads it has no use for ours.
            Self::Failed(failure) => failure.fmt(f),
            Self::Broken(_) => f.write_str("the executor broke before the task could run"),
            Self::WorkerDied(died) => died.fmt(f),
            Self::Abandoned => {
                f.write_str("the task was dropped without ever being run to its end")
            }
            Self::Codec(_) => f.write_str("the task could not cross to its worker and back"),
        }
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The words of the panic, or of the death, are the message already.
            Self::Cancelled | Self::Abandoned | Self::Panicked(_) | Self::WorkerDied(_) => None,
            Self::Failed(failure) => failure.error.source(),
            Self::Broken(broken) => Some(broken),
            Self::Codec(codec) => Some(codec),
        }
    }
}

/// The error that a task returned, of whatever type.
#[derive(Clone)]
pub struct Failure {
    error: Arc<dyn Error + Send + Sync>,
    /// What it was given as, for descriptions of futures.
    type_name: &'static str,
}

impl Failure {
    /// The error itself.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

/// An executor that can run nothing more, and why; Python's `BrokenExecutor` and its subclasses.
#[derive(Clone)]
pub struct BrokenExecutor {
    what: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl BrokenExecutor {
    /// `what` happened, in a few words.
    #[must_use]
    pub fn new(what: &str) -> Self {
        Self { what: Arc::from(what), source: None }
    }

    /// `what` happened, because of `source`.
    #[must_use]
    pub fn with_source(what: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: Arc::from(what), source: Some(Arc::from(source.into())) }
    }
}

impl fmt::Debug for BrokenExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokenExecutor")
            .field("what", &self.what)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for BrokenExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the executor is broken: {}", self.what)
    }
}

impl Error for BrokenExecutor {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What could not be encoded or decoded, and why.
#[derive(Clone)]
pub struct CodecError(Arc<NotCrossed>);

struct NotCrossed {
    what: Crossing,
    type_name: Cow<'static, str>,
    source: Box<dyn Error + Send + Sync>,
}

/// A step on a task's way to another process and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Crossing {
    /// Encoding the argument, where the task was submitted.
    EncodeArgument,
    /// Decoding the argument, in the worker.
    DecodeArgument,
    /// Encoding the result, in the worker.
    EncodeResult,
    /// Decoding the result, where the task was submitted.
    DecodeResult,
}

impl CodecError {
    /// For executor authors: the step that failed, for a value of the type so named, and the codec's own error.
    #[must_use]
    pub fn new(
        what: Crossing,
        type_name: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(NotCrossed { what, type_name: type_name.into(), source: source.into() }))
    }

    /// The step that failed.
    #[must_use]
    pub fn crossing(&self) -> Crossing {
        self.0.what
    }

    /// The name of the type that did not make it, as [`std::any::type_name`] has it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.0.type_name
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecError")
            .field("what", &self.0.what)
            .field("type_name", &self.0.type_name)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.0.what {
            Crossing::EncodeArgument => "encode the argument",
            Crossing::DecodeArgument => "decode the argument",
            Crossing::EncodeResult => "encode the result",
            Crossing::DecodeResult => "decode the result",
        };
        write!(f, "could not {step} (of type {})", self.0.type_name)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0.source)
    }
}

/// A wait that ran out of time. Nothing is lost: what was waited on is inside.
///
/// It says nothing about the task, which goes on as before. The deadline counted from the call that was given it.
#[derive(Clone, Copy)]
pub struct TimeoutError<F = ()> {
    waited_on: F,
}

impl<F> TimeoutError<F> {
    /// For executor authors: a wait on `waited_on` ran out of time.
    #[must_use]
    pub const fn new(waited_on: F) -> Self {
        Self { waited_on }
    }

    /// What was waited on, to be waited on again.
    #[must_use = "dropping a future gives up its result"]
    pub fn into_inner(self) -> F {
        self.waited_on
    }
}

impl<F> fmt::Debug for TimeoutError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutError").finish_non_exhaustive()
    }
}

impl<F> fmt::Display for TimeoutError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wait timed out")
    }
}

impl<F> Error for TimeoutError<F> {}

/// A promise that could not be kept, because its future had already been cancelled; Python's `InvalidStateError`.
///
/// What the future would have been given is inside.
pub struct InvalidStateError<T = ()> {
    rejected: T,
}

impl<T> InvalidStateError<T> {
    pub(crate) const fn new(rejected: T) -> Self {
        Self { rejected }
    }

    /// What the future would have been given.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.rejected
    }
}

impl<T> fmt::Debug for InvalidStateError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidStateError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for InvalidStateError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the future is not in a state that allows this: it was cancelled, started or completed before")
    }
}

impl<T> Error for InvalidStateError<T> {}
