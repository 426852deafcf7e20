//! Shared values on their way to workers: each is a file in memory, whose descriptor every worker is sent that gets a task
//! with the value in its argument.
//!
//! The file is sealed when it is complete: nobody writes to it any more, so that all workers map the same memory, and borrow the
//! buffers in it. The pool does not map it. It exists for as long as somebody in this process has the value, or a worker
//! does.
//!
//! The content of the file is laid out as that of the place for long tasks: table, encoded value, buffers.

use std::{
    any::Any,
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use concurrent_futures_executor::{
    Bytes,
    wire::{self, SharedValue},
};
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        stat::fstat,
    },
};

use crate::{
    frame::{Fields, Frame, FrameBuilder, Kind, ProtocolError},
    payload::{Part, places, read_table, table_of},
    region::{map_private, write_at},
};

/// An encoded value.
#[derive(Debug)]
pub(crate) struct ValueFile {
    pub(crate) number: u64,
    pub(crate) fd: Arc<OwnedFd>,
    /// How long the table and the encoded value are together.
    head: u64,
}

/// How many there have been that are no more.
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Drop for ValueFile {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

impl ValueFile {
    /// The file of this value, which is made the first time.
    pub(crate) fn of(value: &Arc<SharedValue>) -> io::Result<Arc<Self>> {
        let number = value.number();
        let kept = value.kept(|encoded, buffers| {
            let file = Self::create(number, encoded, buffers)?;
            io::Result::Ok(Arc::new(file) as Arc<dyn Any + Send + Sync>)
        })?;
        let file = Arc::clone(kept).downcast();
        file.map_err(|_other| {
            io::Error::other("it is shared with another kind of executor already")
        })
    }

    fn create(number: u64, encoded: &[u8], buffers: &[Bytes]) -> io::Result<Self> {
        let table = table_of(buffers);
        let head = (table.len() + encoded.len()) as u64;
        let lengths = buffers.iter().map(|buffer| buffer.len() as u64);
        let (places, end) = places(head, lengths).ok_or(io::ErrorKind::FileTooLarge)?;
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(c"shared value", flags)?;
        write_at(fd.as_fd(), 0, &table)?;
        write_at(fd.as_fd(), table.len() as u64, encoded)?;
        for (place, buffer) in places.iter().zip(buffers) {
            write_at(fd.as_fd(), place.start, buffer)?;
        }
        // The end may be that of an empty buffer.
        nix::unistd::ftruncate(&fd, end.cast_signed())?;
        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self { number, fd: Arc::new(fd), head })
    }

    /// The frame with which the descriptor goes over the socket.
    pub(crate) fn frame(&self) -> Vec<u8> {
        FrameBuilder::new(Kind::Value, self.number).u64(self.head).finish()
    }
}

/// The values that a worker was sent.
#[derive(Default)]
pub(crate) struct SentValues {
    values: BTreeMap<u64, Weak<ValueFile>>,
    /// How many had been dropped, of whatever pool, when this was last looked through.
    dropped: u64,
}

impl SentValues {
    pub(crate) fn has(&self, value: &ValueFile) -> bool {
        self.values.contains_key(&value.number)
    }

    pub(crate) fn add(&mut self, value: &Arc<ValueFile>) {
        self.values.insert(value.number, Arc::downgrade(value));
    }

    /// A value that nobody has any more.
    pub(crate) fn dropped(&mut self) -> Option<u64> {
        if self.values.is_empty() || self.dropped == DROPPED.load(Ordering::Relaxed) {
            return None;
        }
        // Before looking, so that one that is dropped meanwhile is found the next time.
        let dropped = DROPPED.load(Ordering::Relaxed);
        let gone = self.values.iter().find(|(_, value)| value.strong_count() == 0);
        let number = gone.map(|(&number, _)| number);
        if number.is_none() {
            self.dropped = dropped;
        }
        number
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.values.remove(&number);
    }
}

