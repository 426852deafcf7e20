//! `map`: a function over many items, with a bounded window of them in the executor.
//!
//! Items go in by chunks, each chunk one task. What is in the executor or ready to be taken, counted in items, never
//! exceeds the window. An item of a chunk that fails takes no other with it; see [`chunk`](crate::chunk).
//!
//! How large a chunk should be depends on how long a call takes, which the workers measure: a chunk comes back with the
//! time that it took. Unless told otherwise a map begins with chunks of one item, and lets them grow for as long as they
//! are too short to be worth the cost of a task.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    iter::{FusedIterator, Peekable},
    time::{Duration, Instant},
    vec,
};

use concurrent_futures_future::{
    CompletionSet, Future, FutureId, Progress, TaskError, TimeoutError,
};

use crate::{
    chunk::ChunkOutput,
    error::{InvalidMapOptions, MapError, Refusal, SubmitError},
};

/// Chunks per worker that the default window has room for: enough that workers do not run dry while the caller looks at
/// a result, few enough to be no burden on memory.
const DEFAULT_CHUNKS_PER_WORKER: usize = 16;

/// How long a chunk should take if the library chooses its size: a hundred times what a task costs, and short enough that
/// the last chunks of a map end at about the same time.
const CHUNK_TIME: Duration = Duration::from_micros(500);

/// By how much chunks grow at most from one that was measured to those to come. There are many in the window by then, so
/// with a smaller step a map would be through half of its items before chunks have the size that they should have.
const GROWTH: usize = 4;

/// The largest chunk that the library chooses. Above that, the cost of a task is nothing even to the shortest call.
const CHUNKSIZE_MAX: usize = 8192;

/// The most items per worker that are in the window when the library chooses both it and the chunks.
const WINDOW_MAX: usize = 8 * CHUNKSIZE_MAX;

/// How a [`map`](crate::ExecutorExt::map_with) is to go about it. The default is a good choice for most.
///
/// ```
/// use concurrent_futures_executor::{Executor, InlineExecutor, MapOptions};
///
/// let executor = InlineExecutor::new();
/// let squares = executor.map_with(MapOptions::new().buffersize(8), |n: u64| n * n, 1..)?;
/// assert_eq!(squares.take(3).collect::<Result<Vec<_>, _>>()?, [1, 4, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct MapOptions {
    timeout: Option<Duration>,
    chunksize: Option<usize>,
    buffer: Buffer,
    unordered: bool,
    progress: Option<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Buffer {
    #[default]
    Automatic,
    Items(usize),
    Unbounded,
}

impl Buffer {
    fn size(self, workers: usize, chunksize: usize) -> usize {
        match self {
            Self::Items(items) => items,
            Self::Unbounded => usize::MAX,
            Self::Automatic => {
                workers.saturating_mul(DEFAULT_CHUNKS_PER_WORKER).saturating_mul(chunksize)
            }
        }
    }
}

impl MapOptions {
    /// No deadline, chunks and window chosen by the library, results in the order of the items.
    pub fn new() -> Self {
        Self::default()
    }

    /// One deadline for the whole iteration, counted from the call of `map`.
    ///
    /// When it has passed, nothing more is submitted, and results that exist are still yielded as long as they are next
    /// in line; then comes one [`MapError::Timeout`], everything that has not started is cancelled, and the iterator
    /// ends. A timeout that is too long for the clock is as good as none.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many items go into one task. Without it the library chooses: 1 at first, and more for as long as calls turn
    /// out to be short, so that a chunk takes some hundred microseconds.
    ///
    /// Larger chunks cost less per item when calls are short. Items of a chunk are run one after another, and are
    /// cancelled together; they fail each by itself, also if the worker process dies of one of them. If the first calls are short and later ones very long, choose 1.
    pub fn chunksize(mut self, items: usize) -> Self {
        self.chunksize = Some(items);
        self
    }

    /// How many items may have been read and not yet yielded; never exceeded, so a chunk is no larger than this.
    ///
    /// The default grows with the number of workers and the size of the chunks. If the chunks are chosen by the library,
    /// it sees to it that there is room for two of them for each worker.
    pub fn buffersize(mut self, items: usize) -> Self {
        self.buffer = Buffer::Items(items);
        self
    }

