//! Starting the fork server, and all that a worker needs of this process.

use std::{
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
    unistd::{Pid, pipe2},
};

use crate::{
    boot::{self, Role},
    message::Prepare,
    region::Region,
    supervisor::{
        Context,
        link::{Link, Stderr},
        reactor::{Reactor, Source},
    },
    sys,
};

/// The process of the fork server, which is a child of this one.
pub(crate) struct ServerProcess {
    child: Child,
    /// Readable when it has ended. Without it, as on old kernels, the end of the connection says the same.
    pidfd: Option<OwnedFd>,
}

impl ServerProcess {
    pub(crate) fn kill(&mut self) {
        // By its descriptor: its number may be somebody else's already, if the program reaps children that are not its own.
        match &self.pidfd {
            Some(pidfd) => sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL),
            None => drop(self.child.kill()),
        }
    }

    /// Waits for it, which has ended or is about to, and says how.
    pub(crate) fn reap(&mut self, reactor: &Reactor) -> ServerStatus {
        if let Some(pidfd) = &self.pidfd {
            reactor.forget(pidfd.as_fd());
        }
        // Without effect on one that has ended by itself.
        self.kill();
        let pid = Pid::from_raw(self.child.id().cast_signed());
        // What was preloaded may have started programs, which are in the server's group. It is known by the server's number,
        // which is nobody else's as long as nobody has reaped the server.
        if sys::is_own_child(pid) {
            sys::send_signal(pid, libc::SIGKILL, true);
        }
        ServerStatus(self.child.wait())
    }
}

pub(crate) struct ServerStatus(io::Result<std::process::ExitStatus>);

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(status) => status.fmt(f),
            // The program reaps all children itself, or has the kernel do it.
            Err(_) => f.write_str("somebody else has learnt how"),
        }
    }
}

fn connection() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

/// This very executable, even if the file has been replaced or deleted.
fn executable() -> io::Result<PathBuf> {
    let path = PathBuf::from("/proc/self/exe");
    if path.exists() {
        return Ok(path);
    }
    // Without /proc there is only the name under which it was found once. The build id says whether it is the same still.
    sys::executable_path().filter(|path| path.exists()).ok_or_else(|| {
        let what = "neither /proc/self/exe nor the path of this executable is there";
        io::Error::new(io::ErrorKind::NotFound, what)
    })
}

/// A connection to a fork server that is yet to be executed, with what it has to know on its way; and the server's end.
pub(crate) fn server_link(cx: &Context, id: u64) -> io::Result<(Arc<Link>, OwnedFd)> {
    let (ours, theirs) = connection()?;
    let link = Arc::new(Link::new(ours, Source::Link(id), None));
    cx.reactor.watch(link.as_fd(), Source::Link(id))?;
    let prepare = Prepare {
        build_id: cx.image.build_id(),
        method: cx.config.method,
        preload: cx.config.preload.clone(),
    };
    link.send(&cx.reactor, Arc::new(prepare.encode()), Vec::new());
    Ok((link, theirs))
}

/// Executes the fork server.
pub(crate) fn server(cx: &Context, id: u64, theirs: OwnedFd) -> io::Result<ServerProcess> {
    let mut command = Command::new(executable()?);
    command.stdin(Stdio::from(theirs));
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    for (name, value) in &cx.config.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(directory) = &cx.config.directory {
        command.current_dir(directory);
    }
    // Not in the group of this process: an interrupt from the terminal is for the program to deal with. And nothing that
    // would have std fork instead of spawning, which takes long in a large process.
    command.env(boot::MARKER_VARIABLE, boot::marker(Role::Server)).process_group(0);
    let child = command.spawn()?;
    // The command still holds the server's end of the connection.
    drop(command);
    // If it cannot be watched, for want of descriptors or on an old kernel, the end of the connection has to do.
    let pidfd = sys::pidfd_open(Pid::from_raw(child.id().cast_signed()))
        .ok()
        .filter(|pidfd| cx.reactor.watch(pidfd.as_fd(), Source::Process(id)).is_ok());
    Ok(ServerProcess { child, pidfd })
}

/// The pool's ends of a worker's connection and standard error, and the ends that are for the worker.
pub(crate) fn worker(cx: &Context, id: u64) -> io::Result<(Arc<Link>, Arc<Stderr>, Vec<OwnedFd>)> {
    let (ours, theirs) = connection()?;
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    // Not for the worker's end, which is to be as programs expect it.
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let region = if cx.config.shared_memory { Region::create()? } else { None };
    let link = Arc::new(Link::new(ours, Source::Link(id), region));
    let stderr = Arc::new(Stderr::new(read));
    cx.reactor.watch(link.as_fd(), Source::Link(id))?;
    cx.reactor.watch(stderr.as_fd(), Source::Stderr(id))?;
    Ok((link, stderr, vec![theirs, write]))
}
