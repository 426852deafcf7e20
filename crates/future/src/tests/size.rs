//! How large what every task carries is, since bytes are time; see the head of `cell.rs`.

use std::mem::size_of;

use crate::{PackagedTask, Work, cell::Header};

/// Work on one word, with one word of result.
struct Word(u64);

impl Work for Word {
    type Output = u64;

    fn call(self) -> u64 {
        self.0
    }
}

/// A small task fits into one line of the cache, with the counts of its `Arc` and the word that an allocator keeps of each
/// block. Locks have this size on Linux.
#[test]
#[cfg_attr(not(all(target_os = "linux", target_pointer_width = "64")), ignore = "locks are larger")]
fn a_small_task_is_a_cache_line() {
    const COUNTS: usize = 2 * size_of::<usize>();
    const ALLOCATOR: usize = size_of::<usize>();
    assert_eq!(size_of::<Header>(), 24);
    assert_eq!(COUNTS + size_of::<PackagedTask<Word>>() + ALLOCATOR, 64);
}
