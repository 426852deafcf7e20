//! The pool's end of the connection to one process: what is still to be sent, what has come in part, and what the
//! process writes to its standard error.
//!
//! Reading and writing have a lock each, so that a large result which is coming in does not hold up a submission. The
//! order of locks is: decoder of the server, decoder of a worker, the receiving end of its shared memory, the table, an outbox
//! or the sending end. Nobody waits for a descriptor
//! with any of them held.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use concurrent_futures_executor::Bytes;
use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown},
};

use crate::{
    channel::PoolEnd,
    frame::{Decoder, FrameBuilder, HEADER_SIZE, Kind, Read},
    payload::{Tabled, TaskFrame, Way},
    region::Region,
    supervisor::reactor::{Reactor, Source},
    transport::{Blocking, Socket, Transport},
    value::ValueFile,
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
    /// What events about it are called.
    source: Source,
    socket: Socket,
    pub(crate) decoder: Mutex<Decoder>,
    outbox: Mutex<Outbox>,
    /// The memory that is shared with a worker, if there is any.
    shared: Option<PoolEnd<Region>>,
}

#[derive(Default)]
struct Outbox {
    parcels: VecDeque<Parcel>,
    /// How much of the first one has been sent.
    sent: usize,
    /// There was no more room, and the reactor was asked to tell when there is.
    stalled: bool,
}

/// Bytes on their way.
enum Piece {
    Frame(Arc<Vec<u8>>),
    Task(Arc<TaskFrame>),
    Header([u8; HEADER_SIZE]),
    /// Past the header.
    Table(Vec<u8>),
    Body(Arc<TaskFrame>),
    Buffer(Bytes),
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Task(frame) => &frame.bytes,
            Self::Header(header) => header,
            Self::Table(table) => table,
            Self::Body(frame) => &frame.bytes[HEADER_SIZE..],
            Self::Buffer(buffer) => buffer,
        }
    }
}

