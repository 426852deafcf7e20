//! Tells a stack overflow from other memory faults, in processes that std has not started.
//!
//! std reports a stack overflow by a handler that its start-up installs, and its start-up runs only on the way to a
//! Rust `main`, where a worker never comes. Without it an overflow is a plain SIGSEGV, and the pool could not say what
//! happened. So this file does for workers what std does, with two differences: the pool gets prepared *last words*
//! over a socket, and the process dies of the true signal and not of SIGABRT, so that a core dump shows the fault.
//!
//! Each thread that is to be recognised holds an [`AltStack`]: with its own stack used up, a handler needs another one
//! to run on. What becomes of an overflow:
//!
//! | on | message | last words | dies of |
//! |---|---|---|---|
//! | a thread with an `AltStack`, the main one or not | yes | yes | SIGSEGV |
//! | a thread that a task has started, by `std::thread` or otherwise | no | no | SIGSEGV |
//!
//! The second row cannot be helped. std gives its threads an alternate stack only if its start-up has installed its
//! handler (a private flag says so), and there is no hook into the start of a thread. The kernel then finds no room for
//! the handler's frame and kills the process as if there were no handler.
//!
//! Every other fault, on any thread, passes through the handler without a trace: the default action is restored, and
//! the instruction that faulted runs again.
//!
//! Traps:
//!
//! - The handler may interrupt anything, `malloc` with its lock held included. It calls `getrlimit`, `write`, `send`,
//!   `sigaction`, `raise`, and nothing else; all that it says was prepared. Its thread-local is one without a
//!   destructor and with a constant start, which takes no allocation in an executable.
//! - SIGSEGV may also be *sent*. Nothing would fault again on return, so such a signal is raised once more.
//! - The main thread's stack grows. Its end is where the limit says at the time of the fault, and there is no guard
//!   page: the kernel refuses to grow it, and the address is one that is not mapped.
//! - C libraries disagree whether the guard is part of what they call the stack (glibc did until 2.27). Both sides of
//!   the end count.
//! - A frame larger than the guard can step over it, where the compiler does not probe (Rust does, C by default does
//!   not). Hence [`BELOW_GUARD`].
//! - After `fork` the child has the handler, the last words, and the `AltStack` of the thread that forked, by copy.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    fmt, io,
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::RawFd,
    ptr,
    sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering},
    thread,
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// How far below the guard a fault still counts as an overflow.
const BELOW_GUARD: usize = 64 * 1024;

/// How far above another mapping the kernel stops a growing stack (its `stack_guard_gap`).
const GROWTH_GAP: usize = 1024 * 1024;

/// What handlers get to run on, besides the frame that the kernel pushes. Ours needs little, but others that ask for
/// the alternate stack share it.
const HANDLER_STACK: usize = 64 * 1024;

/// So close to where the kernel has put random bytes, there is nothing but the main thread's stack.
const NEAR_TOP: usize = 64 * 1024;

/// From `siginfo.h`, missing in the `libc` crate: nothing is mapped at the address.
const SEGV_MAPERR: c_int = 1;

/// The signals of a memory fault.
const FAULTS: [Signal; 2] = [Signal::SIGSEGV, Signal::SIGBUS];

thread_local! {
    /// Written by `AltStack` on its own thread, read by the handler on that thread.
    static STACK: Cell<Option<ThreadStack>> = const { Cell::new(None) };
}

