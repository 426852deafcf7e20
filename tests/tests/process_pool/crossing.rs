//! What crosses to a worker and back, what does not, and what it costs if it is much.

use std::{error::Error, panic::catch_unwind};

use concurrent_futures::{Crossing, Refusal, TaskError, local};
use concurrent_futures_tests::functions::double;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{SETUPS, beside, builder, own_pid, pool};

/// Fails in this process, on its way out or on its way in.
#[derive(Debug)]
struct Unfit<const PANICS: bool>;

impl<const PANICS: bool> Unfit<PANICS> {
    fn message(&self) -> &'static str {
        assert!(!PANICS, "a codec that panics");
        "a codec that fails"
    }
}

/// Cannot be encoded.
#[derive(Debug, Deserialize)]
struct Unsendable<const PANICS: bool>;

impl<const PANICS: bool> Serialize for Unsendable<PANICS> {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(Unfit::<PANICS>.message()))
    }
}

/// Cannot be decoded.
#[derive(Debug, Serialize)]
struct Unreadable<const PANICS: bool>;

impl<'de, const PANICS: bool> Deserialize<'de> for Unreadable<PANICS> {
    fn deserialize<D: Deserializer<'de>>(_deserializer: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(Unfit::<PANICS>.message()))
    }
}

fn check_codec_error(error: TaskError, crossing: Crossing, type_name: &str) {
    let TaskError::Codec(error) = error else { panic!("{error:?}") };
    assert_eq!(error.crossing(), crossing);
    assert!(error.type_name().contains(type_name), "{error:?}");
    let source = error.source().expect("the codec's own error").to_string();
    assert!(source.contains("a codec that fails"), "{source}");
}

