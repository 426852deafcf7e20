//! What came of the items of a chunk that is run in another process, in a form that can be put together again: a worker that
//! dies leaves behind what it had done, if it kept that in a [`Journal`], and another one goes on with the rest.
//!
//! Values and failures apart, as almost all are values: those are encoded one after another, with nothing in between, and
//! whoever knows how many items there are and which of them have failed knows how many values there are. A failure says which
//! item it is of. So what several workers have done is the values of one after those of the other, and the failures as well.
//!
//! ```text
//!   answer:  u64 number of values, u64 length of them all, u64 length of the failures, u64 nanoseconds, values, failures
//!   failure: u64 item, counted from the first that this worker has run, u64 length, text...
//! ```
//!
//! Whatever the bytes are, reading them neither panics nor takes much more memory than they do.

use std::{any::type_name, fmt, marker::PhantomData, time::Instant};

use concurrent_futures_future::{CodecError, Crossing, Panic, TaskError};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::{ChunkOutput, nanos_since};
use crate::{
    codec::Codec,
    out_of_band::{self, InPlace, Root},
    portable::{
        Portable,
        wire::{call_with, decode_with},
    },
};

/// How an item can fail that takes no worker with it.
const PANICKED: u8 = 1;
const NOT_ENCODED: u8 = 2;

/// What is in a failure: how, and up to three texts.
type Texts = (u8, String, Option<String>, Option<String>);

const FIELD_SIZE: usize = size_of::<u64>();

/// What comes before the values in an answer.
const HEAD_SIZE: usize = 4 * FIELD_SIZE;

/// How much memory is made for values before they are read.
const RESERVED_MAX: usize = 1 << 20;

/// How many values there may be that take no bytes.
const EMPTY_MAX: usize = 1 << 28;

/// Where a worker keeps what comes of the items of a chunk, for whoever is to go on if it dies.
///
/// No method returns before what it was told is kept, and the next item is not begun before that.
///
/// `()` is a journal that keeps nothing.
pub trait Journal {
    /// The items have been decoded, and the first is about to begin.
    fn begin(&mut self);

    /// An item is done, and this is its encoded value.
    fn item_done(&mut self, value: &[u8]);

    /// An item has failed, and this says which and how.
    fn item_failed(&mut self, failure: &[u8]);
}

impl Journal for () {
    fn begin(&mut self) {}

    fn item_done(&mut self, _value: &[u8]) {}

    fn item_failed(&mut self, _failure: &[u8]) {}
}

/// Decodes the items, calls `function` for all but the first few, and appends what came of them to `result`.
///
/// An error is that of the whole: the items could not be decoded. `result` is then as long as it was.
pub(crate) fn run<C: Codec, A: Portable, R: Portable>(
    function: impl Fn(A) -> R,
    argument: &[u8],
    first: usize,
    result: &mut Vec<u8>,
    journal: &mut dyn Journal,
) -> Result<(), TaskError> {
    let begin = Instant::now();
    let decoded = Panic::catch(|| {
        let items = decode_with::<C, Vec<A>>(argument, Crossing::DecodeArgument)?;
        let mut items = items.into_iter();
        // They have been run.
        items.by_ref().take(first).for_each(drop);
        Ok(items)
    });
    let mut items = match decoded {
        Ok(Ok(items)) => items,
        Ok(Err(error)) => return Err(TaskError::Codec(error)),
        Err(panic) => return Err(TaskError::Panicked(panic)),
    };
    let (in_place, moved) = (InPlace::new(), out_of_band::argument_length());
    let (count, head) = (items.len(), result.len());
    result.extend_from_slice(&[0; HEAD_SIZE]);
    let mut failures = Vec::new();
    let mut failed = 0;
    let mut done = result.len();
    journal.begin();
    loop {
        // One catch for as many items as do not fail.
        let ran = out_of_band::without(|| {
            Panic::catch(|| {
                for item in items.by_ref() {
                    let value = function(item);
                    if may_have_bytes::<R>() {
                        in_place.cross(|| C::encode(&Root(&value), result))?;
                    } else {
                        C::encode(&value, result)?;
                    }
                    journal.item_done(&result[done..]);
                    done = result.len();
                }
                Ok(())
            })
        });
        let texts: Texts = match ran {
            Ok(Ok(())) => break,
            Ok(Err(error)) => {
                let error: Box<dyn std::error::Error + Send + Sync> = error;
                (NOT_ENCODED, error.to_string(), Some(type_name::<R>().to_owned()), None)
            }
            Err(panic) => {
                let optional = |text: Option<&str>| text.map(ToOwned::to_owned);
                let message = panic.message().to_owned();
                (PANICKED, message, optional(panic.location()), optional(panic.backtrace()))
            }
        };
        // Of a value in the middle of which it failed.
        result.truncate(done);
        let start = failures.len();
        write_failure::<C>(count - items.len() - 1, &texts, &mut failures);
        failed += 1;
        journal.item_failed(&failures[start..]);
    }
    let values = done - head - HEAD_SIZE;
    let nanos = nanos_since(begin) + moving_nanos(values + moved);
    put_head(result, head, [count - failed, values, failures.len()], nanos);
    result.extend_from_slice(&failures);
    Ok(())
}

