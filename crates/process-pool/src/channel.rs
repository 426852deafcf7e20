//! The memory that the pool and one worker share, and how each uses its end.
//!
//! Tasks go through one ring, answers through another, as the frames that a socket would carry, filled up to whole words. A
//! system call is needed only to wake somebody who sleeps. `docs/protocol.md` has the layout to the byte.
//!
//! **Claims.** The pool sends short tasks ahead of the one that the worker runs. Each has a word here, its claim, which says
//! that it was sent; the worker makes it "started" just before it starts, the pool "revoked" when it takes the task back,
//! both by compare-and-swap, so that one of them wins. A worker out of its mind may write there what it likes: the pool keeps
//! its own record of what it has revoked, and takes from there nothing but whether the worker's own tasks were started.
//!
//! **Sleep.** Each side looks for a while, and then sleeps: the worker on a futex, the pool in its reactor, where a frame on
//! the socket wakes it, the bell. Sleeping and being woken follow one pattern on both sides:
//!
//! ```text
//!   who sleeps                               who wakes
//!   1. says that it is going to sleep        1. publishes
//!   2. fence (SeqCst)                        2. fence (SeqCst)
//!   3. looks once more                       3. looks whether the other sleeps; if so, unsays it and wakes
//!   4. sleeps
//! ```
//!
//! If the look in step 3 on the left misses what was published, then the fence on the left comes before the one on the right,
//! and the look on the right finds the sleeper.
//!
//! What the worker says in step 1 is [`ASLEEP`] in a word of its own, whatever it waits for. What the pool says is a number:
//! which answer to ring the bell for. So a pool whose worker has many short tasks before it is woken once for half of them, and
//! not for each. A worker that goes to sleep rings for whatever the pool has not read.

use std::{
    ops::{Deref, Range},
    sync::{
        Mutex,
        atomic::{AtomicBool as PrivateBool, AtomicU64 as PrivateU64, Ordering as PrivateOrdering},
    },
};

use crate::{
    frame::{HEADER_SIZE, Header, PAYLOAD_MAX, ProtocolError, placed_header},
    ring::{Consumer, Corrupt, Line, Producer, Ring, WORD_SIZE, words_for},
    supervisor::lock,
    sync::{AtomicU64, Contended, Futex, Ordering, fence, spin_loop, yield_now},
};

/// How many tasks a worker may have been sent and not answered, including those that were revoked.
#[cfg(not(loom))]
pub(crate) const WINDOW_MAX: usize = 128;
#[cfg(loom)]
pub(crate) const WINDOW_MAX: usize = 2;

/// The longest frame that goes through a ring. The body of a longer one lies elsewhere in the shared file.
pub(crate) const INLINE_MAX: usize = 16 * 1024;

/// In the `place` of a header: the body lies elsewhere. The lower bits say which claim is the task's.
pub(crate) const ELSEWHERE: u32 = 1 << 31;

/// The version of the layout below.
pub(crate) const LAYOUT: u64 = 1;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// Ring for no answer: somebody looks.
const NO_BELL: u64 = u64::MAX;

const SENT: u64 = 1;
const STARTED: u64 = 2;
const REVOKED: u64 = 3;

fn claim(id: u64, state: u64) -> u64 {
    id << 2 | state
}

/// What the worker says of itself.
#[repr(C)]
struct Report {
    /// How long its tasks have taken lately, in nanoseconds.
    cost: AtomicU64,
    /// Where it has room for a long task: not where something lies that an earlier one has kept.
    room_start: AtomicU64,
    room_end: AtomicU64,
}

/// How far the worker is with the chunk that it runs. Written by the worker, and read by the pool when it is dead.
///
/// `lengths[n % 2]` is how long the values among the first `n` items are. It is stored before `items` becomes `n`, and what is
/// beside it stays, so that the two go together at whatever point between two stores the worker dies. Of failures there may be
/// one more than that.
#[repr(C)]
struct Journaled {
    /// The task, if its first item has been begun.
    task: AtomicU64,
    items: AtomicU64,
    lengths: [AtomicU64; 2],
    /// How long the failures are.
    failures: AtomicU64,
}

/// The same, read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) task: u64,
    /// How many items are done.
    pub(crate) items: u64,
    /// How long their values are, and how long the failures.
    pub(crate) values: u64,
    pub(crate) failures: u64,
}

