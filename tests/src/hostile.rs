//! A task out of its mind: it writes whatever it likes to all memory that its worker shares with the pool.

#![expect(unsafe_code, reason = "does on purpose what nobody may do")]

use std::{
    fs, ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use concurrent_futures::{Future, MapOptions};
use concurrent_futures_process_pool::{Builder, ProcessPoolExecutor};

use crate::{Gate, delays, functions::double, processes::send_signal, registry, seed::Random};

const GOES_ON: &str = "a pool that goes on";

fn measure(text: String) -> u64 {
    text.len() as u64
}

/// One pool whose tasks scribble, and one beside it whose results must be right. All tasks of the first end, if its workers
/// are killed that have made themselves unheard, and then it goes on as if nothing had been.
///
/// # Panics
///
/// If not.
pub fn round(random: &mut Random, builder: impl Fn() -> Builder) {
    let hostile = builder().build().expect("a pool");
    let innocent = builder().build().expect("a pool");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let futures: Vec<_> =
                    (0..50).map(|n| innocent.submit(double, n).expect("a future")).collect();
                for (n, future) in (0..).zip(futures) {
                    assert_eq!(future.result().expect("no worker of this pool is hostile"), 2 * n);
                }
            }
        });
        let (mut numbers, mut texts, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..40 {
            match random.below(5) {
                0 => texts.push(hostile.submit(|n: usize| "x".repeat(n), 100_000).expect(GOES_ON)),
                1 => numbers.push(hostile.submit(measure, "x".repeat(100_000)).expect(GOES_ON)),
                2 => numbers.push(hostile.submit(double, random.next() >> 1).expect(GOES_ON)),
                3 => {
                    let items: Vec<_> =
                        (0..20).map(|n| (random.next(), 100 * u64::from(n == 9))).collect();
                    let options = MapOptions::new().chunksize(20);
                    chunks.push(hostile.map_with(options, scribble, items).expect(GOES_ON));
                }
                _ => {
                    let task = hostile.submit(scribble, (random.next(), random.below(2000)));
                    numbers.push(task.expect(GOES_ON));
                }
            }
        }
        for future in numbers {
            let _any = end(&hostile, future);
        }
        for future in texts {
            let _any = end(&hostile, future);
        }
        for chunk in chunks {
            let results = scope.spawn(|| chunk.count());
            while !results.is_finished() {
                thread::sleep(delays::moment());
                if !results.is_finished() {
                    kill_all(&hostile);
                }
            }
            assert_eq!(results.join().expect("no panic"), 20);
        }
        // What comes out of a worker that has still a thread that scribbles, may be wrong.
        let mut right_in_a_row = 0;
        while right_in_a_row < 20 {
            let right = end(&hostile, hostile.submit(double, 4).expect(GOES_ON)) == Some(8);
            right_in_a_row = if right { right_in_a_row + 1 } else { 0 };
        }
        over.store(true, Ordering::SeqCst);
    });
}

/// The value with which a future ends. Workers are killed if it does not end by itself.
fn end<R: Send>(pool: &ProcessPoolExecutor, future: Future<R>) -> Option<R> {
    while future.wait_timeout(delays::moment()).is_err() {
        kill_all(pool);
    }
    future.result().ok()
}

fn kill_all(pool: &ProcessPoolExecutor) {
    for pid in pool.worker_pids() {
        send_signal(pid, libc::SIGKILL);
    }
}

/// What the pool calls the memory that it shares with a worker.
const NAME: &str = "memfd:worker";

/// Where in that memory something lies that is worth more than one try in thousands. If the layout changes, these are words
/// like any other.
const LINES: usize = 1792 / 8;
const RINGS: [usize; 2] = [1792 / 8, 67584 / 8];
const LINE: usize = 128 / 8;
const BELL: usize = 2 * LINE;
const JOURNAL: usize = 5 * LINE;
const CLAIMS: usize = 6 * LINE;

/// How a [`scribble`] goes about it, by number.
pub const WAYS: u64 = 8;

/// Writes to the memory that is shared with the pool for so many microseconds, in the way and with the numbers that the seed
/// says; half of the time from another thread, which is still at it when the next tasks come. Returns what it was given.
#[must_use]
pub fn scribble((seed, micros): (u64, u64)) -> u64 {
    let mut random = Random::new(seed);
    let time = Duration::from_micros(micros);
    let Some(memory) = Memory::find() else { return seed };
    if random.once_in(2) {
        let mut random = random.fork();
        thread::spawn(move || memory.spoil(&mut random, time));
    } else {
        memory.spoil(&mut random, time);
    }
    seed
}

/// Passes a gate, writes over all claims, so that they say neither that a task was sent nor that it was started, and passes
/// another gate.
#[must_use]
pub fn forge_claims((before, after): (u64, u64)) -> u64 {
    registry::reach::<Gate>(before).pass();
    if let Some(memory) = Memory::find() {
        for claim in CLAIMS..LINES {
            memory.write(claim, u64::MAX);
        }
    }
    registry::reach::<Gate>(after).pass();
    0
}

/// Writes anything over what this worker has said of the chunk that it runs, and over the results that it has kept.
pub fn forge_journal(seed: u64) {
    const EXTREMES: [u64; 6] = [0, 1, u64::MAX, 1 << 63, 1 << 40, 4];
    let mut random = Random::new(seed);
    let Some(memory) = Memory::find() else { return };
    for _ in 0..=random.below(3) {
        // The task, how many of its items are done, and how long their records are.
        let word = JOURNAL + random.index(4);
        let value = match random.below(3) {
            0 => EXTREMES[random.index(EXTREMES.len())],
            1 => memory.read(word).wrapping_add(random.below(20)).wrapping_sub(10),
            _ => memory.read(word),
        };
        memory.write(word, value);
    }
    for _ in 0..random.below(8) {
        let bytes = random.next().to_le_bytes();
        let offset = (3_i64 << 40) + random.below(100).cast_signed();
        // SAFETY: the bytes are there.
        unsafe { libc::pwrite(memory.fd, bytes.as_ptr().cast(), bytes.len(), offset) };
    }
}

