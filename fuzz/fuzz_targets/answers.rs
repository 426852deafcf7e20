//! Whatever a worker writes to the memory that it shares with the pool, what the pool reads there is answers or an error:
//! never a panic, nor more than a ring holds.
#![no_main]

use std::sync::{Arc, atomic::AtomicU64};

use libfuzzer_sys::fuzz_target;

// These are private to their crate, so they are compiled in here, with what little else they need.
#[expect(dead_code, reason = "only what the pool reads is of interest")]
#[path = "../../crates/process-pool/src/channel.rs"]
mod channel;
#[expect(dead_code, reason = "only what the pool reads is of interest")]
#[path = "../../crates/process-pool/src/frame.rs"]
mod frame;
#[expect(dead_code, reason = "only what the pool reads is of interest")]
#[path = "../../crates/process-pool/src/ring.rs"]
mod ring;
#[expect(dead_code, reason = "only what the pool reads is of interest")]
#[path = "../../crates/process-pool/src/sync.rs"]
mod sync;

mod supervisor {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

mod sys {
    use std::sync::atomic::AtomicU32;

    pub(crate) fn futex_wait(_: &AtomicU32, _: u32) {}
    pub(crate) fn futex_wake(_: &AtomicU32) {}
}

use channel::{PoolEnd, Shared, WINDOW_MAX, split_frame};
use frame::{FrameBuilder, Kind};
use ring::{RING_WORDS, WORD_SIZE};

/// What comes before the words of the answers: the last words of the memory.
const ANSWERS: usize = size_of::<Shared>() / WORD_SIZE - RING_WORDS;
const LINE: usize = 128 / WORD_SIZE;

fuzz_target!(|rounds: Vec<(Vec<(u16, u64)>, Vec<u64>, u16)>| {
    let shared = Arc::new(Shared::new());
    // SAFETY: all of it is atomic words, or nothing.
    let words: &[AtomicU64] = unsafe {
        std::slice::from_raw_parts(Arc::as_ptr(&shared).cast(), size_of::<Shared>() / WORD_SIZE)
    };
    let write = |word: usize, value: u64| {
        words[word % words.len()].store(value, sync::Ordering::Relaxed);
    };
    let pool = PoolEnd::new(Arc::clone(&shared));
    let (mut tail, mut id) = (0_usize, 0_u64);
    for (anywhere, frames, count) in rounds {
        // Chance would take long to get past what is checked first.
        for word in frames {
            let header = u64::from_le_bytes([b'C', b'F', frame::VERSION, word as u8, 0, 0, 0, 0]);
            let value = if word % 7 == 0 { header | word << 24 } else { word };
            write(ANSWERS + tail % RING_WORDS, value);
            tail += 1;
        }
        write(ANSWERS - 2 * LINE, tail as u64);
        for (word, value) in anywhere {
            write(usize::from(word), value);
        }
        id += 1;
        let slot = (id % WINDOW_MAX as u64) as u32;
        let task = FrameBuilder::new(Kind::Task, id).finish();
        drop(pool.send_task(&task, id, slot));
        let _any = (pool.must_wake(), pool.revoke(slot, id), pool.has_started(slot, id));
        let mut bytes = Vec::new();
        if pool.receive(&mut supervisor::lock(&pool.receiving), &mut bytes).is_err() {
            return;
        }
        assert!(bytes.len() <= RING_WORDS * WORD_SIZE);
        let mut rest = &bytes[..];
        while let Ok((_, body, after)) = split_frame(rest) {
            assert!(body.len() + after.len() < rest.len());
            rest = after;
        }
        let _any = (pool.has_answers(), pool.expect_bell(u64::from(count)), pool.cost());
        let _any = pool.journaled();
    }
});
