//! The allocator of the program, which counts when asked to.
//!
//! Samples of memory ask; all others pay for a load and a branch that is never taken.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// By itself on its cache lines, so that it stays in every processor's cache.
#[repr(align(128))]
struct Switch(AtomicBool);

static COUNTING: Switch = Switch(AtomicBool::new(false));
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// What the program has allocated since counting began.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Allocated and not freed. Less than zero if more was freed that had been there before.
    pub live_bytes: i64,
    /// Allocations and reallocations.
    pub allocations: u64,
}

/// Begins to count.
pub fn count() {
    COUNTING.0.store(true, Ordering::SeqCst);
}

/// What has been counted up to now, by all threads.
#[must_use]
pub fn heap() -> Heap {
    Heap {
        live_bytes: LIVE_BYTES.load(Ordering::SeqCst),
        allocations: ALLOCATIONS.load(Ordering::SeqCst),
    }
}

struct Counting;

fn note(allocated: usize, freed: usize) {
    if COUNTING.0.load(Ordering::Relaxed) {
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        LIVE_BYTES.fetch_add(signed(allocated) - signed(freed), Ordering::Relaxed);
        if allocated > 0 {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: all is passed on to the system's allocator as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: the caller's promise is the same, and the pointer came from the same allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller's promise is the same, and the pointer came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
