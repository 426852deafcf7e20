//! What lives how long (P48): the function and what it captured, the value, the callbacks. Each is dropped exactly once
//! on every way, and at the moment that is promised.

mod common;

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use common::{
    Call, asleep,
    drops::{Counted, Drops},
    guarded, ran,
    wakers::{Woken, poll},
};
use concurrent_futures_future::{
    CompletionSet, Future, PackagedTask, Ran, ReturnWhen, TaskError, Work, as_completed, promise,
    wait,
};

/// Work that owns one counted value and returns another one.
struct Owning {
    _captured: Counted,
    returned: Counted,
    panic: bool,
}

impl Work for Owning {
    type Output = Counted;

    fn call(self) -> Counted {
        assert!(!self.panic, "as told");
        self.returned
    }
}

/// A task, its future, and the drops of what it captured and of what it returns.
fn owning(panic: bool) -> (Arc<PackagedTask<Owning>>, Future<Counted>, Drops, Drops) {
    let (captured, returned) = (Drops::new(), Drops::new());
    let work = Owning { _captured: captured.value(), returned: returned.value(), panic };
    let (task, future) = PackagedTask::new(work);
    (task, future, captured, returned)
}

#[test]
fn p48_the_work_is_gone_before_anybody_is_told() {
    guarded(|| {
        for panic in [false, true] {
            let (task, future, captured, _) = owning(panic);
            let (sender, told) = mpsc::channel();
            let seen = captured.clone();
            future.add_done_callback(move |_| sender.send(seen.count()).unwrap());
            thread::scope(|scope| {
                let reader = asleep(scope, || {
                    future.wait();
                    captured.count()
                });
                task.run();
                assert_eq!((told.recv().unwrap(), reader.join().unwrap()), (1, 1));
            });
            assert_eq!(future.result().is_err(), panic);
            assert_eq!(captured.count(), 1);
        }
    });
}

#[test]
fn p48_cancelling_drops_the_work_here_before_anybody_is_told() {
    guarded(|| {
        let (task, future, captured, returned) = owning(false);
        let (sender, told) = mpsc::channel();
        let seen = captured.clone();
        future.add_done_callback(move |_| sender.send(seen.count()).unwrap());
        assert!(future.cancel());
        // Although the task is still in some queue.
        assert_eq!((told.recv().unwrap(), captured.count(), returned.count()), (1, 1, 1));
        assert_eq!(task.run(), Ran::Not);
        assert!(future.result().is_err());
        drop(task);
        assert_eq!((captured.count(), returned.count()), (1, 1));
    });
}

#[test]
fn p48_a_value_that_was_read_belongs_to_its_reader() {
    guarded(|| {
        type Read = fn(Future<Counted>) -> Counted;
        let reads: [Read; 5] = [
            |future| future.result().unwrap(),
            |future| future.result_timeout(Duration::ZERO).unwrap().unwrap(),
            |future| future.try_result().unwrap().unwrap(),
            |future| future.cancel_on_drop().result().unwrap(),
            |future| common::wakers::block_on(future).unwrap(),
        ];
        for read in reads {
            let (task, future, captured, returned) = owning(false);
            task.run();
            let value = read(future);
            // The task may be kept by whoever ran it; it holds nothing any more.
            assert_eq!((captured.count(), returned.count()), (1, 0));
            drop(value);
            assert_eq!(returned.count(), 1);
            drop(task);
            assert_eq!(returned.count(), 1);
        }
    });
}

#[test]
fn p48_a_value_that_nobody_reads_goes_with_the_handle_or_when_it_comes() {
    guarded(|| {
        // Ended, then dropped: here, whoever else holds the task.
        let (task, future, captured, returned) = owning(false);
        task.run();
        drop(future);
        assert_eq!((captured.count(), returned.count()), (1, 1));
        // Dropped, then ended: where it ends.
        let (other, future, captured, returned) = owning(false);
        drop(future);
        assert_eq!((captured.count(), returned.count()), (0, 0));
        assert_eq!(other.run(), Ran::Succeeded);
        assert_eq!((captured.count(), returned.count()), (1, 1));
        drop((task, other));
        assert_eq!((captured.count(), returned.count()), (1, 1));
        // In two threads at once: once.
        for _ in 0..300 {
            let (task, future, captured, returned) = owning(false);
            thread::scope(|scope| {
                scope.spawn(|| task.run());
                drop(future);
            });
            assert_eq!((captured.count(), returned.count()), (1, 1));
        }
    });
}

#[test]
fn p48_a_wait_that_timed_out_loses_nothing() {
    guarded(|| {
        let (task, future, captured, returned) = owning(false);
        let future = future.result_timeout(Duration::ZERO).unwrap_err().into_inner();
        let future = wait_all(future);
        assert_eq!((captured.count(), returned.count()), (0, 0));
        task.run();
        drop(future.result().unwrap());
        assert_eq!((captured.count(), returned.count()), (1, 1));
        // Nor is anything left if the error is thrown away.
        let (task, future, captured, returned) = owning(false);
        drop(future.result_timeout(Duration::ZERO).unwrap_err());
        task.run();
        assert_eq!((captured.count(), returned.count()), (1, 1));
    });
}

