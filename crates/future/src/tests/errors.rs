//! What errors say, and what they say it came from.

use std::{error::Error, sync::Arc};

use super::Oops;
use crate::{
    AsCompletedTimeoutError, BrokenExecutor, CodecError, Crossing, InvalidStateError, Panic,
    TaskError, TimeoutError,
};

fn chain(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    texts
}

#[test]
fn what_each_task_error_says_and_comes_from() {
    let panic = Panic::from_parts("boom", Some("src/x.rs:1:2".to_owned()), None);
    let unplaced = Panic::from_parts("boom", None, None);
    let broken = BrokenExecutor::with_source("its initializer failed", Oops(1));
    let codec = CodecError::new(Crossing::EncodeArgument, "my::Type", Oops(2));
    let table: [(TaskError, &[&str]); 10] = [
        (TaskError::Cancelled, &["the task was cancelled before it started"]),
        (TaskError::Panicked(panic), &["the task panicked at src/x.rs:1:2: boom"]),
        (TaskError::Panicked(unplaced), &["the task panicked: boom"]),
        (TaskError::failed(Oops(3)), &["oops 3"]),
        (
            TaskError::failed(BrokenExecutor::with_source("own", Oops(4))),
            &["the executor is broken: own", "oops 4"],
        ),
        (TaskError::failed("in words"), &["in words"]),
        (
            TaskError::Broken(broken),
            &[
                "the executor broke before the task could run",
                "the executor is broken: its initializer failed",
                "oops 1",
            ],
        ),
        (
            TaskError::Broken(BrokenExecutor::new("no threads")),
            &["the executor broke before the task could run", "the executor is broken: no threads"],
        ),
        (TaskError::Abandoned, &["the task was dropped without ever being run to its end"]),
        (
            TaskError::Codec(codec),
            &[
                "the task could not cross to its worker and back",
                "could not encode the argument (of type my::Type)",
                "oops 2",
            ],
        ),
    ];
    for (error, texts) in table {
        assert_eq!(chain(&error), texts);
        // A clone says the same and comes from the same.
        assert_eq!(chain(&error.clone()), texts);
    }
}

#[test]
fn what_a_task_error_is_asked() {
    let panicked = TaskError::Panicked(Panic::from_parts("boom", None, None));
    let failed = TaskError::failed(Oops(1));
    assert!(TaskError::Cancelled.is_cancelled() && !failed.is_cancelled());
    assert!(panicked.is_panic() && !failed.is_panic());
    assert_eq!(failed.downcast_ref(), Some(&Oops(1)));
    assert!(failed.downcast_ref::<std::io::Error>().is_none());
    assert!(panicked.downcast_ref::<Oops>().is_none());
    // Boxed or not, it is found as what it is.
    let boxed: Box<dyn Error + Send + Sync> = Box::new(Oops(2));
    assert_eq!(TaskError::failed(boxed).downcast_ref(), Some(&Oops(2)));
    assert!(format!("{failed:?}").contains("Oops(1)"));
}

#[test]
fn clones_share_the_error() {
    let error = TaskError::failed(Oops(1));
    let clone = error.clone();
    let [one, other] = [&error, &clone].map(|it| it.downcast_ref::<Oops>().unwrap());
    assert!(std::ptr::eq(one, other));
}

#[test]
fn every_step_of_a_crossing_has_its_words() {
    let steps = [
        (Crossing::EncodeArgument, "could not encode the argument (of type T)"),
        (Crossing::DecodeArgument, "could not decode the argument (of type T)"),
        (Crossing::EncodeResult, "could not encode the result (of type T)"),
        (Crossing::DecodeResult, "could not decode the result (of type T)"),
    ];
    for (step, text) in steps {
        let error = CodecError::new(step, "T", Oops(1));
        assert_eq!((error.crossing(), error.type_name()), (step, "T"));
        assert_eq!(chain(&error), [text, "oops 1"]);
        assert!(format!("{error:?}").contains("Oops(1)"));
    }
}

#[test]
fn errors_of_operations() {
    struct NoDebug(Arc<()>);
    let inside = Arc::new(());
    let timeout = TimeoutError::new(NoDebug(Arc::clone(&inside)));
    assert_eq!(chain(&timeout), ["the wait timed out"]);
    assert_eq!(format!("{timeout:?}"), "TimeoutError { .. }");
    assert!(Arc::ptr_eq(&timeout.into_inner().0, &inside));

    let invalid = InvalidStateError::new(NoDebug(Arc::clone(&inside)));
    assert_eq!(chain(&invalid).len(), 1);
    assert_eq!(format!("{invalid:?}"), "InvalidStateError { .. }");
    assert!(Arc::ptr_eq(&invalid.into_inner().0, &inside));

    let unfinished = AsCompletedTimeoutError { unfinished: 2, total: 5 };
    assert_eq!(chain(&unfinished), ["2 (of 5) futures unfinished"]);
    let broken = BrokenExecutor::with_source("what", Oops(1));
    let text = format!("{broken:?}");
    assert_eq!(text, "BrokenExecutor { what: \"what\", source: Some(Oops(1)) }");
}
