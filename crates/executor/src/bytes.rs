//! [`Bytes`]: a buffer that is passed on rather than copied.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::{Bound, Deref, Range, RangeBounds},
    sync::Arc,
};
#[cfg(feature = "portable")]
use std::{
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Weak,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

/// Bytes that do not change, for arguments and results that are large.
///
/// Clones and [slices](Self::slice) share one buffer. In a task for a process pool the buffer goes to the worker by itself,
/// past the codec, wherever in the argument it is: it is copied once, into memory that the pool and the worker share, and the
/// worker reads it there. The buffer of a result is copied into that memory by the worker, and out of it by the pool; but if a
/// task returns what it was given, or a slice of it, then the result shares the buffer with the argument, as it would on a thread,
/// and nothing is copied. A `Vec<u8>` is taken apart and put together byte by byte by serde on top of that.
///
/// What is no longer than 8 KiB is always copied.
///
/// ```
/// use concurrent_futures_executor::{Bytes, InlineExecutor};
///
/// fn checksum(bytes: Bytes) -> u64 {
///     bytes.iter().map(|byte| u64::from(*byte)).sum()
/// }
///
/// let executor = InlineExecutor::new();
/// let bytes = Bytes::from(vec![1; 1 << 20]);
/// let sum = executor.submit(checksum, bytes.clone())?;
/// assert_eq!(sum.result()?, bytes.len() as u64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A task may keep what it was given for as long as it likes, in a static, say; the content stays as it is.
///
/// With any other codec of serde these are bytes like any others.
#[derive(Clone)]
pub struct Bytes {
    buffer: Buffer,
    /// Which part of the buffer: it is in it.
    range: Range<usize>,
}

struct Owned {
    vec: Vec<u8>,
    /// Where to go when nobody needs it any more.
    #[cfg(feature = "portable")]
    home: Option<Weak<Home>>,
}

impl Owned {
    fn new(vec: Vec<u8>) -> Self {
        #[cfg(feature = "portable")]
        return Self { vec, home: None };
        #[cfg(not(feature = "portable"))]
        return Self { vec };
    }
}

#[cfg(feature = "portable")]
impl Drop for Owned {
    fn drop(&mut self) {
        if self.vec.capacity() > 0
            && let Some(home) = self.home.take().and_then(|home| home.upgrade())
        {
            home.give_back(std::mem::take(&mut self.vec));
        }
    }
}

/// Keeps memory that was used, to be used again.
#[cfg(feature = "portable")]
pub trait GiveBack: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Takes a vector whose content nobody needs any more. Called from wherever that is, under any lock; it must not take
    /// long, and not panic.
    fn give_back(&self, vec: Vec<u8>);
}

#[cfg(feature = "portable")]
type Home = dyn GiveBack;

/// Who looks after the memory of bytes that were lent.
#[cfg(feature = "portable")]
pub type Owner = dyn AsRef<[u8]> + Send + Sync + UnwindSafe + RefUnwindSafe;

#[derive(Clone)]
enum Buffer {
    Owned(Arc<Owned>),
    /// Memory of somebody else's making.
    #[cfg(feature = "portable")]
    Lent(Arc<Owner>),
}

impl Buffer {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(owned) => &owned.vec,
            #[cfg(feature = "portable")]
            Self::Lent(owner) => (**owner).as_ref(),
        }
    }
}

