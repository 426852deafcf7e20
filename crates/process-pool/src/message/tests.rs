//! Bodies of frames: what is written is what is read, and nothing that is read can do harm.

use proptest::prelude::*;

use super::*;
use crate::frame::{Decoder, HEADER_SIZE, Read};

fn frame(bytes: &[u8]) -> Frame {
    let mut rest = bytes;
    let read = Decoder::default().read(|buffer| {
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        Ok(count)
    });
    match read.unwrap() {
        Read::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

#[test]
fn setups_cross() {
    let call =
        Call { site: CallSite { trampoline: 77, function: 0 }, argument: b"argument".to_vec() };
    let image = Image::get().unwrap();
    let build_id = image.build_id();
    for initializer in [None, Some(call)] {
        let configure = Configure {
            build_id,
            stack_size: 4096,
            shared_memory: initializer.is_some(),
            initializer: initializer.clone(),
        };
        assert_eq!(Configure::decode(&frame(&configure.encode()), image).unwrap(), configure);
        for method in [Method::Fork, Method::Execute] {
            let prepare = Prepare { build_id, method, preload: initializer.clone() };
            assert_eq!(Prepare::decode(&frame(&prepare.encode()), image).unwrap(), prepare);
        }
    }
}

/// What is in them are places in the executable.
#[test]
fn setups_from_another_executable_are_refused() {
    let image = Image::get().unwrap();
    let mut build_id = image.build_id();
    build_id[0] ^= 1;
    let prepare = Prepare { build_id, method: Method::Fork, preload: None };
    let configure =
        Configure { build_id, stack_size: 4096, shared_memory: false, initializer: None };
    for error in [
        Prepare::decode(&frame(&prepare.encode()), image).unwrap_err(),
        Configure::decode(&frame(&configure.encode()), image).unwrap_err(),
    ] {
        assert!(error.to_string().contains("another executable"), "{error}");
    }
}

#[test]
fn small_messages_cross() {
    for group in [false, true] {
        let signal = Signal { number: libc::SIGKILL, group };
        assert_eq!(Signal::decode(&frame(&signal.encode(5))).unwrap(), signal);
    }
    for ending in [Ending::Exited(-3), Ending::Signaled(11), Ending::Unknown] {
        let frame = frame(&ending.encode(5));
        assert_eq!((frame.id, Ending::decode(&frame).unwrap()), (5, ending));
    }
    let words = LastWords::StackOverflow;
    assert_eq!(LastWords::decode(&frame(&words.encode())).unwrap(), words);
}

#[test]
fn only_the_same_executable_is_greeted() {
    let image = Image::get().unwrap();
    let hello = Hello::own(image);
    assert_eq!(hello.pid, std::process::id());
    assert_eq!(Hello::decode(&frame(&hello.encode()), image).unwrap(), hello);
    let refused = |hello: Hello, complaint: &str| {
        let error = Hello::decode(&frame(&hello.encode()), image).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    };
    refused(Hello { codec: 2, ..hello }, "with codec 2");
    let mut build_id = hello.build_id;
    build_id[3] ^= 1;
    refused(Hello { build_id, ..hello }, "another executable");
}

fn text_of(error: &TaskError) -> String {
    format!("{error:?} {}", with_sources(error))
}

#[test]
fn failures_cross() {
    let panic = |location: Option<&str>, backtrace: Option<&str>| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        TaskError::Panicked(Panic::from_parts("boom", owned(location), owned(backtrace)))
    };
    let codec =
        |crossing| TaskError::Codec(CodecError::new(crossing, "some::Type", "why not: because"));
    let failures = [
        panic(None, None),
        panic(Some("src/x.rs:1:2"), Some("0: main")),
        codec(Crossing::EncodeArgument),
        codec(Crossing::DecodeArgument),
        codec(Crossing::EncodeResult),
        codec(Crossing::DecodeResult),
    ];
    for error in failures {
        let frame = frame(&encode_failure(Kind::Failed, 9, &error));
        let crossed = decode_failure(&frame).unwrap();
        assert_eq!((frame.id, text_of(&crossed)), (9, text_of(&error)));
        if let (TaskError::Panicked(one), TaskError::Panicked(other)) = (&error, &crossed) {
            assert_eq!(one.backtrace(), other.backtrace());
        }
    }
    // Any other is known by its words.
    let error = TaskError::failed("in its own words");
    let crossed = decode_failure(&frame(&encode_failure(Kind::Unready, 0, &error))).unwrap();
    assert_eq!(crossed.to_string(), "in its own words");
}

/// A message of any length makes a frame of a length that is allowed.
#[test]
fn long_texts_are_cut() {
    let long = "ü".repeat(2 << 20);
    let error =
        TaskError::Panicked(Panic::from_parts(long.clone(), Some(long.clone()), Some(long)));
    let crossed = decode_failure(&frame(&encode_failure(Kind::Failed, 9, &error))).unwrap();
    assert!(matches!(crossed, TaskError::Panicked(panic) if panic.message().len() == MESSAGE_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any body is a message or an error.
    #[test]
    fn nonsense(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut builder = FrameBuilder::new(Kind::Failed, 0);
        builder.body().extend_from_slice(&body);
        let frame = frame(&builder.finish());
        let _outcome = decode_failure(&frame);
        let _outcome = Signal::decode(&frame);
        let _outcome = Ending::decode(&frame);
        let _outcome = LastWords::decode(&frame);
        let image = Image::get().unwrap();
        let _outcome = Hello::decode(&frame, image);
        let setup = [&image.build_id()[..], &frame.body[..]].concat();
        let setup = Frame { kind: frame.kind, id: frame.id, body: setup };
        for frame in [&frame, &setup] {
            let _outcome = Configure::decode(frame, image);
            let _outcome = Prepare::decode(frame, image);
        }
        prop_assert!(frame.body.len() + HEADER_SIZE >= HEADER_SIZE);
    }
}

/// The frame of a chunk is the same for whoever goes on with it, but for the first item.
#[test]
fn a_chunk_goes_on_with_another_item() {
    let site = ChunkSite { trampoline: 0x1234, items: 100, first: 0 };
    let mut frame = site.write(FrameBuilder::new(Kind::Chunk, 8));
    frame.body().extend_from_slice(b"items");
    let mut frame = frame.finish();
    assert_eq!(ChunkSite::of_frame(&frame), Some(site));
    ChunkSite::go_on_with(&mut frame, 42);
    assert_eq!(ChunkSite::of_frame(&frame), Some(ChunkSite { first: 42, ..site }));
    assert!(frame.ends_with(b"items"));
    let task = CallSite { trampoline: 1, function: 2 }.write(FrameBuilder::new(Kind::Task, 8));
    assert_eq!(ChunkSite::of_frame(&task.finish()), None);
    assert_eq!(ChunkSite::of_frame(&frame[..HEADER_SIZE + 23]), None);
}
