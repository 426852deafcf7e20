//! A worker thread: it makes itself ready, runs tasks until there is nothing more to do, and cleans up.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    hint, ptr,
    rc::Rc,
    sync::{Arc, PoisonError},
};

use concurrent_futures_executor::{
    Task,
    future::{BrokenExecutor, Event, Host, Panic, PoolId, Ran, State, report, work_for},
};
use crossbeam_deque::Steal;

use crate::{
    batch::{Batches, GATHER_TIME},
    join::{Forks, Taken, work_as},
    shared::{Alive, Rest, Seat, Shared},
    sync::{Deque, Instant, Ordering, Parker, may_spin, thread, thread_locals},
};

/// How often a worker that has tasks in its deque looks elsewhere first: at the queue, and half-way in between at the
/// other deques. So a task that was submitted from outside waits for at most this many tasks of some worker, however many
/// these submit to themselves; and so do tasks that lie in a deque behind a long one, while the others are busy.
const FAIRNESS_INTERVAL: u32 = 62;
const HALF_WAY: u32 = FAIRNESS_INTERVAL / 2;

/// So many tasks that nobody has a handle of are freed at a time, and when the worker rests. Where an allocator keeps what is
/// freed for the thread that allocated it, the two meet there: for 32 tasks in a row they do so once. Large ones are not kept.
const SPENT_MAX: usize = 32;
const SPENT_BYTES_MAX: usize = 256;

/// How many looks around a worker takes before it sleeps, about 20 us of them: less than the other side takes to wake up,
/// and nothing is gained by waiting for it; see `docs/performance.md`.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// After this many searches in vain, the worker sleeps at once, and tries a search again only now and then.
const PATIENCE: u32 = 4;
const RETRY_INTERVAL: u32 = 16;

/// Tasks that were run in place leave their entries in the deque. With this many of them, it is worth looking through.
const STALE_MAX: usize = if cfg!(loom) { 1 } else { 64 };

thread_locals! {
    /// Says when the thread has dropped its other thread-locals: see `shared/threads.rs`. Set before any of them.
    static ALIVE: Cell<Option<Alive>> = Cell::new(None);
    /// What the initializer returned, for as long as this thread is a worker.
    static STATE: RefCell<Option<Rc<dyn Any>>> = RefCell::new(None);
    /// The pool that this thread was started by. Unlike what `work_for` says, it holds from the thread's first moment
    /// to its last: in the initializer, and while the state and the user's own thread-locals are dropped.
    static POOL: Cell<Option<PoolId>> = Cell::new(None);
    /// The worker that this thread is.
    static WORKER: RefCell<Option<Rc<Worker>>> = RefCell::new(None);
}

/// Whether the calling thread belongs to this pool, which therefore cannot have ended before the thread goes on.
pub(crate) fn belongs_to(pool: PoolId) -> bool {
    POOL.with(Cell::get) == Some(pool)
}

/// The worker that the calling thread is.
pub(crate) fn current() -> Option<Rc<Worker>> {
    // Not accessible while the thread is ending: then it is nobody's worker any more.
    WORKER.try_with(|worker| worker.borrow().clone()).ok().flatten()
}

/// Lends the state of the worker that this thread is to `f`.
pub(crate) fn with_state<S: 'static, R>(f: impl FnOnce(&S) -> R) -> R {
    let state =
        STATE.with(|state| state.borrow().clone()).and_then(|state| state.downcast::<S>().ok());
    // Held by its own count while lent, not by the cell: tasks may be nested.
    match state {
        Some(state) => f(&state),
        None => {
            unreachable!("a task of a pool runs on a worker of that pool, after its initializer")
        }
    }
}

/// What a worker is made of, on its way to its thread.
pub(crate) struct Builder {
    pub(crate) thread: Alive,
    pub(crate) deque: Deque<Task>,
    pub(crate) parker: Parker,
    pub(crate) seat: Arc<Seat>,
    /// Whether it was counted as available when it was started.
    pub(crate) available: bool,
}

