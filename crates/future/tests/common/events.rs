//! A recorder of events. The hook belongs to the process, so tests that run beside one another tell theirs by the id of
//! their future, or by a text that no other test uses.

use std::sync::{Mutex, Once, PoisonError};

use concurrent_futures_future::{Event, FutureId, set_event_hook};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    CallbackPanicked(String),
    FailureUnread(String),
    DestructorPanicked(String),
    Other(String),
}

static RECORDED: Mutex<Vec<(Option<FutureId>, Recorded)>> = Mutex::new(Vec::new());

/// Records from now on. To be called before what is to be recorded.
pub(crate) fn record() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        set_event_hook(|event| {
            let recorded = match event {
                Event::CallbackPanicked { future, panic } => {
                    (Some(*future), Recorded::CallbackPanicked(panic.message().to_owned()))
                }
                Event::FailureUnread { future, error } => {
                    (Some(*future), Recorded::FailureUnread(error.to_string()))
                }
                Event::DestructorPanicked { panic } => {
                    (None, Recorded::DestructorPanicked(panic.message().to_owned()))
                }
                other => (None, Recorded::Other(other.to_string())),
            };
            RECORDED.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
        });
    });
}

/// What was recorded of this future, in order.
pub(crate) fn of(id: FutureId) -> Vec<Recorded> {
    let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    recorded.iter().filter(|(of, _)| *of == Some(id)).map(|(_, event)| event.clone()).collect()
}

/// How often a destructor panicked with this text.
pub(crate) fn destructor_panics(text: &str) -> usize {
    let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = Recorded::DestructorPanicked(text.to_owned());
    recorded.iter().filter(|(_, event)| *event == wanted).count()
}
