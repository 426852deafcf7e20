//! What crosses between the pool, its fork server and its workers: frames, each a fixed header and a body.
//!
//! `docs/protocol.md` has every byte; a test keeps the two together. The header and all bodies but the encoded arguments
//! and results are written by hand, little-endian, so that exchanging the codec never touches them:
//!
//! ```text
//!    0        2         3       4           8          16              24
//!    +--------+---------+-------+-----------+-----------+---------------+------------------
//!    | magic  | version | kind  | zero      | id        | length        | body
//!    | "CF"   | u8      | u8    | u32       | u64       | u64           | `length` bytes
//!    +--------+---------+-------+-----------+-----------+---------------+------------------
//! ```
//!
//! Neither side trusts the other. A header is checked as a whole before anything is done about it; a body is never longer
//! than its kind allows, and room is made for it as its bytes arrive, not as the header claims. What is wrong with a frame
//! is a [`ProtocolError`], never a panic.

use std::{error::Error, fmt, io};

/// The version of everything in this file. A process that speaks another one is not spoken to.
pub(crate) const VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"CF";

pub(crate) const HEADER_SIZE: usize = 24;

/// No argument and no result is longer than this; memory runs out long before.
pub(crate) const PAYLOAD_MAX: u64 = 1 << 40;

/// Bodies that carry text of errors: messages, backtraces.
const TEXT_MAX: u64 = 1 << 20;

/// Bodies of a few fields.
const FIELDS_MAX: u64 = 256;

/// How much is read at once, and how much room is made for a body before its first byte is there.
const CHUNK: usize = 64 * 1024;

/// How much is read at once at first: more than processes have to say when they start. Many never say more, and each page
/// that they touch is memory and time.
const FIRST_CHUNK: usize = 512;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    // From the pool to a worker.
    /// Who the worker is and what it has to do before its first task.
    Configure = 1,
    /// Run this.
    Task = 2,
    /// End, when all that was sent before is done.
    Exit = 4,
    /// Run this, which has buffers beside its argument.
    TaskWithBuffers = 5,
    /// A value that tasks share is to be had. On a socket, it comes along; in shared memory, it is to be read from the socket.
    Value = 6,
    /// A value that tasks share is not needed any more.
    Forget = 7,
    /// Run this for each of several items.
    Chunk = 8,
    /// The same, with buffers beside the items.
    ChunkWithBuffers = 9,
    // From the pool to the fork server.
    /// How workers are started, and what is to be loaded before the first.
    Prepare = 16,
    /// Start a worker. Its socket and its standard error come along.
    Start = 17,
    /// Send a signal to a worker.
    Signal = 18,
    // From either to the pool.
    /// Who speaks; the first frame.
    Hello = 32,
    /// All is prepared.
    Ready = 33,
    /// It could not be prepared, and why; the last frame.
    Unready = 34,
    // From a worker.
    /// The task has been started, and is no longer to be given to anybody else.
    Started = 48,
    /// The task has a result.
    Finished = 49,
    /// The task has failed, and how.
    Failed = 50,
    /// The process is about to die, and of what.
    LastWords = 51,
    /// The task was taken back before it was started.
    Skipped = 52,
    /// There is something to be read in the memory that is shared.
    Bell = 53,
    /// The task has a result, which has buffers beside it.
    FinishedWithBuffers = 54,
    // From the fork server.
    /// The worker has been started.
    Forked = 64,
    /// The worker could not be started.
    NotForked = 65,
    /// The worker has ended.
    Ended = 66,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Configure,
            2 => Self::Task,
            5 => Self::TaskWithBuffers,
            6 => Self::Value,
            7 => Self::Forget,
            4 => Self::Exit,
            8 => Self::Chunk,
            9 => Self::ChunkWithBuffers,
            16 => Self::Prepare,
            17 => Self::Start,
            18 => Self::Signal,
            32 => Self::Hello,
            33 => Self::Ready,
            34 => Self::Unready,
            48 => Self::Started,
            49 => Self::Finished,
            50 => Self::Failed,
            51 => Self::LastWords,
            52 => Self::Skipped,
            53 => Self::Bell,
            54 => Self::FinishedWithBuffers,
            64 => Self::Forked,
            65 => Self::NotForked,
            66 => Self::Ended,
            _ => return None,
        })
    }

    /// Whether it has the worker run something.
    pub(crate) fn is_task(self) -> bool {
        matches!(self, Self::Task | Self::TaskWithBuffers) || self.is_chunk()
    }

    /// Whether it has the worker run something for each of several items.
    pub(crate) fn is_chunk(self) -> bool {
        matches!(self, Self::Chunk | Self::ChunkWithBuffers)
    }

    /// Whether the body begins with a table of buffers.
    pub(crate) fn has_buffers(self) -> bool {
        matches!(self, Self::TaskWithBuffers | Self::ChunkWithBuffers | Self::FinishedWithBuffers)
    }

    fn length_max(self) -> u64 {
        match self {
            Self::Configure
            | Self::Prepare
            | Self::Task
            | Self::TaskWithBuffers
            | Self::Chunk
            | Self::ChunkWithBuffers
            | Self::Finished
            | Self::FinishedWithBuffers => PAYLOAD_MAX,
            Self::Failed | Self::Unready => TEXT_MAX,
            _ => FIELDS_MAX,
        }
    }
}

