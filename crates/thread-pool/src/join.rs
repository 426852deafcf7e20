//! `join`: two closures that borrow, run at the same time if anybody has time for the second one.
//!
//! A scope allocates for each of its tasks, and sends it through the deque. Divide-and-conquer makes a call for every few
//! nanoseconds of work, nearly all of which end up on the thread that made them; so here the second closure stays where it
//! is, on the stack of the caller, as a *fork*, and giving it away is the exception that is paid for when it happens.
//!
//! ```text
//!   pending:   | 0 | 1 | 2 | 3 | 4 | ... | n |    pushed and popped by the worker alone, the oldest first
//!                        offered ^
//!   offers:    | - | 1 | 2 | - |                  for everybody to take; here fork 0 is being run by a thief, and 3 is next
//! ```
//!
//! The oldest forks are on offer, as many as there are places; they are the largest, as a rule. Whenever one has been taken,
//! the next call of `join`, or the next that comes back from its first closure, offers another. All the others cost a push
//! and a pop of a pointer, two looks at whether offers are wanted, and no atomic read-modify-write.
//!
//! Simpler designs lose: with every fork on offer each would cost a swap or a fence, about as much as all the rest; and if
//! forks were offered on demand only, those of a worker that is inside a long closure could not be had by one that has run
//! out of tasks meanwhile.
//!
//! Invariants:
//!
//! 1. A fork belongs to the worker that made it until somebody has swapped it out of its place; then to them. Only its owner
//!    touches the closure. Whoever takes a fork runs it.
//! 2. `join` does not return, and does not unwind, before its fork was popped and is done or taken back. So a fork that is in
//!    a place, or in the hands of a thief that has not set `DONE`, is alive.
//! 3. Fork `n` is offered in place `n % OFFERS_MAX`, and only if that is empty. Forks are popped newest first, so when fork `n`
//!    is popped its place holds that fork or nothing.
//! 4. A fork on offer is work that a worker can find, and falls under invariants 1 and 2 of `shared.rs` as if it were in the
//!    worker's deque.
//!
//! Orderings. A place is filled with a release and emptied by a thief with an acquire, which so sees the closure. A thief says with
//! a release that offers are wanted, and the owner acquires that, to see the empty place. `DONE` is set with a release, and read with
//! an acquire, so that the owner sees the outcome; setting it is the last that a thief does with the fork.
//!
//! Who waits for a fork that was taken runs other forks meanwhile, whoever's they are, and sleeps if there is none; then it counts
//! as blocked, and another thread may stand in.

use std::{
    cell::{Cell, UnsafeCell},
    hint,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::abort,
    ptr::{self, NonNull},
    sync::Arc,
};

use concurrent_futures_executor::{
    Executor,
    future::{Blocked, Panic, TaskError},
};

use crate::{
    scope::{ScopedFuture, scope},
    shared::{Seat, Shared},
    sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering, thread, thread_locals},
    worker::{self, Worker},
};

/// How many forks of a worker are on offer. One would do for a single thief; with more, several find something, also while the
/// worker is inside a long closure and offers no others. But each costs a fence and a swap, and the calls near the right edge of a
/// tree have few others pending: with 8 places, up to a third of the calls of `fib(27)` were on offer.
const OFFERS_MAX: usize = if cfg!(loom) { 1 } else { 4 };

/// How many looks around a worker takes, that waits for its fork, before it sleeps. As for one without a task, about 20 us.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// How many forks a worker runs in the middle of one another while it waits for its own. Each takes room on its stack.
const DEPTH_MAX: usize = 64;

/// Nobody waits for the fork; it may have been run or not.
const IDLE: u8 = 0;
/// Its owner sleeps until it is done.
const AWAITED: u8 = 1;
/// It was run by a thief, and the outcome is there.
const DONE: u8 = 2;

thread_locals! {
    /// The worker that this thread is, while it may run tasks, if its forks can be run by others just like that.
    static CURRENT: Cell<Option<NonNull<Worker>>> = Cell::new(None);
}

