//! What the fork server does: it is the same executable as the pool, started once, and starts the workers.
//!
//! It has one thread and keeps it that way, which is why it may fork; the program that the pool is in has any number of
//! threads, whose locks a forked child would find held for ever. A worker costs a fork, a fraction of what executing
//! costs, and shares memory that was filled before with its siblings until one of them writes to it.
//!
//! It is the parent of all workers, whichever way they are started, and so the one who knows for sure how each ended: it
//! reaps them, and nobody can come between as long as it has not. So it also sends them signals on behalf of the pool: the
//! process id of a worker that was not reaped belongs to nobody else. Whatever a worker leaves in its process group is
//! killed with it.
//!
//! When the pool goes, by whatever means, the connection is closed, and the server kills all workers with their groups. When
//! the server is killed, the kernel kills the workers (`PR_SET_PDEATHSIG`, which is reliable here as the thread that forks
//! is the process), and the pool notices and starts another server.

use std::{
    collections::{HashMap, VecDeque},
    ffi::{CStr, CString},
    fs::File,
    io::{self, IoSliceMut, Write},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    os::unix::ffi::OsStringExt,
    process,
    time::{Duration, Instant},
};

use concurrent_futures_executor::future::TaskError;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{
            SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal as SignalNumber, killpg, sigaction,
            sigprocmask,
        },
        signalfd::{SfdFlags, SignalFd},
        socket::{ControlMessageOwned, MsgFlags, recvmsg},
    },
    unistd::{Pid, dup2_stderr, dup2_stdin, getppid, setpgid},
};

use crate::{
    boot::{self, Role},
    crash,
    frame::{Decoder, Frame, FrameBuilder, Kind, ProtocolError, Read},
    image::Image,
    message::{Ending, Hello, Method, Prepare, Signal, encode_failure},
    sys,
    transport::{Blocking, Socket, send_all},
    worker,
};

/// How long the workers may take to be gone after the server has killed them, before it goes itself.
const REAP_TIME_MAX: Duration = Duration::from_secs(1);

/// What a worker exits with that could not be executed, as shells do.
const EXIT_NOT_EXECUTED: i32 = 127;

/// The life of a fork server, which has just been executed.
pub(crate) fn main(control: OwnedFd) -> ! {
    let Ok(image) = Image::get() else { process::exit(1) };
    let socket = Socket::new(control, Blocking::Yes);
    worker::name_stack_overflow(&socket);
    let _alternate_stack = crash::AltStack::install();
    sys::set_process_name(c"fork-server");
    let mut inbox = Inbox::new(socket);
    let prepare = match inbox.greet(image) {
        Ok(prepare) => prepare,
        Err(_closed) => process::exit(1),
    };
    if let Some(call) = &prepare.preload {
        let outcome = inbox.killed_if_closed(|| worker::run_setup(image, call));
        // What it has printed without a newline would otherwise be printed by every worker.
        drop(io::stdout().flush());
        if let Err(error) = outcome {
            drop(send_all(&inbox.socket, &encode_failure(Kind::Unready, 0, &error)));
            process::exit(1);
        }
    }
    let mut server = match Server::new(inbox, prepare.method) {
        Ok(server) => server,
        Err((inbox, error)) => {
            let error = TaskError::failed(format!("the fork server could not be set up: {error}"));
            drop(send_all(&inbox.socket, &encode_failure(Kind::Unready, 0, &error)));
            process::exit(1);
        }
    };
    match server.serve() {
        Ok(()) => {
            server.kill_all();
            process::exit(0)
        }
        Err(_gone) => {
            server.kill_all();
            // Without what the program wants done at its exit: it is not known to be in a state for that.
            sys::exit_now(1)
        }
    }
}

/// What comes from the pool: frames, and the descriptors that travel with them.
struct Inbox {
    socket: Socket,
    decoder: Decoder,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    fn new(socket: Socket) -> Self {
        Self { socket, decoder: Decoder::default(), fds: VecDeque::new() }
    }

