//! The file in memory that the pool and one worker share: the rings at its beginning, mapped by both, and behind them one
//! place each for a long argument and a long result, with their buffers, and for what is done of a chunk.
//!
//! The file is as long as its places could ever be, and takes as much memory as was written to it. Its size is sealed, so that
//! no worker can cut off what the pool has mapped, which would be a `SIGBUS` here. The pool maps nothing but the beginning: it
//! writes arguments and reads results with system calls, and so decodes nothing that a worker could still write to.
//!
//! There is one descriptor for each worker, and nothing in any file system: when both processes are gone, so is the memory.

use std::{
    io,
    ops::{Deref, Range},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::Arc,
};

use concurrent_futures_executor::wire;
use nix::{
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        resource::{Resource, getrlimit},
        stat::fstat,
        uio::pwrite,
    },
};

use crate::{
    channel::Shared,
    frame::{Header, PAYLOAD_MAX},
    payload::{Received, Shelf, Tabled, places, read_table},
    ring::WORD_SIZE,
};

/// Where the body of a long task is, and that of a long answer.
const TASK_OFFSET: u64 = PAYLOAD_MAX;
const ANSWER_OFFSET: u64 = 2 * PAYLOAD_MAX;
/// Where the values of a chunk's items are, and the failures.
const JOURNAL_OFFSET: u64 = 3 * PAYLOAD_MAX;
const FAILURES_OFFSET: u64 = JOURNAL_OFFSET + PAYLOAD_MAX / 2;
const FILE_SIZE: u64 = 4 * PAYLOAD_MAX;

/// How much memory is made for the journal at first.
const JOURNAL_MIN: usize = 64 << 10;

/// How much memory a place keeps for the next one.
pub(crate) const KEPT_MAX: u64 = 64 << 20;

pub(crate) struct Region {
    fd: OwnedFd,
    shared: NonNull<Shared>,
}

// SAFETY: the memory belongs to nobody in particular, and all of it is atomic.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

