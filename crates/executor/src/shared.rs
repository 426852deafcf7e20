//! [`Shared`]: a value that many tasks need, and that is not to travel with each of them.
//!
//! In this process it is an `Arc`. When it is part of an argument that goes to another process, it is encoded, once ever, and the
//! argument says but its number; whoever sends the argument is given the encoded value as well, as a [`SharedValue`], and has
//! to see to it that the other process has it. There the encoded values are on a list, and are decoded when a task asks
//! for one for the first time.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::portable::Portable;

/// A value that is sent to each worker once, and then is there for all tasks.
///
/// Clones lead to the same value, as with an `Arc`. A pool of processes sends it to a worker with the first task that has it
/// in its argument, and keeps it there: later tasks find it, decoded, without any copy. Executors that run in this process pass on the
/// `Arc`.
///
/// ```
/// use concurrent_futures_executor::{InlineExecutor, Shared};
///
/// fn lookup((words, n): (Shared<Vec<String>>, usize)) -> Option<String> {
///     words.get(n).cloned()
/// }
///
/// let words: Vec<_> = (0..1000).map(|n| format!("word {n}")).collect();
/// let words = Shared::new(words);
/// let executor = InlineExecutor::new();
/// let tasks = [3, 14, 1592].map(|n| (words.clone(), n));
/// let found: Result<Vec<_>, _> = executor.map(lookup, tasks).collect();
/// assert_eq!(found?, [Some("word 3".to_owned()), Some("word 14".to_owned()), None]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A worker's value is its own: what has interior mutability and is changed by a task is changed for later tasks of that
/// worker and nobody else. [`Bytes`](crate::Bytes) inside are in the memory of all workers just once.
///
/// When the last clone in the process that made it is gone, its encoding is freed there, and each worker is told to forget it
/// with its next task. It goes by value, like any other, in results, in what initializers are given, and to any other codec of
/// serde; and so does what an argument has of them beyond sixteen.
pub struct Shared<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: T,
    #[cfg(feature = "portable")]
    encoded: std::sync::OnceLock<Result<Arc<portable::SharedValue>, String>>,
}

impl<T> Shared<T> {
    /// Shares `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Inner {
            value,
            #[cfg(feature = "portable")]
            encoded: std::sync::OnceLock::new(),
        }))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&**self).finish()
    }
}

impl<T: Portable + Sync> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[cfg(feature = "portable")]
        if crate::out_of_band::is_own_format::<S>() {
            return match portable::announce(&self.0).map_err(serde::ser::Error::custom)? {
                Some(number) => (number,).serialize(serializer),
                None => (0_u64, &**self).serialize(serializer),
            };
        }
        (**self).serialize(serializer)
    }
}

impl<'de, T: Portable + Sync> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[cfg(feature = "portable")]
        if crate::out_of_band::is_own_format::<D>() {
            return deserializer.deserialize_tuple(2, portable::NumberVisitor::new());
        }
        T::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(feature = "portable")]
pub(crate) mod portable {
    //! Shared values that go to another process.

    use std::{
        any::{Any, TypeId},
        collections::{BTreeMap, HashMap},
        fmt,
        marker::PhantomData,
        sync::{
            Arc, Mutex, MutexGuard, OnceLock, PoisonError,
            atomic::{AtomicU64, Ordering},
        },
    };

    use concurrent_futures_future::Crossing;
    use serde::de::{Error, SeqAccess, Visitor};

    use super::{Inner, Shared};
    use crate::{
        bytes::Bytes,
        out_of_band,
        portable::{Portable, wire},
    };

    /// A shared value, encoded, for executors with workers in other processes.
    pub struct SharedValue {
        number: u64,
        encoded: Mutex<Option<(Vec<u8>, Vec<Bytes>)>>,
        kept: OnceLock<Arc<dyn Any + Send + Sync>>,
    }

    impl SharedValue {
        /// What it is called in the arguments that have it; never used again in this process.
        #[must_use]
        pub fn number(&self) -> u64 {
            self.number
        }

        /// What `make` has made of the encoded value and its buffers, at the first call. It is kept as long as the value is.
        ///
        /// # Errors
        ///
        /// That of `make`, which is called again the next time.
        #[expect(clippy::missing_panics_doc, reason = "there is one or the other")]
        pub fn kept<E>(
            &self,
            make: impl FnOnce(&[u8], &[Bytes]) -> Result<Arc<dyn Any + Send + Sync>, E>,
        ) -> Result<&Arc<dyn Any + Send + Sync>, E> {
            // Held meanwhile, so that it is made once.
            let mut encoded = lock(&self.encoded);
            if let Some((bytes, buffers)) = &*encoded {
                let made = make(bytes, buffers)?;
                self.kept.get_or_init(|| made);
                *encoded = None;
            }
            Ok(self.kept.get().expect("it was made before the encoding was given up"))
        }
    }

