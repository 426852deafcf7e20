//! What can be done with a future without knowing the type of its value, and the methods that all handles share.

use crate::{cell::AnyCell, id::FutureId, state::State};

#[expect(unnameable_types, reason = "sealed: the trait must not be implemented elsewhere")]
pub trait Sealed {
    #[expect(private_interfaces, reason = "called from inside this crate alone")]
    fn cell(&self) -> &dyn AnyCell;
}

/// A future of anything: [`Future`](crate::Future) and [`SharedFuture`](crate::SharedFuture) of whatever type, and
/// references to them.
///
/// [`wait`](crate::wait), [`as_completed`](crate::as_completed) and [`CompletionSet`](crate::CompletionSet) take
/// anything that implements it. Futures of several types can be waited for together as `&dyn AnyFuture`:
///
/// ```
/// use concurrent_futures_future::{AnyFuture, ReturnWhen, promise, wait};
///
/// let (one, number) = promise::<u64>();
/// let (two, text) = promise::<String>();
/// one.set_result(1).unwrap();
/// two.set_result("two".to_owned()).unwrap();
///
/// let both: [&dyn AnyFuture; 2] = [&number, &text];
/// assert_eq!(wait(both, ReturnWhen::AllCompleted).done.len(), 2);
/// ```
///
/// The trait is sealed: other crates use it and do not implement it.
pub trait AnyFuture: Sealed {
    /// The identity of the future.
    fn id(&self) -> FutureId {
        self.cell().header().id()
    }

    /// Where the future is in its life.
    fn state(&self) -> State {
        self.cell().header().state()
    }

    /// Cancels the future if it has not started; true if it is cancelled now, or was before.
    fn cancel(&self) -> bool {
        self.cell().cancel()
    }

    /// Whether the future was cancelled.
    fn cancelled(&self) -> bool {
        self.state() == State::Cancelled
    }

    /// Whether the future is being run.
    fn running(&self) -> bool {
        self.state() == State::Running
    }

    /// Whether the future has ended: finished or cancelled.
    fn done(&self) -> bool {
        self.cell().header().is_done()
    }
}

impl<F: AnyFuture + ?Sized> Sealed for &F {
    #[expect(private_interfaces, reason = "called from inside this crate alone")]
    fn cell(&self) -> &dyn AnyCell {
        (**self).cell()
    }
}

impl<F: AnyFuture + ?Sized> AnyFuture for &F {}

impl<F: AnyFuture + ?Sized> Sealed for &mut F {
    #[expect(private_interfaces, reason = "called from inside this crate alone")]
    fn cell(&self) -> &dyn AnyCell {
        (**self).cell()
    }
}

impl<F: AnyFuture + ?Sized> AnyFuture for &mut F {}

impl<F: AnyFuture + ?Sized> Sealed for Box<F> {
    #[expect(private_interfaces, reason = "called from inside this crate alone")]
    fn cell(&self) -> &dyn AnyCell {
        (**self).cell()
    }
}

impl<F: AnyFuture + ?Sized> AnyFuture for Box<F> {}

/// The methods of `AnyFuture` and the waits that need no value, for a handle with a field `cell`: inherent, so that
/// nobody has to import a trait to call them.
macro_rules! handle_methods {
    () => {
        /// The identity of the future, which stays unique after it is gone; a key for maps.
        #[must_use]
        pub fn id(&self) -> $crate::FutureId {
            $crate::AnyFuture::id(self)
        }

        /// Where the future is in its life.
        #[must_use]
        pub fn state(&self) -> $crate::State {
            $crate::AnyFuture::state(self)
        }

        /// Cancels the future if it has not started.
        ///
        /// True if it is cancelled now, whether by this call or an earlier one; false if it is running or finished,
        /// which this changes nothing about. Everyone who waits for the future in whatever way is woken, then its
        /// callbacks run, in this thread; the task and what it captured are dropped here as well.
        pub fn cancel(&self) -> bool {
            $crate::AnyFuture::cancel(self)
        }

        /// Whether the future was cancelled.
        #[must_use]
        pub fn cancelled(&self) -> bool {
            $crate::AnyFuture::cancelled(self)
        }

        /// Whether the future is being run.
        #[must_use]
        pub fn running(&self) -> bool {
            $crate::AnyFuture::running(self)
        }

        /// Whether the future has ended: finished or cancelled.
        #[must_use]
        pub fn done(&self) -> bool {
            $crate::AnyFuture::done(self)
        }

        /// Waits until the future has ended, leaving the outcome where it is.
        pub fn wait(&self) {
            $crate::wait::wait_for($crate::any::Sealed::cell(self), $crate::time::Deadline::NEVER);
        }

        /// Waits until the future has ended, for as long as `timeout`.
        ///
        /// # Errors
        ///
        /// [`TimeoutError`](crate::TimeoutError) if it has not ended in time.
        pub fn wait_timeout(
            &self,
            timeout: std::time::Duration,
        ) -> Result<(), $crate::TimeoutError> {
            let deadline = $crate::time::Deadline::after(timeout);
            if $crate::wait::wait_for($crate::any::Sealed::cell(self), deadline) {
                Ok(())
            } else {
                Err($crate::TimeoutError::new(()))
            }
        }

        /// Waits until the future has ended, and says why there is no value; `None` if there is one.
        ///
        /// A cancelled future answers [`TaskError::Cancelled`](crate::TaskError::Cancelled); Python raises it.
        #[must_use]
        pub fn exception(&self) -> Option<$crate::TaskError> {
            self.wait();
            $crate::any::look_at_error($crate::any::Sealed::cell(self))
        }

        /// As [`exception`](Self::exception), waiting for as long as `timeout`.
        ///
        /// # Errors
        ///
        /// [`TimeoutError`](crate::TimeoutError) if the future has not ended in time.
        pub fn exception_timeout(
            &self,
            timeout: std::time::Duration,
        ) -> Result<Option<$crate::TaskError>, $crate::TimeoutError> {
            self.wait_timeout(timeout)?;
            Ok($crate::any::look_at_error($crate::any::Sealed::cell(self)))
        }
    };
}
pub(crate) use handle_methods;

/// The error of a future that has ended, from now on known to somebody.
pub(crate) fn look_at_error(cell: &dyn AnyCell) -> Option<crate::TaskError> {
    let error = cell.error();
    if error.is_some() {
        cell.header().observe_failure();
    }
    error
}