/// Runs `f` in the knowledge that this thread is `worker`.
pub(crate) fn work_as<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.with(|current| current.set(None));
        }
    }
    CURRENT.with(|current| current.set(Some(NonNull::from(worker))));
    let _leave = Leave;
    f()
}

/// Runs both closures, at the same time if the pool has a worker to spare, and returns what they return.
///
/// For divide-and-conquer, on any scale: a call costs a few nanoseconds if both closures end up on the calling thread, and
/// both may borrow, and call `join` in their turn.
///
/// ```
/// use concurrent_futures_thread_pool::{ThreadPoolExecutor, join};
///
/// fn sum(numbers: &[u64]) -> u64 {
///     if numbers.len() <= 1000 {
///         return numbers.iter().sum();
///     }
///     let (left, right) = numbers.split_at(numbers.len() / 2);
///     let (left, right) = join(|| sum(left), || sum(right));
///     left + right
/// }
///
/// let pool = ThreadPoolExecutor::new();
/// let numbers: Vec<u64> = (0..100_000).collect();
/// let (sum, max) = pool.join(|| sum(&numbers), || numbers.iter().max());
/// assert_eq!((sum, max), (4_999_950_000, Some(&99_999)));
/// ```
///
/// In a task of a [`ThreadPoolExecutor`](crate::ThreadPoolExecutor) the calling worker runs `a`, and any worker of the pool that
/// has nothing else to do may take `b`; if none has by then, the calling worker runs `b` as well. While it waits for somebody
/// else to finish `b`, it runs what others have put up in calls of `join`, up to 64 deep, and then sleeps, and another thread
/// may [stand in](crate::ThreadPoolExecutor#tasks-that-wait-for-tasks) for it. Anywhere else, the calling thread runs `a`, then
/// `b`: [`ThreadPoolExecutor::join`](crate::ThreadPoolExecutor::join) enters the pool.
///
/// Nothing says that the two do run at the same time, so neither may wait for the other. They are no tasks: no statistics count
/// them, no [observer](crate::Builder::observer) is told of them. The [context](crate::Builder::context) of the calling task, if
/// the pool carries one, is captured in each call and goes with `b` to another worker.
///
/// # Cancellation
///
/// There is none: what was begun is finished, also if the pool is shut down meanwhile.
///
/// # Panics
///
/// If `a` or `b` panics, so does this, after both have ended; with the panic of `a` if both have panicked.
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    match CURRENT.try_with(Cell::get) {
        // SAFETY: `work_as` keeps the worker borrowed for as long as it is found there, by this thread alone.
        Ok(Some(worker)) => fork(unsafe { worker.as_ref() }, a, b),
        _ => join_anywhere(a, b),
    }
}

/// As [`join`], in a thread that is no worker, or the worker of a pool that carries a context.
#[cold]
fn join_anywhere<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let Some(worker) = worker::current() else { return in_turn(a, b) };
    let Some(capture) = worker.shared.capture() else { return fork(&worker, a, b) };
    let run_in = capture.capture();
    let owner = &raw const *worker as usize;
    fork(&worker, a, move || {
        let current = worker::current();
        if current.is_some_and(|worker| &raw const *worker as usize == owner) {
            return b();
        }
        let mut b = Some(b);
        let mut outcome = None;
        run_in(&mut || {
            // As for a task: a second call does nothing, and no panic goes through the context, which has to be taken down.
            if let Some(b) = b.take() {
                outcome = Some(Panic::catch(b));
            }
        });
        match (outcome, b) {
            (Some(Ok(of_b)), _) => of_b,
            (Some(Err(panic)), _) => panic.resume(),
            (None, Some(b)) => b(),
            (None, None) => unreachable!("whoever takes `b` leaves its outcome"),
        }
    })
}

fn in_turn<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB,
{
    match catch_unwind(AssertUnwindSafe(a)) {
        Ok(of_a) => (of_a, b()),
        Err(payload) => {
            drop(Panic::catch(|| drop(b())));
            resume_unwind(payload)
        }
    }
}

