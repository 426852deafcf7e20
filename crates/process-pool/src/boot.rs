//! How a process that was started as a worker becomes one before `main` runs.
//!
//! The pool starts its own executable again and wants none of what `main` does, and the user has nothing to call. So
//! the linker is asked to put [`entry`] among the initialisers of the executable. It returns at once, unless an
//! environment variable says that this process is to be a server or a worker; then it never returns, and `main` never
//! runs. The environment and not an argument, because musl hands initialisers no arguments.
//!
//! Whoever can set a variable must not be able to turn a program into something that calls functions on demand. So
//! the variable counts only if standard input is a connected Unix socket whose other end was made by the same user,
//! and never in a program that runs with more rights than the one that started it (`AT_SECURE`).
//!
//! What the process is like when `main` of [`server`] or [`worker`] is called:
//!
//! | | |
//! |---|---|
//! | initialisers | all of the executable's have run, those that come after ours because we called them |
//! | environment | as inherited, without our variable: programs that a task starts are not workers |
//! | descriptors | 0 reads `/dev/null`; 1 and 2 are as inherited, or `/dev/null` where they were closed; the socket is at a high number, close-on-exec; other inherited ones are closed |
//! | signals | none blocked, SIGPIPE ignored, as in any Rust program. All else is as `exec` left it: handlers are gone, but what the pool's process ignores (SIGCHLD, or SIGHUP under `nohup`) is ignored here too |
//! | std's start-up | has not run: the thread has no name, a stack overflow is a plain SIGSEGV (see [`crash`](crate::crash)), and with musl `std::env::args` is empty |
//! | C library | complete, and no lock of the loader is held; but `main`'s thread must not leave by `pthread_exit` |
//!
//! Traps:
//!
//! - Order of initialisers. Without a priority, ours comes before those of C and C++ libraries that are linked into the
//!   executable or after them, as the linker likes: before them in test binaries, after them in programs. Before them,
//!   their globals would still be zero when a task runs; after them, we would close what they have opened. So ours asks
//!   to be early, before all that users can ask for, and calls the remaining ones itself once descriptors are in order.
//! - Initialisers of shared libraries run before any of the executable's, and may have opened descriptors. What was
//!   inherited has survived `exec`, and so is not close-on-exec; only such descriptors are closed.
//! - If this crate is in a shared library, then the main executable's initialisers have not run, and functions have no
//!   offsets. The variable is left alone: [`is_unclaimed_child`] tells the pool, which refuses to be built, since `main`
//!   is about to run in a worker and would otherwise start workers without end.
//! - Two versions of this crate in one executable have an entry each, so the variable names the version as well.
//!
//! [`server`]: crate::server
//! [`worker`]: crate::worker

#[cfg(target_env = "gnu")]
use std::ffi::{c_char, c_int};
use std::{
    convert::Infallible,
    env,
    ffi::CStr,
    fs,
    io::{self, Write as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    process,
};

use nix::sys::{
    signal::{SigHandler, SigSet, Signal, signal},
    socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt},
};

use crate::{
    image::{Image, InitFn},
    server, worker,
};

/// The environment variable that makes a process a server or a worker. Its value is that of [`marker`].
pub(crate) const MARKER_VARIABLE: &str = "CONCURRENT_FUTURES_PROCESS_POOL";

const MARKER_VARIABLE_C: &CStr = c"CONCURRENT_FUTURES_PROCESS_POOL";

/// Descriptors of tasks start at 3; the socket is kept out of their way, and out of the way of code that closes
/// "a few" of them.
pub(crate) const CONTROL_FD_MIN: RawFd = 100;

/// What a started process is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Forks workers on request.
    Server,
    /// Runs tasks.
    Worker,
}

/// What [`MARKER_VARIABLE`] is set to for a process in this role: the role, the version of this handover, and the
/// version of this crate. A process whose socket is its standard input.
pub(crate) const fn marker(role: Role) -> &'static str {
    /// 1: the socket on descriptor 0, the role in the variable.
    macro_rules! version_1 {
        ($role:literal) => {
            concat!($role, " 1 ", env!("CARGO_PKG_VERSION"))
        };
    }

    match role {
        Role::Server => version_1!("server"),
        Role::Worker => version_1!("worker"),
    }
}

/// Whether this process was started as a server or worker, and yet came to `main`. A pool must not be built in it.
pub(crate) fn is_unclaimed_child() -> bool {
    env::var_os(MARKER_VARIABLE).is_some()
}

/// Our place among the initialisers of the executable or shared library that this crate is linked into.
pub(crate) fn slot() -> *const InitFn {
    &raw const ENTRY
}

/// The C library reads this, and the address tells [`Image`] which of the initialisers is ours.
///
/// Linkers sort by the number in the name, and put those without one last. Users' constructors start at 101; std fills
/// in `std::env::args` at 99.
#[used]
// SAFETY: the section holds pointers to functions of exactly this kind.
#[unsafe(link_section = ".init_array.00100")]
static ENTRY: InitFn = entry;

