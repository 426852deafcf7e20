//! Tasks that borrow.
//!
//! The pool's queue wants tasks that own everything. A scope hands it tasks that do not, on the strength of one promise:
//! it does not return before every such task has been *dropped*, which comes after it has run, was cancelled, or was
//! refused. That a future is done is not enough, since a task that is being cancelled is dropped after its future says
//! so; each task therefore carries a guard that is dropped after its closure, and the scope counts guards.

use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, PoisonError},
    time::Duration,
};

use concurrent_futures_executor::{
    Executor, SubmitError,
    future::{Blocked, Future, FutureId, TaskError, TimeoutError},
    local,
};

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Through which tasks may borrow; made by [`ThreadPoolExecutor::scope`](crate::ThreadPoolExecutor::scope).
pub struct Scope<'scope, 'env: 'scope> {
    executor: &'scope dyn Executor,
    tasks: Arc<Tasks>,
    // Invariant in both, as in `std::thread::Scope`: otherwise a scope could be taken for one with a shorter life.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The tasks of a scope that are not gone.
struct Tasks {
    inner: Mutex<Alive>,
    all_gone: Condvar,
}

#[derive(Default)]
struct Alive {
    count: usize,
    /// Set when the scope unwinds: tasks that have not started are not going to.
    cancelled: bool,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, Alive> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when every guard has been dropped.
    fn wait(&self) {
        if self.lock().count == 0 {
            return;
        }
        let _out_of_action = Blocked::enter();
        let mut alive = self.lock();
        while alive.count > 0 {
            alive = self.all_gone.wait(alive).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Counted from when a task is made until after its closure is gone.
struct Guard(Arc<Tasks>);

impl Guard {
    fn new(tasks: &Arc<Tasks>) -> Self {
        tasks.lock().count += 1;
        Self(Arc::clone(tasks))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut alive = self.0.lock();
        alive.count -= 1;
        if alive.count == 0 {
            self.0.all_gone.notify_all();
        }
    }
}

pub(crate) fn scope<'env, F, T>(executor: &dyn Executor, f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let tasks = Arc::new(Tasks { inner: Mutex::new(Alive::default()), all_gone: Condvar::new() });
    let scope = Scope { executor, tasks: Arc::clone(&tasks), scope: PhantomData, env: PhantomData };
    // Caught, so that the wait below happens whichever way `f` ends.
    let outcome = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if outcome.is_err() {
        tasks.lock().cancelled = true;
    }
    tasks.wait();
    match outcome {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}

type ScopedTask<'scope> = Box<dyn FnOnce() -> bool + Send + 'scope>;

impl<'scope> Scope<'scope, '_> {
    /// Submits a closure that may borrow anything that outlives the scope.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] if the pool has been shut down, is broken, or has no worker and cannot start one. The closure is
    /// dropped.
    pub fn spawn<F, T>(
        &'scope self,
        function: F,
    ) -> Result<ScopedFuture<'scope, T>, SubmitError<()>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let slot = Arc::new(Mutex::new(None));
        let work = Work { function, slot: Arc::clone(&slot), guard: Guard::new(&self.tasks) };
        let task: ScopedTask<'scope> = Box::new(move || work.run());
        // SAFETY: only the lifetime changes. The closure, and all that it borrows for `'scope`, is used by whoever runs
        // or drops the task, and by nobody after that. Its last part to be dropped is the guard, and `scope`, which
        // `'scope` outlives by construction (a caller cannot name a longer one, since `f` must work for every
        // `'scope`), does not return before all guards are gone, also if `f` panics.
        let task = unsafe { std::mem::transmute::<ScopedTask<'scope>, ScopedTask<'static>>(task) };
        match local::spawn(self.executor, task) {
            Ok(future) => Ok(ScopedFuture { future, slot, scope: PhantomData }),
            Err(refused) => Err(refused.map(drop)),
        }
    }
}

/// A closure with the room for its result. Fields are dropped in order: the guard comes last.
struct Work<F, T> {
    function: F,
    slot: Arc<Mutex<Option<T>>>,
    guard: Guard,
}

impl<F: FnOnce() -> T, T> Work<F, T> {
    /// False if the scope is unwinding, and the closure was dropped instead.
    fn run(self) -> bool {
        let Self { function, slot, guard } = self;
        // Declared before, so dropped after, everything below; also while unwinding from `function`.
        let _guard = guard;
        let slot = slot;
        if _guard.0.lock().cancelled {
            drop(function);
            return false;
        }
        let value = function();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        true
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("tasks", &self.tasks.lock().count).finish_non_exhaustive()
    }
}

/// The future of a task that borrows.
///
/// As a [`Future`], within its scope. To wait for several, or to be given callbacks, lend its
/// [`as_future`](Self::as_future).
#[must_use = "a future that is dropped loses its result; `drop` it if that is meant"]
pub struct ScopedFuture<'scope, T> {
    /// Says whether the closure was run. The value is in the slot, because it may borrow, too.
    future: Future<bool>,
    slot: Arc<Mutex<Option<T>>>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedFuture<'_, T> {
    /// Waits for the outcome and moves it out.
    ///
    /// # Errors
    ///
    /// [`TaskError`], if there is no value: the task panicked, was cancelled, and so on.
    pub fn result(self) -> Result<T, TaskError> {
        let Self { future, slot, .. } = self;
        future.result().and_then(|_ran| take(&slot))
    }

    /// Waits for the outcome for as long as `timeout`, and moves it out.
    ///
    /// # Errors
    ///
    /// [`TimeoutError`] if it is not there in time, with the future inside.
    pub fn result_timeout(
        self,
        timeout: Duration,
    ) -> Result<Result<T, TaskError>, TimeoutError<Self>> {
        match self.future.wait_timeout(timeout) {
            Ok(()) => Ok(self.result()),
            Err(_timeout) => Err(TimeoutError::new(self)),
        }
    }

    /// The future of the task's end, for everything that needs no value: its id, its state, cancelling it, callbacks,
    /// and waiting for several.
    pub fn as_future(&self) -> &Future<bool> {
        &self.future
    }

    /// The identity of the future.
    #[must_use]
    pub fn id(&self) -> FutureId {
        self.future.id()
    }

    /// Whether the future has ended: finished or cancelled.
    #[must_use]
    pub fn done(&self) -> bool {
        self.future.done()
    }

    /// Cancels the task if it has not started; see [`Future::cancel`].
    #[expect(
        clippy::must_use_candidate,
        reason = "cancelling is the point; the answer is a courtesy"
    )]
    pub fn cancel(&self) -> bool {
        self.future.cancel()
    }
}

/// The value of a task that was run to its end; none is there if the scope was unwinding.
fn take<T>(slot: &Mutex<Option<T>>) -> Result<T, TaskError> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(TaskError::Cancelled)
}

impl<T> fmt::Debug for ScopedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedFuture").field(&self.future).finish()
    }
}
