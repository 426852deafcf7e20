//! A queue of words in memory that two processes share: one of them writes, the other reads.
//!
//! ```text
//!            head                     tail
//!              v                        v
//!    +-------+---------------------------+-----------+
//!    |       |  written, and not read    |           |      at index `position % RING_WORDS`
//!    +-------+---------------------------+-----------+
//! ```
//!
//! Positions count words and never wrap. The writer owns `tail`, the reader owns `head`, and each keeps its own in private
//! memory: what lies in the shared memory is for the other to read, and may be anything if the other process is out of its
//! mind. So:
//!
//! 1. A position of the other side counts only if it is one that a sane process could have written: no further than a ring's
//!    length away. Otherwise the ring is [`Corrupt`].
//! 2. A word is read once, into private memory, before anything is concluded from it.
//! 3. All of the shared memory is atomic words. Whatever happens to it is a value that makes no sense, not undefined
//!    behaviour.
//!
//! Orderings: the words are relaxed. `tail` is stored with Release after them, and loaded with Acquire before them; `head`
//! the other way round, so that a word is not overwritten before it was read.

use crate::sync::{AtomicU64, Ordering};

/// How many words there are in a ring: 64 KiB.
#[cfg(not(loom))]
pub(crate) const RING_WORDS: usize = 8192;
#[cfg(loom)]
pub(crate) const RING_WORDS: usize = 8;

pub(crate) const WORD_SIZE: usize = size_of::<u64>();

/// Keeps what two processes write to out of each other's cache lines; two, as processors fetch them in pairs.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

#[repr(C)]
pub(crate) struct Ring {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    words: [AtomicU64; RING_WORDS],
}

/// The other process has written what it cannot have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// How many words hold so many bytes.
pub(crate) fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(WORD_SIZE)
}

impl Ring {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new() -> Self {
        Self {
            tail: Line(AtomicU64::new(0)),
            head: Line(AtomicU64::new(0)),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn word(&self, position: u64) -> &AtomicU64 {
        // The remainder fits.
        #[expect(clippy::cast_possible_truncation, reason = "less than RING_WORDS")]
        let index = (position % RING_WORDS as u64) as usize;
        &self.words[index]
    }

    /// Whether there is something that a reader, which has read up to `head`, has not read.
    pub(crate) fn has_more_than(&self, head: u64) -> bool {
        self.tail.0.load(Ordering::Acquire) != head
    }

    /// Whether there is room for so many words behind `tail`, or the reader is out of its mind.
    pub(crate) fn has_room_after(&self, tail: u64, words: usize) -> bool {
        let used = tail.wrapping_sub(self.head.0.load(Ordering::Acquire));
        used.saturating_add(words as u64) <= RING_WORDS as u64 || used > RING_WORDS as u64
    }

    /// Whether the reader has read everything up to `tail`.
    pub(crate) fn is_read_up_to(&self, tail: u64) -> bool {
        self.head.0.load(Ordering::Acquire) == tail
    }
}

/// The writer's side.
#[derive(Debug, Default)]
pub(crate) struct Producer {
    tail: u64,
    /// `head` as it was when it was last looked at.
    head: u64,
}

impl Producer {
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Whether there is room for so many words.
    pub(crate) fn has_room(&mut self, ring: &Ring, words: usize) -> Result<bool, Corrupt> {
        let room = |head: u64| RING_WORDS as u64 - (self.tail - head);
        if room(self.head) >= words as u64 {
            return Ok(true);
        }
        // Acquire: pairs with the Release in `Consumer::release`.
        let head = ring.head.0.load(Ordering::Acquire);
        if head < self.head || head > self.tail {
            return Err(Corrupt);
        }
        self.head = head;
        Ok(RING_WORDS as u64 - (self.tail - head) >= words as u64)
    }

    /// Writes bytes, filled up with zeros to whole words, for which there is room. Nobody sees them before `publish`.
    pub(crate) fn write(&mut self, ring: &Ring, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD_SIZE>();
        for word in words {
            ring.word(self.tail).store(u64::from_le_bytes(*word), Ordering::Relaxed);
            self.tail += 1;
        }
        if !rest.is_empty() {
            let mut word = [0; WORD_SIZE];
            word[..rest.len()].copy_from_slice(rest);
            ring.word(self.tail).store(u64::from_le_bytes(word), Ordering::Relaxed);
            self.tail += 1;
        }
    }

    /// Lets the reader see what was written.
    pub(crate) fn publish(&self, ring: &Ring) {
        ring.tail.0.store(self.tail, Ordering::Release);
    }
}

/// The reader's side.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    head: u64,
}

impl Consumer {
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// How many words can be read.
    pub(crate) fn available(&self, ring: &Ring) -> Result<usize, Corrupt> {
        // Acquire: pairs with the Release in `Producer::publish`.
        let tail = ring.tail.0.load(Ordering::Acquire);
        match tail.checked_sub(self.head).map(usize::try_from) {
            Some(Ok(available)) if available <= RING_WORDS => Ok(available),
            _ => Err(Corrupt),
        }
    }

    /// Appends so many words, which are available, to `bytes`.
    pub(crate) fn read(&mut self, ring: &Ring, words: usize, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + words * WORD_SIZE, 0);
        let (places, _) = bytes[start..].as_chunks_mut::<WORD_SIZE>();
        for place in places {
            *place = ring.word(self.head).load(Ordering::Relaxed).to_le_bytes();
            self.head += 1;
        }
    }

    /// Gives the room of what was read back to the writer.
    pub(crate) fn release(&self, ring: &Ring) {
        ring.head.0.store(self.head, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