impl Region {
    /// A new one. `None` where it cannot be: on kernels without, or if files must not be that long.
    pub(crate) fn create() -> io::Result<Option<Self>> {
        if is_beyond_limit(FILE_SIZE) {
            return Ok(None);
        }
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = match memfd_create(c"worker", flags) {
            Ok(fd) => fd,
            Err(errno @ (nix::Error::EMFILE | nix::Error::ENFILE | nix::Error::ENOMEM)) => {
                return Err(errno.into());
            }
            Err(_) => return Ok(None),
        };
        let sealed = nix::unistd::ftruncate(&fd, FILE_SIZE.cast_signed()).and_then(|()| {
            let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
            fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))
        });
        if sealed.is_err() {
            return Ok(None);
        }
        let region = Self::map(fd)?;
        region.prepare();
        Ok(Some(region))
    }

    /// The worker's view of one that the pool has made.
    pub(crate) fn map(fd: OwnedFd) -> io::Result<Self> {
        let shared = map(fd.as_fd(), 0, size_of::<Shared>(), libc::PROT_READ | libc::PROT_WRITE)?;
        Ok(Self { fd, shared: shared.cast() })
    }

    /// Puts the body of a long task, and its buffers, where the worker has room.
    pub(crate) fn put_task(&self, room: Range<u64>, task: &Tabled<'_>) -> io::Result<()> {
        let (parts, length) = task.parts();
        if length > room.end - room.start {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let start = TASK_OFFSET + room.start;
        for (offset, bytes) in parts {
            if let Err(error) = self.put(start + offset, bytes) {
                self.free(start..start + length);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has memory for part of the place for long answers, so that there is no lack of it when it is written to. The limit on the
    /// size of files is not about that: the file is as long as it was.
    pub(crate) fn reserve_answer(&self, range: Range<u64>) -> io::Result<()> {
        let range = ANSWER_OFFSET + range.start..ANSWER_OFFSET + range.end;
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, length) = (range.start, range.end - range.start);
        loop {
            match fallocate(&self.fd, flags, start.cast_signed(), length.cast_signed()) {
                Ok(()) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_at(self.fd.as_fd(), offset, bytes)
    }

    /// Maps part of the place for long tasks, which begins there, to be read.
    pub(crate) fn map_task(&self, offset: u64, length: usize) -> io::Result<NonNull<()>> {
        map(self.fd.as_fd(), TASK_OFFSET + offset, length, libc::PROT_READ)
    }

    /// Maps the beginning of the place for long answers, to be written to.
    pub(crate) fn map_answer(&self, length: usize) -> io::Result<NonNull<()>> {
        map(self.fd.as_fd(), ANSWER_OFFSET, length, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// A copy of the long answer that is in its place, whose header this is.
    pub(crate) fn take_answer(&self, header: &Header, shelf: &Arc<Shelf>) -> io::Result<Received> {
        let bytes = self.copy_answer(0..header.length, header.length, shelf)?;
        if !header.kind.has_buffers() {
            self.trim(ANSWER_OFFSET..ANSWER_OFFSET + header.length);
            return Ok(Received::plain(bytes).returned_to(shelf));
        }
        let (lengths, table) = read_table(&bytes)?;
        let (places, length) = places(header.length, lengths).ok_or(io::ErrorKind::InvalidData)?;
        let sum = places.iter().map(|place| place.end - place.start).sum();
        let copies = places.into_iter().map(|place| {
            let home = Arc::downgrade(shelf);
            self.copy_answer(place, sum, shelf).map(|copy| wire::with_home(copy, home))
        });
        let buffers = copies.collect::<io::Result<_>>()?;
        self.trim(ANSWER_OFFSET..ANSWER_OFFSET + length);
        Ok(Received::with_buffers(bytes, table, buffers))
    }

    /// A copy of the values in the journal.
    pub(crate) fn values(&self, length: u64) -> io::Result<Vec<u8>> {
        self.copy_journal(JOURNAL_OFFSET, length)
    }

    /// A copy of the failures in the journal.
    pub(crate) fn failures(&self, length: u64) -> io::Result<Vec<u8>> {
        self.copy_journal(FAILURES_OFFSET, length)
    }

    /// Copies the beginning of one of the two places of the journal, which are as long as each other.
    fn copy_journal(&self, start: u64, length: u64) -> io::Result<Vec<u8>> {
        if length > FAILURES_OFFSET - JOURNAL_OFFSET {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.copy(start..start + length, length, &Shelf::default())
    }

    /// Copies part of the place for long answers, which must hold so much memory.
    fn copy_answer(&self, place: Range<u64>, memory: u64, shelf: &Shelf) -> io::Result<Vec<u8>> {
        self.copy(ANSWER_OFFSET + place.start..ANSWER_OFFSET + place.end, memory, shelf)
    }

    /// Copies part of the file, which must hold so much memory.
    fn copy(&self, place: Range<u64>, memory: u64, shelf: &Shelf) -> io::Result<Vec<u8>> {
        // What was never written takes no memory in the file, but would here.
        let blocks = fstat(&self.fd)?.st_blocks;
        if u64::try_from(blocks).unwrap_or(0).saturating_mul(512) < memory {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = usize::try_from(place.end - place.start)
            .map_err(|_too_long| io::ErrorKind::OutOfMemory)?;
        let mut copy = shelf
            .take(length)
            .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        while copy.len() < length {
            let offset = (place.start + copy.len() as u64).cast_signed();
            let left = length - copy.len();
            let room = &mut copy.spare_capacity_mut()[..left];
            // SAFETY: `room` is there to be written to, and as long as said.
            let read = unsafe {
                libc::pread(self.fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), offset)
            };
            match usize::try_from(read) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    let length = copy.len() + read;
                    // SAFETY: the kernel has just written so many bytes.
                    unsafe { copy.set_len(length) };
                }
                Err(_negative) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(copy)
    }

    /// Gives back the memory of part of the place for long tasks.
    pub(crate) fn free_tasks(&self, range: Range<u64>) {
        self.free(TASK_OFFSET + range.start..TASK_OFFSET + range.end);
    }

    /// The same, but for some that is kept for the next task.
    pub(crate) fn trim_tasks(&self, range: Range<u64>) {
        self.trim(TASK_OFFSET + range.start..TASK_OFFSET + range.end);
    }

    fn trim(&self, range: Range<u64>) {
        self.free(range.start + KEPT_MAX..range.end);
    }

    fn free(&self, range: Range<u64>) {
        if range.start < range.end {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let (start, length) = (range.start, range.end - range.start);
            // If it fails, the memory is there for the next one.
            fallocate(&self.fd, flags, start.cast_signed(), length.cast_signed()).ok();
        }
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Deref for Region {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: mapped as long as `self` is, large enough and aligned to a page; the file cannot become shorter. Any bytes
        // make a `Shared`, and all of it may be written to by others at any time, being atomic.
        unsafe { self.shared.as_ref() }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.shared.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// The place of the journal, of which the worker maps as much as it has needed.
pub(crate) struct JournalPlace {
    start: NonNull<u8>,
    /// How much is mapped.
    length: usize,
    /// How long the failures of the chunk are, which have a place of their own.
    failures: u64,
}

impl JournalPlace {
    /// Whether so many bytes can be written, so far from the beginning.
    #[inline]
    pub(crate) fn has_room(&self, at: usize, length: usize) -> bool {
        at <= self.length && length <= self.length - at
    }

    /// Writes the value of an item, so far from the beginning, if it is of one word or two, as most are, and there is room. A
    /// call of `memcpy` would take longer than all of this.
    #[inline]
    pub(crate) fn write_short(&mut self, at: usize, value: &[u8]) -> bool {
        let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) else {
            return false;
        };
        if value.len() > 2 * WORD_SIZE || !self.has_room(at, value.len()) {
            return false;
        }
        // SAFETY: mapped up to the end of the value at least. This process reads nothing there, and writes nothing from
        // elsewhere.
        let to = unsafe { self.start.add(at) };
        // SAFETY: the same.
        let to_last = unsafe { to.add(value.len() - WORD_SIZE) };
        // SAFETY: the same, and nothing is to be aligned. The two words may overlap.
        unsafe { to.cast::<[u8; WORD_SIZE]>().write(*first) };
        // SAFETY: the same.
        unsafe { to_last.cast::<[u8; WORD_SIZE]>().write(*last) };
        true
    }

    /// Writes the value of an item, so far from the beginning.
    ///
    /// # Panics
    ///
    /// If there is no room.
    pub(crate) fn write(&mut self, at: usize, value: &[u8]) {
        assert!(self.has_room(at, value.len()), "no room for a value");
        // SAFETY: as in `write_short`.
        let to = unsafe { self.start.add(at) };
        // SAFETY: the same; and the value is not there, since nobody has a reference into it.
        unsafe { to.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len()) };
    }

    /// Makes room for so many bytes, so far from the beginning. What is before them stays.
    pub(crate) fn grow(&mut self, region: &Region, at: usize, length: usize) -> io::Result<()> {
        let length = at.checked_add(length).ok_or(io::ErrorKind::OutOfMemory)?;
        let length = length.checked_next_power_of_two().ok_or(io::ErrorKind::OutOfMemory)?;
        let length = length.max(JOURNAL_MIN);
        if length as u64 > FAILURES_OFFSET - JOURNAL_OFFSET {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // If there is no memory, it is an error here, rather than a signal when it is written to.
        let none = FallocateFlags::empty();
        fallocate(&region.fd, none, JOURNAL_OFFSET.cast_signed(), (length as u64).cast_signed())?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let start = map(region.fd.as_fd(), JOURNAL_OFFSET, length, protection)?.cast();
        self.close();
        self.start = start;
        self.length = length;
        Ok(())
    }

    /// Adds to the failures, which are so long.
    pub(crate) fn put_failure(
        &mut self,
        region: &Region,
        at: u64,
        failure: &[u8],
    ) -> io::Result<()> {
        // Also if there is no room for all of it.
        self.failures = at + failure.len() as u64;
        region.put(FAILURES_OFFSET + at, failure)
    }

    /// Gives the memory back after a chunk, if it is much.
    pub(crate) fn trim(&mut self, region: &Region) {
        let failures = std::mem::take(&mut self.failures);
        region.trim(FAILURES_OFFSET..FAILURES_OFFSET + failures);
        let length = self.length as u64;
        if length > KEPT_MAX {
            self.close();
            region.free(JOURNAL_OFFSET..JOURNAL_OFFSET + length);
        }
    }

    /// Has no room any more.
    pub(crate) fn close(&mut self) {
        if self.length > 0 {
            // SAFETY: mapped by us, so long, and nobody has a reference into it.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
            self.length = 0;
        }
    }
}

impl Default for JournalPlace {
    fn default() -> Self {
        Self { start: NonNull::dangling(), length: 0, failures: 0 }
    }
}

impl Drop for JournalPlace {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether files must not be that long. Writing beyond the limit would be a signal, which ends the process, rather than an
/// error.
fn is_beyond_limit(length: u64) -> bool {
    getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(soft, _)| soft < length)
}

/// Writes all of it to a file in memory.
pub(crate) fn write_at(fd: BorrowedFd<'_>, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    // The limit may be another than it was.
    if is_beyond_limit(offset + bytes.len() as u64) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    while !bytes.is_empty() {
        match pwrite(fd, bytes, offset.cast_signed()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                bytes = &bytes[written..];
            }
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Maps the beginning of a file that is not going to change, to be read. Not shared: of a file that is sealed against writing,
/// older kernels take a shared mapping for one that could be written to.
pub(crate) fn map_private(fd: BorrowedFd<'_>, length: usize) -> io::Result<NonNull<()>> {
    map_as(libc::MAP_PRIVATE, fd, 0, length, libc::PROT_READ)
}

fn map(fd: BorrowedFd<'_>, offset: u64, length: usize, protection: i32) -> io::Result<NonNull<()>> {
    map_as(libc::MAP_SHARED, fd, offset, length, protection)
}

fn map_as(
    flags: i32,
    fd: BorrowedFd<'_>,
    offset: u64,
    length: usize,
    protection: i32,
) -> io::Result<NonNull<()>> {
    let offset = offset.cast_signed();
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start = unsafe { libc::mmap(null, length, protection, flags, fd.as_raw_fd(), offset) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(all(test, not(loom)))]
mod tests;