/// What the two processes share. All of it may be zero at first, but for the layout's version.
#[repr(C)]
pub(crate) struct Shared {
    layout: Line<AtomicU64>,
    /// Whether the worker sleeps.
    worker: Line<Futex>,
    /// From which answer on the worker is to ring, counted from 1. Written by the pool; the worker replaces it by `NO_BELL`
    /// when it rings.
    bell: Line<AtomicU64>,
    report: Line<Report>,
    /// Whether the place for long answers is in use: set by the worker, cleared by the pool.
    long_answer: Line<AtomicU64>,
    journal: Line<Journaled>,
    claims: [AtomicU64; WINDOW_MAX],
    tasks: Ring,
    answers: Ring,
}

// What `docs/protocol.md` says.
#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;

    assert!(offset_of!(Shared, layout) == 0);
    assert!(offset_of!(Shared, worker) == 128);
    assert!(offset_of!(Shared, bell) == 256);
    assert!(offset_of!(Shared, report) == 384);
    assert!(offset_of!(Shared, long_answer) == 512);
    assert!(offset_of!(Shared, journal) == 640);
    assert!(offset_of!(Journaled, items) == 8);
    assert!(offset_of!(Journaled, lengths) == 16);
    assert!(offset_of!(Journaled, failures) == 32);
    assert!(offset_of!(Shared, claims) == 768);
    assert!(offset_of!(Shared, tasks) == 1792);
    assert!(offset_of!(Shared, answers) == 67584);
};

impl Shared {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new() -> Self {
        let shared = Self {
            layout: Line(AtomicU64::new(0)),
            worker: Line(Futex::new()),
            bell: Line(AtomicU64::new(0)),
            report: Line(Report {
                cost: AtomicU64::new(0),
                room_start: AtomicU64::new(0),
                room_end: AtomicU64::new(0),
            }),
            long_answer: Line(AtomicU64::new(0)),
            journal: Line(Journaled {
                task: AtomicU64::new(0),
                items: AtomicU64::new(0),
                lengths: [AtomicU64::new(0), AtomicU64::new(0)],
                failures: AtomicU64::new(0),
            }),
            claims: std::array::from_fn(|_| AtomicU64::new(0)),
            tasks: Ring::new(),
            answers: Ring::new(),
        };
        shared.prepare();
        shared
    }

    /// To be called once, by the pool, before the worker sees it.
    pub(crate) fn prepare(&self) {
        self.layout.0.store(LAYOUT, Ordering::Relaxed);
        self.bell.0.store(NO_BELL, Ordering::Relaxed);
        self.report.0.room_end.store(PAYLOAD_MAX, Ordering::Relaxed);
    }

    pub(crate) fn layout(&self) -> u64 {
        self.layout.0.load(Ordering::Relaxed)
    }
}

fn corrupt(_: Corrupt) -> ProtocolError {
    ProtocolError("positions in the shared memory that cannot be".to_owned())
}

/// The pool's end.
pub(crate) struct PoolEnd<R> {
    region: R,
    sending: Mutex<Producer>,
    pub(crate) receiving: Mutex<Receiving>,
    /// How far answers were read, for a look without the lock.
    read: PrivateU64,
    /// The worker is out of its mind, and nothing more is read.
    deaf: PrivateBool,
}

#[derive(Default)]
pub(crate) struct Receiving {
    consumer: Consumer,
}

impl<R: Deref<Target = Shared>> PoolEnd<R> {
    pub(crate) fn new(region: R) -> Self {
        Self {
            region,
            sending: Mutex::default(),
            receiving: Mutex::default(),
            read: PrivateU64::new(0),
            deaf: PrivateBool::new(false),
        }
    }

    pub(crate) fn region(&self) -> &R {
        &self.region
    }

    /// Says that a task is about to be sent. It can be taken back from now on, also before it is there: the worker then finds
    /// that out when it comes.
    pub(crate) fn announce(&self, id: u64, slot: u32) {
        self.region.claims[slot as usize].put(claim(id, SENT));
    }

    /// Announces and sends a task, if there is room.
    pub(crate) fn send_task(
        &self,
        frame: &[u8],
        id: u64,
        slot: u32,
    ) -> Result<bool, ProtocolError> {
        self.announce(id, slot);
        self.send(frame, slot)
    }

    /// Sends a frame, if there is room: all of it, or its header alone if `place` says that its body is elsewhere.
    pub(crate) fn send(&self, frame: &[u8], place: u32) -> Result<bool, ProtocolError> {
        let body = if place & ELSEWHERE == 0 { &frame[HEADER_SIZE..] } else { &[] };
        let words = words_for(HEADER_SIZE) + words_for(body.len());
        let mut producer = lock(&self.sending);
        if !producer.has_room(&self.region.tasks, words).map_err(corrupt)? {
            return Ok(false);
        }
        producer.write(&self.region.tasks, &placed_header(frame, place));
        producer.write(&self.region.tasks, body);
        producer.publish(&self.region.tasks);
        Ok(true)
    }