/// A worker, as seen by its own thread.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deque: Deque<Task>,
    pub(crate) forks: Forks,
    pub(crate) parker: Parker,
    pub(crate) seat: Arc<Seat>,
    /// Whether it is counted as available.
    pub(crate) available: Cell<bool>,
    /// Whether it is counted as searching.
    pub(crate) searching: Cell<bool>,
    /// The seats to steal from, and the generation that they are of.
    others: RefCell<(Vec<Arc<Seat>>, usize)>,
    ticks: Cell<u32>,
    /// Whether it has submitted any of the tasks that are in its deque.
    feeds_itself: Cell<bool>,
    batches: Cell<Batches>,
    /// Searches in vain, one after another.
    disappointments: Cell<u32>,
    /// How many times over this worker has said that it is about to sleep. It counts as blocked once: a lock that
    /// announces its wait may be built on another that does so as well.
    sleeps: Cell<usize>,
    /// Entries of the deque that are known to have been run already.
    stale: Cell<usize>,
    /// Tasks that have succeeded and have no handle, whose memory is yet to be freed. Nothing of the user's is in them.
    spent: RefCell<Vec<Task>>,
    /// What it has last noted of the task that it runs.
    noted: Cell<Option<&'static str>>,
    /// Whether there is a core to search on while others work.
    may_spin: bool,
}

/// The life of a worker thread.
pub(crate) fn run(shared: &Arc<Shared>, builder: Builder) {
    let Builder { thread, deque, parker, seat, available } = builder;
    ALIVE.with(|alive| alive.set(Some(thread)));
    POOL.with(|pool| pool.set(Some(shared.id)));
    match initialize(shared) {
        Ok(state) => {
            STATE.with(|slot| slot.replace(Some(state)));
            let worker = Rc::new(Worker {
                shared: Arc::clone(shared),
                deque,
                forks: Forks::default(),
                parker,
                seat,
                available: Cell::new(available),
                searching: Cell::new(false),
                others: RefCell::new((Vec::new(), 0)),
                ticks: Cell::new(0),
                feeds_itself: Cell::new(false),
                batches: Cell::new(Batches::new(Instant::now())),
                disappointments: Cell::new(0),
                sleeps: Cell::new(0),
                stale: Cell::new(0),
                spent: RefCell::new(Vec::new()),
                noted: Cell::new(None),
                may_spin: may_spin(),
            });
            WORKER.with(|slot| slot.replace(Some(Rc::clone(&worker))));
            if !available {
                shared.ready(&worker);
            }
            work_for(shared.id, Rc::clone(&worker) as Rc<dyn Host>, || {
                // A fork whose context has to go with it takes another way; see `join_anywhere`.
                match shared.capture() {
                    None => work_as(&worker, || worker.work()),
                    Some(_) => worker.work(),
                }
            });
            WORKER.with(RefCell::take);
            drop_state();
        }
        Err(broken) => shared.broken(&broken, &seat),
    }
    shared.left();
}

fn initialize(shared: &Shared) -> Result<Rc<dyn Any>, BrokenExecutor> {
    match Panic::catch(|| (shared.config.initializer)()) {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(error)) => {
            Err(BrokenExecutor::with_source("the initializer of a worker failed", error))
        }
        Err(panic) => {
            Err(BrokenExecutor::with_source("the initializer of a worker panicked", panic))
        }
    }
}

fn drop_state() {
    let state = STATE.with(RefCell::take);
    if let Err(panic) = Panic::catch(|| drop(state)) {
        report(&Event::DestructorPanicked { panic: &panic });
    }
}

