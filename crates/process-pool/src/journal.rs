//! What a worker has done of the chunk that it runs, kept where it outlives the worker.
//!
//! A worker appends the value of each item to a place of its own in the shared file, and then says in the shared memory how
//! many items that makes and how many bytes; the next item is not begun before. So whatever kills the worker, the pool finds
//! the results of the items that were done, and knows which item the worker was on. Failures have a place of their own.
//!
//! The worker maps the place of the values, as a system call for each would cost more than most items. The pool does not: like
//! a long answer, it copies what is there with a system call.

use concurrent_futures_executor::wire;

use crate::{
    channel::{Progress, WorkerEnd},
    region::{JournalPlace, Region},
    sys::{self, Process},
};

/// The worker's side: keeps what comes of one chunk.
pub(crate) struct Journal<'a> {
    end: &'a WorkerEnd<Region>,
    place: &'a mut JournalPlace,
    task: u64,
    /// The process that runs the chunk.
    process: Process,
    /// How many items are done, how long the values are, and how long the failures.
    items: u64,
    values: usize,
    failures: u64,
    /// There was no room. If the worker dies, the chunk is lost.
    is_lost: bool,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(end: &'a WorkerEnd<Region>, place: &'a mut JournalPlace, task: u64) -> Self {
        let process = Process::this();
        Self { end, place, task, process, items: 0, values: 0, failures: 0, is_lost: false }
    }
}

impl wire::Journal for Journal<'_> {
    fn begin(&mut self) {
        self.end.begin_items(self.task);
    }

    fn item_done(&mut self, value: &[u8]) {
        // For short values this is a good part of what an item costs. So nothing is called from here but at the end.
        if self.process.is_this_for_sure() && self.place.write_short(self.values, value) {
            self.note(value.len());
        } else {
            self.long_item_done(value);
        }
    }

    fn item_failed(&mut self, failure: &[u8]) {
        self.check_process();
        if self.is_lost {
            return;
        }
        match self.place.put_failure(self.end.region(), self.failures, failure) {
            Ok(()) => {
                self.failures += failure.len() as u64;
                self.end.item_failed(self.failures);
                self.note(0);
            }
            Err(_no_room) => self.lose(),
        }
    }
}

impl Journal<'_> {
    #[inline]
    fn note(&mut self, value: usize) {
        self.values += value;
        self.items += 1;
        self.end.item_done(self.items, self.values as u64);
    }

    fn check_process(&self) {
        if !self.process.is_this() {
            // The item has forked, and this is the child, come back as well. What is kept here is the parent's.
            sys::exit_now(0);
        }
    }

    #[inline(never)]
    fn long_item_done(&mut self, value: &[u8]) {
        self.check_process();
        if self.is_lost {
            return;
        }
        if !self.place.has_room(self.values, value.len())
            && self.place.grow(self.end.region(), self.values, value.len()).is_err()
        {
            self.lose();
            return;
        }
        self.place.write(self.values, value);
        self.note(value.len());
    }

    fn lose(&mut self) {
        self.end.forget_items();
        // So that nothing has room from now on.
        self.place.close();
        self.is_lost = true;
    }
}

/// What the pool finds of a worker that has died: what came of the items of a chunk that were done.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) task: u64,
    pub(crate) items: u64,
    pub(crate) values: Vec<u8>,
    pub(crate) failures: Vec<u8>,
}

impl Part {
    /// What a worker has left, if it is as it says.
    pub(crate) fn read(progress: Progress, region: &Region) -> Option<Self> {
        let Progress { task, items, values, failures } = progress;
        let values = region.values(values).ok()?;
        let failures = region.failures(failures).ok()?;
        Some(Self { task, items, values, failures })
    }
}
