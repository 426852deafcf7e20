//! The file in memory that the pool and one worker share: the rings at its beginning, mapped by both, and behind them one
//! place each for a long argument and a long result.
//!
//! The file is as long as its places could ever be, and takes as much memory as was written to it. Its size is sealed, so that
//! no worker can cut off what the pool has mapped, which would be a `SIGBUS` here. The pool maps nothing but the beginning: it
//! writes arguments and reads results with system calls, and so decodes nothing that a worker could still write to.
//!
//! There is one descriptor for each worker, and nothing in any file system: when both processes are gone, so is the memory.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
};

use nix::{
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        resource::{Resource, getrlimit},
        stat::fstat,
        uio::pwrite,
    },
};

use crate::{channel::Shared, frame::PAYLOAD_MAX};

/// Where the body of a long task is, and that of a long answer.
const TASK_OFFSET: u64 = PAYLOAD_MAX;
const ANSWER_OFFSET: u64 = 2 * PAYLOAD_MAX;
const FILE_SIZE: u64 = 3 * PAYLOAD_MAX;

/// A place keeps its memory for the next one if it is no more than this.
const KEPT_MAX: u64 = 64 << 20;

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

    /// Puts the body of a long task in its place.
    pub(crate) fn put_task(&self, body: &[u8]) -> io::Result<()> {
        self.put(TASK_OFFSET, body)
    }

    /// Puts the body of a long answer in its place.
    pub(crate) fn put_answer(&self, body: &[u8]) -> io::Result<()> {
        self.put(ANSWER_OFFSET, body)
    }

    fn put(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        // The limit may be another than it was.
        if is_beyond_limit(offset + bytes.len() as u64) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        while !bytes.is_empty() {
            match pwrite(&self.fd, bytes, offset.cast_signed()) {
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

    /// The body of the long task that is in its place, where it lies.
    pub(crate) fn task(&self, length: usize) -> io::Result<Body> {
        let flags = libc::PROT_READ;
        Ok(Body { start: map(self.fd.as_fd(), TASK_OFFSET, length, flags)?.cast(), length })
    }

    /// A copy of the body of the long answer that is in its place.
    pub(crate) fn take_answer(&self, length: u64) -> io::Result<Vec<u8>> {
        // What was never written takes no memory in the file, but would here.
        let blocks = fstat(&self.fd)?.st_blocks;
        if u64::try_from(blocks).unwrap_or(0).saturating_mul(512) < length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = usize::try_from(length).map_err(|_too_long| io::ErrorKind::OutOfMemory)?;
        let mut body = Vec::new();
        body.try_reserve_exact(length)
            .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        while body.len() < length {
            let offset = (ANSWER_OFFSET + body.len() as u64).cast_signed();
            let left = length - body.len();
            let room = &mut body.spare_capacity_mut()[..left];
            // SAFETY: `room` is there to be written to, and as long as said.
            let read = unsafe {
                libc::pread(self.fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), offset)
            };
            match usize::try_from(read) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    let length = body.len() + read;
                    // SAFETY: the kernel has just written so many bytes.
                    unsafe { body.set_len(length) };
                }
                Err(_negative) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        self.free(ANSWER_OFFSET, length as u64);
        Ok(body)
    }

    /// Gives back the memory of the body of a long task, if it is much.
    pub(crate) fn free_task(&self, length: u64) {
        self.free(TASK_OFFSET, length);
    }

    fn free(&self, offset: u64, length: u64) {
        if length > KEPT_MAX {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            // If it fails, the memory is there for the next one.
            fallocate(&self.fd, flags, offset.cast_signed(), length.cast_signed()).ok();
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

/// The body of a long task, mapped.
pub(crate) struct Body {
    start: NonNull<u8>,
    length: usize,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped as long as `self` is, so long, and the pool does not write to it before the task is answered.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Whether files must not be that long. Writing beyond the limit would be a signal, which ends the process, rather than an
/// error.
fn is_beyond_limit(length: u64) -> bool {
    getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(soft, _)| soft < length)
}

fn map(fd: BorrowedFd<'_>, offset: u64, length: usize, protection: i32) -> io::Result<NonNull<()>> {
    let (shared, offset) = (libc::MAP_SHARED, offset.cast_signed());
    let null = std::ptr::null_mut();
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start = unsafe { libc::mmap(null, length, protection, shared, fd.as_raw_fd(), offset) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(all(test, not(loom)))]
mod tests;
