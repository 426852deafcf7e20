//! What of a task or a result goes past the codec: buffers, beside the frame that says where they belong.
//!
//! On a socket they come after the rest of the body. In shared memory each has whole pages to itself, so that a worker can
//! unmap one and keep another. The lengths are told in a table at the beginning of the body:
//!
//! ```text
//!    count | length | length ...| the body as it would be without | buffer | buffer ...
//! ```

use std::{
    collections::TryReserveError,
    ops::Range,
    sync::{Arc, Mutex},
};

use concurrent_futures_executor::{
    Bytes,
    wire::{self, GiveBack},
};

use crate::{
    channel::INLINE_MAX,
    frame::{HEADER_SIZE, Kind, PAYLOAD_MAX, ProtocolError, retitle},
    supervisor::lock,
    value::ValueFile,
};

/// What buffers in shared memory are aligned to: the largest page that any system has. What is left free takes no memory.
pub(crate) const PAGE: u64 = 64 * 1024;

/// A task as it is sent, kept in case that it has to be sent once more.
#[derive(Clone, Default)]
pub(crate) struct TaskFrame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) buffers: Vec<Bytes>,
    /// The shared values that its worker has to have.
    pub(crate) values: Vec<Arc<ValueFile>>,
}

impl TaskFrame {
    /// Whether it does not go through a ring.
    pub(crate) fn is_long(&self) -> bool {
        !self.buffers.is_empty() || self.bytes.len() > HEADER_SIZE + INLINE_MAX
    }

    /// How many bytes there are of all.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len() + self.buffers.iter().map(|buffer| buffer.len()).sum::<usize>()
    }
}

/// The frame of a task or a result with the table of its buffers, if there are any: its header is changed accordingly.
pub(crate) struct Tabled<'a> {
    pub(crate) header: [u8; HEADER_SIZE],
    pub(crate) table: Vec<u8>,
    pub(crate) body: &'a [u8],
    pub(crate) buffers: &'a [Bytes],
}

/// Where the buffers go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Socket,
    Memory,
}

impl<'a> Tabled<'a> {
    pub(crate) fn new(frame: &'a [u8], buffers: &'a [Bytes], way: Way) -> Self {
        let (header, body) = frame.split_first_chunk().expect("a frame has a header");
        let mut tabled = Self { header: *header, table: Vec::new(), body, buffers };
        if !buffers.is_empty() {
            tabled.table = table_of(buffers);
            let lengths = buffers.iter().map(|buffer| buffer.len() as u64);
            let apart = if way == Way::Socket { lengths.sum() } else { 0 };
            retitle(&mut tabled.header, (tabled.table.len() + body.len()) as u64 + apart);
        }
        tabled
    }

    /// How long the body is without the buffers.
    fn head_length(&self) -> u64 {
        (self.table.len() + self.body.len()) as u64
    }

    /// What is where in shared memory, and how much memory that takes.
    pub(crate) fn parts(&self) -> (impl Iterator<Item = (u64, &[u8])>, u64) {
        let lengths = self.buffers.iter().map(|buffer| buffer.len() as u64);
        let (places, end) = places(self.head_length(), lengths).expect("they are in memory");
        let buffers = places.into_iter().zip(self.buffers);
        let head = [(0, &self.table[..]), (self.table.len() as u64, self.body)];
        let parts = head.into_iter();
        (parts.chain(buffers.map(|(place, buffer)| (place.start, &buffer[..]))), end)
    }
}

/// The table of buffers.
pub(crate) fn table_of(buffers: &[Bytes]) -> Vec<u8> {
    let lengths = buffers.iter().map(|buffer| buffer.len() as u64);
    let words = std::iter::once(buffers.len() as u64).chain(lengths);
    words.flat_map(u64::to_le_bytes).collect()
}

/// Where buffers of these lengths are in shared memory, after a head of this length; and how much memory that is. `None` if it
/// is more than there can be.
pub(crate) fn places(
    head: u64,
    lengths: impl IntoIterator<Item = u64>,
) -> Option<(Vec<Range<u64>>, u64)> {
    let mut end = Some(head).filter(|head| *head <= PAYLOAD_MAX)?;
    let mut places = Vec::new();
    for length in lengths {
        let start = end.next_multiple_of(PAGE);
        end = start.checked_add(length).filter(|end| *end <= PAYLOAD_MAX)?;
        places.push(start..end);
    }
    Some((places, end))
}