/// A frame as it came: its kind and length are as they should be, its body has not been looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// The task or worker that it is about, or 0.
    pub(crate) id: u64,
    pub(crate) body: Vec<u8>,
}

/// What was read cannot be a frame, or not one that belongs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError(pub(crate) String);

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ProtocolError {}

impl From<ProtocolError> for io::Error {
    fn from(error: ProtocolError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The header of a frame, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    /// In a ring: which claim is the task's, and whether the body is elsewhere. Zero on a socket.
    pub(crate) place: u32,
    pub(crate) length: u64,
}

impl Header {
    /// The header of a frame that comes over a socket.
    fn parse(bytes: [u8; HEADER_SIZE]) -> Result<Self, ProtocolError> {
        let header = Self::parse_placed(bytes)?;
        if header.place != 0 {
            let Self { kind, place, .. } = header;
            return Err(ProtocolError(format!("a {kind:?} frame with {place:#x} for zero")));
        }
        Ok(header)
    }

    /// The header of a frame that comes through a ring.
    pub(crate) fn parse_placed(bytes: [u8; HEADER_SIZE]) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&bytes);
        let magic: [u8; 2] = fields.array()?;
        let [version, kind] = fields.array()?;
        let place = fields.u32()?;
        let (id, length) = (fields.u64()?, fields.u64()?);
        if magic != MAGIC {
            return Err(ProtocolError(format!("not a frame: begins with {magic:02x?}")));
        }
        if version != VERSION {
            return Err(ProtocolError(format!(
                "a frame of protocol version {version}; this is version {VERSION}"
            )));
        }
        let kind = Kind::from_byte(kind)
            .ok_or_else(|| ProtocolError(format!("a frame of unknown kind {kind}")))?;
        if length > kind.length_max() {
            return Err(ProtocolError(format!("a {kind:?} frame of {length} bytes")));
        }
        Ok(Self { kind, id, place, length })
    }
}

/// The header of a complete frame with another `place`.
pub(crate) fn placed_header(frame: &[u8], place: u32) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header.copy_from_slice(&frame[..HEADER_SIZE]);
    header[4..8].copy_from_slice(&place.to_le_bytes());
    header
}

/// Makes the header of a `Task` or `Finished` that of one with buffers, whose body is that long.
pub(crate) fn retitle(header: &mut [u8; HEADER_SIZE], length: u64) {
    header[3] = match Kind::from_byte(header[3]) {
        Some(Kind::Task) => Kind::TaskWithBuffers as u8,
        Some(Kind::Chunk) => Kind::ChunkWithBuffers as u8,
        _ => Kind::FinishedWithBuffers as u8,
    };
    header[16..24].copy_from_slice(&length.to_le_bytes());
}

/// A frame in the making: the header is put in front of the body when that is complete.
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    pub(crate) fn new(kind: Kind, id: u64) -> Self {
        Self::reuse(Vec::with_capacity(HEADER_SIZE + 64), kind, id)
    }

    /// As `new`, in memory that is there already.
    pub(crate) fn reuse(mut bytes: Vec<u8>, kind: Kind, id: u64) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, kind as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&0_u64.to_le_bytes());
        Self { bytes }
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn array<const N: usize>(mut self, value: [u8; N]) -> Self {
        self.bytes.extend_from_slice(&value);
        self
    }

    /// A length and so many bytes of text, cut off at `max`.
    pub(crate) fn text(mut self, text: &str, max: usize) -> Self {
        let text = &text[..text.floor_char_boundary(max)];
        self = self.u32(u32::try_from(text.len()).expect("no limit is that high"));
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Where to append what is left of the body.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The whole frame, ready to be sent.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - HEADER_SIZE) as u64;
        self.bytes[16..24].copy_from_slice(&length.to_le_bytes());
        self.bytes
    }
}