    impl fmt::Debug for SharedValue {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("SharedValue").field("number", &self.number).finish_non_exhaustive()
        }
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        // What is behind these locks is changed in one step each.
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the value sent along with what is being encoded, and says what it is called. `None` if it is to be encoded in place.
    pub(super) fn announce<T: Portable + Sync>(
        inner: &Arc<Inner<T>>,
    ) -> Result<Option<u64>, String> {
        if !out_of_band::takes_values() {
            return Ok(None);
        }
        let encoded = inner.encoded.get_or_init(|| {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            let mut bytes = Vec::new();
            let (outcome, buffers) = out_of_band::out_of_band(Vec::new(), Vec::new(), || {
                wire::encode(&inner.value, &mut bytes, Crossing::EncodeArgument)
            });
            outcome.map_err(|error| match std::error::Error::source(&error) {
                Some(source) => source.to_string(),
                None => error.to_string(),
            })?;
            Ok(Arc::new(SharedValue {
                number: NEXT.fetch_add(1, Ordering::Relaxed),
                encoded: Mutex::new(Some((bytes, buffers))),
                kept: OnceLock::new(),
            }))
        });
        let value = encoded.as_ref().map_err(String::clone)?;
        Ok(out_of_band::add_value(value).then_some(value.number))
    }

    /// A value that this process was sent.
    struct Provided {
        content: Arc<(Bytes, Vec<Bytes>)>,
        /// By the type that it was decoded as, which is the same each time as a rule.
        decoded: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    }

    static PROVIDED: Mutex<BTreeMap<u64, Provided>> = Mutex::new(BTreeMap::new());

    /// Has the tasks of this process find a value that another process has encoded.
    pub fn provide_value(number: u64, encoded: Bytes, buffers: Vec<Bytes>) {
        let content = Arc::new((encoded, buffers));
        let replaced =
            lock(&PROVIDED).insert(number, Provided { content, decoded: HashMap::new() });
        // Its destructor is the user's code, and not for under the lock.
        drop(replaced);
    }

    /// Forgets a value that was provided. Who has it keeps it.
    pub fn forget_value(number: u64) {
        let forgotten = lock(&PROVIDED).remove(&number);
        drop(forgotten);
    }

    fn find<T: Portable + Sync>(number: u64) -> Result<Shared<T>, String> {
        let missing = || "a shared value that did not come along".to_owned();
        let id = TypeId::of::<T>();
        let content = {
            let provided = lock(&PROVIDED);
            let provided = provided.get(&number).ok_or_else(missing)?;
            if let Some(decoded) = provided.decoded.get(&id) {
                let inner = Arc::clone(decoded).downcast::<Inner<T>>();
                return inner.map(Shared).map_err(|_other_type| missing());
            }
            Arc::clone(&provided.content)
        };
        // This is the user's code.
        let (value, _) = out_of_band::out_of_band(content.1.clone(), Vec::new(), || {
            wire::decode::<T>(&content.0, Crossing::DecodeArgument)
        });
        let shared = Shared::new(value.map_err(|error| error.to_string())?);
        if let Some(provided) = lock(&PROVIDED).get_mut(&number) {
            let inner: Arc<dyn Any + Send + Sync> = Arc::<Inner<T>>::clone(&shared.0);
            provided.decoded.insert(id, inner);
        }
        Ok(shared)
    }

    /// A number, and the value if that is 0: otherwise it is what the value is called.
    pub(super) struct NumberVisitor<T>(PhantomData<T>);

    impl<T> NumberVisitor<T> {
        pub(super) fn new() -> Self {
            Self(PhantomData)
        }
    }

    impl<'de, T: Portable + Sync> Visitor<'de> for NumberVisitor<T> {
        type Value = Shared<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a shared value, or what it is called")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Shared<T>, A::Error> {
            let short = || A::Error::invalid_length(0, &self);
            match sequence.next_element::<u64>()?.ok_or_else(short)? {
                0 => sequence.next_element::<T>()?.map(Shared::new).ok_or_else(short),
                number => find(number).map_err(A::Error::custom),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_value() {
        let shared = Shared::new(vec![1, 2]);
        let clone = shared.clone();
        assert!(std::ptr::eq(&*shared, &*clone));
        assert_eq!((shared.len(), format!("{shared:?}")), (2, "Shared([1, 2])".to_owned()));
        assert_eq!(Shared::from(3).as_ref(), &3);
        assert_eq!(serde_json::to_string(&shared).unwrap(), "[1,2]");
        assert_eq!(*serde_json::from_str::<Shared<Vec<i32>>>("[1,2]").unwrap(), [1, 2]);
    }
}

#[cfg(all(test, feature = "portable"))]
mod portable_tests {
    use std::{
        any::Any,
        sync::{
            Mutex,
            atomic::{AtomicU32, Ordering},
        },
    };

