//! Huge pages for large vectors.
//!
//! Whoever first writes to a page pays for it, about half a microsecond for 4 KiB: for small results that takes longer than
//! making them. A page of 2 MiB costs as much as some hundred of those that it replaces, not 512. A system that is set up to
//! give huge pages only where they are asked for, as most are, has to be asked.

/// From this size on, memory comes fresh from the system, and goes back when it is freed: with glibc always, with other
/// allocators as a rule. So the advice does not outlive the vector.
#[cfg(all(target_os = "linux", not(miri)))]
const FRESH_MIN: usize = 32 << 20;

/// Has the memory of a vector that has just been made, and that is going to be filled, consist of huge pages if it is large.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn advise_huge_pages<T>(vector: &mut Vec<T>) {
    // The size of pages on most machines, and where it is another one this has no effect.
    const PAGE: usize = 4096;
    let bytes = vector.capacity().saturating_mul(size_of::<T>());
    if bytes < FRESH_MIN {
        return;
    }
    let start = vector.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(PAGE);
    // SAFETY: a page is shorter than the vector.
    let first = unsafe { start.add(before) };
    let length = (bytes - before) / PAGE * PAGE;
    // SAFETY: this is memory of the vector, and advice on pages changes nothing that is in it.
    let _may_be_refused = unsafe { libc::madvise(first.cast(), length, libc::MADV_HUGEPAGE) };
}

/// Elsewhere the system decides.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn advise_huge_pages<T>(_vector: &mut Vec<T>) {}