    fn greet(&mut self, image: &Image) -> io::Result<Prepare> {
        send_all(&self.socket, &Hello::own(image).encode())?;
        loop {
            match self.read(MsgFlags::empty())? {
                Read::Frame(frame) if frame.kind == Kind::Prepare => {
                    return Ok(Prepare::decode(&frame)?);
                }
                Read::Frame(frame) => return Err(unexpected(&frame).into()),
                Read::Pending => {}
                Read::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn read(&mut self, flags: MsgFlags) -> io::Result<Read> {
        let Self { socket, decoder, fds } = self;
        decoder.read(|buffer| receive_with_fds(socket, buffer, fds, flags))
    }

    /// Runs `f`, and is killed if the pool goes away meanwhile, which sends nothing at that time.
    ///
    /// There is no thread to watch the connection, and there must be none; but SIGIO, sent when something happens to the
    /// socket, ends a process that does nothing about it.
    fn killed_if_closed<R>(&self, f: impl FnOnce() -> R) -> R {
        let fd = self.socket.as_fd();
        sys::own_signals_of(fd);
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_ASYNC)).ok();
        let result = f();
        fcntl(fd, FcntlArg::F_SETFL(OFlag::empty())).ok();
        result
    }
}

fn receive_with_fds(
    socket: &Socket,
    buffer: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
    flags: MsgFlags,
) -> io::Result<usize> {
    let mut space = nix::cmsg_space!([RawFd; 16]);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let fd = socket.as_fd().as_raw_fd();
    let received = recvmsg::<()>(fd, &mut buffers, Some(&mut space), flags)?;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = message {
            // SAFETY: the kernel has just made these for this process, and nobody else knows of them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(received.bytes)
}

fn unexpected(frame: &Frame) -> ProtocolError {
    ProtocolError(format!("a {:?} frame out of turn", frame.kind))
}

struct Server {
    inbox: Inbox,
    /// Tells of children that have ended.
    signals: SignalFd,
    /// The signal mask for workers, and what they do about a child that has ended.
    mask: SigSet,
    on_child: SigAction,
    /// The process that the pool is in, if it can be watched.
    pool: Option<OwnedFd>,
    /// The executable and the environment of workers that are executed.
    program: Option<Program>,
    children: HashMap<Pid, u64>,
}

/// What to execute. Put together before any fork, as little should be done between that and the execution.
struct Program {
    file: File,
    environment: Vec<CString>,
}

impl Program {
    fn new() -> io::Result<Self> {
        // Still the same file when somebody has replaced or deleted it meanwhile.
        let file = File::open("/proc/self/exe").or_else(|error| match sys::executable_path() {
            Some(path) => File::open(path),
            None => Err(error),
        })?;
        let own = std::env::vars_os().map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            entry
        });
        let marker = format!("{}={}", boot::MARKER_VARIABLE, boot::marker(Role::Worker));
        let environment =
            own.chain([marker.into_bytes()]).filter_map(|entry| CString::new(entry).ok()).collect();
        Ok(Self { file, environment })
    }

    /// Becomes the program, with `control` for its standard input.
    fn execute(&self, control: &OwnedFd) -> ! {
        let outcome = dup2_stdin(control).and_then(|()| {
            let (path, arguments): (&CStr, [&CStr; 1]) = (c"", [c"worker"]);
            nix::unistd::execveat(
                self.file.as_fd(),
                path,
                &arguments,
                &self.environment,
                nix::fcntl::AtFlags::AT_EMPTY_PATH,
            )
        });
        let Err(errno) = outcome;
        let _ = writeln!(io::stderr(), "could not execute a worker: {}", errno.desc());
        sys::exit_now(EXIT_NOT_EXECUTED)
    }
}