fn wait_all(future: Future<Counted>) -> Future<Counted> {
    let waited =
        concurrent_futures_future::wait_timeout([future], Duration::ZERO, ReturnWhen::AllCompleted);
    waited.not_done.into_iter().next().unwrap()
}

#[test]
fn p48_a_task_that_is_never_run_drops_its_work_with_the_last_reference() {
    guarded(|| {
        let (task, future, captured, returned) = owning(false);
        drop(task);
        assert_eq!(captured.count(), 0);
        assert!(future.result_timeout(Duration::ZERO).is_err());
        assert_eq!((captured.count(), returned.count()), (1, 1));
    });
}

#[test]
fn p48_a_value_that_comes_too_late_is_dropped() {
    guarded(|| {
        let drops = Drops::new();
        let (kept, future) = promise();
        future.cancel();
        drop(kept.set_result(drops.value()).unwrap_err());
        assert_eq!(drops.count(), 1);
        let (task, future, captured, returned) = owning(false);
        task.complete(Ok(drops.value()));
        assert_eq!(drops.count(), 2);
        task.run();
        task.complete(Ok(drops.value()));
        assert_eq!((drops.count(), returned.count()), (3, 0));
        drop(future);
        assert_eq!((captured.count(), returned.count()), (1, 1));
    });
}

#[test]
fn p48_values_of_tasks_completed_elsewhere() {
    guarded(|| {
        for dropped in [false, true] {
            let drops = Drops::new();
            let (task, future, captured, returned) = owning(false);
            let future = (!dropped).then_some(future);
            assert!(task.start());
            task.complete(Ok(drops.value()));
            // The work was not done here; its own value went with it.
            assert_eq!((captured.count(), returned.count()), (1, 1));
            assert_eq!(drops.count(), usize::from(dropped));
            drop(future.map(|future| future.result().unwrap()));
            assert_eq!(drops.count(), 1);
        }
    });
}

#[test]
fn p48_shared_values_live_as_long_as_the_last_clone() {
    guarded(|| {
        for read in [false, true] {
            let (task, future, captured, returned) = owning(false);
            let clones = [(); 3].map({
                let future = future.share();
                move |()| future.clone()
            });
            task.run();
            drop(task);
            if read {
                assert!(clones.iter().all(|clone| clone.result().is_ok()));
            }
            assert_eq!((captured.count(), returned.count()), (1, 0));
            let [first, rest @ ..] = clones;
            drop(rest);
            assert_eq!(returned.count(), 0);
            drop(first);
            assert_eq!(returned.count(), 1);
        }
    });
}

#[test]
fn p48_the_iterators_and_sets_keep_nothing() {
    guarded(|| {
        let (task, future, _, returned) = owning(false);
        task.run();
        for future in as_completed([future]) {
            drop(future.result().unwrap());
            assert_eq!(returned.count(), 1);
        }
        let (task, future, _, returned) = owning(false);
        task.run();
        let mut set = CompletionSet::from_iter([future]);
        drop(set.next());
        assert_eq!(returned.count(), 1);
        let (task, future, _, returned) = owning(false);
        task.run();
        drop(wait([future], ReturnWhen::AllCompleted));
        assert_eq!(returned.count(), 1);
    });
}

#[test]
fn p48_callbacks_and_their_futures_are_no_cycle_once_ended() {
    guarded(|| {
        type End = fn(&PackagedTask<Owning>);
        let ends: [End; 4] = [
            |task| assert_eq!(task.run(), Ran::Succeeded),
            |task| assert!(task.cancel()),
            |task| assert!(task.fail(TaskError::Abandoned)),
            |task| drop(task.take_work()),
        ];
        for end in ends {
            let token = Arc::new(());
            let (task, future, captured, returned) = owning(false);
            let kept = Arc::clone(&token);
            future.add_done_callback(move |_| drop(kept));
            let kept = Arc::clone(&token);
            future.on_done(move |outcome| drop((kept, outcome)));
            assert_eq!(Arc::strong_count(&token), 3);
            end(&task);
            assert_eq!(Arc::strong_count(&token), 1);
            assert_eq!((captured.count(), returned.count()), (1, 1));
            assert_eq!(Arc::strong_count(&task), 1, "nobody else holds the cell");
        }
    });
}

#[test]
fn p48_wakers_are_dropped_when_the_future_ends() {
    guarded(|| {
        let (task, mut future) = PackagedTask::new(Call(|| 1));
        let (woken, waker) = Woken::new();
        assert!(poll(&mut future, &waker).is_pending());
        task.run();
        assert_eq!((woken.count(), Arc::strong_count(&woken)), (1, 2));
        drop(future);
    });
}

#[test]
fn p48_zero_sized_and_huge_values() {
    guarded(|| {
        struct Nothing;
        impl Drop for Nothing {
            fn drop(&mut self) {
                DROPS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        static DROPS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        drop(ran(|| Nothing).result().unwrap());
        drop(ran(|| Nothing));
        let (kept, future) = promise();
        drop(future);
        kept.set_result(Nothing).unwrap();
        assert_eq!(DROPS.load(std::sync::atomic::Ordering::SeqCst), 3);
        // Work and value share one place, whichever is larger.
        let work = [7_u8; 1 << 16];
        assert_eq!(ran(move || work[9]).result().unwrap(), 7);
        assert_eq!(ran(|| [8_u8; 1 << 16]).result().unwrap()[9], 8);
    });
}