    /// Reads all items and submits them all before `map` returns, as Python does without a `buffersize`.
    pub fn unbounded(mut self) -> Self {
        self.buffer = Buffer::Unbounded;
        self
    }

    /// Yields results in the order in which they come, rather than in that of the items.
    pub fn unordered(mut self) -> Self {
        self.unordered = true;
        self
    }

    /// Counts the items in `progress`.
    ///
    /// Of a chunk of several, items that failed are told from those that did not when the chunk's results are taken
    /// from the iterator.
    pub fn progress(mut self, progress: &Progress) -> Self {
        self.progress = Some(progress.clone());
        self
    }
}

type Submit<'a, T, O> = Box<dyn Fn(T) -> Result<Future<O>, SubmitError<T>> + Send + Sync + 'a>;

/// How items become tasks; the one part of a map that knows the function.
pub(crate) struct Submitter<'a, A, R> {
    pub(crate) one: Submit<'a, A, R>,
    pub(crate) many: Submit<'a, Vec<A>, ChunkOutput<R>>,
}

/// Tasks that have been submitted and whose results have not been looked at.
enum InFlight<F: concurrent_futures_future::AnyFuture> {
    Ordered(VecDeque<(F, usize)>),
    Unordered { set: CompletionSet<F>, weights: HashMap<FutureId, usize> },
}

impl<T> InFlight<Future<T>> {
    fn new(unordered: bool) -> Self {
        if unordered {
            Self::Unordered { set: CompletionSet::new(), weights: HashMap::new() }
        } else {
            Self::Ordered(VecDeque::new())
        }
    }

    fn push(&mut self, future: Future<T>, items: usize) {
        match self {
            Self::Ordered(queue) => queue.push_back((future, items)),
            Self::Unordered { set, weights } => {
                weights.insert(future.id(), items);
                set.insert(future);
            }
        }
    }

    /// The next outcome and the number of items that it stands for. `None` if nothing is in flight.
    #[expect(
        clippy::type_complexity,
        reason = "the three ways that this can go, each in its place"
    )]
    fn next(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<(Result<T, TaskError>, usize)>, TimeoutError> {
        match self {
            Self::Ordered(queue) => {
                let Some((future, _)) = queue.front() else { return Ok(None) };
                match deadline {
                    None => future.wait(),
                    Some(deadline) => future.wait_timeout(time_until(deadline))?,
                }
                Ok(queue.pop_front().map(|(future, items)| (future.result(), items)))
            }
            Self::Unordered { set, weights } => {
                let future = match deadline {
                    None => set.next(),
                    Some(deadline) => set.next_timeout(time_until(deadline))?,
                };
                Ok(future.map(|future| {
                    let items = weights.remove(&future.id()).unwrap_or(1);
                    (future.result(), items)
                }))
            }
        }
    }

    /// Cancels what has not started, the newest first, so that no worker starts what is about to be cancelled.
    fn cancel(&mut self) {
        match self {
            Self::Ordered(queue) => {
                while let Some((future, _)) = queue.pop_back() {
                    future.cancel();
                }
            }
            Self::Unordered { set, .. } => {
                for future in std::mem::take(set).into_futures().into_iter().rev() {
                    future.cancel();
                }
            }
        }
    }
}

/// Results that have arrived and not been yielded.
struct Ready<R> {
    single: Option<Result<R, TaskError>>,
    values: vec::IntoIter<R>,
    failures: Peekable<vec::IntoIter<(usize, TaskError)>>,
    /// How many results of the chunk were yielded, but for those of a run that was begun.
    position: usize,
    /// Why none of the items of a chunk has a value, and how many are left of them.
    failed: Option<(TaskError, usize)>,
}

impl<R> Default for Ready<R> {
    fn default() -> Self {
        Self {
            single: None,
            values: Vec::new().into_iter(),
            failures: Vec::new().into_iter().peekable(),
            position: 0,
            failed: None,
        }
    }
}

impl<R> Ready<R> {
    fn set_chunk(&mut self, chunk: ChunkOutput<R>) {
        self.values = chunk.values.into_iter();
        self.failures = chunk.failures.into_iter().peekable();
        self.position = 0;
    }

    /// How many values come next, one after another.
    fn run_length(&mut self) -> usize {
        match self.failures.peek() {
            Some((index, _)) => index - self.position,
            None => self.values.len(),
        }
    }