/// Reads the table at the beginning of a body: the lengths of the buffers, and how long the table is.
pub(crate) fn read_table(body: &[u8]) -> Result<(Vec<u64>, usize), ProtocolError> {
    let short = || ProtocolError("a table of buffers that is too short".to_owned());
    let (count, rest) = body.split_first_chunk().ok_or_else(short)?;
    let count = usize::try_from(u64::from_le_bytes(*count)).map_err(|_too_many| short())?;
    let (words, _) = rest.as_chunks::<8>();
    let words = words.get(..count).ok_or_else(short)?;
    Ok((words.iter().map(|word| u64::from_le_bytes(*word)).collect(), 8 + 8 * count))
}

/// Keeps some memory of results for the next ones: to have it from the system, page by page, takes longer than to copy a result.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Vec<Vec<u8>>>);

/// What is less than that the allocator keeps itself.
const SHELVED_MIN: usize = 128 * 1024;

/// How much is kept altogether.
const SHELVED_MAX: usize = 64 << 20;

impl Shelf {
    /// Room for so many bytes.
    pub(crate) fn take(&self, length: usize) -> Result<Vec<u8>, TryReserveError> {
        if length >= SHELVED_MIN {
            let mut vecs = lock(&self.0);
            // Not one that would be wasted on this.
            let fits = |vec: &Vec<u8>| vec.capacity() >= length && vec.capacity() / 2 <= length;
            if let Some(index) = vecs.iter().position(fits) {
                return Ok(vecs.swap_remove(index));
            }
        }
        let mut vec = Vec::new();
        vec.try_reserve_exact(length)?;
        Ok(vec)
    }
}

impl GiveBack for Shelf {
    fn give_back(&self, mut vec: Vec<u8>) {
        if !(SHELVED_MIN..=SHELVED_MAX).contains(&vec.capacity()) {
            return;
        }
        vec.clear();
        let mut dropped = Vec::new();
        let mut vecs = lock(&self.0);
        vecs.push(vec);
        // The oldest go first.
        while vecs.iter().map(Vec::capacity).sum::<usize>() > SHELVED_MAX {
            dropped.push(vecs.remove(0));
        }
        drop(vecs);
    }
}

/// The body of a task or a result that has come, whole.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: Arc<Vec<u8>>,
    body: Range<usize>,
    pub(crate) buffers: Vec<Bytes>,
    shelf: Option<Arc<Shelf>>,
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.take()
            && let Some(bytes) = Arc::get_mut(&mut self.bytes)
        {
            shelf.give_back(std::mem::take(bytes));
        }
    }
}

impl Received {
    /// One without buffers.
    pub(crate) fn plain(bytes: Vec<u8>) -> Self {
        let body = 0..bytes.len();
        Self { bytes: Arc::new(bytes), body, buffers: Vec::new(), shelf: None }
    }

    /// One whose buffers have been read; the table is that long.
    pub(crate) fn with_buffers(bytes: Vec<u8>, table: usize, buffers: Vec<Bytes>) -> Self {
        let body = table.min(bytes.len())..bytes.len();
        Self { bytes: Arc::new(bytes), body, buffers, shelf: None }
    }

    /// The same, whose memory goes back to the shelf.
    pub(crate) fn returned_to(self, shelf: &Arc<Shelf>) -> Self {
        let mut this = self;
        this.shelf = Some(Arc::clone(shelf));
        this
    }

    /// One that came over a socket. The buffers stay where they are.
    pub(crate) fn from_socket(kind: Kind, bytes: Vec<u8>) -> Result<Self, ProtocolError> {
        if !kind.has_buffers() {
            return Ok(Self::plain(bytes));
        }
        let (lengths, table) = read_table(&bytes)?;
        let sum = lengths.iter().try_fold(0, |sum: u64, length| sum.checked_add(*length));
        let end = sum
            .and_then(|sum| bytes.len().checked_sub(usize::try_from(sum).ok()?))
            .filter(|end| table <= *end)
            .ok_or_else(|| ProtocolError("buffers longer than their frame".to_owned()))?;
        let bytes = Arc::new(bytes);
        let mut start = end;
        let mut buffers = Vec::with_capacity(lengths.len());
        for length in lengths {
            // It fits, as the sum does.
            let next = start + usize::try_from(length).unwrap_or(0);
            let part = Part::new(Arc::clone(&bytes), start..next);
            buffers.push(wire::lend(Arc::new(part)));
            start = next;
        }
        Ok(Self { bytes, body: table..end, buffers, shelf: None })
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }
}

