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
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
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
            SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal as SignalNumber, killpg,
            sigaction, sigprocmask,
        },
        signalfd::{SfdFlags, SignalFd},
        socket::{MsgFlags, getsockopt, sockopt},
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
    let means = match Means::new(&inbox, prepare.method) {
        Ok(means) => means,
        Err(error) => {
            let error = TaskError::failed(format!("the fork server could not be set up: {error}"));
            drop(send_all(&inbox.socket, &encode_failure(Kind::Unready, 0, &error)));
            process::exit(1);
        }
    };
    let mut server = Server { inbox, means, children: HashMap::new() };
    match server.serve() {
        Ok(()) => {
            server.kill_all();
            process::exit(0)
        }
        Err(_gone) => {
            server.kill_all();
            // Without what the program wants done at its exit: it is not known to be in a state for that. And with the
            // programs that what was preloaded has started.
            sys::send_signal(Pid::this(), libc::SIGKILL, true);
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
                    return Ok(Prepare::decode(&frame, image)?);
                }
                Read::Frame(frame) => return Err(unexpected(&frame).into()),
                Read::Pending => {}
                Read::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// The process that made the connection, and is the parent of this one as long as it lives.
    fn pool(&self) -> Option<Pid> {
        let maker = getsockopt(&self.socket, sockopt::PeerCredentials).ok()?;
        Some(Pid::from_raw(maker.pid()))
    }

    /// Whether the pool's process has ended, while a process that it has forked may hold the connection open.
    fn pool_is_gone(&self) -> bool {
        self.pool().is_some_and(|pool| pool != getppid())
    }

    fn read(&mut self, flags: MsgFlags) -> io::Result<Read> {
        let Self { socket, decoder, fds } = self;
        decoder.read(|buffer| sys::receive_with_fds(socket.as_fd(), buffer, fds, flags))
    }

    /// Runs `f`, and is killed if the pool goes away meanwhile, which sends nothing at that time.
    ///
    /// There is no thread to watch the connection, and there must be none; but SIGIO, sent when something happens to the
    /// socket, ends a process that does nothing about it.
    fn killed_if_closed<R>(&self, f: impl FnOnce() -> R) -> R {
        let fd = self.socket.as_fd();
        sys::own_signals_of(fd);
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_ASYNC)).ok();
        // What happened before raises no signal any more.
        let mut fds = [PollFd::new(fd, PollFlags::empty())];
        if poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) || self.pool_is_gone() {
            sys::exit_now(1);
        }
        let result = f();
        fcntl(fd, FcntlArg::F_SETFL(OFlag::empty())).ok();
        result
    }
}

fn unexpected(frame: &Frame) -> ProtocolError {
    ProtocolError(format!("a {:?} frame out of turn", frame.kind))
}

struct Server {
    inbox: Inbox,
    means: Means,
    children: HashMap<Pid, u64>,
}

/// What it takes to start workers, and to notice what happens meanwhile.
struct Means {
    /// Tells of children that have ended.
    signals: SignalFd,
    /// The signal mask for workers.
    mask: SigSet,
    /// What workers are to do about signals that this process treats in its own way.
    actions: [(SignalNumber, SigAction); 2],
    /// The process that the pool is in, if it can be watched.
    pool: Option<OwnedFd>,
    /// The executable and the environment of workers that are executed.
    program: Option<Program>,
}

impl Means {
    fn new(inbox: &Inbox, method: Method) -> io::Result<Self> {
        // A program that ignores this signal has its children reaped by the kernel, and hands that down to those that it
        // executes. Here it would hide how workers end.
        let act = |signal, handler| {
            let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
            // SAFETY: neither of the two handlers below runs any code.
            unsafe { sigaction(signal, &action) }.map(|before| (signal, before))
        };
        let actions = [
            act(SignalNumber::SIGCHLD, SigHandler::SigDfl)?,
            // The kernel sends it, and then SIGCONT, if this process is stopped when the pool's ends. Dying of it would have
            // the workers killed before they can kill what they have started.
            act(SignalNumber::SIGHUP, SigHandler::SigIgn)?,
        ];
        let mut mask = SigSet::empty();
        let blocked = SigSet::from(SignalNumber::SIGCHLD);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut mask))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&blocked, flags)?;
        // A thread that the program's initialisers have left here, or what was preloaded, might hold a lock when a worker
        // is forked, which nobody in the worker would ever release.
        let has_threads = sys::thread_count().is_some_and(|threads| threads > 1);
        let executes = method == Method::Execute || has_threads;
        let program = executes.then(Program::new).transpose()?;
        let pool = inbox.pool().and_then(|pool| sys::pidfd_open(pool).ok());
        // Only now is it certain which process that is: as long as it is the parent, nobody else has its pid.
        if inbox.pool_is_gone() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self { signals, mask, actions, pool, program })
    }
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
        writeln!(io::stderr(), "could not execute a worker: {}", errno.desc()).ok();
        sys::exit_now(EXIT_NOT_EXECUTED)
    }
}

impl Server {
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
            PollFd::new(self.means.signals.as_fd(), PollFlags::POLLIN),
        ];
        // The connection may be held open by a process that the pool's has forked, so its end is not all to look for.
        fds.extend(self.means.pool.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
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
                    // The kernel drops those for which there is no room, because what was preloaded has opened so many
                    // files, or the limit was lowered. There is one frame with descriptors at a time.
                    self.inbox.fds.clear();
                    let errno = libc::EMFILE.to_le_bytes();
                    let reply = FrameBuilder::new(Kind::NotForked, frame.id).array(errno).finish();
                    return send_all(&self.inbox.socket, &reply);
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
        // SAFETY: this process has a single thread, as `Means` has made sure of, or else the child does nothing but execute
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
        for (signal, action) in &self.means.actions {
            // SAFETY: the action was this process's before.
            unsafe { sigaction(*signal, action) }.ok();
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.means.mask), None).ok();
        if let Some(program) = &self.means.program {
            // Everything else is closed on execution.
            program.execute(&control);
        }
        // What is left open is what was opened by what was preloaded, for the workers to use.
        for fd in [self.inbox.socket.as_fd(), self.means.signals.as_fd(), stderr.as_fd()] {
            sys::close(fd.as_raw_fd());
        }
        if let Some(pool) = &self.means.pool {
            sys::close(pool.as_raw_fd());
        }
        // Where it is in a worker that was executed.
        let control = match boot::duplicate(control.as_raw_fd(), boot::CONTROL_FD_MIN) {
            Ok(high) => {
                drop(control);
                high
            }
            // A limit on descriptors may forbid high ones.
            Err(_) => control,
        };
        let name = CString::new(format!("worker-{worker}")).unwrap_or_default();
        sys::set_process_name(&name);
        worker::main(control)
    }

    /// Reports children that have ended.
    fn reap(&mut self) -> io::Result<()> {
        while let Ok(Some(_)) = self.means.signals.read_signal() {}
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
            sys::send_signal(*pid, libc::SIGKILL, true);
        }
        let start = Instant::now();
        while !self.children.is_empty() && start.elapsed() < REAP_TIME_MAX {
            match reap_one() {
                Some((pid, _)) => drop(self.children.remove(&pid)),
                None => {
                    let mut fds = [PollFd::new(self.means.signals.as_fd(), PollFlags::POLLIN)];
                    poll(&mut fds, PollTimeout::from(20_u8)).ok();
                    while let Ok(Some(_)) = self.means.signals.read_signal() {}
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
