//! What it takes for a task to cross to another process, and, with the feature `portable`, how it does.
//!
//! A function is known by its type alone. It must therefore have no data of its own, so that a worker can make a value
//! of it out of nothing, and its argument carries everything; or it is a plain `fn` pointer, which names itself. [`Entry`] is how such a task is run from bytes: a
//! function of this executable, compiled for one combination of function, argument and result. What names it on the
//! wire is the business of the executor: the process pool, whose workers are the same executable, sends offsets.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::task::{PointerCall, PortableCall, TaskWork};

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

/// Functions that a worker in another process can call: named functions, and closures that capture nothing.
///
/// Implemented for every type that might be one. That there are no captures at all is checked when the program is built,
/// since `Copy` closures may still have some.
#[diagnostic::on_unimplemented(
    message = "this function cannot be called in another process: it captures variables",
    label = "must capture nothing",
    note = "pass what it needs in the argument, a tuple for several",
    note = "the methods of `ThreadPoolExecutor` itself, rather than those of `Executor`, take any closure"
)]
pub trait PortableFn: Copy + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<F: Copy + Send + Sync + 'static> PortableFn for F {}

/// Fails to compile for a function that has data of its own.
pub(crate) const fn assert_no_captures<F>() {
    assert!(
        size_of::<F>() == 0,
        "a task for any executor must not capture variables: it is known by its type alone, as it may run in another \
         process. (For a `fn` pointer there is `submit_fn`.) Pass what it needs in the argument (a tuple for several), or use the methods \
         of `ThreadPoolExecutor` itself, which take any closure"
    );
}

