//! System calls that neither std nor nix has, or not for every signal, each as a safe function.

use std::{
    ffi::CStr,
    io::{self, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
    unistd::Pid,
};

use crate::message::Ending;

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel has just made it, close-on-exec, and nobody else knows of it.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to the process that the descriptor is of. One that has ended gets none.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes an open descriptor and integers; the pointer may be null.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
}

/// Sends a signal, by number so that those without a name can be sent, to a process, and perhaps to the group that it
/// was made the leader of, which it may have left. One that is gone gets none.
pub(crate) fn send_signal(pid: Pid, signal: i32, group: bool) {
    if group {
        send_signal_to_group(pid, signal);
    }
    // SAFETY: takes two integers.
    unsafe { libc::kill(pid.as_raw(), signal) };
}

/// Sends a signal to the processes of a group, if there are any.
pub(crate) fn send_signal_to_group(leader: Pid, signal: i32) {
    // SAFETY: takes two integers.
    unsafe { libc::kill(-leader.as_raw(), signal) };
}

/// Has the signals about a descriptor sent to this process.
pub(crate) fn own_signals_of(fd: BorrowedFd<'_>) {
    let this = Pid::this().as_raw();
    // SAFETY: the descriptor is open; the argument is an integer.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETOWN, this) };
}

/// Closes a descriptor whose owner will not run its destructor any more.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: takes an integer; the callers are about to become something that knows nothing of the owner.
    unsafe { libc::close(fd) };
}

/// Ends the process without running anything that was registered for its exit.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound.
    unsafe { libc::_exit(code) }
}

/// What `ps` and the like show; cut off after 15 bytes.
pub(crate) fn set_process_name(name: &CStr) {
    nix::sys::prctl::set_name(name).ok();
}

/// How many threads this process has, if there is a `/proc` to ask.
pub(crate) fn thread_count() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Under which name this program was executed, as the kernel remembers.
pub(crate) fn executable_path() -> Option<PathBuf> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    // SAFETY: always sound.
    let address = usize::try_from(unsafe { libc::getauxval(libc::AT_EXECFN) }).ok()?;
    if address == 0 {
        return None;
    }
    // SAFETY: the kernel put a string with an end there, which stays as long as the process does.
    let path = unsafe { CStr::from_ptr(std::ptr::with_exposed_provenance(address)) };
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

/// Whether this is a child of this process that nobody has reaped.
pub(crate) fn is_own_child(pid: Pid) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all of its bytes may be zero.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is there to be written to.
    unsafe { libc::waitid(libc::P_PID, pid.as_raw().cast_unsigned(), &raw mut info, flags) == 0 }
}

/// A child that has ended and was not reaped yet, so that its pid is still its own.
pub(crate) fn ended_child() -> Option<Pid> {
    // SAFETY: all of its bytes may be zero.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is there to be written to.
    let outcome = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    // SAFETY: `waitid` fills this in, or leaves it zero if there is nothing to report.
    let pid = unsafe { info.si_pid() };
    (outcome == 0 && pid != 0).then(|| Pid::from_raw(pid))
}

/// Reaps a child that has ended.
pub(crate) fn reap(pid: Pid) -> Ending {
    let mut status = 0;
    // SAFETY: `status` is there to be written to.
    let reaped = unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) };
    if reaped != pid.as_raw() {
        Ending::Unknown
    } else if libc::WIFEXITED(status) {
        Ending::Exited(libc::WEXITSTATUS(status))
    } else {
        Ending::Signaled(libc::WTERMSIG(status))
    }
}

/// Sleeps while the word, which may be in memory that is shared with another process, has this value.
#[cfg(not(loom))]
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32) {
    let forever = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is there for as long as the call takes; the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, forever) };
}

/// Wakes one thread that sleeps in [`futex_wait`] on the word.
#[cfg(not(loom))]
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel only looks for sleepers at this address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Receives bytes, and the descriptors that travel with them.
pub(crate) fn receive_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut std::collections::VecDeque<OwnedFd>,
    flags: MsgFlags,
) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; 16]);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = message {
            // SAFETY: the kernel has just made these for this process, and nobody else knows of them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(received.bytes)
}

/// Where the number of this process is kept, in a page that is empty in a process that was forked.
static PAGE: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();

/// The number of this process, without a system call, but for the first time in each process.
///
/// It is kept in a page that is empty in a process that was forked, however that was done.
pub(crate) fn process_id() -> u32 {
    let Some(kept) = PAGE.get_or_init(page_wiped_on_fork) else { return std::process::id() };
    // Relaxed: all that is ever here is the same number, or nothing.
    match kept.load(Ordering::Relaxed) {
        0 => {
            let id = std::process::id();
            kept.store(id, Ordering::Relaxed);
            id
        }
        id => id,
    }
}

/// A process that one can ask in no time whether it is the one that asks, or one that it was forked from.
pub(crate) struct Process {
    id: u32,
    kept: Option<&'static AtomicU32>,
}

impl Process {
    pub(crate) fn this() -> Self {
        let id = process_id();
        Self { id, kept: PAGE.get().copied().flatten() }
    }

    pub(crate) fn is_this(&self) -> bool {
        self.is_this_for_sure() || process_id() == self.id
    }

    /// False as well if it would take a system call to find out.
    #[inline]
    pub(crate) fn is_this_for_sure(&self) -> bool {
        self.kept.is_some_and(|kept| kept.load(Ordering::Relaxed) == self.id)
    }
}

fn page_wiped_on_fork() -> Option<&'static AtomicU32> {
    let length = size_of::<AtomicU32>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is ours, and as long as a page at least.
    if unsafe { libc::madvise(page, length, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: the same, and nobody has seen it.
        unsafe { libc::munmap(page, length) };
        return None;
    }
    // SAFETY: mapped for good, aligned to a page, zero at first, and only ever seen as this.
    Some(unsafe { &*page.cast::<AtomicU32>() })
}
