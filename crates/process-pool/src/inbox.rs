//! The worker's side of the places for long tasks and answers: the mappings through which it reads the ones and writes the
//! others, and what becomes of the buffers that a task keeps.
//!
//! The mappings stay from task to task, so that the next one finds the pages in the page table. Each buffer of a task is lent
//! as [`Bytes`](concurrent_futures_executor::Bytes), which leads to a [`Lease`]. When the task is done, either nobody but the inbox holds a lease any more;
//! then the memory is free for the next task. Or somebody does, and then that memory is not used again: the worker tells the
//! pool to put long tasks elsewhere, unmaps all but what is kept, and gives that back when it is dropped.
//!
//! Invariants:
//!
//! 1. The pool writes only where the worker says that there is room, and only while the worker has no long task.
//! 2. What is mapped where a lease lies is unmapped by the inbox alone, and only if it holds the lease alone.

use std::{
    io,
    ops::Range,
    ptr::{self, NonNull},
    sync::Arc,
};

use concurrent_futures_executor::{Bytes, wire};

use crate::{
    frame::{Header, PAYLOAD_MAX, ProtocolError},
    payload::{PAGE, Tabled, places, read_table},
    region::{KEPT_MAX, Region},
};

/// A buffer of a task, in the memory that the pool has put it into.
struct Lease {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is read only, by any thread.
unsafe impl Send for Lease {}
// SAFETY: the same.
unsafe impl Sync for Lease {}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: mapped as long as `self` is there (invariant 2), so long, and nobody writes to it meanwhile (invariant 1).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

/// A lease, and where in the place for long tasks its pages are.
struct Placed {
    lease: Arc<Lease>,
    pages: Range<u64>,
}

impl Placed {
    /// Whether nobody else holds it; then nobody ever will.
    fn is_free(&mut self) -> bool {
        Arc::get_mut(&mut self.lease).is_some()
    }
}

/// A long task that has come.
pub(crate) struct Opened {
    body: Range<usize>,
    leases: Vec<Placed>,
    /// How much of the room it takes.
    length: u64,
}

impl Opened {
    /// What goes to the task.
    pub(crate) fn buffers(&self) -> Vec<Bytes> {
        self.leases.iter().map(|placed| wire::lend(Arc::<Lease>::clone(&placed.lease))).collect()
    }
}

/// Dropping it leaves the memory mapped: the process is about to exit, and something may be kept still.
pub(crate) struct Inbox {
    /// Where in the place for long tasks the pool is to put the next one.
    room: Range<u64>,
    /// What is mapped from there on. No lease of an earlier task lies in it.
    mapping: Option<Mapping>,
    /// What tasks have kept.
    kept: Vec<Placed>,
}

#[derive(Clone, Copy)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { room: 0..PAYLOAD_MAX, mapping: None, kept: Vec::new() }
    }

    /// Looks at the task whose header this is.
    pub(crate) fn open(&mut self, region: &Region, header: &Header) -> io::Result<Opened> {
        self.map(region, header.length)?;
        let head = 0..as_index(header.length);
        if !header.kind.has_buffers() {
            return Ok(Opened { body: head, leases: Vec::new(), length: header.length });
        }
        let (lengths, table) = read_table(self.bytes(head.clone()))?;
        let too_long = || ProtocolError("buffers longer than their place".to_owned());
        let (places, length) = places(header.length, lengths).ok_or_else(too_long)?;
        // It may move, as there is no lease yet.
        self.map(region, length)?;
        let leases = places.into_iter().map(|place| {
            let bytes = self.bytes(as_index(place.start)..as_index(place.end));
            let lease = Lease { start: NonNull::from(bytes).cast(), length: bytes.len() };
            let start = self.room.start + place.start;
            let pages = start..start + (place.end - place.start).next_multiple_of(PAGE);
            Placed { lease: Arc::new(lease), pages }
        });
        Ok(Opened { body: table..head.end, leases: leases.collect(), length })
    }

    /// The encoded argument of the task that was opened last.
    pub(crate) fn body(&self, opened: &Opened) -> &[u8] {
        self.bytes(opened.body.clone())
    }

    /// Is done with the task that was opened last. If something of it is kept, then this is where the pool is to put the next
    /// one; it is to be told before it is answered.
    #[must_use]
    pub(crate) fn close(&mut self, region: &Region, mut opened: Opened) -> Option<Range<u64>> {
        self.give_back(region);
        opened.leases.retain_mut(|placed| !placed.is_free());
        let used = self.room.start..self.room.start + opened.length.next_multiple_of(PAGE);
        if opened.leases.is_empty() {
            region.trim_tasks(used);
            if self.mapping.is_some_and(|mapping| mapping.length as u64 > 2 * KEPT_MAX) {
                // Its page tables are not for nothing.
                self.unmap_all_but(&[]);
            }
            return None;
        }
        let kept: Vec<_> = opened.leases.iter().map(|placed| placed.pages.clone()).collect();
        self.unmap_all_but(&kept);
        for gap in gaps(used, &kept) {
            region.free_tasks(gap);
        }
        self.kept.append(&mut opened.leases);
        self.kept.sort_by_key(|placed| placed.pages.start);
        let kept: Vec<_> = self.kept.iter().map(|placed| placed.pages.clone()).collect();
        let largest = gaps(0..PAYLOAD_MAX, &kept).max_by_key(|gap| gap.end - gap.start);
        self.room = largest.unwrap_or(0..0);
        Some(self.room.clone())
    }

    /// Gives back the memory of what tasks have kept and now dropped.
    pub(crate) fn give_back(&mut self, region: &Region) {
        self.kept.retain_mut(|placed| {
            if !placed.is_free() {
                return true;
            }
            let Placed { lease, pages } = placed;
            // SAFETY: nobody else holds the lease, and its pages are not part of the present mapping, which begins in a gap
            // of what is kept and has been mapped since.
            unsafe { unmap(lease.start, as_index(pages.end - pages.start)) };
            region.free_tasks(pages.clone());
            false
        });
    }

    /// Has as much mapped as that. To be called while there are no leases on what is.
    fn map(&mut self, region: &Region, length: u64) -> io::Result<()> {
        if self.mapping.is_some_and(|mapping| length <= mapping.length as u64) {
            return Ok(());
        }
        self.unmap_all_but(&[]);
        if length > self.room.end - self.room.start {
            return Err(ProtocolError("a task where there is no room".to_owned()).into());
        }
        let length = as_index(length.max(1).next_multiple_of(PAGE));
        let start = region.map_task(self.room.start, length)?.cast();
        self.mapping = Some(Mapping { start, length });
        Ok(())
    }

    /// Unmaps what is mapped, but for these pages.
    fn unmap_all_but(&mut self, kept: &[Range<u64>]) {
        let Some(Mapping { start, length }) = self.mapping.take() else { return };
        for gap in gaps(self.room.start..self.room.start + length as u64, kept) {
            let offset = as_index(gap.start - self.room.start);
            // SAFETY: within the mapping, as `gaps` are within what they are the gaps of.
            let gap_start = unsafe { start.add(offset) };
            // SAFETY: this part was mapped by us, and nobody has a reference to it: the body is not looked at any more, and the
            // leases that others hold are in what is kept.
            unsafe { unmap(gap_start, as_index(gap.end - gap.start)) };
        }
    }

    /// Part of what is mapped.
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let Some(mapping) = self.mapping.filter(|mapping| range.end <= mapping.length) else {
            return &[];
        };
        // SAFETY: mapped for as long as `self` is borrowed; the pool does not write to it before the task is answered
        // (invariant 1).
        let bytes = unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.length) };
        &bytes[range]
    }
}

