//! Any bytes, in pieces of any size, are frames or an error: never a panic, nor memory that has not been earned.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The decoder is private to its crate, and depends on nothing, so it is compiled in here.
#[expect(dead_code, unreachable_pub, reason = "only the decoder is of interest")]
#[path = "../../crates/process-pool/src/frame.rs"]
mod frame;

use frame::{Decoder, Fields, Read};

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, mut rest) = input;
    let piece = usize::from(piece) + 1;
    let mut decoder = Decoder::default();
    loop {
        let read = decoder.read(|buffer| {
            let count = rest.len().min(piece).min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        });
        match read {
            Ok(Read::Frame(frame)) => {
                let mut fields = Fields(&frame.body);
                while fields.u8().is_ok() && fields.text().is_ok() {}
            }
            Ok(Read::Pending | Read::Closed) | Err(_) => break,
        }
    }
});