    use concurrent_futures_future::Crossing;
    use serde::ser;

    use super::{
        portable::{SharedValue, forget_value, provide_value},
        *,
    };
    use crate::{
        Bytes,
        out_of_band::{out_of_band, with_values},
        portable::wire::{decode, encode},
    };

    /// Counts how often it is encoded, and decoded.
    #[derive(Debug)]
    struct Counted(Bytes);

    static ENCODED: AtomicU32 = AtomicU32::new(0);
    static DECODED: AtomicU32 = AtomicU32::new(0);

    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            ENCODED.fetch_add(1, Ordering::Relaxed);
            self.0.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            DECODED.fetch_add(1, Ordering::Relaxed);
            Bytes::deserialize(deserializer).map(Self)
        }
    }

    fn encoded<T: Portable>(value: &T) -> (Vec<u8>, Vec<Bytes>, Vec<Arc<SharedValue>>) {
        let mut bytes = Vec::new();
        let (outcome, buffers, values) =
            with_values(|| encode(value, &mut bytes, Crossing::EncodeArgument));
        outcome.unwrap();
        (bytes, buffers, values)
    }

    /// As another process would.
    fn provide(value: &SharedValue) {
        let content = Mutex::new(None);
        let make = |bytes: &[u8], buffers: &[Bytes]| {
            *content.lock().unwrap() = Some((Bytes::from(bytes), buffers.to_vec()));
            Ok::<_, ()>(Arc::new(()) as Arc<dyn Any + Send + Sync>)
        };
        value.kept(make).unwrap();
        let (bytes, buffers) = content.into_inner().unwrap().expect("made for the first time");
        provide_value(value.number(), bytes, buffers);
    }

    /// Encoded once and decoded once, however often it crosses; forgotten when it is to be.
    #[test]
    fn it_crosses_once() {
        let shared = Shared::new(Counted(Bytes::from(vec![3; 100_000])));
        let (bytes, buffers, values) = encoded(&(shared.clone(), 1_u8, shared.clone()));
        assert_eq!((bytes.len(), buffers.len(), values.len()), (17, 0, 1));
        let (again, _, others) = encoded(&shared);
        assert!(Arc::ptr_eq(&values[0], &others[0]));
        assert_eq!(ENCODED.load(Ordering::Relaxed), 1);
        type Argument = (Shared<Counted>, u8, Shared<Counted>);
        assert!(decode::<Argument>(&bytes, Crossing::DecodeArgument).is_err());
        provide(&values[0]);
        let (one, _, other) = decode::<Argument>(&bytes, Crossing::DecodeArgument).unwrap();
        let third = decode::<Shared<Counted>>(&again, Crossing::DecodeArgument).unwrap();
        assert!(std::ptr::eq(&*one, &*other) && std::ptr::eq(&*one, &*third));
        assert!((*one).0 == (*shared).0);
        assert_eq!(DECODED.load(Ordering::Relaxed), 1);
        forget_value(values[0].number());
        assert!(decode::<Shared<Counted>>(&again, Crossing::DecodeArgument).is_err());
        assert_eq!((*one).0.len(), 100_000);
    }

    /// In a result, and inside another.
    #[test]
    fn it_goes_by_value_where_nobody_sends_values() {
        let shared = Shared::new(Shared::new(7_u64));
        let mut bytes = Vec::new();
        encode(&shared, &mut bytes, Crossing::EncodeResult).unwrap();
        assert_eq!(bytes.len(), 24);
        let read = decode::<Shared<Shared<u64>>>(&bytes, Crossing::DecodeResult).unwrap();
        assert_eq!(**read, 7);
        let (outcome, _) = out_of_band(Vec::new(), Vec::new(), || {
            encode(&shared, &mut bytes, Crossing::EncodeResult)
        });
        assert!(outcome.is_ok() && bytes.len() == 48);
        let (bytes, _, values) = encoded(&shared);
        assert_eq!((bytes.len(), values.len()), (8, 1));
    }

    #[derive(Debug, Deserialize)]
    struct Unsendable;

    impl Serialize for Unsendable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("it does not want to"))
        }
    }

    /// The error of the value is that of whatever it is in, each time.
    #[test]
    fn a_value_that_cannot_be_encoded_is_an_error() {
        let shared = Shared::new(Unsendable);
        for _ in 0..2 {
            let (outcome, _, values) = with_values(|| {
                encode(&(1, shared.clone()), &mut Vec::new(), Crossing::EncodeArgument)
            });
            let error = outcome.unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("it does not want to") && values.is_empty(), "{source}");
        }
    }
}