/// Where the last words go; -1 while there are none. Stored after the other two (Release) and loaded before them
/// (Acquire), so whoever sees the descriptor sees its words.
static LAST_WORDS_FD: AtomicI32 = AtomicI32::new(-1);
static LAST_WORDS: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LAST_WORDS_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Installs the handler, once in a process; again is harmless. A handler that is there already, for example a crash
/// reporter's that came with a C++ library, stays, and overflows are then its business.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub(crate) fn install() -> io::Result<()> {
    let ours = SigAction::new(
        SigHandler::SigAction(on_fault),
        SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK,
        SigSet::empty(),
    );
    for signal in FAULTS {
        // SAFETY: `on_fault` does only what a handler may do.
        let before = unsafe { sigaction(signal, &ours) }?;
        // A fault cannot be ignored, so that SIG_IGN comes to the same as SIG_DFL.
        if !matches!(before.handler(), SigHandler::SigDfl | SigHandler::SigIgn) {
            // SAFETY: the handler was there before.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

/// From now on an overflow sends `words` to `socket`, in one `send` that neither blocks nor raises SIGPIPE.
///
/// The descriptor must stay open until it is replaced here, and the words must make sense wherever they arrive: on a
/// stream to which another thread is writing, they may come in the middle of something.
pub(crate) fn set_last_words(socket: RawFd, words: &'static [u8]) {
    // A fault in between sends nothing, rather than new words to the old socket.
    LAST_WORDS_FD.store(-1, Ordering::SeqCst);
    LAST_WORDS.store(words.as_ptr().cast_mut(), Ordering::Relaxed);
    LAST_WORDS_LENGTH.store(words.len(), Ordering::Relaxed);
    LAST_WORDS_FD.store(socket, Ordering::Release);
}

/// Lets an overflow of the current thread's stack be recognised, for as long as it lives.
pub(crate) struct AltStack {
    /// `None` if the thread had an alternate stack already.
    mapping: Option<Mapping>,
    /// Alternate stacks belong to threads.
    not_send: PhantomData<*const ()>,
}

impl AltStack {
    /// Prepares the current thread, whose name must be final. A second one on the same thread only takes the name anew,
    /// and must be dropped before the first.
    ///
    /// # Errors
    ///
    /// There is no memory for the alternate stack, or the C library cannot tell where the thread's own stack is.
    pub(crate) fn install() -> io::Result<Self> {
        let stack = ThreadStack::of_current_thread()?;
        let mapping = match current_alternate_stack()? {
            Some(_) => None,
            None => Some(Mapping::new()?.put_to_use()?),
        };
        STACK.set(Some(stack));
        Ok(Self { mapping, not_send: PhantomData })
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping.take() else { return };
        STACK.set(None);
        let is_in_use =
            matches!(current_alternate_stack(), Ok(current) if current == Some(mapping.bottom()));
        let none = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: mapping.usable(),
        };
        // SAFETY: handlers run on the thread's own stack again. This is not called from a handler.
        if is_in_use && unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) } == 0 {
            drop(mapping);
        } else {
            // Somebody has put theirs in place, and may be going to restore ours: it has to stay.
            mapping.leak();
        }
    }
}

impl fmt::Debug for AltStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltStack").field("is_ours", &self.mapping.is_some()).finish_non_exhaustive()
    }
}

/// The lowest address of the current thread's alternate stack, if it has one.
fn current_alternate_stack() -> io::Result<Option<*mut c_void>> {
    let mut current = MaybeUninit::uninit();
    // SAFETY: changes nothing, and writes to a place of the right type.
    check(unsafe { libc::sigaltstack(ptr::null(), current.as_mut_ptr()) })?;
    // SAFETY: just written.
    let current: libc::stack_t = unsafe { current.assume_init() };
    Ok((current.ss_flags & libc::SS_DISABLE == 0).then_some(current.ss_sp))
}

/// Memory for an alternate stack, below it a page that cannot be written to. Unmapped when dropped.
struct Mapping {
    start: *mut c_void,
    guard: usize,
    length: usize,
}

impl Mapping {
    fn new() -> io::Result<Self> {
        let guard = page_size();
        // SAFETY: takes a number, returns a number. The frame is larger on processors with wide registers; a kernel
        // that does not say returns 0.
        let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
        let frame = usize::try_from(frame).unwrap_or(0).max(libc::MINSIGSTKSZ);
        let length = guard + (frame + HANDLER_STACK).next_multiple_of(guard);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new memory, at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Self { start, guard, length };
        // SAFETY: the first page of what was just mapped, and used by nobody.
        check(unsafe { libc::mprotect(start, guard, libc::PROT_NONE) })?;
        Ok(mapping)
    }

    /// Makes it the current thread's.
    fn put_to_use(self) -> io::Result<Self> {
        let stack = libc::stack_t { ss_sp: self.bottom(), ss_flags: 0, ss_size: self.usable() };
        // SAFETY: memory that nobody else uses, and that `AltStack` unmaps only when it is no stack any more.
        check(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) })?;
        Ok(self)
    }

    fn bottom(&self) -> *mut c_void {
        self.start.wrapping_byte_add(self.guard)
    }

    fn usable(&self) -> usize {
        self.length - self.guard
    }

    fn leak(mut self) {
        self.length = 0;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: mapped by `new` with this length, and not an alternate stack, as `AltStack` sees to.
            unsafe { libc::munmap(self.start, self.length) };
        }
    }
}

/// What the handler has to know of a thread.
#[derive(Clone, Copy)]
struct ThreadStack {
    /// Where the stack ends, downwards, when the thread had no more room. For the main thread, when this was asked.
    low: usize,
    high: usize,
    guard: usize,
    is_main: bool,
    name: Name,
}