impl Bytes {
    /// No bytes at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn whole(buffer: Buffer) -> Self {
        let range = 0..buffer.as_slice().len();
        Self { buffer, range }
    }

    #[cfg(feature = "portable")]
    pub(crate) fn lent(owner: Arc<Owner>) -> Self {
        Self::whole(Buffer::Lent(owner))
    }

    #[cfg(feature = "portable")]
    pub(crate) fn with_home(vec: Vec<u8>, home: Weak<Home>) -> Self {
        Self::whole(Buffer::Owned(Arc::new(Owned { vec, home: Some(home) })))
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer.as_slice()[self.range.clone()]
    }

    /// Part of the bytes, in the same buffer. So the whole buffer is there for as long as the slice is.
    ///
    /// # Panics
    ///
    /// If the range begins after its end, or ends after the end of the bytes, as with the slice of a `Vec`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent_futures_executor::Bytes;
    ///
    /// let bytes = Bytes::from(*b"head and body");
    /// assert_eq!(bytes.slice(9..), *b"body");
    /// ```
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        // As bounds, by which a slice can be indexed, with its usual panics.
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let slice = &self.as_slice()[range];
        let offset = match range.0 {
            Bound::Included(start) => start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let start = self.range.start + offset;
        Self { buffer: self.buffer.clone(), range: start..start + slice.len() }
    }

    /// The bytes as a vector: the one that this was made of, if this is all of it and there is no clone any more, or a copy. What a
    /// worker was sent is always copied.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.buffer {
            Buffer::Owned(mut owned) => match Arc::get_mut(&mut owned) {
                Some(owned) if owned.vec.len() == self.range.len() => {
                    std::mem::take(&mut owned.vec)
                }
                _ => owned.vec[self.range].to_vec(),
            },
            #[cfg(feature = "portable")]
            Buffer::Lent(owner) => (*owner).as_ref()[self.range].to_vec(),
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(vec: Vec<u8>) -> Self {
        Self::whole(Buffer::Owned(Arc::new(Owned::new(vec))))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Bytes {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl From<Box<[u8]>> for Bytes {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::from(bytes.into_vec())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.into_vec()
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Self::from(Vec::from_iter(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

// Equality, order and hash are those of the slice.
impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Bytes {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl PartialEq<Vec<u8>> for Bytes {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Bytes {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// How many bytes are shown.
const SHOWN_MAX: usize = 16;

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self[..self.len().min(SHOWN_MAX)];
        write!(f, "Bytes({}: \"{}", self.len(), shown.escape_ascii())?;
        f.write_str(if shown.len() < self.len() { "...\")" } else { "\")" })
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "portable")]
        {
            use crate::out_of_band::{self, Place};
            match out_of_band::place_of::<S>(self) {
                Some(Place::Apart(number)) => return (number,).serialize(serializer),
                Some(Place::Argument { number, range }) => {
                    let range = (range.start as u64, range.end as u64);
                    return (OF_ARGUMENT | number, range).serialize(serializer);
                }
                Some(Place::Here) => return (0_u64, Raw(self)).serialize(serializer),
                None => {}
            }
        }
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "portable")]
        if crate::out_of_band::is_own_format::<D>() {
            return deserializer.deserialize_tuple(3, PlacedVisitor);
        }
        deserializer.deserialize_byte_buf(RawVisitor).map(Self::from)
    }
}

/// Bytes as such.
#[cfg(feature = "portable")]
struct Raw<'a>(&'a [u8]);

#[cfg(feature = "portable")]
impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[cfg(feature = "portable")]
struct RawBuf(Vec<u8>);

#[cfg(feature = "portable")]
impl<'de> Deserialize<'de> for RawBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(RawVisitor).map(Self)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
        // No more than that on the word of whoever wrote it.
        let length = sequence.size_hint().unwrap_or(0).min(4096);
        let mut bytes = Vec::with_capacity(length);
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// Beside the number of a buffer: it is one of the argument's, and part of that is meant, which comes next.
#[cfg(feature = "portable")]
const OF_ARGUMENT: u64 = 1 << 63;

/// A number, and the bytes if that is 0: otherwise it says which of the buffers they are.
#[cfg(feature = "portable")]
struct PlacedVisitor;

#[cfg(feature = "portable")]
impl<'de> Visitor<'de> for PlacedVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or where they are")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Bytes, A::Error> {
        use serde::de::Error;

        use crate::out_of_band;

        let short = || A::Error::invalid_length(0, &self);
        let missing = || A::Error::custom("a buffer that did not come along");
        match sequence.next_element::<u64>()?.ok_or_else(short)? {
            0 => sequence.next_element::<RawBuf>()?.map(|raw| Bytes::from(raw.0)).ok_or_else(short),
            number if number & OF_ARGUMENT == 0 => out_of_band::buffer(number).ok_or_else(missing),
            number => {
                let range = sequence.next_element::<(u64, u64)>()?.ok_or_else(short)?;
                let whole = out_of_band::argument(number & !OF_ARGUMENT).ok_or_else(missing)?;
                let index = |index| usize::try_from(index).unwrap_or(usize::MAX);
                let range = index(range.0)..index(range.1);
                // Whoever wrote it may have written anything.
                let fits = whole.get(range.clone()).is_some();
                fits.then(|| whole.slice(range)).ok_or_else(missing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn they_are_a_slice() {
        let bytes = Bytes::from(vec![3, 1, 2]);
        assert_eq!((bytes.len(), &bytes[1..], bytes.first()), (3, &[1, 2][..], Some(&3)));
        assert_eq!(bytes, [3, 1, 2]);
        assert_eq!(bytes, vec![3, 1, 2]);
        assert_eq!(bytes, Bytes::from(&[3, 1, 2][..]));
        let (less, more) = (Bytes::from([3, 1, 1]), Bytes::from([3, 2]));
        assert!(less < bytes && bytes < more);
        assert!(Bytes::new().is_empty() && Bytes::default().is_empty());
        let set: HashSet<Bytes> = [bytes.clone(), Bytes::from([3, 1, 2])].into();
        assert!(set.len() == 1 && set.contains(&[3, 1, 2][..]));
        let set: BTreeSet<Bytes> = [bytes.clone()].into();
        assert!(set.contains(&[3, 1, 2][..]));
        assert_eq!("ab".to_owned().into_bytes(), Bytes::from("ab".to_owned()).into_vec());
        assert_eq!([1, 2].into_iter().collect::<Bytes>(), [1, 2]);
    }

    /// A slice is in the same memory, whichever way its range is written, and a slice of a slice as well.
    #[test]
    fn slices_share_the_buffer() {
        let bytes = Bytes::from([0, 1, 2, 3, 4, 5]);
        let slices = [
            bytes.slice(..),
            bytes.slice(2..),
            bytes.slice(..=3),
            bytes.slice(1..6).slice(2..4),
            bytes.slice((Bound::Excluded(0), Bound::Included(1))),
            bytes.slice(6..),
        ];
        let ranges = [0..6, 2..6, 0..4, 3..5, 1..2, 6..6];
        for (slice, range) in slices.iter().zip(ranges) {
            assert!(std::ptr::eq(slice.as_slice(), &raw const bytes[range.clone()]), "{range:?}");
        }
        drop(bytes);
        assert_eq!(slices[3], [3, 4]);
        assert_eq!(slices[1].clone().into_vec(), [2, 3, 4, 5]);
        for (start, end) in [(7, 7), (0, 7), (4, 3), (usize::MAX, 1)] {
            std::panic::catch_unwind(|| slices[0].slice(start..end)).unwrap_err();
        }
    }

    /// The last slice does not get the vector of which it is but a part.
    #[test]
    fn into_vec_of_a_slice_is_a_copy() {
        let bytes = Bytes::from(vec![7; 1000]);
        let (part, whole) = (bytes.slice(1..), bytes.slice(..));
        let address = bytes.as_ptr();
        drop(bytes);
        assert_eq!(part.into_vec().len(), 999);
        let vec = whole.into_vec();
        assert_eq!(vec.as_ptr(), address);
    }

    /// The vector comes back as it is, unless somebody else has it.
    #[test]
    fn into_vec_copies_only_what_is_shared() {
        let vec = vec![7; 1000];
        let address = vec.as_ptr();
        let bytes = Bytes::from(vec);
        let clone = bytes.clone();
        assert_eq!(clone.as_ptr(), address);
        let copy = clone.into_vec();
        assert_ne!(copy.as_ptr(), address);
        let vec = bytes.into_vec();
        assert_eq!(vec.as_ptr(), address);
    }

    /// The memory goes back where it came from, unless somebody takes it.
    #[cfg(feature = "portable")]
    #[test]
    fn memory_goes_home() {
        #[derive(Default)]
        struct Shelf(std::sync::Mutex<Vec<Vec<u8>>>);

        impl GiveBack for Shelf {
            fn give_back(&self, vec: Vec<u8>) {
                self.0.lock().unwrap().push(vec);
            }
        }

        let shelf = Arc::new(Shelf::default());
        let make = || Bytes::with_home(vec![5; 100], Arc::downgrade(&shelf) as Weak<Home>);
        let (one, taken, other) = (make(), make(), make());
        drop(one.clone());
        assert_eq!((taken.into_vec().len(), shelf.0.lock().unwrap().len()), (100, 0));
        drop(one);
        assert_eq!(*shelf.0.lock().unwrap(), [[5; 100]]);
        drop(shelf);
        drop(other);
    }

    #[test]
    fn only_their_beginning_is_shown() {
        assert_eq!(format!("{:?}", Bytes::from(*b"a\n\"")), r#"Bytes(3: "a\n\"")"#);
        let long = format!("{:?}", Bytes::from(vec![b'x'; 1000]));
        assert_eq!(long, r#"Bytes(1000: "xxxxxxxxxxxxxxxx...")"#);
    }

    #[test]
    fn other_codecs_see_bytes() {
        let bytes = Bytes::from([1, 2, 255]);
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(text, "[1,2,255]");
        assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap(), bytes);
        assert_eq!(serde_json::from_str::<Bytes>("\"ab\"").unwrap(), *b"ab");
        assert!(serde_json::from_str::<Bytes>("[256]").is_err());
    }
}