/// The same for a chunk of one item, which is a task like any other: the argument is the item, nothing can be kept of it if its
/// worker dies, and its buffers are not in its encoding.
pub(crate) fn run_single<C: Codec, A: Portable, R: Portable>(
    function: impl Fn(A) -> R,
    argument: &[u8],
    result: &mut Vec<u8>,
) -> Result<(), TaskError> {
    let begin = Instant::now();
    let (head, moved) = (result.len(), out_of_band::argument_length());
    result.extend_from_slice(&[0; HEAD_SIZE]);
    if let Err(error) = call_with::<C, A, R>(function, argument, result) {
        result.truncate(head);
        return Err(error);
    }
    let length = result.len() - head - HEAD_SIZE;
    let nanos = nanos_since(begin) + moving_nanos(length + moved);
    put_head(result, head, [1, length, 0], nanos);
    Ok(())
}

/// Whether there can be [`Bytes`](crate::Bytes) in an `R`, which own something.
fn may_have_bytes<R>() -> bool {
    std::mem::needs_drop::<R>()
}

/// About how long it takes to move so many bytes between processes, which nobody measures who measures a call.
fn moving_nanos(bytes: usize) -> u64 {
    bytes as u64 / 4
}

/// Writes what comes before the values: the number of these and the lengths of values and failures, and how long it took.
fn put_head(result: &mut [u8], head: usize, lengths: [usize; 3], nanos: u64) {
    let lengths = lengths.into_iter().map(|length| length as u64);
    for (index, field) in lengths.chain([nanos]).enumerate() {
        put(result, head + index * FIELD_SIZE, field);
    }
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + FIELD_SIZE].copy_from_slice(&value.to_le_bytes());
}

fn write_failure<C: Codec>(item: usize, texts: &Texts, failures: &mut Vec<u8>) {
    failures.extend_from_slice(&(item as u64).to_le_bytes());
    let length_at = failures.len();
    failures.extend_from_slice(&[0; FIELD_SIZE]);
    let start = failures.len();
    if C::encode(texts, failures).is_err() {
        // Nothing can be wrong with texts; and if, it is a failure that cannot be decoded.
        failures.truncate(start);
    }
    let length = (failures.len() - start) as u64;
    put(failures, length_at, length);
}

/// Why bytes cannot be what a worker has written.
#[derive(Debug)]
struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these are not the results of a chunk")
    }
}

impl std::error::Error for Malformed {}

/// Takes a number off the beginning of `bytes`.
fn number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*number))
}

