//! Threads that submit, wait, cancel and drop, tasks that do the same, and a pool that is shut down meanwhile.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use concurrent_futures::{
    CompletionSet, DropPolicy, Future, MapError, MapOptions, Progress, ReturnWhen, SharedFuture,
    Shutdown, TaskError, ThreadPoolExecutor, as_completed, wait, wait_timeout,
};
use concurrent_futures_tests::{
    delays,
    drops::{DropCounter, Token},
    seed::Random,
    threads,
};

use super::rounds;

const ACTIONS: usize = 150;
const DEPTH_MAX: u64 = 3;

#[test]
fn everything_at_once() {
    rounds(round);
}

/// What is known of one task.
#[derive(Debug, Default)]
struct Record {
    ran: AtomicUsize,
    /// How often it was reported as ended, to a callback. Zero if none was registered.
    called_back: AtomicUsize,
    watched: bool,
    /// What became of it, if anybody asked.
    cancelled: AtomicUsize,
}

/// What all threads and tasks of a round share.
struct Round {
    pool: Mutex<Weak<ThreadPoolExecutor<Token>>>,
    counter: DropCounter,
    progress: Progress,
    records: Mutex<Vec<Arc<Record>>>,
    /// Tasks of scopes and maps, which have no record.
    others: AtomicUsize,
}

type Pool = ThreadPoolExecutor<Token>;

/// What a task returns: a value to compare, and something to count.
type Output = (u64, Token);

impl Round {
    /// Submits a task that does something at random, unless the pool refuses.
    fn submit(
        self: &Arc<Self>,
        pool: &Pool,
        random: &mut Random,
        depth: u64,
    ) -> Option<(Future<Output>, Arc<Record>, u64)> {
        let watched = random.once_in(2);
        let record = Arc::new(Record { watched, ..Record::default() });
        let value = random.next();
        let task = {
            let (round, record) = (Arc::clone(self), Arc::clone(&record));
            let (mut random, captured) = (random.fork(), self.counter.token());
            move |state: &Token, argument: Token| {
                assert_eq!(record.ran.fetch_add(1, Ordering::SeqCst), 0, "a task runs once");
                drop((state.clone(), argument));
                round.act_inside(&mut random, depth);
                drop(captured);
                if random.once_in(10) {
                    // Without a message on the terminal.
                    resume_unwind(Box::new("at random"));
                }
                (value, round.counter.token())
            }
        };
        let future = pool.submit_with_state(task, self.counter.token()).ok()?;
        self.records.lock().unwrap().push(Arc::clone(&record));
        self.progress.watch(&future);
        if watched {
            let called = Arc::clone(&record);
            let token = self.counter.token();
            future.add_done_callback(move |completed| {
                called.called_back.fetch_add(1, Ordering::SeqCst);
                called.cancelled.fetch_add(usize::from(completed.cancelled()), Ordering::SeqCst);
                drop(token);
            });
        }
        Some((future, record, value))
    }

    /// What a task does: nothing, mostly; or it submits others, and waits for them in some way.
    fn act_inside(self: &Arc<Self>, random: &mut Random, depth: u64) {
        if depth == DEPTH_MAX || !random.once_in(2 + depth) {
            return spend_time(random);
        }
        let Some(pool) = self.pool.lock().unwrap().upgrade() else { return };
        let count = 1 + random.index(4);
        let submitted: Vec<_> =
            (0..count).filter_map(|_| self.submit(&pool, random, depth + 1)).collect();
        self.finish(random, submitted);
    }

