//! Tasks that were sent to a worker elsewhere, with a pool that does, when it is asked, what another thread might do then.

use std::sync::{Arc, Mutex};

use crate::{FutureId, PackagedTask, Remote, RemotePool, State, TaskError, Work};

struct Nothing;

impl Work for Nothing {
    type Output = ();

    fn call(self) {}
}

type Task = Arc<PackagedTask<Nothing>>;
type Answer = fn(&Task, &mut dyn FnMut()) -> Option<bool>;

/// A pool that does so, and answers, when it is asked to revoke a task for the first time, the second time, and so on.
struct Pool {
    task: Mutex<Option<Task>>,
    answers: Mutex<Vec<Answer>>,
    started: bool,
}

impl Remote for Pool {
    fn revoke(&self, id: FutureId, cancel: &mut dyn FnMut()) -> Option<bool> {
        let task = self.task.lock().unwrap().clone().expect("the task was sent");
        assert_eq!(task.id(), id);
        let answer = self.answers.lock().unwrap().pop().expect("asked too often");
        answer(&task, cancel)
    }

    fn has_started(&self, _: FutureId) -> bool {
        self.started
    }

    fn poll_until(&self, done: &dyn Fn() -> bool) -> bool {
        done()
    }
}

/// A task that was sent, with these answers to be given from the last to the first.
fn sent(started: bool, answers: Vec<Answer>) -> (Task, crate::Future<()>, Arc<Pool>, RemotePool) {
    let pool = Arc::new(Pool { task: Mutex::default(), answers: Mutex::new(answers), started });
    let entry = RemotePool::new(Arc::downgrade(&pool) as std::sync::Weak<dyn Remote>);
    let (task, future) = PackagedTask::new(Nothing);
    task.set_pool(entry.id());
    assert!(task.send());
    *pool.task.lock().unwrap() = Some(Arc::clone(&task));
    (task, future, pool, entry)
}

fn revoked(_: &Task, cancel: &mut dyn FnMut()) -> Option<bool> {
    cancel();
    Some(true)
}

#[test]
fn it_is_cancelled_if_no_worker_has_it() {
    let (_task, future, _pool, _entry) = sent(false, vec![revoked]);
    assert_eq!(future.state(), State::Pending);
    assert!(future.cancel() && future.cancelled());
    assert!(matches!(future.result(), Err(TaskError::Cancelled)));
}

#[test]
fn it_is_not_cancelled_if_a_worker_has_it() {
    let (task, future, _pool, _entry) = sent(true, vec![|_, _| Some(false)]);
    assert_eq!(future.state(), State::Running);
    assert!(!future.cancel());
    assert!(task.start_sent());
    task.complete(Ok(()));
    future.result().unwrap();
}

/// It was taken back when the pool is asked, and is sent to another worker before the answer comes. That the word says that
/// it was sent does not mean that a worker has it.
#[test]
fn it_is_cancelled_although_it_is_moved_meanwhile() {
    let moved = |task: &Task, _: &mut dyn FnMut()| {
        assert!(task.take_back());
        assert!(task.send());
        None
    };
    let (_task, future, _pool, _entry) = sent(false, vec![revoked, moved, moved]);
    assert!(future.cancel() && future.cancelled());
}

/// It is taken back, so that it can be cancelled without the pool.
#[test]
fn it_is_cancelled_if_it_is_taken_back_meanwhile() {
    let taken_back = |task: &Task, _: &mut dyn FnMut()| {
        assert!(task.take_back());
        None
    };
    let (_task, future, _pool, _entry) = sent(false, vec![taken_back]);
    assert!(future.cancel() && future.cancelled());
}

/// It ends before the pool is asked.
#[test]
fn it_is_not_cancelled_if_it_has_ended_meanwhile() {
    let ended = |task: &Task, _: &mut dyn FnMut()| {
        assert!(task.start_sent());
        task.complete(Ok(()));
        None
    };
    let (_task, future, _pool, _entry) = sent(false, vec![ended]);
    assert!(!future.cancel());
    future.result().unwrap();
}

/// Nobody is there who could be asked.
#[test]
fn it_is_not_cancelled_if_its_pool_is_gone() {
    let (task, future, pool, _entry) = sent(false, vec![]);
    drop(pool);
    assert!(!future.cancel());
    assert_eq!(future.state(), State::Pending);
    assert!(task.start_sent());
    task.complete(Err(TaskError::Abandoned));
    assert!(future.result().is_err());
}