impl<F, A, R> TaskWork for PortableCall<F, A, R>
where
    F: Fn(A) -> R + PortableFn,
    A: Portable,
    R: Portable,
{
    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<Entry> {
        Some(Entry {
            trampoline: wire::trampoline::<F, A, R>,
            function: None,
            chunk: None,
            name: <Self as concurrent_futures_future::Work>::name(),
        })
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

impl<A: Portable, R: Portable> TaskWork for PointerCall<A, R> {
    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<Entry> {
        Some(Entry {
            trampoline: wire::pointer_trampoline::<A, R>,
            function: Some(wire::erase(self.function)),
            chunk: None,
            name: <Self as concurrent_futures_future::Work>::name(),
        })
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
    F: Fn(A) -> R + PortableFn,
{
    const { assert_no_captures::<F>() };
    PortableCall { function, argument, result: PhantomData }
}

#[cfg(feature = "portable")]
pub use wire::{Entry, Trampoline};

#[cfg(feature = "portable")]
pub mod wire {
    //! Running a task from bytes, for executors whose workers are other processes.

    use std::{
        fmt,
        sync::{Arc, Weak},
    };

    use concurrent_futures_future::{CodecError, Crossing, Panic, TaskError};

    use super::{Portable, PortableFn};
    use crate::{
        bytes::Bytes,
        chunk::records,
        codec::{Bincode, Codec},
        out_of_band::{self, Root},
    };

    pub use crate::{
        bytes::{GiveBack, Owner},
        chunk::records::Journal,
        out_of_band::{out_of_band, with_values},
        shared::portable::{SharedValue, forget_value, provide_value},
    };

    /// What is written and read with here.
    pub(crate) type Wire = Bincode;

    /// What the codec is called where two processes make sure that they use the same.
    pub const CODEC_ID: u8 = Wire::ID;

    /// Decodes an argument, calls the function, and appends the encoded result to the buffer.
    ///
    /// An error is the task's own: the argument or result that could not be decoded or encoded, or the panic. It never
    /// unwinds. The buffer is as long as it was if there is an error.
    ///
    /// # Safety
    ///
    /// `function` is what stood beside the trampoline in its [`Entry`].
    pub type Trampoline = unsafe fn(
        function: Option<fn()>,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError>;

    /// Decodes the items of a chunk, calls the function for each of them but the `first` ones, and appends what came of them
    /// to the buffer; tells the journal of each, so that another worker can go on if this one dies.
    ///
    /// An error is that of the whole chunk: its items could not be decoded. Otherwise each item that fails does so by itself.
    /// It never unwinds. The buffer is as long as it was if there is an error.
    pub type ChunkTrampoline = fn(
        argument: &[u8],
        first: usize,
        result: &mut Vec<u8>,
        journal: &mut dyn Journal,
    ) -> Result<(), TaskError>;

    /// How a task that is a chunk of a `map` is run item by item.
    #[derive(Clone, Copy)]
    #[non_exhaustive]
    pub struct Chunk {
        /// The function that runs it from its encoded argument, the same that the entry's own takes.
        pub trampoline: ChunkTrampoline,
        /// How many items there are.
        pub items: usize,
    }

    impl fmt::Debug for Chunk {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Chunk").field("items", &self.items).finish_non_exhaustive()
        }
    }

    /// How a portable task is run in another process of the same executable.
    #[derive(Clone, Copy)]
    #[non_exhaustive]
    pub struct Entry {
        /// The function that runs the task from its encoded argument.
        pub trampoline: Trampoline,
        /// The task's function, its type forgotten, if it is a pointer and thus not known by the trampoline already.
        pub function: Option<fn()>,
        /// If it is a chunk of a `map`: how to run it so that not all of it is lost if its worker dies. An executor that does
        /// not care for that leaves it alone.
        pub chunk: Option<Chunk>,
        /// The type name of the task's function, for people to read.
        pub name: &'static str,
    }

    impl Entry {
        /// How to call `function`, which must have no data of its own.
        pub fn new<F, A, R>(function: F) -> Self
        where
            F: Fn(A) -> R + PortableFn,
            A: Portable,
            R: Portable,
        {
            const { super::assert_no_captures::<F>() };
            let _ = function;
            let name = std::any::type_name::<F>();
            Self { trampoline: trampoline::<F, A, R>, function: None, chunk: None, name }
        }

        pub(crate) fn of_chunk<F, A, R>(items: usize, name: &'static str) -> Self
        where
            F: Fn(A) -> R + PortableFn,
            A: Portable,
            R: Portable,
        {
            if items == 1 {
                // If that is lost, so is the chunk.
                let trampoline = single_trampoline::<F, A, R>;
                return Self { trampoline, function: None, chunk: None, name };
            }
            let chunk = Chunk { trampoline: chunk_trampoline::<F, A, R>, items };
            Self {
                trampoline: whole_chunk_trampoline::<F, A, R>,
                function: None,
                chunk: Some(chunk),
                name,
            }
        }

        /// Decodes the argument, calls the function and appends the encoded result, in this process.
        ///
        /// # Errors
        ///
        /// The task's own, as for a [`Trampoline`].
        pub fn run(&self, argument: &[u8], result: &mut Vec<u8>) -> Result<(), TaskError> {
            // SAFETY: the two are from the same entry; only this module makes entries.
            #[expect(unsafe_code, reason = "the promise is about the two fields beside each other")]
            unsafe {
                (self.trampoline)(self.function, argument, result)
            }
        }
    }

    impl fmt::Debug for Entry {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
        }
    }

    pub(super) fn trampoline<F, A, R>(
        _function: Option<fn()>,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Portable,
        R: Portable,
    {
        call(|argument| conjure::<F>()(argument), argument, result)
    }

    fn chunk_trampoline<F, A, R>(
        argument: &[u8],
        first: usize,
        result: &mut Vec<u8>,
        journal: &mut dyn Journal,
    ) -> Result<(), TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Portable,
        R: Portable,
    {
        records::run::<Wire, A, R>(|item| conjure::<F>()(item), argument, first, result, journal)
    }

    /// Runs a chunk of one item.
    fn single_trampoline<F, A, R>(
        _function: Option<fn()>,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Portable,
        R: Portable,
    {
        records::run_single::<Wire, A, R>(|item| conjure::<F>()(item), argument, result)
    }

    /// Runs a chunk as if it were any other task.
    fn whole_chunk_trampoline<F, A, R>(
        _function: Option<fn()>,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Portable,
        R: Portable,
    {
        chunk_trampoline::<F, A, R>(argument, 0, result, &mut ())
    }

    /// The trampoline of `fn` pointers.
    ///
    /// # Safety
    ///
    /// `function` is some `fn(A) -> R`, erased.
    #[expect(unsafe_code, reason = "gives a `fn` pointer its type back")]
    pub(super) unsafe fn pointer_trampoline<A: Portable, R: Portable>(
        function: Option<fn()>,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError> {
        // SAFETY: `function` was erased from this very type, as the caller promises; for one that is absent, which the
        // caller rules out, the type of the destination has the same niche.
        let function = unsafe { std::mem::transmute::<Option<fn()>, Option<fn(A) -> R>>(function) };
        match function {
            Some(function) => call(function, argument, result),
            None => Err(TaskError::Abandoned),
        }
    }

    /// Forgets the type of a `fn` pointer. It must not be called until it is given back.
    #[expect(unsafe_code, reason = "makes pointers of any type fit in one field")]
    pub(super) fn erase<A, R>(function: fn(A) -> R) -> fn() {
        // SAFETY: all `fn` pointers have the same size and validity; the promise not to call it is the caller's.
        unsafe { std::mem::transmute::<fn(A) -> R, fn()>(function) }
    }

    fn call<A: Portable, R: Portable>(
        function: impl Fn(A) -> R,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError> {
        call_with::<Wire, A, R>(function, argument, result)
    }

    pub(crate) fn call_with<C: Codec, A: Portable, R: Portable>(
        function: impl Fn(A) -> R,
        argument: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), TaskError> {
        let length = result.len();
        let outcome = Panic::catch(|| {
            let argument = decode_with::<C, A>(argument, Crossing::DecodeArgument)?;
            let value = out_of_band::without(|| function(argument));
            encode_with::<C, R>(&value, result, Crossing::EncodeResult)
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

    /// Appends the encoding of `value` to `buffer`; an error is said to be of the step `what`.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if the value cannot be encoded; part of it may have been appended then.
    pub fn encode<T: Portable>(
        value: &T,
        buffer: &mut Vec<u8>,
        what: Crossing,
    ) -> Result<(), CodecError> {
        encode_with::<Wire, T>(value, buffer, what)
    }

    fn encode_with<C: Codec, T: Portable>(
        value: &T,
        buffer: &mut Vec<u8>,
        what: Crossing,
    ) -> Result<(), CodecError> {
        out_of_band::cross(|| C::encode(&Root(value), buffer))
            .map_err(|error| CodecError::new(what, std::any::type_name::<T>(), error))
    }

    /// The value that `bytes` encode, all of them; an error is said to be of the step `what`.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if they do not encode a `T`.
    pub fn decode<T: Portable>(bytes: &[u8], what: Crossing) -> Result<T, CodecError> {
        decode_with::<Wire, T>(bytes, what)
    }

    pub(crate) fn decode_with<C: Codec, T: Portable>(
        bytes: &[u8],
        what: Crossing,
    ) -> Result<T, CodecError> {
        out_of_band::cross(|| C::decode(bytes))
            .map(|Root(value)| value)
            .map_err(|error| CodecError::new(what, std::any::type_name::<T>(), error))
    }

    /// Bytes whose memory goes back to `home`, if that is still there, when nobody needs them any more.
    #[must_use]
    pub fn with_home(vec: Vec<u8>, home: Weak<dyn GiveBack>) -> Bytes {
        Bytes::with_home(vec, home)
    }

    /// Bytes in memory that somebody else looks after, such as a mapping: `owner` is dropped with the last clone.
    ///
    /// That may happen under locks of an executor, so dropping it must not take long, and not panic.
    #[must_use]
    pub fn lend(owner: Arc<Owner>) -> Bytes {
        Bytes::lent(owner)
    }
}
