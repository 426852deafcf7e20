//! What the event hook is told, for tests to look at. There is one hook in a process, and many tests.

use std::sync::{Condvar, Mutex, Once, PoisonError};

use concurrent_futures::{Event, FutureId, set_event_hook};

/// An event, as it was told.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which kind it was: the name of its variant.
    pub kind: &'static str,
    /// The future that it was about, if it was about one.
    pub future: Option<FutureId>,
    /// The executor that it was about, if it was about one.
    pub executor: Option<String>,
    /// How it reads.
    pub text: String,
}

static RECORDED: Mutex<Vec<Recorded>> = Mutex::new(Vec::new());
static MORE: Condvar = Condvar::new();

/// Records all events of this process from the first call on, in place of the default hook.
pub fn record() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        set_event_hook(|event| {
            let (kind, future, executor) = match event {
                Event::CallbackPanicked { future, .. } => ("CallbackPanicked", Some(*future), None),
                Event::FailureUnread { future, .. } => ("FailureUnread", Some(*future), None),
                Event::ExecutorBroken { executor, .. } => {
                    ("ExecutorBroken", None, Some((*executor).to_owned()))
                }
                Event::DestructorPanicked { .. } => ("DestructorPanicked", None, None),
                Event::HookPanicked { future, .. } => ("HookPanicked", Some(*future), None),
                _ => ("unknown", None, None),
            };
            let recorded = Recorded { kind, future, executor, text: event.to_string() };
            RECORDED.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
            MORE.notify_all();
        });
    });
}

/// The events so far that `of_interest` says yes to.
pub fn seen(of_interest: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
    let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    recorded.iter().filter(|event| of_interest(event)).cloned().collect()
}

/// Waits for an event that `of_interest` says yes to.
pub fn wait_for(of_interest: impl Fn(&Recorded) -> bool) -> Recorded {
    let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(event) = recorded.iter().find(|event| of_interest(event)) {
            return event.clone();
        }
        recorded = MORE.wait(recorded).unwrap_or_else(PoisonError::into_inner);
    }
}