    /// Waits for futures in one of the ways that there are, and checks what comes out.
    fn finish(&self, random: &mut Random, submitted: Vec<(Future<Output>, Arc<Record>, u64)>) {
        let mut all = Vec::new();
        let mut futures = Vec::new();
        for (future, record, value) in submitted {
            all.push((future.id(), record, value));
            futures.push(future);
        }
        let check = |id, outcome: Result<Output, TaskError>| {
            let (_, record, value) = all.iter().find(|(known, ..)| *known == id).unwrap();
            check(record, *value, outcome);
        };
        match random.below(9) {
            0 => futures.into_iter().for_each(|future| check(future.id(), future.result())),
            1 => as_completed(futures).for_each(|future| check(future.id(), future.result())),
            2 => {
                let waited = wait(futures, ReturnWhen::AllCompleted);
                assert!(waited.not_done.is_empty());
                waited.done.into_iter().for_each(|future| check(future.id(), future.result()));
            }
            3 => {
                let waited = wait(futures, ReturnWhen::FirstException);
                waited.done.into_iter().for_each(|future| check(future.id(), future.result()));
            }
            4 => {
                let limit = Duration::from_micros(random.below(300));
                drop(wait_timeout(futures, limit, ReturnWhen::FirstCompleted));
            }
            5 => {
                let mut set: CompletionSet<_> = futures.into_iter().collect();
                while let Some(future) = set.next() {
                    check(future.id(), future.result());
                    if random.once_in(4) {
                        break;
                    }
                }
            }
            6 => {
                for future in futures.iter().rev() {
                    future.cancel();
                }
                futures.into_iter().for_each(|future| check(future.id(), future.result()));
            }
            7 => {
                let shared: Vec<_> = futures.into_iter().map(Future::share).collect();
                for future in shared.iter().flat_map(|future| [future.clone(), future.clone()]) {
                    check_shared(&future);
                }
            }
            _ => {
                for future in futures {
                    let limit = Duration::from_micros(random.below(300));
                    match future.result_timeout(limit) {
                        Ok(outcome) => drop(outcome),
                        Err(timeout) if random.once_in(2) => timeout.into_inner().on_done(drop),
                        Err(timeout) => drop(timeout.into_inner().cancel_on_drop()),
                    }
                }
            }
        }
    }

    /// One action of a thread outside of the pool.
    fn act_outside(
        self: &Arc<Self>,
        pool: &Pool,
        random: &mut Random,
        held: &mut Vec<(Future<Output>, Arc<Record>, u64)>,
    ) {
        match random.below(20) {
            0 if !held.is_empty() => {
                let (future, ..) = held.swap_remove(random.index(held.len()));
                future.cancel();
            }
            1 if !held.is_empty() => {
                drop(held.swap_remove(random.index(held.len())));
            }
            2 if !held.is_empty() => {
                let (future, record, value) = held.swap_remove(random.index(held.len()));
                check(&record, value, future.result());
            }
            3 => {
                let count = random.index(held.len() + 1);
                let some = held.split_off(held.len() - count);
                self.finish(random, some);
            }
            4 => self.map(pool, random),
            5 => self.scope(pool, random),
            6 => thread::yield_now(),
            _ => held.extend(self.submit(pool, random, 0)),
        }
    }

    fn map(&self, pool: &Pool, random: &mut Random) {
        let count = random.index(30);
        let options = MapOptions::new().buffersize(1 + random.index(10)).progress(&self.progress);
        let options =
            if random.once_in(2) { options.chunksize(1 + random.index(5)) } else { options };
        let options = if random.once_in(3) { options.unordered() } else { options };
        let tokens: Vec<_> = (0..count).map(|_| self.counter.token()).collect();
        let Ok(mut mapped) = pool.map_with(options, |token: Token| token, tokens) else {
            unreachable!("the options are valid")
        };
        for result in mapped.by_ref().take(random.index(count + 1)) {
            match result {
                Ok(token) => drop(token),
                Err(MapError::Task(error)) => assert!(error.is_cancelled(), "{error:?}"),
                Err(error) => assert!(matches!(error, MapError::Refused(_)), "{error:?}"),
            }
        }
        match random.below(3) {
            0 => mapped.detach(),
            1 => drop(mapped.into_unsubmitted().count()),
            _ => drop(mapped),
        }
    }

