//! What an executor does around a task: observers that are told of it, context that it is to run in.
//!
//! It has to be found by whoever runs the task, also by a worker that waits for the future and has no entry of a queue in
//! its hands. So it lies in the cell, in the part that most futures never have, and a bit beside the pool's number says so;
//! a task without it costs the look at that bit and nothing else.

use crate::{
    cell::{Header, Running},
    error::TaskError,
    hook::{Event, report},
    id::FutureId,
    panic::Panic,
    task::{Work, call as call_work, drop_work},
};

/// For executor authors: something to be done around a task, in the thread that runs it.
///
/// Set with [`PackagedTask::set_surround`](crate::PackagedTask::set_surround). A task that is cancelled or fails before it
/// starts drops it.
pub trait Surround: Send + 'static {
    /// Calls [`task.run()`](Surrounded::run), with what there is to be done before and after.
    ///
    /// The future has started, and is completed after this returns: so what this does after the task, it does before
    /// anybody learns of the outcome. If it returns without having run the task, the future fails with
    /// [`TaskError::Abandoned`].
    ///
    /// # Panics
    ///
    /// If this panics before it has run the task, that becomes the future's error; if after, it goes to the
    /// [event hook](crate::set_event_hook).
    fn surround(self: Box<Self>, task: &mut Surrounded<'_>);
}

/// A task that has started, in the hands of what [surrounds](Surround) it.
pub struct Surrounded<'a> {
    header: &'a Header,
    name: &'static str,
    in_place: bool,
    call: &'a mut dyn Call,
}

impl Surrounded<'_> {
    /// The identity of the task's future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.header.id()
    }

    /// What the work is called in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a worker runs it in the middle of another task, which waits for it.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Runs the task; the second time, nothing happens. Never panics, whatever the task does.
    pub fn run(&mut self) {
        self.call.run();
    }

    /// Why there will be no value, if the task has run and failed.
    #[must_use]
    pub fn error(&self) -> Option<&TaskError> {
        self.call.error()
    }
}

impl std::fmt::Debug for Surrounded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surrounded")
            .field("name", &self.name)
            .field("in_place", &self.in_place)
            .finish_non_exhaustive()
    }
}

/// A call without the type of its result.
trait Call {
    fn run(&mut self);
    fn error(&self) -> Option<&TaskError>;
}

struct WorkCall<'a, 'b, W: Work> {
    running: &'a Running<'b, W, W::Output>,
    outcome: Option<Result<W::Output, TaskError>>,
}

impl<W: Work> Call for WorkCall<'_, '_, W> {
    fn run(&mut self) {
        if self.outcome.is_none() {
            self.outcome = Some(call_work(self.running));
        }
    }

    fn error(&self) -> Option<&TaskError> {
        self.outcome.as_ref().and_then(|outcome| outcome.as_ref().err())
    }
}

/// Does the work of a future that was started just now, and around it what there is to be done.
pub(crate) fn call<W: Work>(
    header: &Header,
    running: &Running<'_, W, W::Output>,
    in_place: bool,
) -> Result<W::Output, TaskError> {
    match header.take_surround() {
        None => call_work(running),
        Some(surround) => call_surrounded(header, running, surround, in_place),
    }
}

#[cold]
fn call_surrounded<W: Work>(
    header: &Header,
    running: &Running<'_, W, W::Output>,
    surround: Box<dyn Surround>,
    in_place: bool,
) -> Result<W::Output, TaskError> {
    let mut call = WorkCall { running, outcome: None };
    let caught = Panic::catch(|| {
        let mut task = Surrounded { header, name: W::name(), in_place, call: &mut call };
        surround.surround(&mut task);
    });
    match (call.outcome, caught) {
        (Some(outcome), Ok(())) => outcome,
        (Some(outcome), Err(panic)) => {
            report(&Event::HookPanicked { future: header.id(), panic: &panic });
            outcome
        }
        (None, caught) => {
            drop_work(running);
            Err(caught.err().map_or(TaskError::Abandoned, TaskError::Panicked))
        }
    }
}