    fn next(&mut self) -> Option<Result<R, MapError>> {
        if let Some((_, error)) = self.failures.next_if(|(index, _)| *index == self.position) {
            self.position += 1;
            return Some(Err(error.into()));
        }
        if let Some(value) = self.values.next() {
            self.position += 1;
            return Some(Ok(value));
        }
        if let Some(outcome) = self.single.take() {
            return Some(outcome.map_err(MapError::Task));
        }
        match &mut self.failed {
            Some((error, left)) if *left > 0 => {
                *left -= 1;
                Some(Err(MapError::Task(error.clone())))
            }
            _ => None,
        }
    }
}

fn time_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The results of a [`map`](crate::ExecutorExt::map), as an iterator.
///
/// # Cancellation
///
/// Dropping it cancels what has not started. [`detach`](Self::detach) leaves that running.
#[must_use = "dropping this cancels what has not started"]
pub struct Map<'a, I: Iterator, R> {
    submitter: Submitter<'a, I::Item, R>,
    /// `None` once it has ended, or has panicked.
    input: Option<I>,
    /// Items that were read and could not be submitted: part of a chunk when the input panicked, or a refused chunk.
    unsubmitted: Vec<I::Item>,
    chunksize: usize,
    /// If the library chooses the size of chunks: how large they may become.
    adaptive: Option<usize>,
    workers: usize,
    buffer: Buffer,
    /// The largest value that `buffered` may have.
    buffersize: usize,
    /// Items that were submitted and not yet yielded, but for those of `run`.
    buffered: usize,
    /// How many values that are ready can be yielded without a look at anything else: there will be no room for another chunk
    /// before they are gone.
    run: usize,
    singles: InFlight<Future<R>>,
    chunks: InFlight<Future<ChunkOutput<R>>>,
    /// Results of the chunk that is being yielded.
    ready: Ready<R>,
    deadline: Option<Instant>,
    refused: Option<Refusal>,
    progress: Option<Progress>,
    ended: bool,
}

