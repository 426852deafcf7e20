//! `map_vec`: a function over items that can be divided, straight into a vector.
//!
//! A `map` moves each item into a chunk, the chunk to a worker, the results back, and each result out of its chunk: for calls
//! of a few nanoseconds that is nearly all there is to do, and most of it is the caller's. Here workers take a number of items
//! where these are, and put the results where they are to stay.
//!
//! ```text
//!   items:   | taken by A | taken by B | taken by A | not taken           |
//!                                                   ^ next
//!   vector:  | written    | being written           | uninitialised       |
//! ```
//!
//! The whole is one task of the pool. It forks (see `join.rs`) into as many branches as there may be workers; each takes the
//! next items as long as there are any. A branch that nobody takes up costs nothing, since it is run by the one that made it,
//! when nothing is left. How many items are taken at once depends on how long the last ones took, so that neither the taking
//! nor the wait for the last is noticed.
//!
//! Invariants:
//!
//! 1. `next` only grows, and whoever moves it has the items that it has moved past, and their places in the vector, for
//!    themselves. So items before `next` were taken once, and the others not at all.
//! 2. A branch writes the places of what it has taken in order, without gaps. So if no call has panicked, all places before
//!    `next` are initialised when all branches have ended; and otherwise those that are in `written`.
//! 3. Whatever comes before an item that was taken has been taken before it, and is run to its end unless it panics itself. So
//!    of all panics the first in order is known at the end, as if items had been run one by one.
//!
//! All atomics are relaxed: what a branch has written is seen by the one that waits for it, by way of `join`.
//!
//! Other tasks of the pool that come meanwhile would wait for as long as the map takes. So a branch that runs on a worker of
//! its own ends them all when it sees a task in the queue, and the one that leads forks again: workers take up the new branches
//! when they find no tasks.

use std::{
    mem::needs_drop,
    ops::Range,
    ptr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use concurrent_futures_executor::{
    Executor, MapError,
    future::{Panic, TaskError},
};
use crossbeam_utils::CachePadded;

use crate::{
    items::Items,
    join::join,
    pages::advise_huge_pages,
    scope::{ScopedFuture, scope},
    shared::Shared,
    sync::{AtomicBool, AtomicUsize, Instant, Mutex, Ordering},
    worker,
};

/// How long it should take to run the items that are taken at once: a thousand times what taking them costs.
const CHUNK_TIME: Duration = Duration::from_micros(200);

/// By how much that number grows at most from one time to the next.
const GROWTH: usize = 4;

/// The most items that are taken at once. Later ones may take longer.
const CHUNK_MAX: usize = 1 << 16;

/// How long a worker that has taken up a branch does not mind tasks in the queue: to sleep and to be woken costs twenty times
/// less.
const TURN: Duration = Duration::from_millis(1);

/// Calls `function` for all items on workers of the pool.
pub(crate) fn map_vec<F, I, R>(
    executor: &dyn Executor,
    shared: &Arc<Shared>,
    function: F,
    items: I,
) -> Result<Vec<R>, MapError>
where
    F: Fn(I::Item) -> R + Sync,
    I: Items,
    R: Send,
{
    let (length, parts) = items.divide();
    let items = Supply::<I> { parts: Some(parts), next: CachePadded::default() };
    let mut results = Vec::with_capacity(length);
    advise_huge_pages(&mut results);
    let map = MapVec {
        shared,
        function,
        items,
        length,
        places: Places(results.as_mut_ptr()),
        over: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        failure: Mutex::new(None),
        written: Written { places: Places(results.as_mut_ptr()), ranges: Mutex::new(Vec::new()) },
    };
    if length > 0 {
        map.run_in_pool(executor)?;
    }
    let MapVec { items: _items, mut written, failure, .. } = map;
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => {
            written.keep();
            // SAFETY: invariant 2: no call has panicked, and there is nothing left to be taken.
            unsafe { results.set_len(length) };
            Ok(results)
        }
        Some((_, panic)) => Err(MapError::Task(TaskError::Panicked(panic))),
    }
}

