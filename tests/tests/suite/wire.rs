//! What happens on the way to another process and back, on the executor whose tasks travel as bytes.

use std::fmt;

use concurrent_futures::{
    CodecError, Crossing, Executor, ExecutorExt, MapError, MapOptions, Refusal, TaskError, local,
};
use concurrent_futures_tests::{WireExecutor, functions::double, guarded};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Fails on the chosen step of its way.
#[derive(Debug)]
struct Fragile(Crossing);

const STEPS: [Crossing; 4] = [
    Crossing::EncodeArgument,
    Crossing::DecodeArgument,
    Crossing::EncodeResult,
    Crossing::DecodeResult,
];

impl Fragile {
    fn index(&self) -> u8 {
        u8::try_from(STEPS.iter().position(|step| *step == self.0).expect("one of them")).unwrap()
    }
}

/// An argument that can be broken on its way there.
#[derive(Debug)]
struct Argument(Fragile);

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.0 == Crossing::EncodeArgument {
            return Err(ser::Error::custom("broken while encoding"));
        }
        self.0.index().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let step = STEPS[usize::from(u8::deserialize(deserializer)?)];
        if step == Crossing::DecodeArgument {
            return Err(de::Error::custom("broken while decoding"));
        }
        Ok(Self(Fragile(step)))
    }
}

/// A result that can be broken on its way back.
#[derive(Debug)]
struct Answer(Fragile);

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.0 == Crossing::EncodeResult {
            return Err(ser::Error::custom("broken while encoding"));
        }
        self.0.index().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let step = STEPS[usize::from(u8::deserialize(deserializer)?)];
        if step == Crossing::DecodeResult {
            return Err(de::Error::custom("broken while decoding"));
        }
        Ok(Self(Fragile(step)))
    }
}

fn codec_error(error: TaskError) -> CodecError {
    match error {
        TaskError::Codec(error) => error,
        error => panic!("{error:?}"),
    }
}

/// Whatever step fails, it is that future's error, with the step, the type and the codec's own words; the executor goes
/// on.
#[test]
fn p25_p26_a_value_that_does_not_cross_fails_its_task_alone() {
    guarded(|| {
        let executor = WireExecutor::new(2);
        for step in STEPS {
            let echo = |argument: Argument| Answer(argument.0);
            let future = executor.submit(echo, Argument(Fragile(step))).unwrap();
            let error = codec_error(future.result().unwrap_err());
            assert_eq!(error.crossing(), step);
            let type_name = match step {
                Crossing::EncodeArgument | Crossing::DecodeArgument => "Argument",
                _ => "Answer",
            };
            assert!(error.type_name().ends_with(type_name), "{error}");
            let cause = std::error::Error::source(&error).expect("the codec's error").to_string();
            assert!(cause.contains("broken while"), "{cause}");
            assert_eq!(executor.submit(double, 4).unwrap().result().unwrap(), 8);
        }
    });
}

/// In a chunk, a result that cannot be encoded is that of its item.
#[test]
fn p26_a_result_of_a_chunk_that_cannot_be_encoded_fails_its_item() {
    guarded(|| {
        let executor = WireExecutor::new(1);
        let answer = |n: u8| Answer(Fragile(STEPS[usize::from(n)]));
        let options = MapOptions::new().chunksize(4);
        let results: Vec<_> = executor.map_with(options, answer, [0, 2, 0, 1]).unwrap().collect();
        assert_eq!(results.len(), 4);
        for (index, result) in results.into_iter().enumerate() {
            if index != 1 {
                assert!(result.is_ok(), "{result:?}");
                continue;
            }
            let Err(MapError::Task(error)) = result else { panic!("{result:?}") };
            let error = codec_error(error);
            assert_eq!(error.crossing(), Crossing::EncodeResult);
            assert!(error.type_name().ends_with("Answer"), "{error}");
            let cause = std::error::Error::source(&error).expect("the codec's error").to_string();
            assert!(cause.contains("broken while"), "{cause}");
        }
    });
}