/// As [`join`], in a thread of any kind, by a worker of the pool.
pub(crate) fn join_in<A, B, RA, RB>(
    executor: &dyn Executor,
    shared: &Arc<Shared>,
    a: A,
    b: B,
) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    if worker::current().is_some_and(|worker| Arc::ptr_eq(&worker.shared, shared)) {
        return join(a, b);
    }
    let mut closures = Some((a, b));
    let ran = scope(executor, |scope| {
        let task = || closures.take().map(|(a, b)| join(a, b));
        scope.spawn(task).ok().map(ScopedFuture::result)
    });
    match (ran, closures) {
        (Some(Ok(Some(values))), _) => values,
        (Some(Err(TaskError::Panicked(panic))), None) => panic.resume(),
        // The pool has not taken it, or has not come to it any more.
        (_, Some((a, b))) => in_turn(a, b),
        (_, None) => unreachable!("the task was run, and has neither returned nor panicked"),
    }
}

/// What all forks have in common, at the beginning of each.
struct Header {
    state: AtomicU8,
    /// Calls the closure and puts the outcome in its place.
    run: unsafe fn(NonNull<Header>),
}

impl Header {
    fn is_done(&self) -> bool {
        // Acquire: pairs with the Release in `Taken::run`.
        self.state.load(Ordering::Acquire) == DONE
    }
}

/// The second closure of a call of `join`, on the stack of the caller.
#[repr(C)]
struct Fork<B, R> {
    header: Header,
    content: UnsafeCell<Content<B, R>>,
}

/// The closure until it is called; then, if a thief has called it, the outcome.
union Content<B, R> {
    closure: ManuallyDrop<B>,
    outcome: ManuallyDrop<Result<R, Panic>>,
}

impl<B: FnOnce() -> R, R> Fork<B, R> {
    #[inline]
    fn new(closure: B) -> Self {
        Self {
            header: Header { state: AtomicU8::new(IDLE), run: Self::run },
            content: UnsafeCell::new(Content { closure: ManuallyDrop::new(closure) }),
        }
    }

    #[inline]
    fn header(&self) -> NonNull<Header> {
        // Of the whole, so that it can be turned back. The header comes first.
        NonNull::from(self).cast()
    }

    /// # Safety
    ///
    /// `header` is that of a `Fork` of this type, which the caller owns in the sense of invariant 1, and for the first time.
    unsafe fn run(header: NonNull<Header>) {
        // SAFETY: it is one, and alive by invariant 2.
        let fork = unsafe { header.cast::<Self>().as_ref() };
        // SAFETY: nobody has called the closure, and the caller is the only one who may.
        let closure = unsafe { fork.take_closure() };
        let outcome = ManuallyDrop::new(Panic::catch(closure));
        // SAFETY: the owner does not look before this thread has set `DONE`.
        unsafe { fork.content.get().write(Content { outcome }) };
    }

    /// # Safety
    ///
    /// The caller owns the fork in the sense of invariant 1, and does this once.
    #[inline]
    unsafe fn take_closure(&self) -> B {
        // SAFETY: no thief touches it, by the caller's word.
        let content = unsafe { &mut *self.content.get() };
        // SAFETY: it is the closure that is there, until it is taken, which is now.
        ManuallyDrop::into_inner(unsafe { ptr::read(&raw const content.closure) })
    }

    /// # Safety
    ///
    /// The fork is done, and the caller does this once.
    unsafe fn take_outcome(&self) -> Result<R, Panic> {
        // SAFETY: the thief is gone: setting `DONE` was the last that it did.
        let content = unsafe { &mut *self.content.get() };
        // SAFETY: the outcome took the place of the closure before `DONE` was set, and is taken now.
        ManuallyDrop::into_inner(unsafe { ptr::read(&raw const content.outcome) })
    }
}

