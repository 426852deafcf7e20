//! What a worker died of, from all that is left of it.

use concurrent_futures_executor::future::{DeathCause, WorkerDied};

use crate::{
    message::{Ending, LastWords},
    supervisor::processes::Verdict,
    worker::EXIT_DISCONNECTED,
};

/// What is known of a worker that has ended.
pub(super) struct Remains<'a> {
    pub(super) pid: Option<u32>,
    /// Why the pool has killed it, if it has.
    pub(super) verdict: Option<&'a Verdict>,
    /// It had closed its connection before.
    pub(super) hung_up: bool,
    pub(super) last_words: Option<LastWords>,
    /// What it has written since its last task began, or the end of that.
    pub(super) stderr: String,
    pub(super) ending: Ending,
}

/// What killed a worker.
pub(super) fn post_mortem(remains: &Remains<'_>) -> WorkerDied {
    let Remains { pid, verdict, hung_up, last_words, stderr, ending } = remains;
    let cause = match (verdict, ending) {
        (Some(Verdict::Stopped), _) => DeathCause::Stopped,
        (Some(Verdict::Disconnected), _) => DeathCause::Disconnected,
        (Some(Verdict::Violation(_)), _) => DeathCause::ProtocolViolation,
        (None, Ending::Exited(EXIT_DISCONNECTED)) if *hung_up => DeathCause::Disconnected,
        (None, Ending::Exited(_)) => DeathCause::Exited,
        (None, Ending::Signaled(libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS))
            if *last_words == Some(LastWords::StackOverflow) =>
        {
            DeathCause::StackOverflow
        }
        (None, Ending::Signaled(libc::SIGABRT)) if tells_of_allocation_failure(stderr) => {
            DeathCause::AllocationFailure
        }
        (None, Ending::Signaled(libc::SIGABRT)) => DeathCause::Aborted,
        (None, Ending::Signaled(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE)) => {
            DeathCause::Fault
        }
        (None, Ending::Signaled(_)) => DeathCause::Killed,
        (None, Ending::Unknown) => DeathCause::Unknown,
    };
    let mut died = WorkerDied::new(cause);
    if let Some(pid) = pid {
        died = died.with_pid(*pid);
    }
    match ending {
        Ending::Exited(code) => died = died.with_exit_code(*code),
        Ending::Signaled(signal) => died = died.with_signal(*signal),
        Ending::Unknown => {}
    }
    if let Some(Verdict::Violation(error)) = verdict {
        died = died.with_detail(error.clone());
    }
    died.with_stderr(stderr.as_str())
}

/// Whether a process that aborted did so for want of memory. Nothing but its own words can tell: both std and the C++
/// library say so and abort.
fn tells_of_allocation_failure(stderr: &str) -> bool {
    stderr.lines().any(|line| {
        (line.starts_with("memory allocation of ") && line.contains(" bytes failed"))
            || line.contains("std::bad_alloc")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remains(ending: Ending) -> Remains<'static> {
        let stderr = String::new();
        Remains { pid: Some(7), verdict: None, hung_up: false, last_words: None, stderr, ending }
    }

    #[test]
    fn causes_are_told_apart() {
        use DeathCause::*;
        let signaled = |signal| remains(Ending::Signaled(signal));
        let words = Some(LastWords::StackOverflow);
        let cases = [
            (remains(Ending::Exited(3)), Exited),
            (remains(Ending::Unknown), Unknown),
            (signaled(libc::SIGABRT), Aborted),
            (signaled(libc::SIGSEGV), Fault),
            (signaled(libc::SIGFPE), Fault),
            (signaled(libc::SIGKILL), Killed),
            // A real-time signal, which has no name.
            (signaled(40), Killed),
            (Remains { last_words: words, ..signaled(libc::SIGSEGV) }, StackOverflow),
            // It has been killed before it could die of that.
            (Remains { last_words: words, ..signaled(libc::SIGKILL) }, Killed),
            (Remains { verdict: Some(&Verdict::Stopped), ..signaled(libc::SIGTERM) }, Stopped),
            (
                Remains { verdict: Some(&Verdict::Disconnected), ..signaled(libc::SIGKILL) },
                Disconnected,
            ),
            (Remains { hung_up: true, ..remains(Ending::Exited(EXIT_DISCONNECTED)) }, Disconnected),
            (Remains { hung_up: true, ..remains(Ending::Exited(0)) }, Exited),
        ];
        for (remains, cause) in cases {
            let died = post_mortem(&remains);
            assert_eq!((died.cause(), died.pid()), (cause, Some(7)), "{died:?}");
        }
    }

    #[test]
    fn want_of_memory_is_known_by_its_words() {
        let said = |stderr: &str, signal| {
            let stderr = stderr.to_owned();
            post_mortem(&Remains { stderr, ..remains(Ending::Signaled(signal)) }).cause()
        };
        let std = "\nmemory allocation of 4096 bytes failed\n";
        let cpp = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n";
        assert_eq!(said(std, libc::SIGABRT), DeathCause::AllocationFailure);
        assert_eq!(said(cpp, libc::SIGABRT), DeathCause::AllocationFailure);
        assert_eq!(said(std, libc::SIGSEGV), DeathCause::Fault);
        assert_eq!(said("assertion failed", libc::SIGABRT), DeathCause::Aborted);
    }

    #[test]
    fn nonsense_is_told() {
        let verdict = Verdict::Violation("a Ready frame out of turn".to_owned());
        let died = post_mortem(&Remains {
            verdict: Some(&verdict),
            ..remains(Ending::Signaled(libc::SIGKILL))
        });
        assert_eq!(died.cause(), DeathCause::ProtocolViolation);
        assert!(died.to_string().contains("a Ready frame out of turn"), "{died}");
    }
}