impl<'a, I: Iterator, R: Send + 'static> Map<'a, I, R> {
    pub(crate) fn start(
        workers: usize,
        options: MapOptions,
        submitter: Submitter<'a, I::Item, R>,
        input: I,
    ) -> Result<Self, InvalidMapOptions> {
        // A moment that the clock cannot express is farther away than anybody can wait for.
        let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let workers = workers.max(1);
        let chunksize = options.chunksize.unwrap_or(1);
        let buffersize = options.buffer.size(workers, chunksize);
        if chunksize == 0 {
            return Err(InvalidMapOptions::ZeroChunksize);
        }
        if buffersize == 0 {
            return Err(InvalidMapOptions::ZeroBuffersize);
        }
        let adaptive = match (options.chunksize, options.buffer) {
            (Some(_), _) => None,
            (None, Buffer::Items(items)) => Some((items / workers.saturating_mul(2)).max(1)),
            // Everything is submitted before anything is known.
            (None, Buffer::Unbounded) => None,
            (None, Buffer::Automatic) => Some(CHUNKSIZE_MAX),
        };
        let mut map = Self {
            submitter,
            input: Some(input),
            unsubmitted: Vec::new(),
            chunksize: chunksize.min(buffersize),
            adaptive,
            workers,
            buffer: options.buffer,
            buffersize,
            buffered: 0,
            run: 0,
            singles: InFlight::new(options.unordered),
            chunks: InFlight::new(options.unordered),
            ready: Ready::default(),
            deadline,
            refused: None,
            progress: options.progress,
            ended: false,
        };
        map.fill();
        Ok(map)
    }

    /// Lets what has been submitted run to its end, with nobody to take the results.
    pub fn detach(mut self) {
        self.ended = true;
        self.singles = InFlight::new(false);
        self.chunks = InFlight::new(false);
    }

    /// Cancels what has not started, and returns the items that have not been submitted: those that the executor
    /// refused, and the rest of the input.
    pub fn into_unsubmitted(mut self) -> impl Iterator<Item = I::Item> {
        self.cancel();
        let unsubmitted = std::mem::take(&mut self.unsubmitted);
        unsubmitted.into_iter().chain(self.input.take().into_iter().flatten())
    }

    /// Submits chunks for as long as there are items, room for them, and time.
    fn fill(&mut self) {
        // The window may have become smaller than what is in it.
        while self.refused.is_none()
            && self.buffersize.saturating_sub(self.buffered) >= self.chunksize
        {
            if !self.read_chunk() {
                return;
            }
            self.submit_chunk();
            // The input, an executor that runs the task here, or a full queue may have taken any time. Only after a chunk,
            // so that there is a result to be waited for.
            if self.has_expired() {
                return;
            }
        }
    }

    fn has_expired(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Reads until a chunk is complete or the input has ended. False if there is nothing to submit.
    fn read_chunk(&mut self) -> bool {
        self.read(self.chunksize.saturating_sub(self.unsubmitted.len()));
        !self.unsubmitted.is_empty()
    }

    /// Reads so many items, or fewer if the input ends.
    fn read(&mut self, items: usize) {
        // Out of its place while it runs: if it panics, it has ended, and what it had yielded is in the vector.
        let Some(mut input) = self.input.take() else { return };
        let complete = self.unsubmitted.len() + items;
        self.unsubmitted.extend(input.by_ref().take(items));
        if self.unsubmitted.len() == complete {
            self.input = Some(input);
        }
    }

    /// Whether there is an item that has not been submitted; finds out by reading one.
    fn has_unsubmitted(&mut self) -> bool {
        if self.unsubmitted.is_empty() {
            self.read(1);
        }
        !self.unsubmitted.is_empty()
    }

    fn submit_chunk(&mut self) {
        let count = self.unsubmitted.len().min(self.chunksize);
        let submitted = if self.goes_one_by_one() {
            if self.unsubmitted.is_empty() {
                return;
            }
            let item = self.unsubmitted.remove(0);
            match (self.submitter.one)(item) {
                Ok(future) => {
                    self.watch(&future, count);
                    self.singles.push(future, count);
                    Ok(())
                }
                Err(refused) => Err(refused.map(|item| vec![item])),
            }
        } else {
            // More than a chunk, if an earlier one was cut short by a panic of the input and chunks are smaller now.
            let rest = self.unsubmitted.split_off(count);
            match (self.submitter.many)(std::mem::replace(&mut self.unsubmitted, rest)) {
                Ok(future) => {
                    self.watch(&future, count);
                    self.chunks.push(future, count);
                    Ok(())
                }
                Err(refused) => Err(refused),
            }
        };
        match submitted {
            Ok(()) => self.buffered += count,
            Err(refused) => {
                let (reason, items) = refused.into_parts();
                self.unsubmitted.splice(..0, items);
                self.refused = Some(reason);
            }
        }
    }

    fn watch<T>(&self, future: &Future<T>, items: usize) {
        if let Some(progress) = &self.progress {
            progress.watch_as(future, items as u64);
        }
    }

    /// Whether each item is a task of its own, and not a chunk of one.
    fn goes_one_by_one(&self) -> bool {
        self.chunksize == 1 && self.adaptive.is_none()
    }

    /// Chooses the size of the chunks to come, after one of `items` has taken so long.
    fn adapt(&mut self, items: usize, nanos: u64) {
        let Some(largest) = self.adaptive else { return };
        let each = (nanos / items.max(1) as u64).max(1);
        let ideal = usize::try_from(CHUNK_TIME.as_nanos() / u128::from(each)).unwrap_or(usize::MAX);
        let ideal = ideal.clamp(1, largest);
        if ideal < self.chunksize {
            self.chunksize = ideal;
        } else if items >= self.chunksize {
            // By steps, and only on the word of a chunk of the present size: the calls seen so far may be short ones.
            self.chunksize = ideal.min(self.chunksize * GROWTH);
        }
        self.buffersize = self.buffer.size(self.workers, self.chunksize);
        if let Buffer::Automatic = self.buffer {
            self.buffersize = self.buffersize.min(self.workers.saturating_mul(WINDOW_MAX));
        }
    }

    /// Waits for the next results and makes them ready. False if nothing is in flight.
    fn receive(&mut self) -> Result<bool, TimeoutError> {
        if self.goes_one_by_one() {
            let Some((outcome, _)) = self.singles.next(self.deadline)? else { return Ok(false) };
            self.ready.single = Some(outcome);
            return Ok(true);
        }
        let Some((outcome, items)) = self.chunks.next(self.deadline)? else { return Ok(false) };
        match outcome {
            Ok(chunk) if chunk.len() == items => {
                if let Some(nanos) = chunk.nanos {
                    self.adapt(items, nanos);
                }
                if let Some(progress) = &self.progress {
                    progress.found_failed(chunk.failures.len() as u64);
                }
                self.ready.set_chunk(chunk);
            }
            // From a worker out of its mind.
            Ok(chunk) => {
                let what = format!("{} results of {items} items", chunk.len());
                if let Some(progress) = &self.progress {
                    progress.found_failed(items as u64);
                }
                self.ready.failed = Some((TaskError::failed(what), items));
            }
            Err(error) => self.ready.failed = Some((error, items)),
        }
        Ok(true)
    }
}