impl ThreadStack {
    fn of_current_thread() -> io::Result<Self> {
        // The kernel has put random bytes on the stack that it made, next to where C libraries see its upper end. A
        // thread's number would not do: after `fork` the only thread is "main", wherever its stack is.
        // SAFETY: takes a number, returns a number.
        let random = unsafe { libc::getauxval(libc::AT_RANDOM) };
        let random = usize::try_from(random).unwrap_or(0);
        let local = 0_u8;
        let depth = random.wrapping_sub((&raw const local).addr());
        let bounds = if random != 0 && depth < NEAR_TOP && stack_limit().is_some() {
            // For the main thread glibc reads `/proc`, which takes long; and with a limit the upper end is enough.
            Ok((random, random, 0))
        } else {
            bounds_of_current_thread()
        };
        let (low, high, guard) = match bounds {
            Ok(bounds) => bounds,
            // For the main thread glibc reads `/proc`. Without it, only the upper end is known, nearly.
            Err(error) if error.kind() == io::ErrorKind::NotFound && random != 0 => {
                (random, random, 0)
            }
            Err(error) => return Err(error),
        };
        let is_main = (low..high + page_size()).contains(&random);
        let name = Name::of_current_thread(is_main);
        Ok(Self { low, high, guard: guard.max(page_size()), is_main, name })
    }

    /// Whether a fault at this address means that the stack was used up. Called in the handler.
    fn overflows_at(&self, address: usize, code: c_int) -> bool {
        if !self.is_main {
            let guard = self.low.saturating_sub(self.guard + BELOW_GUARD)..self.low + self.guard;
            return guard.contains(&address);
        }
        if code != SEGV_MAPERR {
            return false;
        }
        match stack_limit() {
            // Whatever is not mapped between the limit and the upper end is what the kernel refused to grow into.
            Some(limit) => {
                let low = self.high.saturating_sub(limit).min(self.low);
                (low.saturating_sub(BELOW_GUARD)..self.high).contains(&address)
            }
            // The stack has met another mapping. The rest of the way up is too much of the address space to claim.
            None => {
                let low = self.low.saturating_sub(BELOW_GUARD);
                (low..self.low + GROWTH_GAP + BELOW_GUARD).contains(&address)
            }
        }
    }
}

/// Where the current thread's stack starts and ends, and the size of its guard, as the C library knows them.
fn bounds_of_current_thread() -> io::Result<(usize, usize, usize)> {
    let mut attributes = MaybeUninit::zeroed();
    // SAFETY: takes nothing, returns this thread's handle.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: the thread is alive, being this one, and the place is of the right type.
    errno(unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) })?;
    // SAFETY: just written.
    let mut attributes: libc::pthread_attr_t = unsafe { attributes.assume_init() };
    let (mut start, mut size, mut guard) = (ptr::null_mut(), 0, 0);
    // SAFETY: valid attributes, and places of the right types.
    let asked = unsafe {
        libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size)
    };
    // SAFETY: as above. It cannot fail with valid attributes, and then the size stays 0.
    unsafe { libc::pthread_attr_getguardsize(&raw const attributes, &raw mut guard) };
    // SAFETY: valid, and not used any more.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    errno(asked)?;
    Ok((start.addr(), start.addr() + size, guard))
}

/// How large the main thread's stack may become, or `None` for as large as it likes. Called in the handler.
fn stack_limit() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a place of the right type. On failure it stays as it is.
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    if limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    usize::try_from(limit.rlim_cur).ok()
}

/// A thread's name where the handler can read it, cut if it is long.
#[derive(Clone, Copy)]
struct Name {
    bytes: [u8; 64],
    length: usize,
}

impl Name {
    fn of_current_thread(is_main: bool) -> Self {
        let current = thread::current();
        // std calls the main thread so, but only after its start-up.
        Self::new(current.name().unwrap_or(if is_main { "main" } else { "<unnamed>" }))
    }

    fn new(name: &str) -> Self {
        let mut bytes = [0; 64];
        let length = name.floor_char_boundary(bytes.len());
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The handler. It restores the default action in any case, and the fault happens again.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid description, for the duration of this call.
    let info = unsafe { &*info };
    // Zero and below are what processes send; of such a signal the rest says who, not where.
    let is_fault = info.si_code > 0;
    if is_fault {
        // SAFETY: this is the description of a fault, which has an address.
        let address = unsafe { info.si_addr() }.addr();
        if let Ok(Some(stack)) = STACK.try_with(Cell::get)
            && stack.overflows_at(address, info.si_code)
        {
            report(&stack.name);
        }
    }
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    if let Ok(signal) = Signal::try_from(signal) {
        // SAFETY: the default action runs no code of ours.
        let restored = unsafe { sigaction(signal, &default) };
        if restored.is_err() {
            // It fails only for signals that do not exist. But then the fault would come back here for ever.
            // SAFETY: ends the process, at once and without running anything.
            unsafe { libc::_exit(128 + signal as c_int) };
        }
    }
    if !is_fault {
        // Blocked until this returns, and then it ends the process.
        // SAFETY: raising a signal that just came.
        unsafe { libc::raise(signal) };
    }
}

/// Says that the stack has overflowed. Called in the handler; nobody is left to be told of failures.
fn report(name: &Name) {
    const BEFORE: &[u8] = b"\nthread '";
    const AFTER: &[u8] = b"' has overflowed its stack\n";

    // In one piece, lest others' output comes in between.
    let mut message = [0; BEFORE.len() + 64 + AFTER.len()];
    let mut length = 0;
    for part in [BEFORE, name.as_bytes(), AFTER] {
        for (to, from) in message.iter_mut().skip(length).zip(part) {
            *to = *from;
        }
        length += part.len();
    }
    // SAFETY: the length is that of what was filled in, at most that of the buffer.
    unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), length) };

    // Acquire: pairs with the Release in `set_last_words`.
    let socket = LAST_WORDS_FD.load(Ordering::Acquire);
    if socket >= 0 {
        let words = LAST_WORDS.load(Ordering::Relaxed);
        let length = LAST_WORDS_LENGTH.load(Ordering::Relaxed);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: pointer and length are those of a static slice.
        unsafe { libc::send(socket, words.cast_const().cast(), length, flags) };
    }
}

