//! The pool's end of the connection to one process: what is still to be sent, what has come in part, and what the
//! process writes to its standard error.
//!
//! Reading and writing have a lock each, so that a large result which is coming in does not hold up a submission. The
//! order of locks is: decoder of the server, decoder of a worker, the table, an outbox. Nobody waits for a descriptor
//! with any of them held.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown};

use crate::{
    frame::{Decoder, Read},
    supervisor::reactor::{Reactor, Source},
    transport::{Blocking, Socket, Transport},
};

/// How much of what a worker wrote to its standard error is kept for the error of its last task.
pub(crate) const TAIL_MAX: usize = 64 * 1024;

/// How many frames are sent with one call at most.
const BATCH_MAX: usize = 16;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under any lock of this crate, so a poisoned one is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Link {
    socket: Socket,
    pub(crate) decoder: Mutex<Decoder>,
    outbox: Mutex<Outbox>,
}

#[derive(Default)]
struct Outbox {
    parcels: VecDeque<Parcel>,
    /// How much of the first one has been sent.
    sent: usize,
    /// Somebody is going to come when there is room.
    awaits_room: bool,
}

struct Parcel {
    bytes: Arc<Vec<u8>>,
    /// Descriptors that travel with the first byte.
    fds: Vec<OwnedFd>,
}

/// What is left to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum Left {
    Nothing,
    /// There is no more room; somebody has to come back when there is.
    Something,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            socket: Socket::new(fd, Blocking::No),
            decoder: Mutex::default(),
            outbox: Mutex::default(),
        }
    }

    /// Sends a frame, as far as there is room, and keeps the rest for `source` to be told when there is more. Never waits.
    ///
    /// That the other side is gone is not an error here: reading finds that out, and knows what it means.
    pub(crate) fn send(
        &self,
        reactor: &Reactor,
        source: Source,
        bytes: Arc<Vec<u8>>,
        fds: Vec<OwnedFd>,
    ) {
        let mut outbox = lock(&self.outbox);
        outbox.parcels.push_back(Parcel { bytes, fds });
        self.flush_outbox(&mut outbox, reactor, source);
    }

    /// Goes on sending.
    pub(crate) fn flush(&self, reactor: &Reactor, source: Source) {
        self.flush_outbox(&mut lock(&self.outbox), reactor, source);
    }

    /// The reactor is told with the lock held. Otherwise one thread that has sent everything could call it off after
    /// another one has found no room for the next frame and asked for it, and the rest of that would never be sent.
    fn flush_outbox(&self, outbox: &mut Outbox, reactor: &Reactor, source: Source) {
        let awaits_room = outbox.flush(&self.socket) == Left::Something;
        if awaits_room != outbox.awaits_room {
            outbox.awaits_room = awaits_room;
            reactor.set_room_awaited(self.as_fd(), source, awaits_room);
        }
    }

    /// Ends the conversation: nothing more is sent either way, and only what has been sent already can be read.
    pub(crate) fn shut_down(&self) {
        // It fails if the other side has closed, which is as good.
        shutdown(self.socket.as_fd().as_raw_fd(), Shutdown::Both).ok();
    }

    /// The next frame that is there.
    pub(crate) fn read(&self, decoder: &mut Decoder) -> io::Result<Read> {
        decoder.read(|buffer| self.socket.receive(buffer))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Outbox {
    fn flush(&mut self, socket: &Socket) -> Left {
        while !self.parcels.is_empty() {
            match self.send_some(socket) {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Something,
                // The other side is gone.
                Err(_) => self.parcels.clear(),
            }
        }
        Left::Nothing
    }

    fn send_some(&self, socket: &Socket) -> io::Result<usize> {
        let Some(first) = self.parcels.front() else { return Ok(0) };
        if !first.fds.is_empty() && self.sent == 0 {
            let raw: Vec<_> = first.fds.iter().map(AsRawFd::as_raw_fd).collect();
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            return Ok(sendmsg::<()>(
                socket.as_fd().as_raw_fd(),
                &[IoSlice::new(&first.bytes)],
                &[ControlMessage::ScmRights(&raw)],
                flags,
                None,
            )?);
        }
        let rest = IoSlice::new(&first.bytes[self.sent..]);
        // Only up to the next one that has descriptors: these have to go with its own first byte.
        let others = self.parcels.iter().skip(1).take_while(|parcel| parcel.fds.is_empty());
        let slices: Vec<_> = std::iter::once(rest)
            .chain(others.map(|parcel| IoSlice::new(&parcel.bytes)))
            .take(BATCH_MAX)
            .collect();
        socket.send(&slices)
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        while let Some(first) = self.parcels.front() {
            if self.sent < first.bytes.len() {
                break;
            }
            self.sent -= first.bytes.len();
            self.parcels.pop_front();
        }
    }
}

/// The end of a worker's standard error that the pool reads.
pub(crate) struct Stderr {
    fd: OwnedFd,
    tail: Mutex<VecDeque<u8>>,
}

impl Stderr {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, tail: Mutex::default() }
    }

    /// Reads what is there, up to a limit, and keeps its end. Says also whether there may be more.
    pub(crate) fn read(&self) -> (Vec<u8>, bool) {
        let mut tail = lock(&self.tail);
        let mut bytes = vec![0; TAIL_MAX];
        let read = loop {
            match nix::unistd::read(&self.fd, &mut bytes) {
                Err(nix::errno::Errno::EINTR) => {}
                // Nothing there, or nobody writes any more.
                other => break other.unwrap_or(0),
            }
        };
        bytes.truncate(read);
        tail.extend(&bytes);
        let surplus = tail.len().saturating_sub(TAIL_MAX);
        tail.drain(..surplus);
        (bytes, read > 0)
    }

    /// The end of all that was read.
    pub(crate) fn tail(&self) -> String {
        String::from_utf8_lossy(lock(&self.tail).make_contiguous()).into_owned()
    }
}

impl AsFd for Stderr {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