impl<I: Iterator, R> Map<'_, I, R> {
    /// Items that were submitted and not yet yielded.
    fn buffered(&self) -> usize {
        self.buffered + self.run
    }

    fn cancel(&mut self) {
        self.ended = true;
        self.singles.cancel();
        self.chunks.cancel();
    }
}

impl<I: Iterator, R: Send + 'static> Iterator for Map<'_, I, R> {
    type Item = Result<R, MapError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.run > 0
            && let Some(value) = self.ready.values.next()
        {
            self.run -= 1;
            return Some(Ok(value));
        }
        self.next_of_all()
    }

    /// As calls of `next`, but that values which need no look at anything else are moved out in one go.
    fn fold<B, F>(mut self, init: B, mut f: F) -> B
    where
        F: FnMut(B, Self::Item) -> B,
    {
        let mut folded = init;
        loop {
            let run = std::mem::take(&mut self.run);
            folded = self.ready.values.by_ref().take(run).map(Ok).fold(folded, &mut f);
            match self.next_of_all() {
                Some(next) => folded = f(folded, next),
                None => return folded,
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.ended {
            return (0, Some(0));
        }
        // A deadline or a refusal may end it early, so nothing but the end is certain.
        let unread = match &self.input {
            Some(input) => input.size_hint().1,
            None => Some(0),
        };
        let known = self.buffered() + self.unsubmitted.len() + 1;
        (0, unread.and_then(|unread| unread.checked_add(known)))
    }
}

impl<I: Iterator, R: Send + 'static> Map<'_, I, R> {
    /// The next result, wherever it is to come from.
    #[inline(never)]
    fn next_of_all(&mut self) -> Option<Result<R, MapError>> {
        if self.ended {
            return None;
        }
        // Past the deadline nothing more goes in; or else an executor that has every result at hand in time, as one
        // that runs in this thread has, would keep an endless map going for ever.
        let expired = self.has_expired();
        if !expired {
            self.fill();
        }
        loop {
            if let Some(next) = self.ready.next() {
                self.buffered -= 1;
                self.begin_run();
                return Some(next);
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) if expired && self.refused.is_none() && self.has_unsubmitted() => {
                    self.cancel();
                    return Some(Err(MapError::Timeout(TimeoutError::new(()))));
                }
                Ok(false) => {
                    self.ended = true;
                    return self.refused.take().map(|refusal| Err(MapError::Refused(refusal)));
                }
                Err(timeout) => {
                    self.cancel();
                    return Some(Err(MapError::Timeout(timeout)));
                }
            }
        }
    }

    /// Lets the values that come next be yielded without further ado, as long as that lets no chunk in.
    fn begin_run(&mut self) {
        let room = self.buffersize.saturating_sub(self.buffered);
        let has_input = self.input.is_some() || !self.unsubmitted.is_empty();
        let quiet = if has_input { self.chunksize.saturating_sub(room) } else { usize::MAX };
        self.run = self.ready.run_length().min(quiet);
        self.ready.position += self.run;
        self.buffered -= self.run;
    }
}

impl<I: Iterator, R: Send + 'static> FusedIterator for Map<'_, I, R> {}

impl<I: Iterator, R> Drop for Map<'_, I, R> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<I: Iterator, R> fmt::Debug for Map<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("chunksize", &self.chunksize)
            .field("buffersize", &self.buffersize)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}