/// The body of a frame, from which fields are taken one after the other.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (array, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| ProtocolError("a frame that is too short".to_owned()))?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ProtocolError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Text that came with its length. What is not UTF-8 is replaced: it is for people to read.
    pub(crate) fn text(&mut self) -> Result<String, ProtocolError> {
        let length = self.u32()? as usize;
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| ProtocolError("a frame that is too short for its text".to_owned()))?;
        self.0 = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// That nothing is left.
    pub(crate) fn end(self) -> Result<(), ProtocolError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ProtocolError(format!("a frame with {} bytes too many", self.0.len())))
        }
    }
}

/// What a [`Decoder`] has to say after it read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Frame(Frame),
    /// Nothing more is there at the moment.
    Pending,
    /// The other side has closed the connection, between two frames or within one.
    Closed,
}

/// Makes frames out of bytes as they come.
#[derive(Default)]
pub(crate) struct Decoder {
    /// `FIRST_CHUNK` bytes once there was something to read, and `CHUNK` once that was not enough; what was read ahead is in
    /// `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// A frame whose body is not complete.
    partial: Option<Partial>,
}

struct Partial {
    header: Header,
    /// As long as there is room for; what has come is in front.
    body: Vec<u8>,
    received: usize,
}

impl Partial {
    fn missing(&self) -> Result<usize, ProtocolError> {
        let length = usize::try_from(self.header.length)
            .map_err(|_too_long| ProtocolError("a frame longer than memory".to_owned()))?;
        Ok(length - self.received)
    }

    /// Where to put what comes next. The body doubles at most, so that what a frame claims to be costs nothing until that
    /// much has come.
    fn room(&mut self, missing: usize) -> io::Result<&mut [u8]> {
        if self.received == self.body.len() {
            let more = missing.min(self.received.max(CHUNK));
            self.body
                .try_reserve_exact(more)
                .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
            self.body.resize(self.received + more, 0);
        }
        Ok(&mut self.body[self.received..])
    }
}

impl Decoder {
    /// The next frame. `receive` reads into a buffer and says how many bytes it got, 0 at the end.
    pub(crate) fn read(
        &mut self,
        mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Read> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Ok(Read::Frame(frame));
            }
            match self.fill(&mut receive) {
                Ok(0) => return Ok(Read::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Read::Pending);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A frame that is complete already.
    fn next_buffered(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if self.partial.is_none() {
            let ahead = &self.buffer[self.start..self.end];
            let Some(header) = ahead.first_chunk() else { return Ok(None) };
            let header = Header::parse(*header)?;
            self.start += HEADER_SIZE;
            self.partial = Some(Partial { header, body: Vec::new(), received: 0 });
        }
        let Some(partial) = &mut self.partial else { return Ok(None) };
        let ahead = &self.buffer[self.start..self.end];
        let missing = partial.missing()?;
        let taken = missing.min(ahead.len());
        if taken > 0 {
            partial.body.truncate(partial.received);
            partial.body.extend_from_slice(&ahead[..taken]);
            partial.received += taken;
            self.start += taken;
        }
        if taken < missing {
            return Ok(None);
        }
        Ok(self.partial.take().map(|Partial { header, body, .. }| Frame {
            kind: header.kind,
            id: header.id,
            body,
        }))
    }

    /// Reads once. Called when what was read ahead is not enough for anything.
    fn fill(
        &mut self,
        receive: &mut impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(partial) = &mut self.partial {
            let missing = partial.missing()?;
            if missing >= CHUNK {
                // Straight to where it belongs.
                let read = receive(partial.room(missing)?)?;
                partial.received += read;
                return Ok(read);
            }
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; FIRST_CHUNK];
        } else if self.end == self.buffer.len() {
            self.buffer.resize(CHUNK, 0);
        }
        // Less than a header is left, or nothing, since a body takes all that there is.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = receive(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