/// An argument that cannot be encoded is the error of its future, which is there when `submit` returns. No worker is
/// bothered, nor started.
#[test]
fn f118_p25_an_argument_that_cannot_be_encoded_fails_its_task_alone() {
    beside(|| {
        let pool = pool(1);
        let future = pool.submit(|_: Unsendable<false>| 1, Unsendable).unwrap();
        assert!(future.done());
        check_codec_error(future.result().unwrap_err(), Crossing::EncodeArgument, "Unsendable");
        assert_eq!((pool.stats().submitted, pool.stats().workers), (0, 0));
        assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// One that panics meanwhile does so where it was submitted, or in its future; the pool is none the worse.
#[test]
fn p25_an_argument_that_panics_while_encoded_harms_nobody() {
    beside(|| {
        let pool = pool(1);
        let submit = || pool.submit(|_: Unsendable<true>| 1, Unsendable).unwrap().result();
        let outcome = catch_unwind(std::panic::AssertUnwindSafe(submit));
        assert!(!matches!(outcome, Ok(Ok(_))));
        assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// An argument that cannot be decoded by the worker fails its task, and the worker lives on.
#[test]
fn f119_an_argument_that_cannot_be_decoded_costs_no_worker() {
    beside(|| {
        let pool = pool(1);
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        let future = pool.submit(|_: Unreadable<false>| 1, Unreadable).unwrap();
        check_codec_error(future.result().unwrap_err(), Crossing::DecodeArgument, "Unreadable");
        let future = pool.submit(|_: Unreadable<true>| 1, Unreadable).unwrap();
        let error = future.result().unwrap_err();
        assert!(
            matches!(&error, TaskError::Panicked(panic) if panic.message() == "a codec that panics")
        );
        assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), pid);
    });
}

/// A result that cannot be encoded by the worker fails its task, and the worker lives on.
#[test]
fn f120_a_result_that_cannot_be_encoded_costs_no_worker() {
    beside(|| {
        let pool = pool(1);
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        let future = pool.submit(|()| Unsendable::<false>, ()).unwrap();
        check_codec_error(future.result().unwrap_err(), Crossing::EncodeResult, "Unsendable");
        let error = pool.submit(|()| Unsendable::<true>, ()).unwrap().result().unwrap_err();
        assert!(
            matches!(&error, TaskError::Panicked(panic) if panic.message() == "a codec that panics")
        );
        assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), pid);
    });
}

/// A result that cannot be decoded here is the error of its future, and breaks nothing.
#[test]
fn f121_p26_a_result_that_cannot_be_decoded_breaks_nothing() {
    beside(|| {
        let pool = pool(1);
        let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        let future = pool.submit(|()| Unreadable::<false>, ()).unwrap();
        check_codec_error(future.result().unwrap_err(), Crossing::DecodeResult, "Unreadable");
        let error = pool.submit(|()| Unreadable::<true>, ()).unwrap().result().unwrap_err();
        assert!(
            matches!(&error, TaskError::Panicked(panic) if panic.message() == "a codec that panics")
        );
        assert_eq!(pool.submit(own_pid, ()).unwrap().result().unwrap(), pid);
        assert!(pool.broken().is_none());
    });
}

/// What can be sent is known when the program is compiled, but for tasks that were made for this process alone: they are
/// refused, and come back.
#[test]
fn f117_p30_a_task_for_this_process_is_refused() {
    beside(|| {
        let pool = pool(1);
        let captured = "captured".to_owned();
        let refused = local::spawn(&pool, move || captured).unwrap_err();
        assert!(matches!(refused.reason(), Refusal::NotPortable));
        let function = refused.into_inner();
        assert_eq!(function(), "captured");
        // Pointers, generic functions and closures are not.
        let functions: [fn(u64) -> u64; 2] = [double, |n| n + 1];
        for (function, expected) in functions.into_iter().zip([42, 22]) {
            assert_eq!(pool.submit_fn(function, 21).unwrap().result().unwrap(), expected);
        }
    });
}

/// The error of a task that panicked has what the panic said, where, and how the task got there.
#[test]
fn f126_a_panic_brings_its_backtrace() {
    #[inline(never)]
    fn fails_in_a_worker(_: ()) -> u64 {
        panic!("a panic in a worker")
    }

    beside(|| {
        let pool = builder(1).env("RUST_BACKTRACE", "1").build().unwrap();
        let error = pool.submit(fails_in_a_worker, ()).unwrap().result().unwrap_err();
        let TaskError::Panicked(panic) = error else { panic!("{error:?}") };
        assert_eq!(panic.message(), "a panic in a worker");
        assert!(panic.location().is_some_and(|place| place.contains("crossing.rs")), "{panic:?}");
        let backtrace = panic.backtrace().expect("it was asked for");
        assert!(backtrace.contains("fails_in_a_worker"), "{backtrace}");
    });
}

/// Nothing at all, and a quarter of a gigabyte.
#[test]
fn p31_values_of_any_size_cross() {
    const LARGE: usize = 256 << 20;

    beside(|| {
        let pool = pool(1);
        pool.submit(|()| (), ()).unwrap().result().unwrap();
        assert_eq!(pool.submit(|text: String| text, String::new()).unwrap().result().unwrap(), "");
        let double = |mut text: String| {
            assert_eq!(text.len(), LARGE);
            text.replace_range(0..1, "b");
            text
        };
        let future = pool.submit(double, "a".repeat(LARGE)).unwrap();
        let text = future.result().unwrap();
        assert_eq!((text.len(), &text[..2], &text[LARGE - 1..]), (LARGE, "ba", "a"));
    });
}

/// Many tasks at once are a matter of memory alone.
#[test]
fn p22_fifty_thousand_tasks_at_once() {
    beside(|| {
        for setup in SETUPS {
            let pool = setup.builder(2).build().unwrap();
            let futures: Vec<_> = (0..25_000).map(|n| pool.submit(double, n).unwrap()).collect();
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().unwrap(), 2 * n);
            }
            assert_eq!(pool.stats().succeeded, 25_000);
        }
    });
}
