//! What it takes for a task to cross to another process, and, with the feature `portable`, how it does.
//!
//! A function is known by its type alone. It must therefore have no data of its own, so that a worker can make a value
//! of it out of nothing, and its argument carries everything. [`Entry`] is how such a task is run from bytes: a
//! function of this executable, compiled for one combination of function, argument and result. What names it on the
//! wire is the business of the executor: the process pool, whose workers are the same executable, sends its offset.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::task::{PortableCall, TaskWork};

/// Values that can cross to another process and back: anything that owns its data, can be sent to another thread, and
/// that [serde](https://serde.rs) can write and read.
///
/// Implemented for every such type; there is nothing to do but `#[derive(Serialize, Deserialize)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "must be owned, `Send`, `Serialize` and `Deserialize`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, and own what it borrows",
    note = "for values that stay in this process, use the methods of `ThreadPoolExecutor` itself rather than those of `Executor`"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}

/// Fails to compile for a function that has data of its own.
pub(crate) const fn assert_no_captures<F>() {
    assert!(
        size_of::<F>() == 0,
        "a task for any executor must not capture variables, nor be a `fn` pointer: it is known by its type alone, as \
         it may run in another process. Pass what it needs in the argument (a tuple for several), or use the methods \
         of `ThreadPoolExecutor` itself, which take any closure"
    );
}

impl<F, A, R> TaskWork for PortableCall<F, A, R>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Portable,
    R: Portable,
{
    fn name() -> &'static str {
        std::any::type_name::<F>()
    }

    #[cfg(feature = "portable")]
    fn entry() -> Option<Entry> {
        Some(Entry { trampoline: wire::trampoline::<F, A, R>, name: Self::name() })
    }

    #[cfg(feature = "portable")]
    fn encode_argument(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError> {
        wire::encode(&self.argument, buffer, concurrent_futures_future::Crossing::EncodeArgument)
    }

    #[cfg(feature = "portable")]
    fn decode_result(result: &[u8]) -> Result<R, concurrent_futures_future::CodecError> {
        wire::decode(result, concurrent_futures_future::Crossing::DecodeResult)
    }
}

pub(crate) fn portable_call<F, A, R>(function: F, argument: A) -> PortableCall<F, A, R>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
{
    const { assert_no_captures::<F>() };
    PortableCall { function, argument, result: PhantomData }
}

#[cfg(feature = "portable")]
pub use wire::{Entry, Trampoline};

#[cfg(feature = "portable")]
mod wire {
    //! Running a task from bytes.

    use std::fmt;

    use concurrent_futures_future::{CodecError, Crossing, Panic, TaskError};

    use super::Portable;
    use crate::codec;

    /// Decodes an argument, calls the function, and appends the encoded result to the buffer.
    ///
    /// An error is the task's own: the argument or result that could not be decoded or encoded, or the panic. It never
    /// unwinds. The buffer is as long as it was if there is an error.
    pub type Trampoline = fn(argument: &[u8], result: &mut Vec<u8>) -> Result<(), TaskError>;

    /// How a portable task is run in another process of the same executable.
    #[derive(Clone, Copy)]
    #[non_exhaustive]
    pub struct Entry {
        /// The function that runs the task from its encoded argument.
        pub trampoline: Trampoline,
        /// The type name of the task's function, for people to read.
        pub name: &'static str,
    }

    impl fmt::Debug for Entry {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
        }
    }

    pub(super) fn trampoline<F, A, R>(
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Portable,
        R: Portable,
    {
        let length = result.len();
        let outcome = Panic::catch(|| {
            let function = conjure::<F>();
            let argument = decode::<A>(argument, Crossing::DecodeArgument)?;
            encode(&function(argument), result, Crossing::EncodeResult)
        });
        let outcome = match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(TaskError::Codec(error)),
            Err(panic) => Err(TaskError::Panicked(panic)),
        };
        if outcome.is_err() {
            result.truncate(length);
        }
        outcome
    }

    /// A function without data, out of nothing.
    #[expect(
        unsafe_code,
        reason = "the only way to a value of a function's type in a process that was never given one"
    )]
    fn conjure<F: Copy>() -> F {
        const { super::assert_no_captures::<F>() };
        // SAFETY: `F` has size zero, as asserted, so there are no bytes to be initialised, and a dangling aligned
        // pointer is valid to read it from. It is `Copy`, so a second value of it breaks no promise of uniqueness;
        // and a value of this very type exists in the process that submitted the task, so the type is inhabited.
        unsafe { std::ptr::NonNull::<F>::dangling().as_ptr().read() }
    }

    pub(super) fn encode<T: Portable>(
        value: &T,
        buffer: &mut Vec<u8>,
        what: Crossing,
    ) -> Result<(), CodecError> {
        codec::encode(value, buffer)
            .map_err(|error| CodecError::new(what, std::any::type_name::<T>(), error))
    }

    pub(super) fn decode<T: Portable>(bytes: &[u8], what: Crossing) -> Result<T, CodecError> {
        codec::decode(bytes)
            .map_err(|error| CodecError::new(what, std::any::type_name::<T>(), error))
    }
}
