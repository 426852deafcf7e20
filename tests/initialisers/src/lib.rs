//! Globals that are zero until code before `main` fills them in: C++'s, C's, and Rust's.
//!
//! A task must find all of them filled in, whichever place the linker gives their initialisers beside the pool's.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicI32, Ordering};

unsafe extern "C" {
    safe fn initialisers_c_global() -> i32;
    #[cfg(has_cpp)]
    safe fn initialisers_cpp_global() -> i32;
}

static LATE: AtomicI32 = AtomicI32::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);

extern "C" fn fill_in_late() {
    LATE.store(43, Ordering::Relaxed);
}

extern "C" fn fill_in_last() {
    // What comes before it counts, so that it shows whether the order was kept.
    LAST.store(LATE.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

// After the pool's, which asks for 100.
#[used]
// SAFETY: the section holds pointers to functions of this kind, and this one touches an atomic alone.
#[unsafe(link_section = ".init_array.00200")]
static FILL_IN_LATE: extern "C" fn() = fill_in_late;

// Those without a number come last.
#[used]
// SAFETY: as above.
#[unsafe(link_section = ".init_array")]
static FILL_IN_LAST: extern "C" fn() = fill_in_last;

/// 41 if C's constructor has run.
#[must_use]
pub fn c_global() -> i32 {
    initialisers_c_global()
}

/// 1001 if C++'s constructors have run, in their order; `None` if there was no compiler for them.
#[must_use]
pub fn cpp_global() -> Option<i32> {
    #[cfg(has_cpp)]
    {
        Some(initialisers_cpp_global())
    }
    #[cfg(not(has_cpp))]
    {
        None
    }
}

/// 43 and 44 if the two initialisers written in Rust have run, in their order.
#[must_use]
pub fn rust_globals() -> (i32, i32) {
    (LATE.load(Ordering::Relaxed), LAST.load(Ordering::Relaxed))
}