    fn scope(&self, pool: &Pool, random: &mut Random) {
        let tokens: Vec<_> = (0..random.index(10)).map(|_| self.counter.token()).collect();
        let (accepted, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let cancelled = pool.scope(|scope| {
            let mut cancelled = 0;
            for token in &tokens {
                let ran = &ran;
                let Ok(future) = scope.spawn(move || {
                    ran.fetch_add(1, Ordering::SeqCst);
                    token.clone()
                }) else {
                    break;
                };
                accepted.fetch_add(1, Ordering::SeqCst);
                match random.below(3) {
                    0 if future.cancel() => cancelled += 1,
                    1 => cancelled += usize::from(future.result().is_err()),
                    // Perhaps cancelled later, by a shutdown.
                    _ => drop(future),
                }
            }
            cancelled
        });
        let (accepted, ran) = (accepted.into_inner(), ran.into_inner());
        assert!(ran + cancelled <= accepted, "{ran} and {cancelled} of {accepted}");
        self.others.fetch_add(accepted, Ordering::Relaxed);
    }
}

/// Looks at an outcome: a value is the task's own, and a task that was cancelled has not run.
fn check(record: &Record, value: u64, outcome: Result<Output, TaskError>) {
    let ran = record.ran.load(Ordering::SeqCst);
    match outcome {
        Ok((returned, _token)) => assert_eq!((returned, ran), (value, 1)),
        Err(TaskError::Cancelled) => assert_eq!(ran, 0),
        Err(TaskError::Panicked(_)) => assert_eq!(ran, 1),
        Err(error) => panic!("{error:?}"),
    }
}

fn check_shared(future: &SharedFuture<Output>) {
    match future.result() {
        Ok((_, token)) => drop(token.clone()),
        Err(error) => assert!(error.is_cancelled() || error.is_panic(), "{error:?}"),
    }
}

/// Moments of the mix are so far apart.
const MICROSECOND: Duration = Duration::from_micros(1);

fn spend_time(random: &mut Random) {
    match random.below(8) {
        0 => thread::yield_now(),
        1 => thread::sleep(delays::moment_number(random.below(200), MICROSECOND)),
        2 => (0..random.below(2000)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}

fn policy(random: &mut Random) -> DropPolicy {
    match random.below(4) {
        0 => DropPolicy::CancelAndWait,
        1 => DropPolicy::Detach,
        2 => DropPolicy::WaitFor(Duration::from_micros(random.below(500))),
        _ => DropPolicy::Wait,
    }
}

fn how(random: &mut Random) -> Shutdown {
    let how = match random.below(3) {
        0 => Shutdown::no_wait(),
        1 => Shutdown::timeout(Duration::from_micros(random.below(500))),
        _ => Shutdown::wait(),
    };
    if random.once_in(2) { how.cancel_futures() } else { how }
}

fn round(random: &mut Random) {
    let prefix = threads::unique_prefix();
    let counter = DropCounter::new();
    let builder = ThreadPoolExecutor::builder()
        .max_workers(1 + random.index(4))
        .thread_name_prefix(&*prefix)
        .drop_policy(policy(random));
    let builder = match random.below(4) {
        0 => builder.idle_timeout(Duration::ZERO),
        1 => builder.idle_timeout(Duration::from_micros(random.below(1000))),
        _ => builder,
    };
    let builder =
        if random.once_in(4) { builder.queue_capacity(1 + random.index(20)) } else { builder };
    let made = counter.clone();
    let pool = Arc::new(builder.initializer(move || made.token()).build().unwrap());
    let round = Arc::new(Round {
        pool: Mutex::new(Arc::downgrade(&pool)),
        counter: counter.clone(),
        progress: Progress::new(),
        records: Mutex::default(),
        others: AtomicUsize::new(0),
    });

    thread::scope(|scope| {
        for _ in 0..=random.index(3) {
            let (round, pool, mut random) = (&round, Arc::clone(&pool), random.fork());
            scope.spawn(move || {
                let mut held = Vec::new();
                for _ in 0..ACTIONS {
                    round.act_outside(&pool, &mut random, &mut held);
                }
                if random.once_in(2) {
                    drop(pool);
                    round.finish(&mut random, held);
                }
            });
        }
        if random.once_in(3) {
            let (pool, mut random) = (Arc::clone(&pool), random.fork());
            scope.spawn(move || {
                thread::sleep(delays::moment_number(random.below(5000), MICROSECOND));
                for _ in 0..2 {
                    // It may well run out of time.
                    drop(pool.shutdown_with(how(&mut random)));
                }
            });
        }
    });
    // Perhaps not the last handle: a task may hold one for a moment.
    drop(pool);
    while round.pool.lock().unwrap().strong_count() > 0 {
        thread::sleep(delays::poll());
    }
    // A pool that is not waited for goes on; and no thread of it is to be seen while one was started that has not come so far
    // as to give itself its name. So everything is waited for by what it leads to, and what is missing is a hang.
    while round.progress.snapshot().done() < round.progress.snapshot().submitted {
        thread::sleep(delays::poll());
    }
    threads::wait_for_count(&prefix, 0);

    let counts = round.progress.snapshot();
    assert_eq!(counts.done(), counts.submitted, "{counts:?}");
    for record in &*round.records.lock().unwrap() {
        let ran = record.ran.load(Ordering::SeqCst);
        let cancelled = record.cancelled.load(Ordering::SeqCst);
        assert_eq!(record.called_back.load(Ordering::SeqCst), usize::from(record.watched));
        if record.watched {
            assert_eq!(ran + cancelled, 1, "{record:?}");
        }
    }
    drop(round);
    // The same: a thread that came too late for any task makes a token, and drops it.
    while counter.alive() > 0 {
        thread::sleep(delays::poll());
    }
}