impl Server {
    fn new(inbox: Inbox, method: Method) -> Result<Self, (Inbox, io::Error)> {
        let set_up = || -> io::Result<_> {
            let mut mask = SigSet::empty();
            let blocked = SigSet::from(SignalNumber::SIGCHLD);
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut mask))?;
            // If it is ignored, as it is if the program ignores it, the kernel reaps children, and nobody learns how they
            // have ended, or that they have.
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is installed.
            let on_child = unsafe { sigaction(SignalNumber::SIGCHLD, &default) }?;
            let signals =
                SignalFd::with_flags(&blocked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
            // A thread that the program's initialisers have left here, or what was preloaded, might hold a lock when a
            // worker is forked, which nobody in the worker would ever release.
            let method = if sys::thread_count().is_some_and(|threads| threads > 1) {
                Method::Execute
            } else {
                method
            };
            let program = (method == Method::Execute).then(Program::new).transpose()?;
            Ok((signals, mask, on_child, program))
        };
        let (signals, mask, on_child, program) = match set_up() {
            Ok(parts) => parts,
            Err(error) => return Err((inbox, error)),
        };
        let pool = sys::pidfd_open(getppid()).ok();
        Ok(Self { inbox, signals, mask, on_child, pool, program, children: HashMap::new() })
    }

    /// Does what the pool asks for, until it asks to end. An error is the end of the connection.
    fn serve(&mut self) -> io::Result<()> {
        send_all(&self.inbox.socket, &FrameBuilder::new(Kind::Ready, 0).finish())?;
        loop {
            self.reap()?;
            loop {
                match self.inbox.read(MsgFlags::MSG_DONTWAIT)? {
                    Read::Frame(frame) if frame.kind == Kind::Exit => return Ok(()),
                    Read::Frame(frame) => self.obey(&frame)?,
                    Read::Pending => break,
                    Read::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            self.sleep()?;
        }
    }

    fn sleep(&self) -> io::Result<()> {
        let mut fds = vec![
            PollFd::new(self.inbox.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        // The connection may be held open by a process that the pool's has forked, so its end is not all to look for.
        fds.extend(self.pool.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let pool_is_gone = fds.get(2).is_some_and(|fd| fd.any() == Some(true));
        if pool_is_gone { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn obey(&mut self, frame: &Frame) -> io::Result<()> {
        match frame.kind {
            Kind::Start => {
                let (Some(control), Some(stderr)) =
                    (self.inbox.fds.pop_front(), self.inbox.fds.pop_front())
                else {
                    let error = ProtocolError("a Start frame without descriptors".to_owned());
                    return Err(error.into());
                };
                self.start(frame.id, control, stderr)
            }
            Kind::Signal => {
                let signal = Signal::decode(frame)?;
                // One that has ended meanwhile is not there any more; its pid is not anybody else's before it is reaped,
                // and then it is not in the table.
                for (pid, _) in self.children.iter().filter(|(_, worker)| **worker == frame.id) {
                    sys::send_signal(*pid, signal.number, signal.group);
                }
                Ok(())
            }
            _ => Err(unexpected(frame).into()),
        }
    }

    fn start(&mut self, worker: u64, control: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        let server = std::process::id();
        // SAFETY: this process has a single thread, as `new` has made sure of, or else the child does nothing but execute
        // the program anew: see `become_worker`.
        #[expect(clippy::disallowed_methods, reason = "this is the module that forks")]
        let forked = unsafe { libc::fork() };
        let reply = match forked {
            0 => self.become_worker(worker, server, control, &stderr),
            -1 => {
                let errno = Errno::last_raw();
                FrameBuilder::new(Kind::NotForked, worker).array(errno.to_le_bytes()).finish()
            }
            pid => {
                let child = Pid::from_raw(pid);
                // Both sides do it, so that it has been done when either goes on. It fails if the child has executed the
                // program already, which it does only after it has done this itself.
                setpgid(child, child).ok();
                self.children.insert(child, worker);
                FrameBuilder::new(Kind::Forked, worker).array(pid.to_le_bytes()).finish()
            }
        };
        send_all(&self.inbox.socket, &reply)
    }

    /// What the child does.
    fn become_worker(&mut self, worker: u64, server: u32, control: OwnedFd, stderr: &OwnedFd) -> ! {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).ok();
        prctl::set_pdeathsig(SignalNumber::SIGKILL).ok();
        if u32::try_from(getppid().as_raw()) != Ok(server) {
            // The server died before the line above.
            sys::exit_now(1);
        }
        dup2_stderr(stderr).ok();
        // SAFETY: it was in force before, with the same code.
        unsafe { sigaction(SignalNumber::SIGCHLD, &self.on_child) }.ok();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None).ok();
        if let Some(program) = &self.program {
            // Everything else is closed on execution.
            program.execute(&control);
        }
        // What is left open is what was opened by what was preloaded, for the workers to use.
        for fd in [self.inbox.socket.as_fd(), self.signals.as_fd(), stderr.as_fd()] {
            sys::close(fd.as_raw_fd());
        }
        if let Some(pool) = &self.pool {
            sys::close(pool.as_raw_fd());
        }
        let name = CString::new(format!("worker-{worker}")).unwrap_or_default();
        sys::set_process_name(&name);
        worker::main(control)
    }

    /// Reports children that have ended.
    fn reap(&mut self) -> io::Result<()> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        while let Some((pid, ending)) = reap_one() {
            if let Some(worker) = self.children.remove(&pid) {
                send_all(&self.inbox.socket, &ending.encode(worker))?;
            }
        }
        Ok(())
    }

    /// Kills all workers and their groups, and sees to it that they are gone.
    fn kill_all(&mut self) {
        for pid in self.children.keys() {
            killpg(*pid, SignalNumber::SIGKILL).ok();
        }
        let start = Instant::now();
        while !self.children.is_empty() && start.elapsed() < REAP_TIME_MAX {
            match reap_one() {
                Some((pid, _)) => drop(self.children.remove(&pid)),
                None => {
                    let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
                    poll(&mut fds, PollTimeout::from(20_u8)).ok();
                    while let Ok(Some(_)) = self.signals.read_signal() {}
                }
            }
        }
    }
}

/// Reaps a child that has ended, if there is one, after killing what is left of its group.
fn reap_one() -> Option<(Pid, Ending)> {
    let pid = sys::ended_child()?;
    // The pid is still the child's, so the group is still the child's.
    killpg(pid, SignalNumber::SIGKILL).ok();
    Some((pid, sys::reap(pid)))
}
