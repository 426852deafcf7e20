//! The one module that names the codec.
//!
//! bincode 1.3.3: little-endian, integers of fixed width, lengths as `u64`. Its authors call it complete; nobody
//! maintains it any more (RUSTSEC-2025-0141), which is why another one can take its place by changing this file.

use std::error::Error;

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

type CodecResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn options() -> impl Options {
    // Trailing bytes would mean that the two sides disagree about the type; bincode's plain `deserialize` ignores them.
    bincode::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes()
}

pub(crate) fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> CodecResult<()> {
    Ok(options().serialize_into(buffer, value)?)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> CodecResult<T> {
    // The limit keeps a forged length from reserving more memory than there are bytes.
    Ok(options().with_limit(bytes.len() as u64).deserialize(bytes)?)
}
