//! A chunk of a `map`: several items that are one task.
//!
//! The items fail each by itself, so that one that panics takes no other with it. In another process the same is true of one
//! that takes the whole worker with it: what came of each item is written down as it comes, see [`records`], and the executor
//! goes on with the items behind it elsewhere.

use std::{marker::PhantomData, time::Instant};

use concurrent_futures_future::{Panic, TaskError, Work};

use crate::{
    portable::{Portable, PortableFn, assert_no_captures},
    task::TaskWork,
};

#[cfg(feature = "portable")]
pub(crate) mod records;

/// What became of a chunk.
///
/// Values and failures apart, because almost all are values: those are then handed out as a plain vector.
pub(crate) struct ChunkOutput<R> {
    /// In order.
    pub(crate) values: Vec<R>,
    /// By their places in the chunk, in order.
    pub(crate) failures: Vec<(usize, TaskError)>,
    /// How long it took altogether. `None` if its items were run by several workers, one after another.
    pub(crate) nanos: Option<u64>,
}

impl<R> ChunkOutput<R> {
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.failures.len()
    }
}

pub(crate) fn nanos_since(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Calls `function` for each item of a chunk, in this process.
pub(crate) fn run_chunk<A, R>(items: Vec<A>, function: impl Fn(A) -> R) -> ChunkOutput<R> {
    let begin = Instant::now();
    let mut values = Vec::with_capacity(items.len());
    let mut failures = Vec::new();
    let mut items = items.into_iter();
    // One catch for as many items as do not panic. What was returned before a panic is in the vector by then.
    while let Err(panic) = Panic::catch(|| values.extend(items.by_ref().map(&function))) {
        failures.push((values.len() + failures.len(), TaskError::Panicked(panic)));
    }
    ChunkOutput { values, failures, nanos: Some(nanos_since(begin)) }
}

/// A chunk that can be run in another process: the function is known by its type, the items go by value.
pub(crate) struct ChunkCall<F, A, R> {
    function: F,
    pub(crate) items: Vec<A>,
    result: PhantomData<fn() -> R>,
}

impl<F, A, R> ChunkCall<F, A, R>
where
    F: Fn(A) -> R + PortableFn,
{
    pub(crate) fn new(function: F, items: Vec<A>) -> Self {
        const { assert_no_captures::<F>() };
        Self { function, items, result: PhantomData }
    }
}

impl<F, A, R> Work for ChunkCall<F, A, R>
where
    F: Fn(A) -> R + PortableFn,
    A: Portable,
    R: Portable,
{
    type Output = ChunkOutput<R>;

    fn call(self) -> ChunkOutput<R> {
        run_chunk(self.items, self.function)
    }

    fn name() -> &'static str {
        std::any::type_name::<F>()
    }
}

impl<F, A, R> TaskWork for ChunkCall<F, A, R>
where
    F: Fn(A) -> R + PortableFn,
    A: Portable,
    R: Portable,
{
    #[cfg(feature = "portable")]
    fn entry(&self) -> Option<crate::portable::Entry> {
        let name = <Self as Work>::name();
        Some(crate::portable::Entry::of_chunk::<F, A, R>(self.items.len(), name))
    }

    #[cfg(feature = "portable")]
    fn encode_argument(
        &self,
        buffer: &mut Vec<u8>,
    ) -> Result<(), concurrent_futures_future::CodecError> {
        let what = concurrent_futures_future::Crossing::EncodeArgument;
        match &*self.items {
            [item] => crate::portable::wire::encode(item, buffer, what),
            _ => crate::portable::wire::encode(&self.items, buffer, what),
        }
    }

    #[cfg(feature = "portable")]
    fn decode_result(
        result: &[u8],
    ) -> Result<ChunkOutput<R>, concurrent_futures_future::CodecError> {
        Self::decode_rest(result, None)
    }

    #[cfg(feature = "portable")]
    fn decode_rest(
        result: &[u8],
        kept: Option<records::Kept>,
    ) -> Result<ChunkOutput<R>, concurrent_futures_future::CodecError> {
        records::read::<crate::portable::wire::Wire, R>(result, kept)
    }
}
