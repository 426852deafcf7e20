//! How [`Bytes`] in arguments and results get past the codec: while a value is encoded, the buffers in it are collected, and
//! the encoding says but which of them belongs where; while it is decoded, they are handed out. A result that has bytes of the
//! argument says where in that they are.
//!
//! serde has no way to pass something along with a value, so this goes by thread-locals. Two of them:
//!
//! - **lent**: buffers that whoever runs a task from its encoding, or encodes one, has lent to this module for the next
//!   value. Not there while the task's function runs.
//! - **current**: the value that is being encoded or decoded, which has taken what was lent. Whatever the user's code encodes
//!   or decodes meanwhile by a codec of its own finds no buffers; it is known by the type of its serializer, which is not the one
//!   that the value began with.
//!
//! Both are pointers to the stack, which are set for the time of a call, and reset however it ends. So they own nothing, and
//! do as well in a thread that is about to end.

use std::{
    any::TypeId,
    cell::{Cell, RefCell},
    marker::PhantomData,
    ops::Range,
    ptr,
    sync::Arc,
    thread::LocalKey,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{bytes::Bytes, shared::portable::SharedValue};

/// What is longer goes past the codec. Below that, a copy or two cost less than a buffer of its own; and an argument whose
/// buffers are in its encoding can be sent ahead of the task that runs.
pub(crate) const APART_MIN: usize = 8 * 1024;

#[derive(Debug, Default)]
struct Buffers {
    incoming: Vec<Bytes>,
    /// `None` if they are to be in the encoding.
    outgoing: Option<Vec<Bytes>>,
    /// Those of the argument, for a result that has one of them, or part of one. It says so, and whoever has the argument
    /// has the bytes.
    argument: Vec<Bytes>,
    /// Shared values, if they are sent along.
    values: Option<Vec<Arc<SharedValue>>>,
}

type Lent = RefCell<Option<Buffers>>;

/// A value that is being encoded or decoded.
struct Current {
    /// The type of the serializer or deserializer that it began with.
    format: Cell<Option<TypeId>>,
    buffers: Lent,
}

thread_local! {
    static LENT: Cell<*const Lent> = const { Cell::new(ptr::null()) };
    static CURRENT: Cell<*const Current> = const { Cell::new(ptr::null()) };
}

/// Calls `call`; meanwhile `key` leads to `value`, or to nothing.
fn enter<T, R>(
    key: &'static LocalKey<Cell<*const T>>,
    value: Option<&T>,
    call: impl FnOnce() -> R,
) -> R {
    struct Reset<T: 'static>(&'static LocalKey<Cell<*const T>>, *const T);

    impl<T> Drop for Reset<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }

    let _reset = Reset(key, key.replace(value.map_or(ptr::null(), ptr::from_ref)));
    call()
}

/// What `key` leads to.
fn look<T, R>(key: &'static LocalKey<Cell<*const T>>, look: impl FnOnce(&T) -> R) -> Option<R> {
    let pointer = key.get();
    // SAFETY: it was set by `enter`, in this thread, from a reference that is good until that returns; and when that
    // returns or unwinds, it is reset to what it was before.
    #[expect(unsafe_code, reason = "a reference for the time of a call, in a thread-local")]
    let value = unsafe { pointer.as_ref() };
    value.map(look)
}

/// Calls `call`. A value that it decodes finds its buffers in `incoming`; those of what it encodes are returned in addition.
/// But those of a result that are buffers of the argument, or parts of one, are not: they are only named, and found again in
/// `argument` where the result is decoded. So each side has there what it knows as the buffers of the argument, or neither does.
///
/// This is for the methods that run tasks from their encoding, encode their arguments, or decode their results.
pub fn out_of_band<R>(
    incoming: Vec<Bytes>,
    argument: Vec<Bytes>,
    call: impl FnOnce() -> R,
) -> (R, Vec<Bytes>) {
    let outgoing = Some(Vec::new());
    let lent = RefCell::new(Some(Buffers { incoming, outgoing, argument, values: None }));
    let result = enter(&LENT, Some(&lent), call);
    (result, lent.into_inner().and_then(|buffers| buffers.outgoing).unwrap_or_default())
}

