//! The ways for a task to fail, and values that fail on their way.

use std::os::unix::fs::MetadataExt as _;
use std::{
    alloc::{Layout, handle_alloc_error},
    hint::black_box,
    io::{Write, stderr},
    process, ptr, thread,
};

use concurrent_futures::{DeathCause, TaskError, WorkerDied};
use concurrent_futures_tests::{Gate, registry};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser, ser::SerializeSeq};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    Error,
    Panic,
    Abort,
    Exit,
    Segv,
    Kill,
    StackOverflow,
    Allocation,
}

impl Fault {
    pub(super) const ALL: [Self; 8] = [
        Self::Error,
        Self::Panic,
        Self::Abort,
        Self::Exit,
        Self::Segv,
        Self::Kill,
        Self::StackOverflow,
        Self::Allocation,
    ];

    /// Whether the process goes on.
    pub(super) fn is_survived(self) -> bool {
        matches!(self, Self::Error | Self::Panic)
    }

    /// Fails in this way. Only the mildest returns.
    pub(super) fn happen(self) -> Result<(), String> {
        drop(writeln!(stderr(), "now: {self:?}"));
        match self {
            Self::Error => Err("an error".to_owned()),
            Self::Panic => panic!("a panic"),
            Self::Abort => process::abort(),
            Self::Exit => process::exit(3),
            Self::Segv => {
                // SAFETY: none; this is a mistake on purpose, in a process that is there to die of it.
                unsafe { ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
                unreachable!("there is nothing at that address")
            }
            Self::Kill => {
                // SAFETY: takes an integer.
                unsafe { libc::raise(libc::SIGKILL) };
                unreachable!("nobody survives this")
            }
            Self::StackOverflow => Err(format!("a sum: {}", descend(u64::MAX))),
            Self::Allocation => handle_alloc_error(Layout::new::<[u8; 1000]>()),
        }
    }

    /// Checks what is known of a worker that died of this, in a thread of the pool or in one of its own.
    pub(super) fn check_death(self, died: &WorkerDied, in_own_thread: bool) {
        let (cause, exit_code, signal) = match self {
            Self::Exit => (DeathCause::Exited, Some(3), None),
            Self::Segv => (DeathCause::Fault, None, Some(libc::SIGSEGV)),
            Self::Kill => (DeathCause::Killed, None, Some(libc::SIGKILL)),
            // The handler has no stack to run on in threads that it does not know.
            Self::StackOverflow if in_own_thread => (DeathCause::Fault, None, Some(libc::SIGSEGV)),
            Self::StackOverflow => (DeathCause::StackOverflow, None, Some(libc::SIGSEGV)),
            Self::Allocation => (DeathCause::AllocationFailure, None, Some(libc::SIGABRT)),
            Self::Abort | Self::Panic | Self::Error => {
                (DeathCause::Aborted, None, Some(libc::SIGABRT))
            }
        };
        assert_eq!(
            (died.cause(), died.exit_code(), died.signal()),
            (cause, exit_code, signal),
            "{died:?}"
        );
        assert!(died.stderr().contains(&format!("now: {self:?}\n")), "{died:?}");
        assert!(died.pid().is_some_and(|pid| pid != process::id()), "{died:?}");
    }
}

/// Uses the stack up.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 100]);
    if depth == 0 { 0 } else { black_box(descend(depth - 1)) + frame[7] }
}

/// The death that an error tells of.
pub(super) fn death(error: &TaskError) -> &WorkerDied {
    match error {
        TaskError::WorkerDied(died) => died,
        error => panic!("{error:?}"),
    }
}

/// An argument that fails when the worker decodes it.
#[derive(Debug)]
pub(super) struct FailsDecoding(pub(super) Fault);

impl Serialize for FailsDecoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FailsDecoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fault = Fault::deserialize(deserializer)?;
        fault.happen().map_err(de::Error::custom)?;
        Ok(Self(fault))
    }
}

/// A result that fails when the worker encodes it, after some of it was encoded.
#[derive(Debug)]
pub(super) struct FailsEncoding(pub(super) Fault);

/// How many bytes that is.
const BEFORE_FAILURE: usize = 100_000;

impl Serialize for FailsEncoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(2 * BEFORE_FAILURE))?;
        for _ in 0..BEFORE_FAILURE {
            sequence.serialize_element(&7_u8)?;
        }
        self.0.happen().map_err(ser::Error::custom)?;
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for FailsEncoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|_| Self(Fault::Error))
    }
}

/// How large the result is during whose sending something happens.
const LARGE: usize = 8 << 20;

/// Leaves a thread behind that fails when the sending of the result has begun.
pub(super) fn fail_while_replying(fault: Fault) -> String {
    let sockets = sockets();
    for fd in &sockets {
        // So that the sending takes its time.
        let size: libc::c_int = 4096;
        let length = u32::try_from(size_of_val(&size)).expect("a few bytes");
        // SAFETY: the pointer is to an integer, of which the length is told.
        unsafe {
            libc::setsockopt(
                *fd,
                libc::SOL_SOCKET,
                libc::SO_SNDBUF,
                (&raw const size).cast(),
                length,
            );
        }
    }
    thread::spawn(move || {
        let is_sending = |fd: &i32| {
            let mut unread: libc::c_int = 0;
            // SAFETY: the pointer is to an integer.
            unsafe { libc::ioctl(*fd, libc::TIOCOUTQ, &raw mut unread) };
            // More than the frame that says that the task has started.
            unread > 1000
        };
        let before = shared_blocks();
        while !sockets.iter().any(is_sending) && shared_blocks() == before {}
        drop(fault.happen());
    });
    "7".repeat(LARGE)
}

/// How much memory there is behind the descriptor of what this process shares with the pool.
fn shared_blocks() -> Option<u64> {
    let folder = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors");
    folder.flatten().find_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_shared = target.to_string_lossy().starts_with("/memfd:");
        is_shared.then(|| std::fs::metadata(entry.path()).ok().map(|file| file.blocks()))?
    })
}

/// The sockets of this process: the connection to the pool.
pub(super) fn sockets() -> Vec<i32> {
    let folder = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors");
    let sockets = folder.flatten().filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_socket = target.to_string_lossy().starts_with("socket:");
        is_socket.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    });
    sockets.collect()
}

/// Leaves a thread behind that fails when the gate opens.
pub(super) fn fail_later((fault, gate): (Fault, u64)) -> u32 {
    thread::spawn(move || {
        registry::reach::<Gate>(gate).pass();
        drop(fault.happen());
    });
    process::id()
}

/// Has the process fail when it exits.
pub(super) fn fail_at_exit(fault: Fault) -> u32 {
    /// One for each fault, since a handler is not told anything.
    macro_rules! handlers {
        ($value:ident: $($fault:ident)*) => {
            match $value {$(
                Fault::$fault => {
                    extern "C" fn handler() {
                        drop(Fault::$fault.happen());
                    }
                    handler as extern "C" fn()
                }
            )*}
        };
    }

    extern "C" fn exit_differently() {
        // SAFETY: ends the process. The other way to exit must not be called by a handler.
        unsafe { libc::_exit(3) }
    }

    let handler = match fault {
        Fault::Exit => exit_differently,
        fault => handlers!(fault: Error Panic Abort Exit Segv Kill StackOverflow Allocation),
    };
    // SAFETY: the handler is a plain function.
    let registered = unsafe { libc::atexit(handler) };
    assert_eq!(registered, 0);
    process::id()
}