/// Runs both closures, on this worker but for what others take.
#[inline]
fn fork<A, B, RA, RB>(worker: &Worker, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let fork = Fork::new(b);
    // Invariant 2 holds only if nothing but the closures can unwind, and those are caught.
    let bomb = AbortOnDrop;
    let index = worker.push_fork(fork.header());
    let of_a = catch_unwind(AssertUnwindSafe(a));
    if worker.pop_fork(index) {
        bomb.defuse();
        // SAFETY: invariant 1: it was popped, and nobody has taken it before.
        let b = unsafe { fork.take_closure() };
        return match of_a {
            Ok(of_a) => (of_a, b()),
            Err(payload) => {
                drop(Panic::catch(|| drop(b())));
                resume_unwind(payload)
            }
        };
    }
    worker.wait_for_fork(&fork.header);
    bomb.defuse();
    // SAFETY: it is done.
    let of_b = unsafe { fork.take_outcome() };
    match (of_a, of_b) {
        (Ok(of_a), Ok(of_b)) => (of_a, of_b),
        (Ok(_of_a), Err(panic)) => panic.resume(),
        (Err(payload), of_b) => {
            drop(Panic::catch(|| drop(of_b)));
            resume_unwind(payload)
        }
    }
}

/// Ends the program, if it is dropped.
struct AbortOnDrop;

impl AbortOnDrop {
    #[inline]
    fn defuse(self) {
        let _disarmed = ManuallyDrop::new(self);
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        abort();
    }
}

/// The forks of a worker, as seen by itself.
#[derive(Default)]
pub(crate) struct Forks {
    pending: Pending,
    /// How many of the pending ones, the oldest, are or were on offer.
    offered: Cell<usize>,
    /// How many forks of others it runs in the middle of one another, waiting for its own.
    depth: Cell<usize>,
}

/// Those that were pushed and not popped. A cell, without the price of a `RefCell`: none of this comes back to itself.
#[derive(Default)]
struct Pending(UnsafeCell<Vec<NonNull<Header>>>);

impl Pending {
    #[inline]
    fn len(&self) -> usize {
        // SAFETY: not shared between threads, and not borrowed for longer than one of these calls, which call nobody else.
        unsafe { &*self.0.get() }.len()
    }

    #[inline]
    fn push(&self, fork: NonNull<Header>) {
        // SAFETY: as in `len`.
        unsafe { &mut *self.0.get() }.push(fork);
    }

    #[inline]
    fn truncate(&self, len: usize) {
        // SAFETY: as in `len`.
        unsafe { &mut *self.0.get() }.truncate(len);
    }

    fn get(&self, index: usize) -> Option<NonNull<Header>> {
        // SAFETY: as in `len`.
        unsafe { &*self.0.get() }.get(index).copied()
    }
}

/// What others see of the forks of a worker: places for some of them.
pub(crate) struct Offers {
    /// Whether there may be room. Only the owner clears it.
    wanted: AtomicBool,
    places: [AtomicPtr<Header>; OFFERS_MAX],
    /// Where the oldest is, probably.
    oldest: AtomicUsize,
}

impl Default for Offers {
    fn default() -> Self {
        let places = std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
        Self { wanted: AtomicBool::new(true), places, oldest: AtomicUsize::new(0) }
    }
}

impl Offers {
    fn place(&self, index: usize) -> &AtomicPtr<Header> {
        &self.places[index % OFFERS_MAX]
    }

    /// Whether the owner is to see if it has anything to offer.
    #[inline]
    fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.iter().filter(|place| !place.load(Ordering::Relaxed).is_null()).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a fork, the oldest if nobody is in between. To be called with the seat that these are the offers of.
    pub(crate) fn take(&self, owner: &Arc<Seat>) -> Option<Taken> {
        // Relaxed: a hint.
        let oldest = self.oldest.load(Ordering::Relaxed);
        for index in (oldest..).take(OFFERS_MAX) {
            let place = self.place(index);
            if place.load(Ordering::Relaxed).is_null() {
                continue;
            }
            // Acquire: pairs with the Release in `offer`.
            if let Some(fork) = NonNull::new(place.swap(ptr::null_mut(), Ordering::Acquire)) {
                self.oldest.store((index + 1) % OFFERS_MAX, Ordering::Relaxed);
                // Release: pairs with the Acquire in `offer`.
                self.wanted.store(true, Ordering::Release);
                return Some(Taken { fork, owner: Arc::clone(owner) });
            }
        }
        None
    }
}

/// A fork in the hands of a thief.
#[must_use = "its owner waits for it to be run"]
pub(crate) struct Taken {
    fork: NonNull<Header>,
    /// Who waits for it.
    owner: Arc<Seat>,
}