/// Called by the C library before `main`, with what `main` gets.
#[cfg(target_env = "gnu")]
unsafe extern "C" fn entry(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    if let Some((role, rest)) = claim() {
        take_over(role, || {
            for initialiser in rest.iter().flatten() {
                // SAFETY: what the C library would do next, with the arguments that it would pass.
                unsafe { initialiser(argc, argv, envp) };
            }
        });
    }
}

/// Called by the C library before `main`.
#[cfg(not(target_env = "gnu"))]
unsafe extern "C" fn entry() {
    if let Some((role, rest)) = claim() {
        take_over(role, || {
            for initialiser in rest.iter().flatten() {
                // SAFETY: what the C library would do next.
                unsafe { initialiser() };
            }
        });
    }
}

/// Which role this process is in, if any, and the initialisers that have not run.
///
/// This is all that happens in a program that just has a pool, or might have one: a look into the environment.
fn claim() -> Option<(Role, &'static [Option<InitFn>])> {
    // Not `std::env`, which would allocate, in every program and before anybody has set an allocator up.
    // SAFETY: the name is a C string. That nobody writes to the environment meanwhile is as certain as it gets: no
    // thread runs, unless an initialiser before us has started one.
    let value = unsafe { libc::getenv(MARKER_VARIABLE_C.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: `getenv` returns C strings, and the environment is not written to before we are done with it.
    let role = role_of(unsafe { CStr::from_ptr(value) })?;
    if has_more_rights_than_its_parent() || !stdin_leads_to_same_user() {
        return None;
    }
    let rest = Image::get().and_then(|image| image.initialisers_after(slot())).ok()?;
    Some((role, rest))
}

fn role_of(value: &CStr) -> Option<Role> {
    [Role::Server, Role::Worker]
        .into_iter()
        .find(|role| marker(*role).as_bytes() == value.to_bytes())
}

/// Whether the kernel ran this program as another user, or with capabilities, than what started it.
fn has_more_rights_than_its_parent() -> bool {
    // SAFETY: takes a number, returns a number.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether standard input is one end of a pair of Unix sockets that this user has made.
fn stdin_leads_to_same_user() -> bool {
    // SAFETY: only for the system calls below, which report it if the descriptor is closed.
    let stdin = unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) };
    let is_unix = getsockname::<UnixAddr>(stdin.as_raw_fd()).is_ok();
    let kind = getsockopt(&stdin, sockopt::SockType);
    // Of a socket that is not connected it says that nobody is at the other end.
    let peer = getsockopt(&stdin, sockopt::PeerCredentials);
    is_unix
        && matches!(kind, Ok(SockType::Stream | SockType::SeqPacket))
        // SAFETY: takes nothing, returns a number.
        && matches!(peer, Ok(peer) if peer.uid() == unsafe { libc::geteuid() })
}

/// Becomes the server or the worker.
fn take_over(role: Role, remaining_initialisers: impl FnOnce()) -> ! {
    // Nothing may unwind into the C library that called us.
    let result = catch_unwind(AssertUnwindSafe(|| -> Infallible {
        // SAFETY: the name is a C string, and see `claim` for other threads.
        unsafe { libc::unsetenv(MARKER_VARIABLE_C.as_ptr()) };
        // Descriptors come first: an initialiser must neither read from our socket nor lose what it opens.
        let control = arrange_descriptors()
            .unwrap_or_else(|error| die(&format!("cannot arrange the descriptors: {error}")));
        remaining_initialisers();
        // Signals come last, as they do when std starts up: initialisers see what they see in any program.
        arrange_signals().unwrap_or_else(|error| die(&format!("cannot set up signals: {error}")));
        match role {
            Role::Server => server::main(control),
            Role::Worker => worker::main(control),
        }
    }));
    match result {
        Ok(never) => match never {},
        // The panic hook has printed what it was.
        Err(_payload) => die("panicked outside of any task"),
    }
}

/// Ends a process that cannot do what it was started for. The pool sees the signal, and the message in its output.
fn die(message: &str) -> ! {
    // Nothing is left to be done about an error here.
    drop(writeln!(io::stderr(), "concurrent-futures: worker process {}: {message}", process::id()));
    process::abort();
}

/// Moves the socket away from standard input, sees to descriptors 0 to 2, and closes what was inherited otherwise.
fn arrange_descriptors() -> io::Result<OwnedFd> {
    let control = duplicate(libc::STDIN_FILENO, CONTROL_FD_MIN)
        // A limit on descriptors may forbid high ones.
        .or_else(|_| duplicate(libc::STDIN_FILENO, libc::STDERR_FILENO + 1))?;
    put_null_device_on(libc::STDIN_FILENO, libc::O_RDONLY)?;
    for fd in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        if descriptor_flags(fd).is_none() {
            put_null_device_on(fd, libc::O_WRONLY)?;
        }
    }
    close_inherited(&control);
    Ok(control)
}

/// A close-on-exec duplicate of `fd` with a number of at least `min`.
pub(crate) fn duplicate(fd: RawFd, min: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: makes a new descriptor, and touches no memory.
    let new = cvt(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, min) })?;
    // SAFETY: it has just been made, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Makes `fd`, whatever it was, the null device. It is inherited by programs that are started, as 0 to 2 should be.
