//! Frames: golden bytes, frames in pieces, and that nothing which comes can do harm.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Feeds bytes in pieces of this size, and collects what comes out until the end.
fn decode_all(bytes: &[u8], piece: usize) -> io::Result<(Vec<Frame>, Read)> {
    let mut decoder = Decoder::default();
    let mut rest = bytes;
    let mut frames = Vec::new();
    loop {
        let read = decoder.read(|buffer| {
            let count = rest.len().min(piece).min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        })?;
        match read {
            Read::Frame(frame) => frames.push(frame),
            end => return Ok((frames, end)),
        }
    }
}

fn frame(kind: Kind, id: u64, body: &[u8]) -> Vec<u8> {
    let mut builder = FrameBuilder::new(kind, id);
    builder.body().extend_from_slice(body);
    builder.finish()
}

/// These bytes are promised by `docs/protocol.md`.
#[test]
fn golden_bytes() {
    let bytes = FrameBuilder::new(Kind::Task, 0x0102).u64(0x1122).u64(0).finish();
    #[rustfmt::skip]
    assert_eq!(bytes, [
        b'C', b'F', 1, 2, 0, 0, 0, 0,
        0x02, 0x01, 0, 0, 0, 0, 0, 0,
        16, 0, 0, 0, 0, 0, 0, 0,
        0x22, 0x11, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    let text = FrameBuilder::new(Kind::Failed, 1).text("ä!", 99).finish();
    assert_eq!(text[HEADER_SIZE..], [3, 0, 0, 0, 0xc3, 0xa4, b'!']);
}

#[test]
fn kinds_are_known_by_their_bytes() {
    let known: Vec<_> = (0..=u8::MAX).filter_map(Kind::from_byte).collect();
    assert_eq!(known.len(), 24);
    for kind in known {
        assert_eq!(Kind::from_byte(kind as u8), Some(kind));
    }
}

#[test]
fn text_is_cut_between_characters() {
    let cut = FrameBuilder::new(Kind::Failed, 1).text("aä", 2).finish();
    assert_eq!(Fields(&cut[HEADER_SIZE..]).text().unwrap(), "a");
}

#[test]
fn headers_that_are_wrong_are_refused() {
    let good = frame(Kind::Started, 7, &[]);
    let wrong = |index: usize, byte: u8, complaint: &str| {
        let mut bytes = good.clone();
        bytes[index] = byte;
        let error = decode_all(&bytes, 999).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(complaint), "{error}");
    };
    wrong(0, b'X', "not a frame");
    wrong(2, VERSION + 1, "protocol version 2");
    wrong(3, 99, "unknown kind 99");
    wrong(4, 1, "for zero");
    wrong(20, 1, "a Started frame of 4294967296 bytes");
}

/// What a header claims is not believed before it has come.
#[test]
fn a_large_claim_costs_nothing() {
    let mut bytes = frame(Kind::Finished, 7, &[]);
    bytes[16..24].copy_from_slice(&PAYLOAD_MAX.to_le_bytes());
    bytes.extend([0; 1000]);
    let mut decoder = Decoder::default();
    let mut rest = &bytes[..];
    let mut largest = 0;
    let read = decoder.read(|buffer| {
        largest = largest.max(buffer.len());
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        Ok(count)
    });
    assert_eq!(read.unwrap(), Read::Closed);
    assert!(largest <= CHUNK, "{largest}");
    assert!(decoder.partial.is_some_and(|partial| partial.body.capacity() <= 2 * CHUNK));
}

#[test]
fn waiting_and_interruptions() {
    let bytes = frame(Kind::Finished, 7, &[5; 100]);
    let mut decoder = Decoder::default();
    let mut rest = &bytes[..];
    let mut turn = 0;
    let mut read = || {
        decoder.read(|buffer| {
            turn += 1;
            match turn % 3 {
                0 => Err(io::ErrorKind::Interrupted.into()),
                1 => Err(io::ErrorKind::WouldBlock.into()),
                _ => {
                    let count = rest.len().min(10);
                    buffer[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    Ok(count)
                }
            }
        })
    };
    let mut pending = 0;
    let frame = loop {
        match read().unwrap() {
            Read::Pending => pending += 1,
            Read::Frame(frame) => break frame,
            Read::Closed => panic!("closed"),
        }
    };
    assert_eq!((frame.id, frame.body), (7, vec![5; 100]));
    assert!(pending > 5);
}

/// The body of a frame of this length.
fn body(length: usize) -> &'static [u8] {
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..300_000).map(|index| (index % 251) as u8).collect());
    &PATTERN[..length]
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Task, Kind::Finished, Kind::Configure])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Frames come out as they went in, however they are cut up on the way.
    #[test]
    fn round_trip(
        frames in prop::collection::vec(
            (kinds(), any::<u64>(), prop_oneof![0..50_usize, 60_000..300_000_usize]), 0..5,
        ),
        piece in prop_oneof![1..100_usize, 1000..500_000_usize],
    ) {
        let mut bytes = Vec::new();
        for (kind, id, length) in &frames {
            bytes.extend(frame(*kind, *id, body(*length)));
        }
        // Tiny pieces of large frames would take long and show nothing more.
        let piece = if bytes.len() > 10_000 { piece.max(1000) } else { piece };
        let (decoded, end) = decode_all(&bytes, piece).unwrap();
        prop_assert_eq!(end, Read::Closed);
        prop_assert_eq!(decoded.len(), frames.len());
        for (decoded, (kind, id, length)) in decoded.iter().zip(&frames) {
            prop_assert_eq!((decoded.kind, decoded.id), (*kind, *id));
            prop_assert!(decoded.body == body(*length));
        }
    }

    /// Any bytes are frames or an error.
    #[test]
    fn nonsense(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
        let _outcome = decode_all(&bytes, piece);
    }

    /// Frames that were damaged are frames or an error, and so are the bodies of those that still look good.
    #[test]
    fn damage(at in 0..80_usize, byte: u8, cut in 0..80_usize) {
        let mut bytes = frame(Kind::Failed, 3, &[1, 3, 0, 0, 0, b'a', b'b', b'c', 0, 1, 1, 0, 0, 0, b'x']);
        bytes.extend(frame(Kind::Started, 4, &[]));
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(cut);
        if let Ok((frames, _)) = decode_all(&bytes, 7) {
            for frame in frames {
                let _outcome = crate::message::decode_failure(&frame);
            }
        }
    }
}
