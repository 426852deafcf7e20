//! How bytes get from one process to another and back: the one thing that a transport does.
//!
//! Frames are made on top of it, and whoever waits for it to be ready does so by its descriptor. There is a socket, and for
//! tests a double in memory, on which the protocol runs without processes.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Mutex,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::socket::{MsgFlags, recv, send, sendmsg},
};

use crate::{supervisor::lock, sys};

/// One end of a connection that carries bytes, in order, both ways.
pub(crate) trait Transport: Send + Sync {
    /// Takes some bytes of `buffers`, as many as there is room for, and says how many.
    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Puts bytes that have come into `buffer`, and says how many; 0 if the other end is gone.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// The first descriptor that came and was not taken.
    fn take_descriptor(&self) -> Option<OwnedFd> {
        None
    }

    /// Whether this end has not been closed behind its owner's back.
    fn is_open(&self) -> bool {
        true
    }
}

/// Whether a socket's end waits until there is something to be read, or room for what is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    Yes,
    /// [`io::ErrorKind::WouldBlock`] instead.
    No,
}

/// A connected stream socket of the Unix domain.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    flags: MsgFlags,
    /// Descriptors that came with bytes that were received, if any are expected. A worker's end has some; the pool's has
    /// none, as a worker could send it as many as it may open.
    descriptors: Option<Mutex<VecDeque<OwnedFd>>>,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, blocking: Blocking) -> Self {
        // The flag goes with each call, since the status flag of a descriptor belongs to whoever else holds a duplicate,
        // too. SIGPIPE is not wanted on either side: the error says it all.
        let flags = match blocking {
            Blocking::Yes => MsgFlags::MSG_NOSIGNAL,
            Blocking::No => MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        };
        Self { fd, flags, descriptors: None }
    }

    /// The same, with [`take_descriptor`](Transport::take_descriptor).
    pub(crate) fn accepting_descriptors(self) -> Self {
        Self { descriptors: Some(Mutex::default()), ..self }
    }
}

impl Transport for Socket {
    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = self.fd.as_raw_fd();
        let sent = match buffers {
            [one] => send(fd, one, self.flags),
            several => sendmsg::<()>(fd, several, &[], self.flags, None),
        };
        Ok(sent?)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = self.flags - MsgFlags::MSG_NOSIGNAL;
        match &self.descriptors {
            None => Ok(recv(self.fd.as_raw_fd(), buffer, flags)?),
            Some(descriptors) => {
                sys::receive_with_fds(self.as_fd(), buffer, &mut lock(descriptors), flags)
            }
        }
    }

    fn take_descriptor(&self) -> Option<OwnedFd> {
        lock(self.descriptors.as_ref()?).pop_front()
    }

    fn is_open(&self) -> bool {
        fcntl(&self.fd, FcntlArg::F_GETFD).is_ok()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends all of `bytes`, waiting for room if the transport does.
pub(crate) fn send_all(transport: &(impl Transport + ?Sized), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match transport.send(&[IoSlice::new(bytes)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod memory {
    //! A connection without descriptors.

    use std::{
        collections::VecDeque,
        io::{self, IoSlice},
        sync::{Arc, Condvar, Mutex},
    };

    use super::Transport;

    #[derive(Default)]
    struct Pipe {
        state: Mutex<(VecDeque<u8>, bool)>,
        changed: Condvar,
    }

    /// One end; blocking. Dropping it closes both directions.
    pub(crate) struct Memory {
        incoming: Arc<Pipe>,
        outgoing: Arc<Pipe>,
        /// How many bytes are taken and given at once, to exercise frames that come in pieces.
        piece: usize,
    }

    pub(crate) fn pair(piece: usize) -> (Memory, Memory) {
        let (one, other) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        let here = Memory { incoming: Arc::clone(&one), outgoing: Arc::clone(&other), piece };
        (here, Memory { incoming: other, outgoing: one, piece })
    }

    impl Transport for Memory {
        fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut state = self.outgoing.state.lock().unwrap();
            if state.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let bytes = buffers.iter().flat_map(|buffer| buffer.iter());
            let before = state.0.len();
            state.0.extend(bytes.take(self.piece));
            self.outgoing.changed.notify_all();
            Ok(state.0.len() - before)
        }

        fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut state = self.incoming.state.lock().unwrap();
            while state.0.is_empty() && !state.1 {
                state = self.incoming.changed.wait(state).unwrap();
            }
            let count = buffer.len().min(state.0.len()).min(self.piece);
            for (place, byte) in buffer.iter_mut().zip(state.0.drain(..count)) {
                *place = byte;
            }
            Ok(count)
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            for pipe in [&self.incoming, &self.outgoing] {
                pipe.state.lock().unwrap().1 = true;
                pipe.changed.notify_all();
            }
        }
    }
}