impl Taken {
    /// Runs it. `finishing` is called before its owner learns of the end.
    pub(crate) fn run(self, finishing: impl FnOnce()) {
        // SAFETY: invariant 2: `DONE` is not set.
        let header = unsafe { self.fork.as_ref() };
        // SAFETY: whoever has taken it out of its place owns it, and this is the only run.
        unsafe { (header.run)(self.fork) };
        finishing();
        // Release: pairs with the Acquire in `is_done`. After it the fork may be gone, and its owner is reached by the seat.
        if header.state.swap(DONE, Ordering::AcqRel) == AWAITED {
            self.owner.unpark();
        }
    }
}

impl Worker {
    /// Makes it possible that others run the fork; returns its number.
    #[inline]
    fn push_fork(&self, fork: NonNull<Header>) -> usize {
        let index = self.forks.pending.len();
        self.forks.pending.push(fork);
        if self.seat.offers.are_wanted() {
            self.offer();
        }
        index
    }

    /// Takes back the fork of this number, which is the newest; false if somebody has taken it.
    #[inline]
    fn pop_fork(&self, index: usize) -> bool {
        self.forks.pending.truncate(index);
        if index < self.forks.offered.get() {
            return self.take_back(index);
        }
        if self.seat.offers.are_wanted() {
            self.offer();
        }
        true
    }

    /// Puts on offer the oldest forks that were not, as long as there is room.
    #[cold]
    fn offer(&self) {
        let offers = &self.seat.offers;
        // Acquire: pairs with the Release in `take`. Either this sees that the thief has said so, and sees the room below; or
        // the thief says so later, and it is seen the next time.
        offers.wanted.swap(false, Ordering::Acquire);
        let before = self.forks.offered.get();
        let mut offered = before;
        loop {
            let place = offers.place(offered);
            // Nobody else fills a place.
            if !place.load(Ordering::Relaxed).is_null() {
                break;
            }
            let Some(fork) = self.forks.pending.get(offered) else {
                offers.wanted.store(true, Ordering::Relaxed);
                break;
            };
            if offered == 0 {
                offers.oldest.store(0, Ordering::Relaxed);
            }
            // Release: pairs with the Acquire in `take`.
            place.store(fork.as_ptr(), Ordering::Release);
            offered += 1;
        }
        self.forks.offered.set(offered);
        if offered > before {
            self.shared.look_after_deque();
        }
    }

    /// As `pop_fork`, for one that was on offer.
    #[cold]
    fn take_back(&self, index: usize) -> bool {
        self.forks.offered.set(index);
        let offers = &self.seat.offers;
        // Relaxed: what is found is what this thread has put there, invariant 3. The swap decides between it and a thief.
        let taken_back = !offers.place(index).swap(ptr::null_mut(), Ordering::Relaxed).is_null();
        offers.wanted.store(true, Ordering::Relaxed);
        taken_back
    }

    /// Returns when a fork that was taken is done.
    #[cold]
    fn wait_for_fork(&self, fork: &Header) {
        let mut spins = 0;
        while spins < SPINS {
            if fork.is_done() {
                return;
            }
            let depth = self.forks.depth.get();
            if depth < DEPTH_MAX
                && let Some(taken) = self.take_fork()
            {
                self.forks.depth.set(depth + 1);
                taken.run(|| ());
                self.forks.depth.set(depth);
                spins = 0;
                continue;
            }
            for _ in 0..4 {
                hint::spin_loop();
            }
            // Whoever could finish it on this core goes first.
            if spins % 8 == 7 {
                thread::yield_now();
            }
            spins += 1;
        }
        let _out_of_action = Blocked::enter();
        // Acquire: it may fail because the fork is done.
        let awaited =
            fork.state.compare_exchange(IDLE, AWAITED, Ordering::Relaxed, Ordering::Acquire);
        // A token that is left over from elsewhere wakes it for nothing. One that comes too late does so elsewhere.
        while awaited.is_ok() && !fork.is_done() {
            self.parker.park();
        }
    }
}