/// Calls `call`, which encodes an argument. Its buffers are returned in addition, and the shared values in it, which the other
/// process is to have.
pub fn with_values<R>(call: impl FnOnce() -> R) -> (R, Vec<Bytes>, Vec<Arc<SharedValue>>) {
    let (outgoing, values) = (Some(Vec::new()), Some(Vec::new()));
    let buffers = Buffers { outgoing, values, ..Buffers::default() };
    let lent = RefCell::new(Some(buffers));
    let result = enter(&LENT, Some(&lent), call);
    let Buffers { outgoing, values, .. } = lent.into_inner().unwrap_or_default();
    (result, outgoing.unwrap_or_default(), values.unwrap_or_default())
}

/// More shared values go by value, so that whoever sends an argument need not send any number of them, and of descriptors,
/// before.
const VALUES_MAX: usize = 16;

/// Whether shared values are sent along with the value that is crossing.
pub(crate) fn takes_values() -> bool {
    let takes = |current: &Current| {
        current.buffers.borrow().as_ref().is_some_and(|buffers| buffers.values.is_some())
    };
    look(&CURRENT, takes).unwrap_or(false)
}

/// Has a shared value sent along. False if there are too many.
pub(crate) fn add_value(value: &Arc<SharedValue>) -> bool {
    let add = |current: &Current| {
        let mut buffers = current.buffers.borrow_mut();
        let values = buffers.as_mut()?.values.as_mut()?;
        if !values.iter().any(|other| Arc::ptr_eq(other, value)) {
            (values.len() < VALUES_MAX).then(|| values.push(Arc::clone(value)))?;
        }
        Some(())
    };
    look(&CURRENT, add).flatten().is_some()
}

/// Calls `call`, which finds nothing lent.
pub(crate) fn without<R>(call: impl FnOnce() -> R) -> R {
    enter(&LENT, None, call)
}

/// How many bytes there are in the buffers of the argument of the task that runs.
pub(crate) fn argument_length() -> usize {
    let length = |lent: &Lent| {
        let lent = lent.borrow();
        lent.iter().flat_map(|buffers| &buffers.argument).map(|buffer| buffer.len()).sum()
    };
    look(&LENT, length).unwrap_or(0)
}

/// Gives up what was lent, when there is nothing more to be decoded.
pub(crate) fn release() {
    drop(look(&LENT, RefCell::take));
}

/// Calls `call`, which encodes or decodes one value.
pub(crate) fn cross<R>(call: impl FnOnce() -> R) -> R {
    struct GiveBack<'a>(&'a Current);

    impl Drop for GiveBack<'_> {
        fn drop(&mut self) {
            look(&LENT, |lent| lent.replace(self.0.buffers.take()));
        }
    }

    let buffers = RefCell::new(look(&LENT, RefCell::take).flatten());
    let current = Current { format: Cell::new(None), buffers };
    let _give_back = GiveBack(&current);
    enter(&CURRENT, Some(&current), call)
}

/// For several results of one task, which are encoded one by one and kept by themselves: new buffers in them are in their
/// encodings, and those of the argument are named.
pub(crate) struct InPlace(Current);

impl InPlace {
    /// For the task whose buffers are lent now.
    pub(crate) fn new() -> Self {
        let argument = look(&LENT, |lent| Some(lent.borrow().as_ref()?.argument.clone())).flatten();
        let buffers = Buffers { argument: argument.unwrap_or_default(), ..Buffers::default() };
        Self(Current { format: Cell::new(None), buffers: RefCell::new(Some(buffers)) })
    }

    /// Calls `call`, which encodes one value.
    pub(crate) fn cross<R>(&self, call: impl FnOnce() -> R) -> R {
        enter(&CURRENT, Some(&self.0), call)
    }
}

/// The value that is crossing, whole: it tells which format is its own.
pub(crate) struct Root<T>(pub(crate) T);

/// Says that this is the format of the value that is crossing.
pub(crate) fn begin<F>() {
    look(&CURRENT, |current| current.format.set(Some(type_id::<F>())));
}

impl<T: Serialize> Serialize for Root<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        begin::<S>();
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Root<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        begin::<D>();
        T::deserialize(deserializer).map(Self)
    }
}

/// Whether `F` is the serializer or deserializer of the value that is crossing, rather than some other that is at work
/// meanwhile.
pub(crate) fn is_own_format<F>() -> bool {
    look(&CURRENT, |current| current.format.get() == Some(type_id::<F>())).unwrap_or(false)
}

/// Where bytes are in an encoding.
pub(crate) enum Place {
    Here,
    /// They are the buffer of this number, counted from 1.
    Apart(u64),
    /// They are part of such a buffer of the argument.
    Argument {
        number: u64,
        range: Range<usize>,
    },
}

