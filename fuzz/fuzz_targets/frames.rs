//! Any bytes, in pieces of any size, are frames or an error: never a panic, nor memory that has not been earned.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The decoder is private to its crate, and depends on nothing, so it is compiled in here.
#[expect(dead_code, unreachable_pub, reason = "only the decoder is of interest")]
#[path = "../../crates/process-pool/src/frame.rs"]
mod frame;

use frame::{Decoder, Fields, Read};

fuzz_target!(|input: (u8, bool, Vec<u8>)| {
    let (piece, is_plausible, mut bytes) = input;
    let piece = usize::from(piece) + 1;
    // Chance would take long to get past what is checked first.
    if is_plausible && let Some((start, _)) = bytes.split_first_chunk_mut::<8>() {
        *start = [b'C', b'F', frame::VERSION, start[3], 0, 0, 0, 0];
    }
    let mut rest = &bytes[..];
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