/// Has this worker ring for none of the answers that come next.
pub fn silence_bell() {
    if let Some(memory) = Memory::find() {
        memory.write(BELL, u64::MAX);
    }
}

/// Sends as many answers as that, all of which say that they are where long ones are, and of this length; and ends the process.
#[must_use]
pub fn forge_long_answers((count, length): (u64, u64)) -> u64 {
    let Some(memory) = Memory::find() else { return 0 };
    let bytes = vec![1_u8; usize::try_from(length).unwrap_or(0)];
    // SAFETY: the bytes are there.
    unsafe { libc::pwrite(memory.fd, bytes.as_ptr().cast(), bytes.len(), 2 << 40) };
    let tail = memory.read(RINGS[1]);
    let header = u64::from_le_bytes([b'C', b'F', 1, 49, 0, 0, 0, 0x80]);
    let words = (0..count).flat_map(|id| [header, id, length]);
    for (position, word) in (tail..).zip(words) {
        let index = usize::try_from(position % 8192).unwrap_or(0);
        memory.write(RINGS[1] + 2 * LINE + index, word);
    }
    memory.write(RINGS[1], tail + 3 * count);
    std::process::abort()
}

/// Says that so much of what the pool has sent was read, until the next frame is.
#[must_use]
pub fn forge_position(position: u64) -> u64 {
    if let Some(memory) = Memory::find() {
        memory.write(RINGS[0] + LINE, position);
    }
    0
}

#[derive(Clone, Copy)]
struct Memory {
    start: usize,
    words: usize,
    fd: i32,
}

impl Memory {
    fn find() -> Option<Self> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        // The journal is mapped as well.
        let is_it = |line: &&str| line.contains(NAME) && line.contains(" rw-s 00000000 ");
        let line = maps.lines().find(is_it)?;
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let fds = fs::read_dir("/proc/self/fd").ok()?.flatten();
        let fd = fds
            .filter(|fd| {
                fs::read_link(fd.path()).is_ok_and(|at| at.to_string_lossy().contains(NAME))
            })
            .find_map(|fd| fd.file_name().to_str()?.parse().ok())?;
        Some(Self { start, words: (end - start) / 8, fd })
    }

    fn at(self, word: usize) -> *mut u64 {
        ptr::with_exposed_provenance_mut(self.start + word % self.words * 8)
    }

    fn write(self, word: usize, value: u64) {
        // SAFETY: mapped for as long as the process is there.
        unsafe { self.at(word).write_volatile(value) };
    }

    fn read(self, word: usize) -> u64 {
        // SAFETY: mapped for as long as the process is there.
        unsafe { self.at(word).read_volatile() }
    }

    fn spoil(self, random: &mut Random, time: Duration) {
        let (begin, way) = (Instant::now(), random.below(WAYS));
        while begin.elapsed() < time {
            self.spoil_once(way, random);
        }
    }

    fn spoil_once(self, way: u64, random: &mut Random) {
        const EXTREMES: [u64; 6] = [0, 1, u64::MAX, 1 << 63, u64::MAX - 1, 8192];
        let extreme = EXTREMES[random.index(EXTREMES.len())];
        match way {
            // Anything, anywhere.
            0 => self.write(random.index(self.words), random.next()),
            // Positions.
            1 => self.write(RINGS[random.index(2)] + random.index(2) * LINE, extreme),
            // Positions that are nearly right.
            2 => {
                let position = RINGS[random.index(2)] + random.index(2) * LINE;
                self.write(position, self.read(position).wrapping_add(random.below(20)) - 10);
            }
            // Whether the worker sleeps, bells, what tasks cost, claims.
            3 => self.write(random.index(LINES), extreme),
            // The two low bits of claims say what has become of a task.
            4 => {
                let claim = CLAIMS + random.index(LINES - CLAIMS);
                self.write(claim, self.read(claim) ^ random.below(4));
            }
            // Bits of what the rings hold, so that frames are nearly right.
            5 => {
                let word = RINGS[1] + 2 * LINE + random.index(64);
                self.write(word, self.read(word) ^ 1 << random.below(64));
            }
            // Words of other places.
            6 => self.write(random.index(self.words), self.read(random.index(self.words))),
            // The file itself: its length, its memory, what lies behind the rings.
            _ => self.spoil_file(random),
        }
    }

    fn spoil_file(self, random: &mut Random) {
        let bytes = random.next().to_le_bytes();
        let places = [0, self.words as u64 * 8, 1 << 40, 2 << 40, 3 << 40];
        let offset = places[random.index(places.len())] + random.below(self.words as u64 * 8);
        let offset = offset.cast_signed();
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        match random.below(4) {
            0 => {
                // SAFETY: takes integers.
                unsafe { libc::ftruncate(self.fd, random.below(1 << 20).cast_signed()) };
            }
            1 => {
                let all = (self.words * 8).cast_signed() as i64;
                // SAFETY: takes integers; no memory that the compiler knows of is in there.
                unsafe { libc::fallocate(self.fd, hole, 0, all) };
            }
            2 => {
                // SAFETY: takes integers.
                unsafe { libc::fallocate(self.fd, 0, offset, 4096) };
            }
            _ => {
                // SAFETY: the bytes are there.
                unsafe { libc::pwrite(self.fd, bytes.as_ptr().cast(), bytes.len(), offset) };
            }
        }
    }
}