/// Part of the bytes that `O` has.
pub(crate) struct Part<O> {
    owner: Arc<O>,
    range: Range<usize>,
}

impl<O> Part<O> {
    pub(crate) fn new(owner: Arc<O>, range: Range<usize>) -> Self {
        Self { owner, range }
    }
}

impl<O: AsRef<[u8]>> AsRef<[u8]> for Part<O> {
    fn as_ref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameBuilder, Header};

    fn frame() -> Vec<u8> {
        FrameBuilder::new(Kind::Task, 7).u8(1).u8(2).finish()
    }

    fn buffers() -> Vec<Bytes> {
        [0, 1, 5000].map(|length| Bytes::from(vec![9; length])).into()
    }

    #[test]
    fn without_buffers_a_frame_is_what_it_was() {
        let frame = frame();
        let tabled = Tabled::new(&frame, &[], Way::Memory);
        assert_eq!(tabled.header, frame[..HEADER_SIZE]);
        let (parts, end) = tabled.parts();
        assert_eq!(end, 2);
        assert_eq!(parts.collect::<Vec<_>>(), [(0, &[][..]), (0, &[1, 2])]);
    }

    #[test]
    fn what_goes_over_a_socket_comes_out() {
        let (frame, buffers) = (frame(), buffers());
        let tabled = Tabled::new(&frame, &buffers, Way::Socket);
        let header = Header::parse_placed(tabled.header).unwrap();
        assert_eq!((header.kind, header.id), (Kind::TaskWithBuffers, 7));
        let parts = std::iter::once(&tabled.table[..]).chain([tabled.body]);
        let body = parts.chain(buffers.iter().map(|buffer| &buffer[..])).collect::<Vec<_>>();
        let body = body.concat();
        assert_eq!(header.length, body.len() as u64);
        let received = Received::from_socket(header.kind, body.clone()).unwrap();
        assert_eq!((received.body(), &received.buffers), (&[1, 2][..], &buffers));
        // Cut off anywhere, it is an error and no panic, or the body is shorter.
        for length in 0..body.len() {
            if let Ok(received) = Received::from_socket(header.kind, body[..length].to_vec()) {
                assert!(received.body().len() < 2);
            }
        }
    }

    #[test]
    fn in_memory_each_buffer_has_its_pages() {
        let (frame, buffers) = (frame(), buffers());
        let tabled = Tabled::new(&frame, &buffers, Way::Memory);
        let header = Header::parse_placed(tabled.header).unwrap();
        assert_eq!(header.length, 34);
        let (parts, end) = tabled.parts();
        let places: Vec<_> = parts.map(|(start, bytes)| (start, bytes.len())).collect();
        assert_eq!(places, [(0, 32), (32, 2), (PAGE, 0), (PAGE, 1), (2 * PAGE, 5000)]);
        assert_eq!(end, 2 * PAGE + 5000);
        assert_eq!(read_table(&tabled.table).unwrap(), (vec![0, 1, 5000], 32));
    }

    #[test]
    fn tables_that_lie_are_refused() {
        let table = |words: &[u64]| words.iter().copied().flat_map(u64::to_le_bytes).collect();
        let kind = Kind::FinishedWithBuffers;
        let lies: [&[u64]; 5] = [&[], &[1], &[1, 1], &[u64::MAX, 1], &[2, u64::MAX, 9]];
        for words in lies {
            assert!(Received::from_socket(kind, table(words)).is_err(), "{words:?}");
        }
        assert!(places(10, [PAYLOAD_MAX]).is_none() && places(10, [u64::MAX, 9]).is_none());
        assert!(places(u64::MAX, []).is_none());
    }
}