    /// Whether the worker sleeps and is to be woken by the caller, now that something was published, or read.
    #[must_use]
    pub(crate) fn must_wake(&self) -> bool {
        // See the head of the file.
        fence(Ordering::SeqCst);
        let word = self.region.worker.0.word();
        word.load(Ordering::Relaxed) == ASLEEP && word.swap(AWAKE, Ordering::Relaxed) == ASLEEP
    }

    pub(crate) fn wake(&self) {
        self.region.worker.0.wake();
    }

    /// Takes a task back, unless the worker has started it.
    pub(crate) fn revoke(&self, slot: u32, id: u64) -> bool {
        let word = &self.region.claims[slot as usize];
        // Relaxed: which of the two comes first is all that there is to know.
        word.compare_exchange(
            claim(id, SENT),
            claim(id, REVOKED),
            Ordering::Relaxed,
            Ordering::Relaxed,
        )
        .is_ok()
    }

    /// Whether the worker has started a task.
    pub(crate) fn has_started(&self, slot: u32, id: u64) -> bool {
        self.region.claims[slot as usize].load(Ordering::Relaxed) == claim(id, STARTED)
    }

    /// How long tasks have taken lately, in nanoseconds. 0 if nobody knows.
    pub(crate) fn cost(&self) -> u64 {
        self.region.report.0.cost.load(Ordering::Relaxed)
    }

    /// Where there is room for a long task, for a worker that has none. It is somewhere in the place for them, whatever the
    /// worker says.
    pub(crate) fn task_room(&self) -> Range<u64> {
        // Relaxed: the worker has said so before it answered its last task.
        let report = &self.region.report.0;
        let start = report.room_start.load(Ordering::Relaxed).min(PAYLOAD_MAX);
        let end = report.room_end.load(Ordering::Relaxed).min(PAYLOAD_MAX);
        start..end.max(start)
    }

    /// Says that nobody is looking, and which answer, counted from the first ever, is worth a bell. True if there are answers
    /// already, which no bell may ring for.
    #[must_use]
    pub(crate) fn expect_bell(&self, answer: u64) -> bool {
        self.region.bell.0.put(answer.min(NO_BELL - 1));
        fence(Ordering::SeqCst);
        self.has_answers()
    }

    /// The same, for a task that is sent next: so there is no answer to it yet.
    pub(crate) fn set_bell(&self, answer: u64) {
        // Relaxed: the worker reads it after it has read the task, whose publication comes after this.
        self.region.bell.0.put(answer);
    }

    /// Says that somebody is looking.
    pub(crate) fn silence_bell(&self) {
        self.region.bell.0.put(NO_BELL);
    }

    /// Whether there are answers that were not read.
    pub(crate) fn has_answers(&self) -> bool {
        self.region.answers.has_more_than(self.read.load(PrivateOrdering::Relaxed))
            && !self.deaf.load(PrivateOrdering::Relaxed)
    }

    /// Has no more answers, whatever is in the memory. There, a position that cannot be would always say that there is
    /// something to be read, and whoever else can write to it, which a process that a task has started may do, could go on
    /// for ever; so that whoever reads to the end would never come to it.
    pub(crate) fn ignore_answers(&self) {
        self.deaf.store(true, PrivateOrdering::Relaxed);
    }

    /// Appends all frames that are there to `bytes`.
    pub(crate) fn receive(
        &self,
        receiving: &mut Receiving,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let answers = &self.region.answers;
        let words = receiving.consumer.available(answers).map_err(corrupt)?;
        receiving.consumer.read(answers, words, bytes);
        receiving.consumer.release(answers);
        self.read.store(receiving.consumer.head(), PrivateOrdering::Relaxed);
        Ok(())
    }

    /// What a worker that has died says of the chunk that it was running.
    pub(crate) fn journaled(&self) -> Progress {
        let Journaled { task, items, lengths, failures } = &self.region.journal.0;
        // Acquire: pair with the Releases in `begin_items` and `item_done`.
        let task = task.load(Ordering::Acquire);
        let items = items.load(Ordering::Acquire);
        let values = lengths[usize::from(items % 2 == 1)].load(Ordering::Relaxed);
        Progress { task, items, values, failures: failures.load(Ordering::Relaxed) }
    }

