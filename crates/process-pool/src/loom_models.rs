//! Models in which loom goes through the interleavings of a pool and one worker in the memory that they share, and through the
//! values that their loads may see.
//!
//! ```console
//! $ RUSTFLAGS="--cfg loom" cargo test --release -p concurrent-futures-process-pool --lib -- loom_
//! ```
//!
//! Each model is about one race, which its comment names. The two processes are two threads, and each has its own end of a
//! ring of eight words, which holds two frames without a body. A wake-up that is lost is a deadlock, which loom finds. What it
//! does not see:
//!
//! - The kernel: a futex is a lock and a condition variable around the word, and the socket a flag with the same.
//! - The search before the sleep: it is as if the sleeper had had no patience.
//! - Loads that see what is stored later. So whether the reader gives room back too early is seen, and whether it does with too
//!   weak an ordering is not.
//! - That a read-modify-write comes right after what it has read. Plain stores to words that both sides write are swaps here;
//!   see `Contended` in `sync.rs`.
//! - The pool's table, and its locks, which are the standard library's.
//!
//! Each has been seen to fail when a line that it defends was taken out. The comments name these lines by their function.

mod backlog;
mod bell;
mod claims;
mod ring;
mod sleep;

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};

use crate::{
    channel::{PoolEnd, Shared, WorkerEnd, split_frame},
    frame::{FrameBuilder, Header, Kind},
    supervisor::lock,
};

/// Almost every known bug needs no more preemptions than this.
const PREEMPTIONS_MAX: usize = 3;

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // What the environment says comes first.
    builder.preemption_bound.get_or_insert(PREEMPTIONS_MAX);
    builder.check(f);
}

/// The two ends of new memory.
fn ends() -> (PoolEnd<Arc<Shared>>, WorkerEnd<Arc<Shared>>) {
    let shared = Arc::new(Shared::new());
    (PoolEnd::new(Arc::clone(&shared)), WorkerEnd::new(shared))
}

fn frame(kind: Kind, id: u64) -> Vec<u8> {
    FrameBuilder::new(kind, id).finish()
}

/// Sends a task, and wakes the worker if it sleeps.
fn send(pool: &PoolEnd<Arc<Shared>>, id: u64, slot: u32) {
    assert!(pool.send_task(&frame(Kind::Task, id), id, slot).unwrap(), "there is room");
    wake(pool);
}

fn send_exit(pool: &PoolEnd<Arc<Shared>>) {
    assert!(pool.send(&frame(Kind::Exit, 0), 0).unwrap(), "there is room");
    wake(pool);
}

fn wake(pool: &PoolEnd<Arc<Shared>>) {
    if pool.must_wake() {
        pool.wake();
    }
}

/// The ids in the answers that are there.
fn receive(pool: &PoolEnd<Arc<Shared>>) -> Vec<u64> {
    let mut bytes = Vec::new();
    pool.receive(&mut lock(&pool.receiving), &mut bytes).unwrap();
    let (mut ids, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let (header, _, after) = split_frame(rest).unwrap();
        ids.push(header.id);
        rest = after;
    }
    ids
}

fn next(worker: &mut WorkerEnd<Arc<Shared>>, bell: &Bell) -> Header {
    worker.next(&mut Vec::new(), &mut || bell.ring()).unwrap()
}

/// Answers all tasks until it is told to leave.
fn serve(mut worker: WorkerEnd<Arc<Shared>>, bell: &Bell) {
    loop {
        let header = next(&mut worker, bell);
        if header.kind == Kind::Exit {
            return;
        }
        assert!(worker.start(&header));
        let answer = frame(Kind::Finished, header.id);
        worker.answer(&answer, 0, &mut || bell.ring()).unwrap();
    }
}

/// The socket, on which the pool sleeps.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn ring(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.0.0.lock().unwrap();
        while !*rung {
            rung = self.0.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}