/// The worker's side of the place for long answers. Between the moment when the pool leaves that to the worker and the answer it
/// is the worker's alone, so that it can be written to through a mapping, which takes less time than by system calls.
pub(crate) struct Outbox {
    mapping: Option<Mapping>,
    /// How much of the place has memory for sure.
    reserved: u64,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { mapping: None, reserved: 0 }
    }

    /// Puts the body of a long answer, and its buffers, in their place, which the pool has left to the worker.
    pub(crate) fn put(&mut self, region: &Region, answer: &Tabled<'_>) -> io::Result<()> {
        let (parts, length) = answer.parts();
        if length > self.reserved {
            region.reserve_answer(self.reserved..length)?;
        }
        // The pool gives back the rest.
        self.reserved = self.reserved.max(length).min(KEPT_MAX);
        let mapping = self.map(region, length)?;
        for (offset, bytes) in parts {
            // SAFETY: within the mapping, which is as long as all parts together.
            let place = unsafe { mapping.start.add(as_index(offset)) };
            // SAFETY: the place is mapped, and nobody has a reference to it; what lies at another address is not in it, as the
            // place for tasks is another.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len()) };
        }
        if mapping.length as u64 > 2 * KEPT_MAX {
            self.unmap();
        }
        Ok(())
    }

    fn map(&mut self, region: &Region, length: u64) -> io::Result<Mapping> {
        if let Some(mapping) = self.mapping.filter(|mapping| length <= mapping.length as u64) {
            return Ok(mapping);
        }
        self.unmap();
        let length = as_index(length.max(1).next_multiple_of(PAGE));
        let start = region.map_answer(length)?.cast();
        Ok(*self.mapping.insert(Mapping { start, length }))
    }

    fn unmap(&mut self) {
        if let Some(Mapping { start, length }) = self.mapping.take() {
            // SAFETY: nobody has ever had a reference to it.
            unsafe { unmap(start, length) };
        }
    }
}

/// What is in memory, or mapped, has a length that fits.
fn as_index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// What is left of `all` without these ranges, which are in it and in order.
fn gaps(all: Range<u64>, without: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> {
    let starts = std::iter::once(all.start).chain(without.iter().map(|range| range.end));
    let ends = without.iter().map(|range| range.start).chain([all.end]);
    starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end)
}

/// Unmaps pages.
///
/// # Safety
///
/// They were mapped by us, and nobody has a reference to them any more.
unsafe fn unmap(start: NonNull<u8>, length: usize) {
    // SAFETY: the caller's.
    unsafe { libc::munmap(start.as_ptr().cast(), length) };
}

#[cfg(all(test, not(loom)))]
mod tests;