    /// Says that the place for long answers is free again.
    pub(crate) fn long_answer_was_read(&self) {
        // Release: nothing may be written there before it was read.
        self.region.long_answer.0.store(0, Ordering::Release);
    }
}

/// Takes the first frame off `bytes`: its header, and its body unless that is elsewhere.
pub(crate) fn split_frame(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), ProtocolError> {
    let short = || ProtocolError("half a frame in the shared memory".to_owned());
    let (header, rest) = bytes.split_first_chunk::<HEADER_SIZE>().ok_or_else(short)?;
    let header = Header::parse_placed(*header)?;
    if header.place & ELSEWHERE != 0 {
        return Ok((header, &[], rest));
    }
    let length = usize::try_from(header.length).ok().filter(|&length| length <= rest.len());
    let length = length.ok_or_else(short)?;
    let (body, _) = rest.split_at(length);
    // Of the padding nothing is expected but that it is there.
    let rest = rest.get(words_for(length) * WORD_SIZE..).ok_or_else(short)?;
    Ok((header, body, rest))
}

/// The worker's end. What the pool writes is taken as it is.
pub(crate) struct WorkerEnd<R> {
    region: R,
    tasks: Consumer,
    answers: Producer,
    /// How many tasks were answered.
    answered: u64,
    patience: Patience,
}

impl<R: Deref<Target = Shared>> WorkerEnd<R> {
    pub(crate) fn new(region: R) -> Self {
        Self {
            region,
            tasks: Consumer::default(),
            answers: Producer::default(),
            answered: 0,
            patience: Patience::default(),
        }
    }

    pub(crate) fn region(&self) -> &R {
        &self.region
    }

    /// Whether there is a frame to be read, so that `next` does not wait.
    pub(crate) fn has_next(&self) -> bool {
        self.region.tasks.has_more_than(self.tasks.head())
    }

    /// Waits for the next frame. Its body is put into `body`, unless it is elsewhere.
    pub(crate) fn next(
        &mut self,
        body: &mut Vec<u8>,
        ring_bell: &mut dyn FnMut(),
    ) -> Result<Header, ProtocolError> {
        let head = self.tasks.head();
        self.wait_until(|shared| shared.tasks.has_more_than(head), ring_bell);
        body.clear();
        self.tasks.read(&self.region.tasks, words_for(HEADER_SIZE), body);
        let header = *body.first_chunk().expect("as many bytes were just read");
        let header = Header::parse_placed(header)?;
        body.clear();
        if header.place & ELSEWHERE == 0 {
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            if length > INLINE_MAX {
                return Err(ProtocolError(format!("a body of {length} bytes in a ring")));
            }
            self.tasks.read(&self.region.tasks, words_for(length), body);
            body.truncate(length);
        }
        self.tasks.release(&self.region.tasks);
        Ok(header)
    }

    /// Says that a task is being started, unless it was taken back.
    pub(crate) fn start(&self, header: &Header) -> bool {
        let slot = (header.place & !ELSEWHERE) as usize;
        let Some(word) = self.region.claims.get(slot) else { return false };
        // Relaxed, as in `PoolEnd::revoke`.
        word.compare_exchange(
            claim(header.id, SENT),
            claim(header.id, STARTED),
            Ordering::Relaxed,
            Ordering::Relaxed,
        )
        .is_ok()
    }

    /// Answers a task, waiting for room; of a frame whose body is elsewhere, the header alone.
    pub(crate) fn answer(
        &mut self,
        frame: &[u8],
        place: u32,
        ring_bell: &mut dyn FnMut(),
    ) -> Result<(), ProtocolError> {
        let body = if place & ELSEWHERE == 0 { &frame[HEADER_SIZE..] } else { &[] };
        let words = words_for(HEADER_SIZE) + words_for(body.len());
        if !self.answers.has_room(&self.region.answers, words).map_err(corrupt)? {
            let tail = self.answers.tail();
            self.wait_until(|shared| shared.answers.has_room_after(tail, words), ring_bell);
            if !self.answers.has_room(&self.region.answers, words).map_err(corrupt)? {
                return Err(corrupt(Corrupt));
            }
        }
        self.answers.write(&self.region.answers, &placed_header(frame, place));
        self.answers.write(&self.region.answers, body);
        self.answers.publish(&self.region.answers);
        self.answered += 1;
        fence(Ordering::SeqCst);
        let bell = &self.region.bell.0;
        if bell.load(Ordering::Relaxed) <= self.answered
            && bell.swap(NO_BELL, Ordering::Relaxed) != NO_BELL
        {
            ring_bell();
        }
        Ok(())
    }