/// The same, for one that is a number of things in memory.
fn field(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    usize::try_from(number(bytes)?).map_err(|_too_large| Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// What came of some of the items, in order, as far as it was not decoded.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// How many values there are.
    count: usize,
    values: Vec<u8>,
    failures: Vec<(usize, Failure)>,
    /// How many items the chunk has.
    items: usize,
}

#[derive(Debug)]
enum Failure {
    Encoded(Vec<u8>),
    /// Its worker died.
    Lost(TaskError),
}

/// The failures in these bytes, which are of items from `first` on and before `end`. What comes after is left out: the worker
/// died before it had said so much.
fn failures(
    mut bytes: &[u8],
    first: usize,
    end: usize,
) -> Result<Vec<(usize, Failure)>, Malformed> {
    let mut failures: Vec<(usize, Failure)> = Vec::new();
    while !bytes.is_empty() {
        let item = field(&mut bytes)?.checked_add(first).ok_or(Malformed)?;
        let length = field(&mut bytes)?;
        let text = take(&mut bytes, length)?;
        if failures.last().is_some_and(|(last, _)| *last >= item) {
            return Err(Malformed);
        }
        if item < end {
            failures.push((item, Failure::Encoded(text.to_vec())));
        }
    }
    Ok(failures)
}

impl Kept {
    /// Nothing, of so many items.
    pub(crate) fn new(items: usize) -> Self {
        Self { items, ..Self::default() }
    }

    fn done(&self) -> usize {
        self.count + self.failures.len()
    }

    /// Adds what came of the next items, so many of them. False if that cannot be.
    pub(crate) fn add(&mut self, values: &[u8], bytes: &[u8], items: usize) -> bool {
        let first = self.done();
        if items > self.items - first {
            return false;
        }
        let Ok(failures) = failures(bytes, first, first + items) else { return false };
        self.count += items - failures.len();
        self.values.extend_from_slice(values);
        self.failures.extend(failures);
        true
    }

    /// Fails the next item.
    pub(crate) fn lose(&mut self, error: TaskError) {
        self.failures.push((self.done(), Failure::Lost(error)));
    }

    /// Fails all items that are left.
    pub(crate) fn lose_rest(&mut self, error: &TaskError) {
        while self.done() < self.items {
            self.lose(error.clone());
        }
    }

    pub(crate) fn has_any(&self) -> bool {
        self.done() > 0
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.failures.iter().any(|(_, failure)| matches!(failure, Failure::Lost(_)))
    }
}

/// The output of a chunk: what was kept, if anything was, and what a worker has answered of the items that were left, if any
/// were.
pub(crate) fn read<C: Codec, R: Portable>(
    mut answer: &[u8],
    kept: Option<Kept>,
) -> Result<ChunkOutput<R>, CodecError> {
    let first = kept.as_ref().map_or(0, Kept::done);
    let is_complete = kept.as_ref().is_some_and(|kept| first >= kept.items);
    let mut nanos = None;
    let mut read = || {
        let (mut count, mut values, mut failed) = (0, &[][..], Vec::new());
        if !is_complete {
            count = field(&mut answer)?;
            let (length, failures_length) = (field(&mut answer)?, field(&mut answer)?);
            nanos = Some(number(&mut answer)?);
            values = take(&mut answer, length)?;
            if answer.len() != failures_length {
                return Err(Malformed);
            }
            failed = failures(answer, first, usize::MAX)?;
        }
        Ok((count, values, failed))
    };
    let malformed = |error: Malformed| {
        CodecError::new(Crossing::DecodeResult, type_name::<R>(), Box::new(error))
    };
    let (count, values, mut failed) = read().map_err(malformed)?;
    let output = match kept {
        None => (decode_values::<C, R>(values, count)?, failed),
        Some(mut kept) => {
            nanos = None;
            kept.values.extend_from_slice(values);
            kept.failures.append(&mut failed);
            let count = kept.count.checked_add(count).ok_or(Malformed).map_err(malformed)?;
            (decode_values::<C, R>(&kept.values, count)?, kept.failures)
        }
    };
    let (values, failed) = output;
    // In order they are.
    let all = values.len() + failed.len();
    if failed.last().is_some_and(|(last, _)| *last >= all) {
        return Err(malformed(Malformed));
    }
    let failures =
        failed.into_iter().map(|(item, failure)| Ok((item, decode_failure::<C>(failure)?)));
    Ok(ChunkOutput { values, failures: failures.collect::<Result<_, _>>()?, nanos })
}

fn decode_failure<C: Codec>(failure: Failure) -> Result<TaskError, CodecError> {
    let bytes = match failure {
        Failure::Encoded(bytes) => bytes,
        Failure::Lost(error) => return Ok(error),
    };
    let (how, text, second, third) = decode_with::<C, Texts>(&bytes, Crossing::DecodeResult)?;
    match how {
        PANICKED => Ok(TaskError::Panicked(Panic::from_parts(text, second, third))),
        NOT_ENCODED => {
            let type_name = second.unwrap_or_default();
            Ok(TaskError::Codec(CodecError::new(Crossing::EncodeResult, type_name, text)))
        }
        _ => Err(CodecError::new(Crossing::DecodeResult, "a failure", Box::new(Malformed))),
    }
}

fn decode_values<C: Codec, R: Portable>(bytes: &[u8], count: usize) -> Result<Vec<R>, CodecError> {
    let error = |error: Box<dyn std::error::Error + Send + Sync>| {
        CodecError::new(Crossing::DecodeResult, type_name::<R>(), error)
    };
    if count > bytes.len() && count > EMPTY_MAX {
        return Err(error(Box::new(Malformed)));
    }
    let decode = || C::decode_seed(Values { count, value: PhantomData }, bytes);
    let values = if may_have_bytes::<R>() { out_of_band::cross(decode) } else { decode() };
    values.map_err(error)
}

struct Values<R> {
    count: usize,
    value: PhantomData<fn() -> R>,
}

impl<'de, R: Portable> DeserializeSeed<'de> for Values<R> {
    type Value = Vec<R>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<R>, D::Error> {
        // As it was not entered otherwise, it may be that of a value in the middle of which this is decoded.
        if may_have_bytes::<R>() {
            out_of_band::begin::<D>();
        }
        deserializer.deserialize_tuple(self.count, self)
    }
}

impl<'de, R: Portable> Visitor<'de> for Values<R> {
    type Value = Vec<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.count)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Vec<R>, S::Error> {
        let mut values = Vec::with_capacity(self.count.min(RESERVED_MAX / size_of::<R>().max(1)));
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
