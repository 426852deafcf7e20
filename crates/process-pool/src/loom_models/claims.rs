//! A task that was sent ahead is started by the worker, or taken back by the pool.

use std::sync::Arc;

use loom::thread;

use super::{Bell, ends, model, next, send};

/// The worker starts a task while the pool takes it back: one of them wins, and both know which. Defends the
/// compare-and-swaps in `start` and `revoke`.
#[test]
fn loom_start_vs_revoke() {
    model(|| {
        let (pool, mut worker) = ends();
        send(&pool, 7, 1);
        let thread = thread::spawn(move || {
            let header = next(&mut worker, &Bell::default());
            worker.start(&header)
        });
        let revoked = pool.revoke(1, 7);
        assert_ne!(thread.join().unwrap(), revoked);
        assert_eq!(pool.has_started(1, 7), !revoked);
    });
}

/// Two threads of the pool take the task back, one to cancel and one to move it, and the worker starts it: one of the three
/// has it. (The pool has a lock around that, on which the claim does not rely.)
#[test]
fn loom_revoke_vs_revoke() {
    model(|| {
        let (pool, mut worker) = ends();
        let pool = Arc::new(pool);
        send(&pool, 7, 0);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.revoke(0, 7)
        });
        let header = next(&mut worker, &Bell::default());
        let started = worker.start(&header);
        let revoked = pool.revoke(0, 7);
        let winners = [other.join().unwrap(), revoked, started];
        assert_eq!(winners.iter().filter(|&&won| won).count(), 1);
    });
}

/// The word of a claim is used again for a later task, while the worker has still to skip the earlier: it starts what is in
/// the word, and not another task that was there before. Defends the identity in `claim`.
#[test]
fn loom_start_vs_next_claim() {
    model(|| {
        let (pool, mut worker) = ends();
        send(&pool, 1, 0);
        assert!(pool.revoke(0, 1));
        let thread = thread::spawn(move || {
            let bell = Bell::default();
            let first = next(&mut worker, &bell);
            let skipped = !worker.start(&first);
            let second = next(&mut worker, &bell);
            (skipped, worker.start(&second))
        });
        send(&pool, 2, 0);
        assert_eq!(thread.join().unwrap(), (true, true));
        assert!(!pool.revoke(0, 2));
    });
}