/// Where these bytes are to be. `None` if `S` knows nothing of places.
pub(crate) fn place_of<S>(bytes: &Bytes) -> Option<Place> {
    if !is_own_format::<S>() {
        return None;
    }
    let apart = look(&CURRENT, |current| {
        let mut buffers = current.buffers.borrow_mut();
        let buffers = buffers.as_mut().filter(|_| bytes.len() > APART_MIN)?;
        find(bytes, &buffers.argument).or_else(|| {
            let outgoing = buffers.outgoing.as_mut()?;
            outgoing.push(bytes.clone());
            Some(Place::Apart(outgoing.len() as u64))
        })
    });
    Some(apart.flatten().unwrap_or(Place::Here))
}

/// Where in one of these buffers these bytes are, if they are in the same memory. As `argument` has the buffers, it is not that
/// somebody else has got that memory since.
fn find(bytes: &Bytes, argument: &[Bytes]) -> Option<Place> {
    let start = bytes.as_ptr().addr();
    (1..).zip(argument).find_map(|(number, whole)| {
        let offset = start.checked_sub(whole.as_ptr().addr())?;
        let range = offset..offset.checked_add(bytes.len())?;
        (range.end <= whole.len()).then_some(Place::Argument { number, range })
    })
}

/// The buffer of this number, counted from 1, if it came along.
pub(crate) fn buffer(number: u64) -> Option<Bytes> {
    numbered(number, |buffers| &buffers.incoming)
}

/// The same for one of the argument.
pub(crate) fn argument(number: u64) -> Option<Bytes> {
    numbered(number, |buffers| &buffers.argument)
}

fn numbered(number: u64, which: impl FnOnce(&Buffers) -> &Vec<Bytes>) -> Option<Bytes> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    look(&CURRENT, |current| which(current.buffers.borrow().as_ref()?).get(index).cloned())?
}