/// Has the tasks of this process find a value whose frame, and whose descriptor, have come.
pub(crate) fn provide(frame: &Frame, fd: &OwnedFd) -> io::Result<()> {
    let mut fields = Fields(&frame.body);
    let head = fields.u64()?;
    fields.end()?;
    let size = u64::try_from(fstat(fd)?.st_size).unwrap_or(0);
    let file = Arc::new(Mapped::new(fd, size)?);
    let part = |start: u64, end: u64| -> io::Result<Part<Mapped>> {
        // They fit, as what is mapped does.
        let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        if start > end || end > size {
            return Err(ProtocolError("a shared value that is too short".to_owned()).into());
        }
        Ok(Part::new(Arc::clone(&file), range))
    };
    let (lengths, table) = read_table(part(0, head)?.as_ref())?;
    let too_long = || ProtocolError("buffers longer than their file".to_owned());
    let (places, _) = places(head, lengths).ok_or_else(too_long)?;
    let buffers = places
        .into_iter()
        .map(|place| part(place.start, place.end).map(|part| wire::lend(Arc::new(part))));
    let buffers = buffers.collect::<io::Result<Vec<_>>>()?;
    let encoded = wire::lend(Arc::new(part(table as u64, head)?));
    wire::provide_value(frame.id, encoded, buffers);
    Ok(())
}

/// A file that nobody writes to, mapped.
struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is read only, by any thread.
unsafe impl Send for Mapped {}
// SAFETY: the same.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(fd: &OwnedFd, size: u64) -> io::Result<Self> {
        let length = usize::try_from(size).map_err(|_too_long| io::ErrorKind::OutOfMemory)?;
        Ok(Self { start: map_private(fd.as_fd(), length)?.cast(), length })
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: mapped as long as `self` is there, and so long; the file is sealed against being written to, or shortened.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use concurrent_futures_executor::{Shared, future::Crossing};

    /// A value with buffers comes out of its file, which nobody can write to; and that it is gone is noticed once.
    #[test]
    fn a_value_goes_through_its_file() {
        let shared = Shared::new((7_u8, Bytes::from(vec![5; 100_000]), "text".to_owned()));
        let mut bytes = Vec::new();
        let (outcome, _, values) =
            wire::with_values(|| wire::encode(&shared, &mut bytes, Crossing::EncodeArgument));
        outcome.unwrap();
        let file = ValueFile::of(&values[0]).unwrap();
        assert!(Arc::ptr_eq(&file, &ValueFile::of(&values[0]).unwrap()));
        assert!(write_at(file.fd.as_fd(), 0, b"x").is_err());
        assert!(nix::unistd::ftruncate(&file.fd, 0).is_err());
        let frame = file.frame();
        let body = frame[crate::frame::HEADER_SIZE..].to_vec();
        let frame = Frame { kind: Kind::Value, id: file.number, body };
        provide(&frame, &file.fd).unwrap();
        type Read = Shared<(u8, Bytes, String)>;
        let read: Read = wire::decode(&bytes, Crossing::DecodeArgument).unwrap();
        assert!(*read == *shared);
        wire::forget_value(file.number);

        let mut sent = SentValues::default();
        sent.add(&file);
        assert!(sent.has(&file) && sent.dropped().is_none());
        let number = file.number;
        drop((shared, values, file));
        assert_eq!(sent.dropped(), Some(number));
        sent.remove(number);
        assert!(sent.dropped().is_none());
        // What was mapped is there for as long as it is needed.
        assert!(read.1 == vec![5; 100_000]);
    }

    /// A file that is not what its frame says is refused.
    #[test]
    fn a_file_that_lies_is_refused() {
        let file = ValueFile::create(1 << 60, &[1, 2, 3], &[Bytes::from(vec![1; 10])]).unwrap();
        let body = |head: u64| head.to_le_bytes().to_vec();
        for head in [0, 7, 15, 1 << 40, u64::MAX] {
            let frame = Frame { kind: Kind::Value, id: 1 << 60, body: body(head) };
            assert!(provide(&frame, &file.fd).is_err(), "{head}");
        }
        let frame = Frame { kind: Kind::Value, id: 1 << 60, body: vec![1] };
        assert!(provide(&frame, &file.fd).is_err());
    }
}