/// One call of `map_vec`, as its branches see it.
struct MapVec<'a, F, I: Items, R> {
    shared: &'a Arc<Shared>,
    function: F,
    items: Supply<I>,
    length: usize,
    places: Places<R>,
    /// Whether the branches are to end, to be forked again if there is anything left.
    over: AtomicBool,
    /// Whether nothing more is to be taken.
    failed: AtomicBool,
    /// The first panic in the order of the items, of those that have been, and the place of the item.
    failure: Mutex<Option<(usize, Panic)>>,
    written: Written<R>,
}

/// The items, and how many of them were taken. Dropping it drops the others.
struct Supply<I: Items> {
    /// There until it is dropped.
    parts: Option<I::Parts>,
    next: CachePadded<AtomicUsize>,
}

impl<I: Items> Drop for Supply<I> {
    fn drop(&mut self) {
        // Relaxed: all branches have ended.
        let next = self.next.load(Ordering::Relaxed);
        if let Some(parts) = self.parts.take() {
            // SAFETY: invariant 1, and each branch has dropped its chunks.
            unsafe { I::finish(parts, next) };
        }
    }
}

/// The vector's memory.
struct Places<R>(*mut R);

impl<R> Clone for Places<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Places<R> {}

// SAFETY: results are put there by other threads, and nobody looks at those of another: invariant 1.
unsafe impl<R: Send> Send for Places<R> {}
// SAFETY: as above.
unsafe impl<R: Send> Sync for Places<R> {}

impl<R> Places<R> {
    /// # Safety
    ///
    /// There is such a place, and it is the caller's by invariant 1.
    #[inline]
    unsafe fn put(self, place: usize, result: R) {
        // SAFETY: within the vector.
        let place = unsafe { self.0.add(place) };
        // SAFETY: nobody else looks at it.
        unsafe { place.write(result) };
    }
}

/// What has been written, if it may have to be dropped: then dropping this does.
struct Written<R> {
    places: Places<R>,
    ranges: Mutex<Vec<Range<usize>>>,
}

