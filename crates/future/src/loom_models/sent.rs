//! A task was sent to a worker elsewhere, and the pool that has sent it is asked whether it may be cancelled.

use std::sync::Arc;

use super::{Call, Count, model};
use crate::{
    FutureId, PackagedTask, Remote, RemotePool, State,
    sync::{Mutex, lock, thread},
};

/// A pool that has one task.
#[derive(Default)]
struct Pool {
    table: Mutex<Table>,
}

/// What a pool knows of a task, and what the worker has told it in shared memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Table {
    #[default]
    Queued,
    Sent,
    Started,
    Revoked,
}

impl Remote for Pool {
    fn revoke(&self, _: FutureId, cancel: &mut dyn FnMut()) -> Option<bool> {
        let mut table = lock(&self.table);
        match *table {
            Table::Queued | Table::Revoked => None,
            Table::Started => Some(false),
            Table::Sent => {
                *table = Table::Revoked;
                cancel();
                Some(true)
            }
        }
    }

    fn has_started(&self, _: FutureId) -> bool {
        *lock(&self.table) == Table::Started
    }

    fn poll_until(&self, done: &dyn Fn() -> bool) -> bool {
        done()
    }
}

impl Pool {
    fn new() -> (Arc<Self>, RemotePool) {
        let pool = Arc::new(Self::default());
        let weak = Arc::downgrade(&pool);
        (pool, RemotePool::new(weak))
    }

    /// The worker starts the task, if it may.
    fn start(&self) -> bool {
        let mut table = lock(&self.table);
        let starts = *table == Table::Sent;
        if starts {
            *table = Table::Started;
        }
        starts
    }
}

/// The worker starts the task while it is cancelled: exactly one of them wins, and the work is dropped once.
#[test]
fn loom_cancel_vs_start_sent() {
    model(|| {
        let (pool, entry) = Pool::new();
        let drops = Count::default();
        let captured = drops.on_drop();
        let (task, future) = PackagedTask::new(Call(move || drop(captured)));
        task.set_pool(entry.id());
        assert!(task.send());
        *lock(&pool.table) = Table::Sent;
        let worker = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                let starts = pool.start();
                assert_eq!(task.start_sent(), starts);
                if starts {
                    task.complete(Ok(()));
                }
                starts
            }
        });
        let cancelled = future.cancel();
        assert_ne!(worker.join().unwrap(), cancelled);
        assert_eq!(future.result().is_err(), cancelled);
        assert_eq!(drops.get(), 1);
    });
}

/// The task is taken back, and sent elsewhere, while it is cancelled. No worker starts it, so that it is cancelled whenever
/// it is tried. (Loom does not come to where it is sent anew after the pool was asked; a test in `tests/sent.rs` does.)
#[test]
fn loom_cancel_vs_move() {
    model(|| {
        let (pool, entry) = Pool::new();
        let (task, future) = PackagedTask::new(Call(|| ()));
        task.set_pool(entry.id());
        assert!(task.send());
        *lock(&pool.table) = Table::Sent;
        let mover = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                {
                    let mut table = lock(&pool.table);
                    if *table != Table::Sent || !task.take_back() {
                        return;
                    }
                    *table = Table::Queued;
                }
                let mut table = lock(&pool.table);
                if task.send() {
                    *table = Table::Sent;
                }
            }
        });
        assert!(future.cancel());
        mover.join().unwrap();
        assert!(future.cancelled());
    });
}

/// The task is taken back, and started here, while it is cancelled.
#[test]
fn loom_cancel_vs_take_back() {
    model(|| {
        let (pool, entry) = Pool::new();
        let (task, future) = PackagedTask::new(Call(|| ()));
        task.set_pool(entry.id());
        assert!(task.send());
        *lock(&pool.table) = Table::Sent;
        let crew = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                {
                    let mut table = lock(&pool.table);
                    if *table != Table::Sent {
                        return false;
                    }
                    assert!(task.take_back());
                    *table = Table::Queued;
                }
                let started = task.start();
                if started {
                    task.complete(Ok(()));
                }
                started
            }
        });
        let cancelled = future.cancel();
        assert_ne!(crew.join().unwrap(), cancelled);
        assert_eq!(future.result().is_err(), cancelled);
    });
}

/// Somebody asks for the state while the worker starts the task, and the pool learns of it: what was running is not pending
/// again.
#[test]
fn loom_state_vs_start_sent() {
    model(|| {
        let (pool, entry) = Pool::new();
        let (task, future) = PackagedTask::new(Call(|| ()));
        task.set_pool(entry.id());
        assert!(task.send());
        *lock(&pool.table) = Table::Sent;
        let worker = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                assert!(pool.start());
                // The pool forgets what it knew together with telling the future.
                let mut table = lock(&pool.table);
                assert!(task.start_sent());
                *table = Table::Queued;
            }
        });
        let before = future.state();
        let after = future.state();
        assert!(before == State::Pending || after == State::Running);
        worker.join().unwrap();
        assert_eq!(future.state(), State::Running);
    });
}