impl Worker {
    /// Puts a task into the deque of the worker that this thread is, if it is one of that pool.
    pub(crate) fn push_if_current(shared: &Arc<Shared>, task: Task) -> Result<(), Task> {
        let mut task = Some(task);
        // Not accessible while the thread is ending: then it is nobody's worker any more.
        let _ending = WORKER.try_with(|worker| {
            if let Some(worker) = &*worker.borrow()
                && Arc::ptr_eq(&worker.shared, shared)
                && let Some(task) = task.take()
            {
                worker.seat.tally.submitted();
                worker.feeds_itself.set(true);
                worker.deque.push(task);
            }
        });
        task.map_or(Ok(()), Err)
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            self.run(task);
        }
    }

    fn run(&self, task: Task) {
        let tally = &self.seat.tally;
        // Relaxed: a worker that does not see it yet has started the task just before.
        if self.shared.hints.cancelled.load(Ordering::Relaxed) {
            if task.cancel() {
                tally.cancelled();
            }
            return;
        }
        self.note_running(Some(task.name()));
        tally.started();
        // Without a look at its state before: that would fetch the task twice from the submitter's cache, first to be read and
        // then to be written.
        match task.run_here() {
            // Counted when it ended, before its future was completed.
            Ran::Succeeded => self.free_later(task),
            Ran::Failed => {}
            // Cancelled, or run in place by this worker or another.
            _ => tally.did_not_start(task.state() == State::Cancelled),
        }
    }

    /// Drops a task that has succeeded, now or together with others.
    fn free_later(&self, task: Task) {
        if task.frees().is_some_and(|bytes| bytes <= SPENT_BYTES_MAX) {
            let mut spent = self.spent.borrow_mut();
            spent.push(task);
            if spent.len() >= SPENT_MAX {
                spent.clear();
            }
        }
    }

    pub(crate) fn free_spent(&self) {
        self.spent.borrow_mut().clear();
    }

    fn note_running(&self, name: Option<&'static str>) {
        // Of many tasks of one function in a row, the first takes the lock. Compared by address, which is quicker than the text.
        let same = match (self.noted.get(), name) {
            (Some(noted), Some(name)) => ptr::eq(noted, name),
            (noted, name) => noted.is_none() && name.is_none(),
        };
        if same {
            return;
        }
        self.noted.set(name);
        *self.seat.running.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// The next task, however long it takes to come; `None` if the worker has left the pool.
    fn next(&self) -> Option<Task> {
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        loop {
            if !self.shared.hints.surplus.load(Ordering::Relaxed) {
                if let Some(task) = self.look_elsewhere(ticks).or_else(|| self.look()) {
                    self.shared.found(self);
                    return Some(task);
                }
                if let Some(fork) = self.take_fork() {
                    self.shared.found(self);
                    self.note_running(None);
                    fork.run(|| self.shared.finishing(self));
                    continue;
                }
                if self.search() {
                    continue;
                }
            }
            self.note_running(None);
            if let Rest::Left = self.shared.rest(self) {
                return None;
            }
        }
    }

    /// A task from wherever there is one.
    fn look(&self) -> Option<Task> {
        if let Some(task) = self.deque.pop() {
            return Some(task);
        }
        self.feeds_itself.set(false);
        self.take_batch().or_else(|| self.steal())
    }

    /// Now and then, a task from where this worker does not look as long as it has some.
    fn look_elsewhere(&self, ticks: u32) -> Option<Task> {
        match ticks % FAIRNESS_INTERVAL {
            // What it has taken out of the queue itself is older than what is there now, and comes first.
            0 if self.feeds_itself.get() => self.shared.take_one(),
            HALF_WAY => self.steal(),
            _ => None,
        }
    }

    /// How many tasks to take out of the queue now.
    pub(crate) fn batch_size(&self) -> usize {
        if self.shared.config.queue_capacity.is_some() || !self.shared.uses_deques() {
            // What lies in a deque would not count towards the capacity, and would keep its place there.
            return 1;
        }
        let mut batches = self.batches.get();
        let size = batches.choose_size(Instant::now(), self.ticks.get());
        self.batches.set(batches);
        size
    }

    /// Takes tasks out of the queue: one to run, and others into the deque, which is empty.
    fn take_batch(&self) -> Option<Task> {
        let mut batches = self.batches.get();
        let gather = batches.gather() && self.may_spin && !self.shared.is_closed();
        self.batches.set(batches);
        if gather {
            let begin = Instant::now();
            while begin.elapsed() < GATHER_TIME {
                hint::spin_loop();
            }
        }
        let first = self.shared.take_batch(self);
        let mut batches = self.batches.get();
        batches.took(usize::from(first.is_some()) + self.deque.len(), gather);
        self.batches.set(batches);
        first
    }

    fn steal(&self) -> Option<Task> {
        self.update_others();
        let others = self.others.borrow();
        let seats = &others.0;
        // Begin with another one each time, so that not all thieves go for the same.
        let offset = self.ticks.get() as usize;
        for index in 0..seats.len() {
            let seat = &seats[(index + offset) % seats.len()];
            if Arc::ptr_eq(seat, &self.seat) {
                continue;
            }
            loop {
                match seat.stealer.steal_batch_and_pop(&self.deque) {
                    Steal::Success(task) => {
                        self.seat.tally.stole();
                        // Those that came with it were in no deque on their way, and somebody may have gone to sleep over
                        // that.
                        if !self.deque.is_empty() {
                            self.shared.look_after_deque();
                        }
                        return Some(task);
                    }
                    Steal::Retry => {}
                    Steal::Empty => break,
                }
            }
        }
        None
    }

    /// Half of a task that another worker runs: see `join.rs`.
    pub(crate) fn take_fork(&self) -> Option<Taken> {
        self.update_others();
        let others = self.others.borrow();
        let seats = &others.0;
        let offset = self.ticks.get() as usize;
        let seats = (0..seats.len()).map(|index| &seats[(index + offset) % seats.len()]);
        seats.filter(|seat| !Arc::ptr_eq(seat, &self.seat)).find_map(|seat| seat.offers.take(seat))
    }

    fn update_others(&self) {
        let generation = self.shared.hints.generation.load(Ordering::Acquire);
        if self.others.borrow().1 != generation {
            self.others.replace(self.shared.seats());
        }
    }

    /// Looks around for a while before going to sleep. True if there is something.
    fn search(&self) -> bool {
        // After a shutdown, what may still come is rare, and somebody waits for this worker to leave.
        if !self.may_spin || self.shared.is_closed() {
            return false;
        }
        let disappointments = self.disappointments.get();
        if disappointments >= PATIENCE && !disappointments.is_multiple_of(RETRY_INTERVAL) {
            self.disappointments.set(disappointments.wrapping_add(1));
            return false;
        }
        if !self.shared.search(self) {
            return false;
        }
        for spin in 0..SPINS {
            for _ in 0..4 {
                hint::spin_loop();
            }
            if self.sees_something() {
                self.disappointments.set(0);
                return true;
            }
            if self.shared.is_closed() {
                return false;
            }
            // Whoever could make work on this core goes first.
            if spin % 8 == 7 {
                thread::yield_now();
            }
        }
        self.disappointments.set(disappointments.wrapping_add(1));
        false
    }

    fn sees_something(&self) -> bool {
        if self.shared.has_queued() {
            return true;
        }
        self.others.borrow().0.iter().any(|seat| seat.has_tasks())
    }

    /// Throws out entries of tasks that were run in place, if there are many.
    fn sweep(&self) {
        let stale = self.stale.get();
        if !self.shared.uses_deques() {
            if stale >= STALE_MAX && self.shared.sweep_queue(self, stale) {
                self.stale.set(0);
            }
            return;
        }
        let length = self.deque.len();
        if stale < STALE_MAX || stale * 2 < length {
            return;
        }
        self.stale.set(0);
        for _ in 0..length {
            match self.deque.pop() {
                Some(task) if task.state() == State::Pending => self.deque.push(task),
                Some(done) => {
                    if done.state() == State::Cancelled {
                        self.seat.tally.cancelled();
                    }
                }
                None => break,
            }
        }
        // Each was in no deque for a moment, and somebody may have gone to sleep over that.
        if !self.deque.is_empty() {
            self.shared.look_after_deque();
        }
    }
}

impl Host for Worker {
    fn blocked(&self) {
        let sleeps = self.sleeps.get();
        self.sleeps.set(sleeps + 1);
        if sleeps == 0 {
            self.shared.blocked(self);
        }
    }

    fn unblocked(&self) {
        let sleeps = self.sleeps.get() - 1;
        self.sleeps.set(sleeps);
        if sleeps == 0 {
            self.shared.unblocked();
        }
    }

    fn finishing(&self, ran: Ran) {
        self.seat.tally.ended(ran);
        self.shared.finishing(self);
    }

    fn running_callbacks(&self) {
        self.shared.busy(self);
    }

    fn ran_in_place(&self, ran: Ran) {
        self.seat.tally.ran_in_place(ran);
        self.stale.set(self.stale.get() + 1);
        self.sweep();
    }
}
