//! Memory that a test shares with its tasks, also with those that run in other processes.
//!
//! Gates, lists and counters live in numbered slots of one file without a name, which is mapped by whoever uses it. A
//! worker process finds the file by an environment variable: see [`VARIABLE`]. In the process of the test, slots are taken
//! and given back; a worker just looks at the one whose number it was sent.

#![expect(unsafe_code, reason = "maps a file, and waits for words in it")]

use std::{
    ffi::OsString,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

/// To be set in the environment of worker processes, to [`path`].
pub const VARIABLE: &str = "CONCURRENT_FUTURES_TESTS_ARENA";

const SLOTS: usize = 4096;

/// How many words a slot has besides the one to wait by.
pub const WORDS: usize = 2047;

/// A place in the arena. All words are zero when it is taken.
#[derive(Debug)]
#[repr(C)]
pub struct Slot {
    changes: AtomicU32,
    _padding: AtomicU32,
    /// For whatever the owner likes.
    pub words: [AtomicU64; WORDS],
}

impl Slot {
    /// Wakes everybody who waits in [`wait_until`](Self::wait_until), in any process.
    pub fn notify(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.changes);
    }

    /// Returns when `condition` holds. It is looked at after each [`notify`](Self::notify).
    pub fn wait_until(&self, condition: impl Fn() -> bool) {
        loop {
            // Read before the condition: a change after that makes the wait return at once.
            let changes = self.changes.load(Ordering::SeqCst);
            if condition() {
                return;
            }
            futex::wait(&self.changes, changes);
        }
    }
}

struct Arena {
    slots: &'static [Slot],
    path: OsString,
    /// The numbers of slots that nobody has.
    free: Mutex<Vec<usize>>,
    is_foreign: bool,
}

fn arena() -> &'static Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    ARENA.get_or_init(|| {
        let foreign = std::env::var_os(VARIABLE).and_then(|path| Some((map::open(&path)?, path)));
        let is_foreign = foreign.is_some();
        let (slots, path) = foreign.unwrap_or_else(map::create);
        Arena { slots, path, free: Mutex::new((0..SLOTS).rev().collect()), is_foreign }
    })
}

/// Where other processes find the arena of this one.
#[must_use]
pub fn path() -> OsString {
    arena().path.clone()
}

/// Whether this process is a worker of the one that has the arena.
#[must_use]
pub fn is_foreign() -> bool {
    arena().is_foreign
}

/// A slot of one's own, and its number.
///
/// # Panics
///
/// If all are taken.
#[must_use]
pub fn take() -> (usize, &'static Slot) {
    let number = arena().free.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let number = number.expect("a free slot");
    let slot = at(number);
    slot.words.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    (number, slot)
}

/// Gives a slot back.
pub fn give_back(number: usize) {
    // To the end of the line, so that whoever still has an old number is not heard for a while.
    arena().free.lock().unwrap_or_else(PoisonError::into_inner).insert(0, number);
}

/// The slot with this number.
#[must_use]
pub fn at(number: usize) -> &'static Slot {
    &arena().slots[number]
}

#[cfg(target_os = "linux")]
mod map {
    use std::{
        ffi::{OsStr, OsString},
        fs::{File, OpenOptions},
        os::fd::{AsRawFd, FromRawFd, IntoRawFd},
        ptr, slice,
    };

    use super::{SLOTS, Slot};

    const LENGTH: usize = SLOTS * size_of::<Slot>();

    pub(super) fn create() -> (&'static [Slot], OsString) {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"arena".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: it has just been made, and nobody else has it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(LENGTH as u64).expect("a file without a limit");
        let slots = map(&file).expect("memory");
        // It stays open, for others to find.
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.into_raw_fd());
        (slots, path.into())
    }

    pub(super) fn open(path: &OsStr) -> Option<&'static [Slot]> {
        map(&OpenOptions::new().read(true).write(true).open(path).ok()?)
    }

    fn map(file: &File) -> Option<&'static [Slot]> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses where.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), LENGTH, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: mapped just now, for good, and this long; it is made of atomics, for which any bytes are valid.
        Some(unsafe { slice::from_raw_parts(address.cast::<Slot>(), SLOTS) })
    }
}

/// Elsewhere there is no process pool, and so nobody to share with.
#[cfg(not(target_os = "linux"))]
mod map {
    use std::ffi::{OsStr, OsString};

    use super::{SLOTS, Slot};

    pub(super) fn create() -> (&'static [Slot], OsString) {
        let words = vec![0_u64; SLOTS * size_of::<Slot>() / size_of::<u64>()].leak();
        // SAFETY: it is as long and as aligned as this, and made of atomics, for which any bytes are valid.
        (unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), SLOTS) }, OsString::new())
    }

    pub(super) fn open(_path: &OsStr) -> Option<&'static [Slot]> {
        None
    }
}

#[cfg(target_os = "linux")]
mod futex {
    use std::{ptr, sync::atomic::AtomicU32};

    /// Not the private kind: others who wait may be in other processes.
    pub(super) fn wait(word: &AtomicU32, expected: u32) {
        // SAFETY: the word lives as long as the call; there is no timeout. It also returns for no reason.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                expected,
                ptr::null::<libc::timespec>(),
            );
        }
    }

    pub(super) fn wake_all(word: &AtomicU32) {
        // SAFETY: the word lives as long as the call.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }
}

#[cfg(not(target_os = "linux"))]
mod futex {
    use std::sync::atomic::AtomicU32;

    use crate::delays;

    pub(super) fn wait(_word: &AtomicU32, _expected: u32) {
        std::thread::sleep(delays::poll());
    }

    pub(super) fn wake_all(_word: &AtomicU32) {}
}