struct Parcel {
    bytes: Piece,
    /// Descriptors that travel with the first byte.
    fds: Vec<Arc<OwnedFd>>,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, source: Source, region: Option<Region>) -> Self {
        Self {
            source,
            socket: Socket::new(fd, Blocking::No),
            decoder: Mutex::default(),
            outbox: Mutex::default(),
            shared: region.map(PoolEnd::new),
        }
    }

    pub(crate) fn shared(&self) -> Option<&PoolEnd<Region>> {
        self.shared.as_ref()
    }

    /// Sends a frame, as far as there is room, and keeps the rest for `flush`. Never waits.
    ///
    /// That the other side is gone is not an error here: reading finds that out, and knows what it means.
    pub(crate) fn send(&self, reactor: &Reactor, bytes: Arc<Vec<u8>>, fds: Vec<OwnedFd>) {
        let mut outbox = lock(&self.outbox);
        let fds = fds.into_iter().map(Arc::new).collect();
        outbox.parcels.push_back(Parcel { bytes: Piece::Frame(bytes), fds });
        if !outbox.stalled {
            self.go_on(&mut outbox, reactor);
        }
    }

    /// Tells the process to end.
    pub(crate) fn send_exit(&self, reactor: &Reactor) {
        let frame = FrameBuilder::new(Kind::Exit, 0).finish();
        match self.shared() {
            // There is room, since nothing else is sent to a worker that is to end. If not, it is one that will be killed.
            Some(end) => {
                drop(end.send(&frame, 0));
                if end.must_wake() {
                    end.wake();
                }
            }
            None => self.send(reactor, Arc::new(frame), Vec::new()),
        }
    }

    /// As `send`, for a shared value.
    pub(crate) fn send_value(&self, reactor: &Reactor, value: &ValueFile) {
        let mut outbox = lock(&self.outbox);
        let bytes = Piece::Frame(Arc::new(value.frame()));
        outbox.parcels.push_back(Parcel { bytes, fds: vec![Arc::clone(&value.fd)] });
        if !outbox.stalled {
            self.go_on(&mut outbox, reactor);
        }
    }

    /// The same for a task, with its buffers.
    pub(crate) fn send_task(&self, reactor: &Reactor, frame: &Arc<TaskFrame>) {
        let mut outbox = lock(&self.outbox);
        if frame.buffers.is_empty() {
            outbox.push(Piece::Task(Arc::clone(frame)));
        } else {
            let Tabled { header, table, .. } =
                Tabled::new(&frame.bytes, &frame.buffers, Way::Socket);
            outbox.push(Piece::Header(header));
            outbox.push(Piece::Table(table));
            outbox.push(Piece::Body(Arc::clone(frame)));
            for buffer in &frame.buffers {
                outbox.push(Piece::Buffer(buffer.clone()));
            }
        }
        if !outbox.stalled {
            self.go_on(&mut outbox, reactor);
        }
    }

    /// Goes on sending, if it had to stop.
    pub(crate) fn flush(&self, reactor: &Reactor) {
        let mut outbox = lock(&self.outbox);
        if outbox.stalled {
            self.go_on(&mut outbox, reactor);
        }
    }

    /// The reactor is told under the lock, so that it hears of stalling and going on in the order in which they happen.
    fn go_on(&self, outbox: &mut Outbox, reactor: &Reactor) {
        let stalled = !outbox.flush(&self.socket);
        if stalled != outbox.stalled {
            outbox.stalled = stalled;
            reactor.await_room(self.as_fd(), self.source, stalled);
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
    fn push(&mut self, bytes: Piece) {
        self.parcels.push_back(Parcel { bytes, fds: Vec::new() });
    }

    /// Sends as much as there is room for. Whether that was all.
    fn flush(&mut self, socket: &Socket) -> bool {
        while !self.parcels.is_empty() {
            match self.send_some(socket) {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The other side is gone; or the kernel takes no more, for want of memory or because too many descriptors
                // are on their way. Then the other side would wait for what it never gets, so it is over as well, and
                // whoever reads finds that out.
                Err(_) => {
                    self.parcels.clear();
                    // Of the next one, if there is any, nothing has been sent.
                    self.sent = 0;
                    shutdown(socket.as_fd().as_raw_fd(), Shutdown::Both).ok();
                }
            }
        }
        true
    }

    fn send_some(&self, socket: &Socket) -> io::Result<usize> {
        let Some(first) = self.parcels.front() else { return Ok(0) };
        if !first.fds.is_empty() && self.sent == 0 {
            let raw: Vec<_> = first.fds.iter().map(|fd| fd.as_raw_fd()).collect();
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

    /// Reads what is there and keeps the end of it. If `into` is given, all of it is appended there; and if that makes a
    /// lot, it stops, and says that there may be more.
    pub(crate) fn read(&self, mut into: Option<&mut Vec<u8>>) -> bool {
        let mut tail = lock(&self.tail);
        let mut total = 0;
        // As a rule there is nothing, and clearing a large buffer would take longer than finding that out.
        let mut piece = [0; 512];
        loop {
            let read = match nix::unistd::read(&self.fd, &mut piece) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(Errno::EINTR) => continue,
                // Nothing there at the moment, as a rule.
                Err(_) => return false,
            };
            tail.extend(&piece[..read]);
            let surplus = tail.len().saturating_sub(TAIL_MAX);
            tail.drain(..surplus);
            if let Some(into) = &mut into {
                into.extend_from_slice(&piece[..read]);
            }
            total += read;
            if total >= TAIL_MAX {
                return true;
            }
        }
    }

    /// Forgets what was read, because the next task begins.
    pub(crate) fn clear(&self) {
        lock(&self.tail).clear();
    }

    /// The end of what was read.
    pub(crate) fn tail(&self) -> String {
        String::from_utf8_lossy(lock(&self.tail).make_contiguous()).into_owned()
    }
}

impl AsFd for Stderr {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