/// What identifies a type, but for the lifetimes in it.
fn type_id<T: ?Sized>() -> TypeId {
    trait Identified {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }

    impl<T: ?Sized> Identified for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }

    let phantom = PhantomData::<T>;
    let identified: &dyn Identified = &phantom;
    // SAFETY: the two types differ in a lifetime alone, and the only method looks at nothing that could have ended.
    #[expect(unsafe_code, reason = "serializers are identified, which borrow what they write to")]
    let identified =
        unsafe { std::mem::transmute::<&dyn Identified, &(dyn Identified + 'static)>(identified) };
    identified.id()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use concurrent_futures_future::Crossing;
    use serde::{de, ser};

    use super::*;
    use crate::portable::wire::{decode, encode};

    fn long(byte: u8) -> Bytes {
        Bytes::from(vec![byte; APART_MIN + 1])
    }

    fn encoded<T: crate::Portable>(value: &T) -> (Vec<u8>, Vec<Bytes>) {
        let mut bytes = Vec::new();
        let (outcome, buffers) = out_of_band(Vec::new(), Vec::new(), || {
            encode(value, &mut bytes, Crossing::EncodeArgument)
        });
        outcome.unwrap();
        (bytes, buffers)
    }

    fn decoded<T: crate::Portable>(bytes: &[u8], buffers: &[Bytes]) -> Option<T> {
        out_of_band(buffers.to_vec(), Vec::new(), || decode(bytes, Crossing::DecodeArgument)).0.ok()
    }

    /// The same memory, not only the same bytes.
    fn is_same(one: &Bytes, other: &Bytes) -> bool {
        ptr::eq(one.as_slice(), other.as_slice())
    }

    #[derive(Serialize, Deserialize)]
    struct Nested {
        name: String,
        parts: Vec<(u8, Option<Bytes>)>,
    }

    #[test]
    fn long_ones_are_passed_on_wherever_they_are() {
        let short = Bytes::from(vec![3; APART_MIN]);
        let parts = vec![(1, Some(long(1))), (2, None), (3, Some(short)), (4, Some(long(4)))];
        let nested = Nested { name: "n".to_owned(), parts };
        let (bytes, buffers) = encoded(&nested);
        assert_eq!(buffers.len(), 2);
        assert!(bytes.len() > APART_MIN && bytes.len() < APART_MIN + 200);
        let read: Nested = decoded(&bytes, &buffers).unwrap();
        assert_eq!((&*read.name, &read.parts), ("n", &nested.parts));
        for part in [0, 3] {
            let (was, is) = (&nested.parts[part].1, &read.parts[part].1);
            assert!(is_same(was.as_ref().unwrap(), is.as_ref().unwrap()));
        }
    }

    /// As where nobody has asked for the buffers.
    #[test]
    fn they_are_in_the_encoding_if_nobody_collects_them() {
        let mut bytes = Vec::new();
        encode(&long(5), &mut bytes, Crossing::EncodeResult).unwrap();
        assert!(bytes.len() > APART_MIN);
        assert_eq!(decode::<Bytes>(&bytes, Crossing::DecodeResult).unwrap(), long(5));
    }

    /// These bytes are promised by `docs/protocol.md`.
    #[test]
    fn golden_bytes() {
        assert_eq!(
            encoded(&Bytes::from([9])).0,
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]
        );
        assert_eq!(
            encoded(&(long(1), long(2))).0,
            [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
        );
        let argument = Bytes::from(vec![9; 1 << 16]);
        let part = argument.slice(3..0x8007);
        let mut bytes = Vec::new();
        let encode = || encode(&part, &mut bytes, Crossing::EncodeResult);
        out_of_band(Vec::new(), vec![long(1), argument], encode).0.unwrap();
        assert_eq!(
            bytes,
            [2, 0, 0, 0, 0, 0, 0, 128, 3, 0, 0, 0, 0, 0, 0, 0, 7, 128, 0, 0, 0, 0, 0, 0]
        );
    }

    /// What is not copied is in the same memory.
    #[test]
    fn a_result_finds_its_bytes_in_the_argument() {
        type Pieces = (Bytes, Vec<Bytes>, Bytes);

        let (first, second) = (long(1), Bytes::from(vec![2; 3 * APART_MIN]));
        let result: Pieces =
            (second.slice(5..2 * APART_MIN), vec![first.clone(), long(9)], second.slice(..100));
        let argument = [long(7), first.clone(), second.clone()];
        let mut bytes = Vec::new();
        let encode = || encode(&result, &mut bytes, Crossing::EncodeResult);
        let (outcome, outgoing) = out_of_band(Vec::new(), argument.to_vec(), encode);
        outcome.unwrap();
        // One is new, and one too short to be worth it.
        assert!(outgoing.len() == 1 && is_same(&outgoing[0], &result.1[1]));
        let decode = || decode::<Pieces>(&bytes, Crossing::DecodeResult);
        let (decoded, _) = out_of_band(outgoing.clone(), argument.to_vec(), decode);
        let decoded = decoded.unwrap();
        assert!(decoded == result);
        assert!(is_same(&decoded.0, &result.0) && is_same(&decoded.1[0], &first));
        assert!(out_of_band(outgoing, argument[..2].to_vec(), decode).0.is_err());
    }

    /// Whatever it says, what comes out is part of the argument, or nothing.
    #[test]
    fn a_result_that_lies_about_the_argument_is_an_error() {
        let argument = long(4);
        let of_argument = 1 << 63;
        let length = argument.len() as u64;
        for (number, start, end, is_right) in [
            (1, 3, length, true),
            (1, length, length, true),
            (1, 3, length + 1, false),
            (1, 3, 2, false),
            (1, u64::MAX, u64::MAX, false),
            (1, 0, u64::MAX, false),
            (0, 0, 1, false),
            (2, 0, 1, false),
            (of_argument - 1, 0, 1, false),
        ] {
            let words = [of_argument | number, start, end];
            let bytes: Vec<_> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            let decode = || decode::<Bytes>(&bytes, Crossing::DecodeResult);
            let (decoded, _) = out_of_band(Vec::new(), vec![argument.clone()], decode);
            assert_eq!(decoded.is_ok(), is_right, "{words:?}");
            assert!(decoded.is_err() || out_of_band(Vec::new(), Vec::new(), decode).0.is_err());
        }
    }

    #[test]
    fn a_buffer_that_did_not_come_along_is_an_error() {
        let (bytes, buffers) = encoded(&(long(1), long(2)));
        assert!(decoded::<(Bytes, Bytes)>(&bytes, &buffers).is_some());
        assert!(decoded::<(Bytes, Bytes)>(&bytes, &buffers[..1]).is_none());
        assert!(decode::<(Bytes, Bytes)>(&bytes, Crossing::DecodeArgument).is_err());
        assert!(decoded::<Bytes>(&u64::MAX.to_le_bytes(), &buffers).is_none());
    }

    /// Is JSON inside, or bincode with the options that its own functions have.
    struct Foreign(Bytes);

    impl Serialize for Foreign {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let json = serde_json::to_string(&self.0).map_err(ser::Error::custom)?;
            let binary = bincode::serialize(&self.0).map_err(ser::Error::custom)?;
            (json, binary, &self.0).serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Foreign {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let (json, binary, bytes) = <(String, Vec<u8>, Bytes)>::deserialize(deserializer)?;
            let from_json: Bytes = serde_json::from_str(&json).map_err(de::Error::custom)?;
            let from_binary: Bytes = bincode::deserialize(&binary).map_err(de::Error::custom)?;
            assert!(from_json == bytes && from_binary == bytes);
            Ok(Self(bytes))
        }
    }

    /// What a type does with other codecs while it crosses is nothing to us, and can be read elsewhere.
    #[test]
    fn other_codecs_are_left_alone_meanwhile() {
        let (bytes, buffers) = encoded(&Foreign(long(7)));
        assert_eq!(buffers.len(), 1);
        assert!(is_same(&decoded::<Foreign>(&bytes, &buffers).unwrap().0, &buffers[0]));
    }

    /// Encodes and decodes another value while it is itself, as one does that submits a task from there.
    #[derive(Debug)]
    struct Submits(Bytes);

    impl Serialize for Submits {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let (bytes, buffers) = encoded(&long(8));
            assert!(buffers.len() == 1 && decoded::<Bytes>(&bytes, &buffers) == Some(long(8)));
            // Not collected by anybody: what was lent was lent for another value.
            let mut bytes = Vec::new();
            encode(&long(9), &mut bytes, Crossing::EncodeArgument).map_err(ser::Error::custom)?;
            assert!(decode::<Bytes>(&bytes, Crossing::DecodeArgument).unwrap() == long(9));
            self.0.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Submits {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let (bytes, buffers) = encoded(&long(8));
            assert!(decoded::<Bytes>(&bytes, &buffers) == Some(long(8)));
            Bytes::deserialize(deserializer).map(Self)
        }
    }

    #[test]
    fn values_that_cross_within_others_have_their_own_buffers() {
        let (bytes, buffers) = encoded(&(long(1), Submits(long(2)), long(3)));
        assert_eq!(buffers, [long(1), long(2), long(3)]);
        let (one, two, three) = decoded::<(Bytes, Submits, Bytes)>(&bytes, &buffers).unwrap();
        assert_eq!((one, two.0, three), (long(1), long(2), long(3)));
    }

    struct Panics;

    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("while encoding")
        }
    }

    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("while decoding")
        }
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let value = (long(1), Panics);
        assert!(catch_unwind(AssertUnwindSafe(|| encoded(&value))).is_err());
        let (bytes, buffers) = encoded(&long(1));
        assert!(catch_unwind(|| decoded::<(Bytes, Panics)>(&bytes, &buffers)).is_err());
        assert!(LENT.get().is_null() && CURRENT.get().is_null());
        assert!(serde_json::to_string(&long(1)).unwrap().starts_with("[1,1,"));
        // Within one that goes on, what was lent is there again.
        let (decoded, _) = out_of_band(buffers.clone(), Vec::new(), || {
            let broken =
                catch_unwind(|| decode::<(Bytes, Panics)>(&bytes, Crossing::DecodeArgument));
            assert!(broken.is_err());
            decode::<Bytes>(&bytes, Crossing::DecodeArgument)
        });
        assert!(is_same(&decoded.unwrap(), &buffers[0]));
    }

    /// What a task's function encodes is none of the task's business.
    #[test]
    fn nothing_is_lent_to_the_function_of_a_task() {
        fn forwards(bytes: Bytes) -> (bool, Bytes) {
            let mut other = Vec::new();
            encode(&long(6), &mut other, Crossing::EncodeArgument).unwrap();
            (decode::<Bytes>(&other, Crossing::DecodeArgument).unwrap() == long(6), bytes)
        }

        let entry = crate::Entry::new(forwards);
        let (argument, buffers) = encoded(&long(1));
        let mut result = Vec::new();
        let (outcome, outgoing) =
            out_of_band(buffers.clone(), Vec::new(), || entry.run(&argument, &mut result));
        outcome.unwrap();
        assert!(outgoing.len() == 1 && is_same(&outgoing[0], &buffers[0]));
        let (right, bytes) = decoded::<(bool, Bytes)>(&result, &outgoing).unwrap();
        assert!(right && is_same(&bytes, &buffers[0]));
    }
}