    /// Waits until the place for long answers is free, and takes it.
    pub(crate) fn take_long_answer(&mut self, ring_bell: &mut dyn FnMut()) {
        // Acquire: pairs with the Release in `long_answer_was_read`.
        self.wait_until(|shared| shared.long_answer.0.load(Ordering::Acquire) == 0, ring_bell);
        self.region.long_answer.0.store(1, Ordering::Relaxed);
    }

    /// Says that the first item of a chunk is about to begin.
    pub(crate) fn begin_items(&self, id: u64) {
        let Journaled { task, items, lengths, failures } = &self.region.journal.0;
        items.store(0, Ordering::Relaxed);
        lengths[0].store(0, Ordering::Relaxed);
        failures.store(0, Ordering::Relaxed);
        // Release: what is said of the chunk before was of another task.
        task.store(id, Ordering::Release);
    }

    /// Says that so many items of the chunk are done, one more than before, and that their values are so long.
    #[inline]
    pub(crate) fn item_done(&self, done: u64, values: u64) {
        let Journaled { items, lengths, .. } = &self.region.journal.0;
        lengths[usize::from(done % 2 == 1)].store(values, Ordering::Relaxed);
        // Release: the values and their length come first.
        items.store(done, Ordering::Release);
    }

    /// Says how long the failures are, the last of which is that of the item that is about to be done.
    pub(crate) fn item_failed(&self, length: u64) {
        self.region.journal.0.failures.store(length, Ordering::Relaxed);
    }

    /// Says that nothing is known of the chunk that is run.
    pub(crate) fn forget_items(&self) {
        self.region.journal.0.task.store(0, Ordering::Relaxed);
    }

    /// Says how long tasks take.
    pub(crate) fn report_cost(&self, nanoseconds: u64) {
        self.region.report.0.cost.store(nanoseconds.max(1), Ordering::Relaxed);
    }

    /// Says where there is room for a long task. To be called before the one before it is answered.
    pub(crate) fn report_room(&self, room: &Range<u64>) {
        let report = &self.region.report.0;
        report.room_start.store(room.start, Ordering::Relaxed);
        report.room_end.store(room.end, Ordering::Relaxed);
    }

    fn wait_until(&mut self, ready: impl Fn(&Shared) -> bool, ring_bell: &mut dyn FnMut()) {
        let shared = &*self.region;
        if ready(shared) || self.patience.is_left() && self.patience.look(|| ready(shared)) {
            return;
        }
        let word = shared.worker.0.word();
        loop {
            word.put(ASLEEP);
            // See the head of the file.
            fence(Ordering::SeqCst);
            if ready(shared) {
                break;
            }
            // What the pool has not read may be what it waits for, before it sends more.
            if !shared.answers.is_read_up_to(self.answers.tail())
                && shared.bell.0.swap(NO_BELL, Ordering::Relaxed) != NO_BELL
            {
                ring_bell();
            }
            shared.worker.0.wait(ASLEEP);
            if ready(shared) {
                break;
            }
        }
        word.put(AWAKE);
    }
}

/// How long to look for something before going to sleep: as long as a wake-up would take, if that has paid lately.
///
/// It yields in between, so that whoever is to do what is waited for comes first if there are fewer cores than that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// Looks that did not pay, one after another.
    disappointments: u32,
}

/// How often to look, which takes about 50 us.
const LOOKS: u32 = 250;

/// After this many times in which it did not pay, it is not tried but now and then.
const DISAPPOINTMENTS_MAX: u32 = 4;
const RETRY_INTERVAL: u32 = 16;

impl Patience {
    pub(crate) const fn new() -> Self {
        Self { disappointments: 0 }
    }

    /// Whether to look at all this time.
    pub(crate) fn is_left(&mut self) -> bool {
        // A loom model explores the sleep, and would not end with a search before it.
        if cfg!(loom) {
            return false;
        }
        let left = self.disappointments < DISAPPOINTMENTS_MAX
            || self.disappointments.is_multiple_of(RETRY_INTERVAL);
        if !left {
            self.disappointments = self.disappointments.wrapping_add(1);
        }
        left
    }

    pub(crate) fn look(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        for look in 0..LOOKS {
            if ready() {
                self.disappointments = 0;
                return true;
            }
            for _ in 0..4 {
                spin_loop();
            }
            if look % 8 == 7 {
                yield_now();
            }
        }
        self.disappointments = self.disappointments.wrapping_add(1);
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