/// One that cannot be decoded fails the chunk: nobody knows where the next begins. The next chunk is none the worse.
#[test]
fn p26_a_chunk_that_does_not_cross_fails_as_one() {
    guarded(|| {
        let executor = WireExecutor::new(1);
        let answer = |n: u8| Answer(Fragile(STEPS[usize::from(n)]));
        let options = MapOptions::new().chunksize(2);
        // The first chunk holds a result that cannot be decoded, the second none.
        let results: Vec<_> = executor.map_with(options, answer, [0, 3, 0, 1]).unwrap().collect();
        assert_eq!(results.len(), 4);
        for result in &results[..2] {
            assert!(matches!(result, Err(MapError::Task(TaskError::Codec(_)))), "{result:?}");
        }
        assert!(results[2..].iter().all(Result::is_ok));
    });
}

/// A panic in user code that runs while something crosses is that future's error as well.
#[test]
fn p26_a_codec_that_panics_fails_its_task_alone() {
    struct Explosive;

    impl Serialize for Explosive {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }

    impl<'de> Deserialize<'de> for Explosive {
        fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
            panic!("in the middle of decoding")
        }
    }

    guarded(|| {
        let executor = WireExecutor::new(1);
        let there = executor.submit(|_: Explosive| 1, Explosive).unwrap();
        let back = executor.submit(|()| Explosive, ()).unwrap();
        for error in [there.result().map(drop).unwrap_err(), back.result().map(drop).unwrap_err()] {
            let TaskError::Panicked(panic) = error else { panic!("{error:?}") };
            assert_eq!(panic.message(), "in the middle of decoding");
        }
        assert_eq!(executor.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// A task that was made for this process is refused, and comes back unharmed.
#[test]
fn p37_a_task_made_for_this_process_is_refused() {
    guarded(|| {
        let executor = WireExecutor::new(1);
        let text = "captured".to_owned();
        let refused = local::spawn(&executor, move || text).unwrap_err();
        assert!(matches!(refused.reason(), Refusal::NotPortable));
        let function = refused.into_inner();
        assert_eq!(function(), "captured");
        assert_eq!(executor.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// Function items, closures without captures, generic functions, closures that call others: all are known by type.
#[test]
fn functions_are_known_by_type() {
    fn show<T: fmt::Debug>(value: T) -> String {
        format!("{value:?}")
    }

    guarded(|| {
        let executor = WireExecutor::new(2);
        let shown = [
            executor.submit(show::<(u8, Option<String>)>, (1, Some("x".to_owned()))).unwrap(),
            executor.submit(show::<Vec<i64>>, vec![-1, 1]).unwrap(),
            executor.submit(|n: u64| show(double(n)), 4).unwrap(),
            executor.submit(|()| show(()), ()).unwrap(),
        ];
        let shown = shown.map(|future| future.result().unwrap());
        assert_eq!(shown, ["(1, Some(\"x\"))", "[-1, 1]", "8", "()"]);
    });
}

/// What crosses is what was passed: large values, empty ones, text of any kind, and floats bit by bit.
#[test]
fn values_cross_unchanged() {
    guarded(|| {
        let executor = WireExecutor::new(2);
        let large: Vec<u32> = (0..200_000).collect();
        let future = executor.submit(|values: Vec<u32>| values, large.clone()).unwrap();
        assert_eq!(future.result().unwrap(), large);
        let value = (String::new(), "ß 東 \0".to_owned(), f64::NAN.to_bits(), -0.0_f64, Some(()));
        let future = executor
            .submit(|value: (String, String, u64, f64, Option<()>)| value, value.clone())
            .unwrap();
        let back = future.result().unwrap();
        assert_eq!(back, value);
        assert!(back.3.is_sign_negative());
        assert_eq!(executor.max_workers(), 2);
    });
}
