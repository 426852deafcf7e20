//! What a pool does around each of its tasks, if it was asked to: it tells an observer, and runs the task in a context of the
//! submitter's.
//!
//! A pool without any of this has no `Hooks`, and its tasks carry nothing. The others give each task a `Surround` when it is
//! submitted, which whoever runs it finds in it: also a worker that runs it in place.

use std::{sync::Arc, time::Duration};

use concurrent_futures_executor::{
    Task,
    future::{Event, FutureId, Panic, Surround, Surrounded, TaskError, report},
};

use crate::sync::Instant;

/// Is told of the tasks of a pool, by the workers that run them; set with [`Builder::observer`](crate::Builder::observer).
///
/// Both methods are called in the thread of the worker, outside of any lock, right before and right after the task, with the
/// task's [context](crate::Builder::context) if the pool carries one. `task_ended` returns before the future is completed, so
/// what it has counted is there for whoever has the result, and the result waits for it: be quick. A task that this submits
/// to its own pool is observed as well.
///
/// Of a `map`, each chunk is a task, whose items fail by themselves: a panic of an item is in its result and not here. Tasks
/// that are cancelled before they start are none of an observer's business; their futures have done-callbacks.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
/// use concurrent_futures_thread_pool::{TaskEnd, TaskInfo, TaskObserver, ThreadPoolExecutor};
///
/// #[derive(Default)]
/// struct Busy(AtomicU64);
///
/// impl TaskObserver for Busy {
///     fn task_ended(&self, task: &TaskInfo, end: &TaskEnd<'_>) {
///         self.0.fetch_add(end.duration.as_nanos() as u64, Relaxed);
///         if let Some(panic) = end.panic {
///             eprintln!("task {} of future {} {panic}", task.name, task.id);
///         }
///     }
/// }
///
/// let busy = Arc::new(Busy::default());
/// let pool = ThreadPoolExecutor::builder().observer(Arc::clone(&busy)).build()?;
/// pool.spawn(|| (1..1000_u64).sum::<u64>())?.result()?;
/// println!("{} ns of work", busy.0.load(Relaxed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// A panic of an observer goes to the [event hook](concurrent_futures_executor::future::set_event_hook), and changes nothing
/// for the task.
pub trait TaskObserver: Send + Sync + 'static {
    /// The task is about to run.
    fn task_started(&self, task: &TaskInfo) {
        let _ = task;
    }

    /// The task has run. Comes after each [`task_started`](Self::task_started).
    fn task_ended(&self, task: &TaskInfo, end: &TaskEnd<'_>) {
        let _ = (task, end);
    }
}

impl<T: TaskObserver + ?Sized> TaskObserver for Arc<T> {
    fn task_started(&self, task: &TaskInfo) {
        (**self).task_started(task);
    }

    fn task_ended(&self, task: &TaskInfo, end: &TaskEnd<'_>) {
        (**self).task_ended(task, end);
    }
}

/// What a [`TaskObserver`] is told of a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The identity of the task's future.
    pub id: FutureId,
    /// The type name of the task's function.
    pub name: &'static str,
    /// Whether the worker runs it in the middle of another task, which waits for it.
    pub in_place: bool,
}

/// How a task ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskEnd<'a> {
    /// What the task threw; `None` if it returned. An error that it returned is a value, and nothing that is seen here.
    pub panic: Option<&'a Panic>,
    /// How long it took, including what it waited and what its worker ran in place meanwhile.
    pub duration: Duration,
}

/// Runs a task in the context that was captured for it.
pub(crate) type RunIn = Box<dyn FnOnce(&mut dyn FnMut()) + Send>;

/// Captures the context of the calling thread.
pub(crate) struct Capture(Box<dyn Fn() -> RunIn + Send + Sync>);

impl Capture {
    pub(crate) fn new<C: Send + 'static>(
        capture: impl Fn() -> C + Send + Sync + 'static,
        run: impl Fn(C, &mut dyn FnMut()) + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        Self(Box::new(move || {
            let context = capture();
            let run = Arc::clone(&run);
            Box::new(move |task| run(context, task))
        }))
    }

    /// What runs something in the context that the calling thread is in now.
    pub(crate) fn capture(&self) -> RunIn {
        (self.0)()
    }
}

/// What a pool does around each task.
pub(crate) struct Hooks {
    pub(crate) observer: Option<Arc<dyn TaskObserver>>,
    pub(crate) capture: Option<Capture>,
}

impl Hooks {
    /// Nothing, if nothing was asked for.
    pub(crate) fn new(
        observer: Option<Arc<dyn TaskObserver>>,
        capture: Option<Capture>,
    ) -> Option<Self> {
        (observer.is_some() || capture.is_some()).then_some(Self { observer, capture })
    }

    /// Prepares a task that the calling thread submits. A panic of the capture is the submitter's.
    pub(crate) fn attach(&self, task: &Task) {
        let run_in = self.capture.as_ref().map(Capture::capture);
        task.set_surround(Box::new(Around { observer: self.observer.clone(), run_in }));
    }

    /// Takes back what `attach` did, for a task that is refused.
    pub(crate) fn detach(task: &Task) {
        let surround = task.take_surround();
        if let Err(panic) = Panic::catch(|| drop(surround)) {
            report(&Event::DestructorPanicked { panic: &panic });
        }
    }
}

/// What is done around one task.
struct Around {
    observer: Option<Arc<dyn TaskObserver>>,
    run_in: Option<RunIn>,
}

impl Surround for Around {
    fn surround(self: Box<Self>, task: &mut Surrounded<'_>) {
        let Self { observer, run_in } = *self;
        let mut once = true;
        let mut run = || {
            // The observer is inside of the context, and like the task must not see it entered twice.
            if std::mem::replace(&mut once, false) {
                match &observer {
                    Some(observer) => observe(&**observer, task),
                    None => task.run(),
                }
            }
        };
        match run_in {
            Some(run_in) => run_in(&mut run),
            None => run(),
        }
    }
}

/// Runs the task between two calls of the observer.
fn observe(observer: &dyn TaskObserver, task: &mut Surrounded<'_>) {
    let info = TaskInfo { id: task.id(), name: task.name(), in_place: task.is_in_place() };
    contain(&info, || observer.task_started(&info));
    let begin = Instant::now();
    task.run();
    let duration = begin.elapsed();
    let panic = match task.error() {
        Some(TaskError::Panicked(panic)) => Some(panic),
        _ => None,
    };
    contain(&info, || observer.task_ended(&info, &TaskEnd { panic, duration }));
}

/// Calls the user's code, which must not be what becomes of the task.
fn contain(info: &TaskInfo, f: impl FnOnce()) {
    if let Err(panic) = Panic::catch(f) {
        report(&Event::HookPanicked { future: info.id, panic: &panic });
    }
}
