//! The one module that names the codec.
//!
//! bincode 1.3.3: little-endian, integers of fixed width, lengths as `u64`. Its authors call it complete; nobody
//! maintains it any more (RUSTSEC-2025-0141), which is why another one can take its place: by another type here, which the
//! tests do.

use std::error::Error;

use bincode::Options;
use serde::{
    Serialize,
    de::{DeserializeOwned, DeserializeSeed},
};

type CodecResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A way to write values down and read them again.
pub(crate) trait Codec {
    /// What it is called where two processes make sure that they use the same.
    const ID: u8;

    /// Appends the encoded value.
    fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> CodecResult<()>;

    /// The value that all of `bytes` encode. Whatever they are, it neither panics nor takes much more memory than they do.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> CodecResult<T>;

    /// The same for what is decoded with the help of `seed`.
    fn decode_seed<'de, S: DeserializeSeed<'de>>(
        seed: S,
        bytes: &'de [u8],
    ) -> CodecResult<S::Value>;
}

pub(crate) struct Bincode;

fn options() -> impl Options {
    // Trailing bytes would mean that the two sides disagree about the type; bincode's plain `deserialize` ignores them.
    // The order is twice what it is anyway: so no serializer that is not ours has the type of ours, by which
    // `out_of_band` knows it.
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .reject_trailing_bytes()
        .with_little_endian()
        .with_little_endian()
}

impl Codec for Bincode {
    const ID: u8 = 1;

    fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> CodecResult<()> {
        Ok(options().serialize_into(buffer, value)?)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> CodecResult<T> {
        // The limit keeps a forged length from reserving more memory than there are bytes.
        Ok(options().with_limit(bytes.len() as u64).deserialize(bytes)?)
    }

    fn decode_seed<'de, S: DeserializeSeed<'de>>(
        seed: S,
        bytes: &'de [u8],
    ) -> CodecResult<S::Value> {
        Ok(options().with_limit(bytes.len() as u64).deserialize_seed(seed, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle { radius: f64 },
        Text(String),
    }

    fn encoded<C: Codec, T: Serialize>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        C::encode(value, &mut bytes).unwrap();
        bytes
    }

    /// These bytes are promised by `docs/protocol.md`.
    #[test]
    fn golden_bytes() {
        assert_eq!(encoded::<Bincode, _>(&0x0102_u32), [2, 1, 0, 0]);
        assert_eq!(
            encoded::<Bincode, _>(&(-2_i64, true)),
            [254, 255, 255, 255, 255, 255, 255, 255, 1]
        );
        assert_eq!(encoded::<Bincode, _>(&"hi"), [2, 0, 0, 0, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(encoded::<Bincode, _>(&Some(7_u8)), [1, 7]);
        assert_eq!(encoded::<Bincode, _>(&()), [0_u8; 0]);
        assert_eq!(
            encoded::<Bincode, _>(&Shape::Circle { radius: 1.0 }),
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]
        );
    }

    #[test]
    fn lies_are_found_out() {
        let mut bytes = encoded::<Bincode, _>(&vec![1_u8, 2, 3]);
        assert_eq!(Bincode::decode::<Vec<u8>>(&bytes).unwrap(), [1, 2, 3]);
        bytes.push(0);
        assert!(Bincode::decode::<Vec<u8>>(&bytes).is_err());
        // Claims to be 2^40 bytes long.
        bytes[5] = 1;
        assert!(Bincode::decode::<Vec<u8>>(&bytes).is_err());
        assert!(Bincode::decode::<Shape>(&[9, 0, 0, 0]).is_err());
        assert!(Bincode::decode::<u64>(&[]).is_err());
    }

    /// Another codec, to show that nothing depends on the one above.
    struct Json;

    impl Codec for Json {
        const ID: u8 = 200;

        fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> CodecResult<()> {
            Ok(serde_json::to_writer(buffer, value)?)
        }

        fn decode<T: DeserializeOwned>(bytes: &[u8]) -> CodecResult<T> {
            Ok(serde_json::from_slice(bytes)?)
        }

        fn decode_seed<'de, S: DeserializeSeed<'de>>(
            seed: S,
            bytes: &'de [u8],
        ) -> CodecResult<S::Value> {
            Ok(seed.deserialize(&mut serde_json::Deserializer::from_slice(bytes))?)
        }
    }

    fn crosses<C: Codec>() {
        for shape in [Shape::Point, Shape::Circle { radius: 0.5 }, Shape::Text("ä".to_owned())] {
            let bytes = encoded::<C, _>(&shape);
            assert_eq!(C::decode::<Shape>(&bytes).unwrap(), shape);
            assert!(C::decode::<Shape>(&bytes[..bytes.len() - 1]).is_err());
        }
        let map: BTreeMap<String, Vec<Option<u64>>> =
            [("a".to_owned(), vec![None, Some(u64::MAX)]), (String::new(), vec![])].into();
        assert_eq!(C::decode::<BTreeMap<_, _>>(&encoded::<C, _>(&map)).unwrap(), map);
    }

    #[test]
    fn values_cross_with_either() {
        crosses::<Bincode>();
        crosses::<Json>();
        assert_ne!(Bincode::ID, Json::ID);
    }

    /// A whole task, from its argument to its result.
    #[test]
    fn tasks_run_with_either() {
        fn double<C: Codec>() {
            let mut result = Vec::new();
            let argument = encoded::<C, _>(&21_u64);
            crate::portable::wire::call_with::<C, _, _>(|n: u64| n * 2, &argument, &mut result)
                .unwrap();
            assert_eq!(C::decode::<u64>(&result).unwrap(), 42);
        }
        double::<Bincode>();
        double::<Json>();
    }
}