fn page_size() -> usize {
    // SAFETY: takes a number, returns a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The result of a system call.
fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The result of a function of the pthread family, which returns its error.
fn errno(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(is_main: bool) -> ThreadStack {
        let (low, high) = (0x7000_0000_0000, 0x7000_0080_0000);
        ThreadStack { low, high, guard: 4096, is_main, name: Name::new("test") }
    }

    /// From `siginfo.h`: mapped, but not for this kind of access.
    const SEGV_ACCERR: c_int = 2;

    #[test]
    fn a_threads_overflow_is_around_its_guard() {
        let stack = stack(false);
        for code in [SEGV_MAPERR, SEGV_ACCERR] {
            for address in [stack.low - 1, stack.low - 4096, stack.low - 8192, stack.low + 100] {
                assert!(stack.overflows_at(address, code), "{address:#x}");
            }
            for address in [0, 8, stack.low - (1 << 20), stack.low + 4096, stack.high, usize::MAX] {
                assert!(!stack.overflows_at(address, code), "{address:#x}");
            }
        }
    }

    #[test]
    fn the_main_threads_overflow_is_where_it_could_not_grow() {
        let stack = stack(true);
        for address in [stack.low - 1, stack.low - 4096, stack.low + 4096] {
            assert!(stack.overflows_at(address, SEGV_MAPERR), "{address:#x}");
            assert!(!stack.overflows_at(address, SEGV_ACCERR), "{address:#x}");
        }
        for address in [0, 8, stack.high, usize::MAX] {
            assert!(!stack.overflows_at(address, SEGV_MAPERR), "{address:#x}");
        }
    }

    #[test]
    fn this_thread_is_found_on_its_own_stack() {
        thread::Builder::new()
            .name("somebody".to_owned())
            .spawn(|| {
                let stack = ThreadStack::of_current_thread().unwrap();
                let local = 0_u8;
                assert!((stack.low..stack.high).contains(&(&raw const local).addr()));
                assert!(!stack.is_main);
                assert_eq!(stack.name.as_bytes(), b"somebody");
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(Name::new(&"ä".repeat(40)).as_bytes(), "ä".repeat(32).as_bytes());
        assert_eq!(Name::new(&format!("a{}", "ä".repeat(40))).as_bytes().len(), 63);
    }

    /// A thread made without std, which has given its own threads an alternate stack in a test binary.
    fn on_bare_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) {
        let mut thread = MaybeUninit::uninit();
        // SAFETY: default attributes, a place of the right type, and a body that takes no notice of its argument.
        let made = unsafe {
            libc::pthread_create(thread.as_mut_ptr(), ptr::null(), body, ptr::null_mut())
        };
        errno(made).unwrap();
        // SAFETY: just written.
        let thread = unsafe { thread.assume_init() };
        // SAFETY: a thread that was neither joined nor detached.
        errno(unsafe { libc::pthread_join(thread, ptr::null_mut()) }).unwrap();
    }

    #[test]
    fn an_alternate_stack_comes_and_goes() {
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            assert_eq!(current_alternate_stack().unwrap(), None);
            let first = AltStack::install().unwrap();
            let installed = current_alternate_stack().unwrap();
            assert!(installed.is_some());
            let second = AltStack::install().unwrap();
            assert!(second.mapping.is_none());
            drop(second);
            assert_eq!(current_alternate_stack().unwrap(), installed);
            assert!(STACK.get().is_some());
            drop(first);
            assert_eq!(current_alternate_stack().unwrap(), None);
            assert!(STACK.get().is_none());
            ptr::null_mut()
        }
        on_bare_thread(body);
    }
}