fn put_null_device_on(fd: RawFd, access: libc::c_int) -> io::Result<()> {
    // SAFETY: the path is a C string.
    let null = cvt(unsafe { libc::open(c"/dev/null".as_ptr(), access) })?;
    if null == fd {
        // It was closed, and the lowest number that was free.
        return Ok(());
    }
    // SAFETY: the target is one of the standard descriptors, which no type owns.
    let moved = cvt(unsafe { libc::dup2(null, fd) });
    // SAFETY: opened above, and not used any more.
    unsafe { libc::close(null) };
    moved.map(|_| ())
}

/// Closes what this process inherited, except for 0 to 2. What it inherited is not close-on-exec, or it would not
/// have come through `exec`; the others were opened by initialisers of shared libraries, and are theirs.
///
/// One that a shared library's initialiser has opened *without* close-on-exec cannot be told apart, and is closed.
fn close_inherited(control: &OwnedFd) {
    let Some(open) = open_descriptors() else {
        close_all_but(control.as_raw_fd());
        return;
    };
    for fd in open {
        if fd > libc::STDERR_FILENO && descriptor_flags(fd) == Some(0) {
            // SAFETY: inherited, so that no code in this process knows of it.
            unsafe { libc::close(fd) };
        }
    }
}

/// All open descriptors, unless there is no `/proc`.
fn open_descriptors() -> Option<Vec<RawFd>> {
    let names = fs::read_dir("/proc/self/fd").ok()?;
    // Collected before any is closed: the directory changes, and one of them is the directory itself.
    Some(names.flatten().filter_map(|name| name.file_name().to_str()?.parse().ok()).collect())
}

/// Closes all descriptors but 0 to 2 and one more, those that initialisers have opened included: without `/proc` they
/// cannot be listed, and there may be a billion numbers to try.
fn close_all_but(control: RawFd) {
    let closed = close_range(libc::STDERR_FILENO + 1, control - 1)
        .and_then(|()| close_range(control + 1, RawFd::MAX));
    if closed.is_ok() {
        return;
    }
    // A kernel before 5.9, or a filter on system calls that does not know this one.
    // SAFETY: takes a number, returns a number.
    let limit = match unsafe { libc::sysconf(libc::_SC_OPEN_MAX) } {
        limit @ 1.. => RawFd::try_from(limit).unwrap_or(RawFd::MAX).min(1 << 16),
        _ => 1 << 16,
    };
    for fd in (libc::STDERR_FILENO + 1..limit).filter(|fd| *fd != control) {
        if descriptor_flags(fd) == Some(0) {
            // SAFETY: inherited, so that no code in this process knows of it.
            unsafe { libc::close(fd) };
        }
    }
}

/// By number: the C library may be older than the call.
fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: closes descriptors, and touches no memory. Whose they are is argued at the caller.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The flags of `fd`, of which there is but one, close-on-exec; `None` if it is closed.
fn descriptor_flags(fd: RawFd) -> Option<libc::c_int> {
    // SAFETY: asks, and touches nothing.
    cvt(unsafe { libc::fcntl(fd, libc::F_GETFD) }).ok()
}

/// Blocks nothing and ignores SIGPIPE, as a Rust program does when its `main` starts.
fn arrange_signals() -> nix::Result<()> {
    // SAFETY: ignoring a signal runs no code.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    SigSet::empty().thread_set_mask()
}

/// The result of a system call, or `errno`.
fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn markers_are_read_as_they_are_written() {
        for role in [Role::Server, Role::Worker] {
            assert_eq!(role_of(&CString::new(marker(role)).unwrap()), Some(role));
        }
    }

    #[test]
    fn other_versions_roles_and_noise_are_nobodys() {
        for value in
            [c"", c"server", c"server 1", c"server 2 0.1.0", c"fork 1 0.1.0", c"1", c"\xff"]
        {
            assert_eq!(role_of(value), None, "{value:?}");
        }
    }

    #[test]
    fn both_spellings_of_the_variable_agree() {
        assert_eq!(MARKER_VARIABLE.as_bytes(), MARKER_VARIABLE_C.to_bytes());
    }

    #[test]
    fn an_ordinary_process_is_no_child() {
        assert!(!is_unclaimed_child());
        assert!(!has_more_rights_than_its_parent());
    }

    #[test]
    fn a_duplicate_is_high_and_close_on_exec() {
        let file = fs::File::open("/dev/null").unwrap();
        let copy = duplicate(file.as_raw_fd(), CONTROL_FD_MIN).unwrap();
        assert!(copy.as_raw_fd() >= CONTROL_FD_MIN);
        assert_eq!(descriptor_flags(copy.as_raw_fd()), Some(libc::FD_CLOEXEC));
    }

    #[test]
    fn open_descriptors_are_listed() {
        let file = fs::File::open("/dev/null").unwrap();
        assert!(open_descriptors().unwrap().contains(&file.as_raw_fd()));
    }
}