impl<R> Written<R> {
    /// Leaves it to the vector.
    fn keep(&mut self) {
        self.ranges.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl<R> Drop for Written<R> {
    fn drop(&mut self) {
        let ranges = self.ranges.get_mut().unwrap_or_else(PoisonError::into_inner);
        for range in ranges.drain(..) {
            // SAFETY: within the vector.
            let first = unsafe { self.places.0.add(range.start) };
            let written = ptr::slice_from_raw_parts_mut(first, range.len());
            // SAFETY: all of these were written, invariant 2, and the vector does not know.
            unsafe { written.drop_in_place() };
        }
    }
}

impl<F, I, R> MapVec<'_, F, I, R>
where
    F: Fn(I::Item) -> R + Sync,
    I: Items,
    R: Send,
{
    /// Returns when all is done. If this fails, nothing has been taken.
    fn run_in_pool(&self, executor: &dyn Executor) -> Result<(), MapError> {
        if worker::current().is_some_and(|worker| Arc::ptr_eq(&worker.shared, self.shared)) {
            if let Some(refusal) = self.shared.refusal() {
                return Err(MapError::Refused(refusal));
            }
            self.lead();
            return Ok(());
        }
        let ran = scope(executor, |scope| {
            let task = scope.spawn(|| self.lead());
            task.map(ScopedFuture::result)
        });
        match ran {
            Ok(Ok(())) => Ok(()),
            Ok(Err(TaskError::Panicked(panic))) => panic.resume(),
            Ok(Err(error)) => Err(MapError::Task(error)),
            Err(refused) => Err(MapError::Refused(refused.into())),
        }
    }

    /// Forks until nothing is left.
    fn lead(&self) {
        let branches = self.shared.config.max_workers.get().min(self.length);
        loop {
            self.over.store(false, Ordering::Relaxed);
            self.branch(branches, true);
            if self.left() == 0 {
                return;
            }
        }
    }

    /// Runs so many branches, as far as anybody takes them up.
    fn branch(&self, branches: usize, leads: bool) {
        if branches <= 1 {
            return self.work(leads);
        }
        let others = branches / 2;
        join(|| self.branch(branches - others, leads), || self.branch(others, false));
    }

    /// Takes items, as long as there are any.
    fn work(&self, leads: bool) {
        let begin = Instant::now();
        let (mut chunksize, mut since) = (1, begin);
        let mut written: Vec<Range<usize>> = Vec::new();
        while !self.over.load(Ordering::Relaxed)
            && let Some(range) = self.take(chunksize)
        {
            let taken = range.len();
            let filled = self.fill(range);
            if needs_drop::<R>() {
                match written.last_mut() {
                    Some(last) if last.end == filled.start => last.end = filled.end,
                    _ => written.push(filled),
                }
            }
            let now = Instant::now();
            chunksize = next_chunksize(taken, now - since);
            since = now;
            if !leads && now - begin >= TURN && self.shared.has_queued() {
                self.over.store(true, Ordering::Relaxed);
            }
        }
        if !written.is_empty() {
            let mut ranges = self.written.ranges.lock().unwrap_or_else(PoisonError::into_inner);
            ranges.append(&mut written);
        }
    }

    /// How many items may still be taken.
    fn left(&self) -> usize {
        if self.failed.load(Ordering::Relaxed) {
            return 0;
        }
        self.length - self.items.next.load(Ordering::Relaxed)
    }

    /// Takes the next items: so many, or fewer near the end, where the branches have to come out even.
    fn take(&self, chunksize: usize) -> Option<Range<usize>> {
        let branches = self.shared.config.max_workers.get();
        loop {
            let left = self.left();
            if left == 0 {
                return None;
            }
            let count = chunksize.min(left / branches.saturating_mul(2)).max(1);
            let first = self.length - left;
            let (next, relaxed) = (first + count, Ordering::Relaxed);
            if self.items.next.compare_exchange_weak(first, next, relaxed, relaxed).is_ok() {
                return Some(first..next);
            }
        }
    }

    /// Calls the function for items that were taken; says which places have been written.
    fn fill(&self, range: Range<usize>) -> Range<usize> {
        let first = range.start;
        let mut count = 0;
        if let Some(parts) = &self.items.parts {
            // SAFETY: there are these items, and invariant 1.
            let chunk = unsafe { I::chunk(parts, range) };
            if let Err(panic) = Panic::catch(|| self.write(chunk, first, &mut count)) {
                self.fail(first + count, panic);
            }
        }
        first..first + count
    }

    fn write(&self, chunk: I::Chunk, first: usize, count: &mut usize) {
        /// Says at the end, whatever it may be, how many there are. Apart, so that meanwhile the number is in a register.
        struct Count<'a> {
            here: usize,
            there: &'a mut usize,
        }
        impl Drop for Count<'_> {
            fn drop(&mut self) {
                *self.there = self.here;
            }
        }
        let mut count = Count { here: 0, there: count };
        for item in chunk {
            let result = (self.function)(item);
            // SAFETY: the chunk has as many items as were taken, and the place goes with the item.
            unsafe { self.places.put(first + count.here, result) };
            count.here += 1;
        }
    }

    fn fail(&self, place: usize, panic: Panic) {
        self.failed.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &*failure {
            Some((earlier, _)) if *earlier < place => Some((place, panic)),
            _ => failure.replace((place, panic)),
        };
        drop(failure);
        // What was thrown is the user's, and is dropped without the lock.
        drop(before);
    }
}

/// How many items to take, after so many took so long.
fn next_chunksize(taken: usize, time: Duration) -> usize {
    let each = (time.as_nanos() / taken as u128).max(1);
    let ideal = usize::try_from(CHUNK_TIME.as_nanos() / each).unwrap_or(usize::MAX);
    ideal.clamp(1, CHUNK_MAX).min(taken.saturating_mul(GROWTH))
}
