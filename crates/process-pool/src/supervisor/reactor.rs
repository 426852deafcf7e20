//! Waiting for whatever happens next, by any number of threads at once.
//!
//! Everything is edge-triggered: an event goes to one thread, which reads until nothing is left. Events name what they are
//! about by number, not by address, so that one which comes late for a worker that is gone finds nothing in the table.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    eventfd::{EfdFlags, EventFd},
};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody wants a thread to look at the table again.
    Wake,
    /// The connection to a worker or to the server.
    Link(u64),
    /// A worker's standard error.
    Stderr(u64),
    /// The end of the server's process.
    Process(u64),
}

impl Source {
    fn to_number(self) -> u64 {
        match self {
            Self::Wake => 0,
            Self::Link(id) => id << 2 | 1,
            Self::Stderr(id) => id << 2 | 2,
            Self::Process(id) => id << 2 | 3,
        }
    }

    fn from_number(number: u64) -> Self {
        let id = number >> 2;
        match number & 3 {
            0 => Self::Wake,
            1 => Self::Link(id),
            2 => Self::Stderr(id),
            _ => Self::Process(id),
        }
    }
}

pub(crate) struct Reactor {
    epoll: Epoll,
    wake: EventFd,
}

/// How many events a thread takes at once. One: the others are for other threads, as the user's code may come of each.
const EVENTS_MAX: usize = 1;

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let reactor = Self { epoll, wake };
        reactor.watch(reactor.wake.as_fd(), Source::Wake)?;
        Ok(reactor)
    }

    fn event(source: Source, room: bool) -> EpollEvent {
        let mut flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        flags.set(EpollFlags::EPOLLOUT, room);
        EpollEvent::new(flags, source.to_number())
    }

    pub(crate) fn watch(&self, fd: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        Ok(self.epoll.add(fd, Self::event(source, false))?)
    }

    /// Has somebody come when there is room to send, at once if there is already; or no more.
    pub(crate) fn set_room_awaited(&self, fd: BorrowedFd<'_>, source: Source, awaited: bool) {
        // It fails only for a descriptor that is not watched any more, about which nobody cares.
        self.epoll.modify(fd, &mut Self::event(source, awaited)).ok();
    }

    pub(crate) fn forget(&self, fd: BorrowedFd<'_>) {
        self.epoll.delete(fd).ok();
    }

    /// Has one thread return from `wait`.
    pub(crate) fn wake(&self) {
        // It fails only if the counter is at its end, and then threads are being woken as it is.
        self.wake.write(1).ok();
    }

    /// Waits for the next event, or until the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Source> {
        let timeout = match deadline {
            None => EpollTimeout::NONE,
            Some(deadline) => {
                // Rounded up, so as not to come back too early, and again and again.
                let left = deadline.saturating_duration_since(Instant::now());
                let left = left.checked_add(Duration::from_micros(999)).unwrap_or(left);
                EpollTimeout::from(u16::try_from(left.as_millis()).unwrap_or(u16::MAX))
            }
        };
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        match self.epoll.wait(&mut events, timeout) {
            Ok(1..) => Some(Source::from_number(events[0].data())),
            Ok(0) | Err(_) => None,
        }
    }
}
