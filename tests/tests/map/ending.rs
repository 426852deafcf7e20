//! How a map ends before its items do: by a deadline, a shutdown, a broken pool, or because somebody has had enough.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use concurrent_futures::{
    InlineExecutor, Map, MapError, MapOptions, Progress, Refusal, Shutdown, TaskError,
    ThreadPoolExecutor,
};
use concurrent_futures_tests::{
    Gate, delays,
    drops::{DropCounter, Token},
    gate::OpenOnDrop,
    guarded, registry,
};

use super::pool;

fn share(gate: &OpenOnDrop) -> Arc<Gate> {
    registry::find(gate.key())
}

fn is_timeout<R>(result: &Option<Result<R, MapError>>) -> bool {
    matches!(result, Some(Err(MapError::Timeout(_))))
}

/// One deadline for all items, from the call on: time that passes before the first `next` counts, and it is not begun
/// anew for each item.
#[test]
fn f081_the_deadline_counts_from_the_call() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let waits = share(&gate);
        let timeout = 5 * delays::short();
        let begin = Instant::now();
        let options = MapOptions::new().timeout(timeout).buffersize(2);
        let call = move |n: u64| {
            if n == 3 {
                waits.pass();
            }
            n
        };
        let mut mapped = pool.map_with(options, call, 0..100).unwrap();
        for n in 0..3 {
            sleep(delays::short() / 2);
            // Or else this machine is so slow that the deadline has passed by now.
            match mapped.next().unwrap() {
                Ok(value) => assert_eq!(value, n),
                Err(error) => {
                    assert!(matches!(error, MapError::Timeout(_)) && begin.elapsed() >= timeout)
                }
            }
        }
        let last = mapped.next();
        assert!(is_timeout(&last) || last.is_none(), "{last:?}");
        assert!(begin.elapsed() >= timeout);
        assert!(mapped.next().is_none());
        gate.open();
    });
}

/// What runs when the deadline passes runs on; what waits is cancelled and gone, whatever its place in the order.
#[test]
fn f081_a_deadline_cancels_and_does_not_interrupt() {
    guarded(|| {
        for (unordered, chunksize) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
            let pool = pool(2);
            let gate = Gate::closed();
            let waits = share(&gate);
            let counter = DropCounter::new();
            let ended = Arc::new(AtomicUsize::new(0));
            let tokens: Vec<_> = (0..20).map(|_| counter.token()).collect();
            let options = MapOptions::new().timeout(5 * delays::short()).chunksize(chunksize);
            let options = if unordered { options.unordered() } else { options };
            let counts = Arc::clone(&ended);
            let call = move |token: Token| {
                waits.pass();
                counts.fetch_add(1, Ordering::SeqCst);
                drop(token);
            };
            let mut mapped = pool.map_with(options, call, tokens).unwrap();
            gate.wait_for_arrivals(2);
            assert!(is_timeout(&mapped.next()));
            assert_eq!(counter.dropped(), 20 - 2 * chunksize, "all but the running ones");
            assert!(mapped.next().is_none());
            gate.open();
            pool.shutdown();
            assert_eq!(ended.load(Ordering::SeqCst), 2 * chunksize);
            assert_eq!(counter.alive(), 0);
        }
    });
}

/// No time at all: what was submitted at the call may still be yielded if it is there, and nothing more is submitted.
#[test]
fn f081_no_time_at_all() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let waits = share(&gate);
        let options = MapOptions::new().timeout(Duration::ZERO);
        let mut mapped = pool.map_with(options, move |_: u64| waits.pass(), 0..).unwrap();
        assert!(is_timeout(&mapped.next()));
        let rest = mapped.into_unsubmitted().next().unwrap();
        assert!(rest > 0);
        gate.open();
    });
}

/// Where submitting takes time, because the executor runs the task at once or the queue is full, nothing is submitted past
/// the deadline, be there room in the window or not.
#[test]
fn f081_nothing_is_submitted_past_the_deadline() {
    guarded(|| {
        let timeout = delays::short();
        // Each call takes longer than the map has.
        let call = move |n: u64| {
            sleep(2 * timeout);
            n
        };
        let executor = InlineExecutor::new();
        for chunksize in [1, 2] {
            let options = MapOptions::new().timeout(timeout).chunksize(chunksize);
            for options in [options.clone(), options.unbounded()] {
                let mut mapped = executor.map_with(options, call, 0..).unwrap();
                for n in 0..chunksize as u64 {
                    assert_eq!(mapped.next().unwrap().unwrap(), n);
                }
                assert!(is_timeout(&mapped.next()));
                assert!(mapped.next().is_none());
                assert_eq!(mapped.into_unsubmitted().next(), Some(chunksize as u64));
            }
        }
        let pool = ThreadPoolExecutor::builder().max_workers(1).queue_capacity(1).build().unwrap();
        let options = MapOptions::new().timeout(timeout).chunksize(1).buffersize(8);
        let mut mapped = pool.map_with(options, call, 0..).unwrap();
        while mapped.next().is_some() {}
        // One ran, one was in the queue, and one waited for room there until the first had ended.
        let rest = mapped.into_unsubmitted().next().unwrap();
        assert!(rest <= 3, "{rest}");
    });
}

/// More time than the clock can express is as good as no deadline.
#[test]
fn f081_more_time_than_there_is() {
    guarded(|| {
        let pool = pool(2);
        for timeout in [Duration::MAX, Duration::from_secs(u64::MAX)] {
            let options = MapOptions::new().timeout(timeout);
            let mapped = pool.map_with(options, |n| n, 0..100_u64).unwrap();
            assert!(mapped.map(Result::unwrap).eq(0..100));
        }
    });
}

/// After a deadline, the items that were not submitted are to be had, in order, with none missing.
#[test]
fn f081_the_rest_comes_back_after_a_deadline() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let waits = share(&gate);
        let options = MapOptions::new().timeout(5 * delays::short()).buffersize(4).chunksize(2);
        let mut mapped = pool.map_with(options, move |_: u64| waits.pass(), 0..20).unwrap();
        assert!(is_timeout(&mapped.next()));
        assert!(mapped.into_unsubmitted().eq(4..20));
        gate.open();
    });
}

/// Detached tasks run on without the map; items that were not read are not.
#[test]
fn p10_detach() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let waits = share(&gate);
        let ran = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&ran);
        let call = move |_: u64| {
            waits.pass();
            counts.fetch_add(1, Ordering::SeqCst);
        };
        let options = MapOptions::new().buffersize(6).chunksize(3);
        let mut read = 0;
        let input = (0..100).inspect(|_| read += 1);
        pool.map_with(options, call, input).unwrap().detach();
        assert_eq!((read, ran.load(Ordering::SeqCst)), (6, 0));
        gate.open();
        pool.shutdown();
        assert_eq!(ran.load(Ordering::SeqCst), 6);
    });
}

/// `into_unsubmitted` cancels what waits, and gives back what the map has not submitted: nothing is doubled.
#[test]
fn p10_into_unsubmitted_of_a_map_in_the_middle() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let waits = share(&gate);
        let ran = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&ran);
        let call = move |_: u64| {
            counts.fetch_add(1, Ordering::SeqCst);
            waits.pass();
        };
        let mapped = pool.map_with(MapOptions::new().buffersize(5), call, 0..20).unwrap();
        gate.wait_for_arrivals(1);
        let rest: Vec<_> = mapped.into_unsubmitted().collect();
        assert!(rest.into_iter().eq(5..20));
        gate.open();
        pool.shutdown();
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    });
}

/// A pool that is shut down while a map goes on: what was taken is yielded, or cancelled if so asked, then comes one
/// refusal, and the rest comes back.
#[test]
fn f089_p11_a_shutdown_in_the_middle() {
    guarded(|| {
        for (chunksize, cancel) in [(1, false), (3, false), (1, true), (3, true)] {
            let pool = pool(1);
            let gate = Gate::closed();
            let waits = share(&gate);
            let options = MapOptions::new().chunksize(chunksize).buffersize(6);
            let call = move |n: u64| {
                waits.pass();
                n
            };
            let mut mapped = pool.map_with(options, call, 0..20).unwrap();
            gate.wait_for_arrivals(1);
            let how = Shutdown::no_wait();
            pool.shutdown_with(if cancel { how.cancel_futures() } else { how }).unwrap();
            gate.open();
            let results: Vec<_> = mapped.by_ref().collect();
            assert_eq!(results.len(), 7);
            for (n, result) in (0..).zip(&results[..6]) {
                match result {
                    Ok(value) => assert!(*value == n && (!cancel || n < chunksize as u64)),
                    Err(MapError::Task(TaskError::Cancelled)) => assert!(cancel),
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert!(matches!(results[6], Err(MapError::Refused(Refusal::ShutDown))));
            assert!(mapped.into_unsubmitted().eq(6..20));
        }
    });
}

/// A pool that breaks while a map goes on says so for each item that it had taken, and for the rest.
#[test]
fn p11_a_broken_pool_in_the_middle() {
    guarded(|| {
        let gate = Gate::closed();
        let (started, fails) = (AtomicUsize::new(0), share(&gate));
        let pool = ThreadPoolExecutor::builder()
            .max_workers(2)
            .try_initializer(move || {
                if started.fetch_add(1, Ordering::SeqCst) == 0 {
                    return Ok(());
                }
                fails.pass();
                Err("no database")
            })
            .build()
            .unwrap();
        let hold = Gate::closed();
        let holds = share(&hold);
        let call = move |n: u64| {
            holds.pass();
            n
        };
        let options = MapOptions::new().buffersize(5);
        let mapped: Map<'_, _, u64> = pool.map_with(options, call, 0..10).unwrap();
        hold.wait_for_arrivals(1);
        gate.open();
        while pool.spawn(|| ()).is_ok() {
            sleep(delays::poll());
        }
        hold.open();
        let results: Vec<_> = mapped.collect();
        assert_eq!(results.len(), 6);
        assert!(results[0].is_ok());
        for result in &results[1..5] {
            assert!(matches!(result, Err(MapError::Task(TaskError::Broken(_)))), "{result:?}");
        }
        assert!(matches!(results[5], Err(MapError::Refused(Refusal::Broken(_)))));
    });
}

/// Progress after an end before the end: what was cancelled is counted as such, what was never submitted is not counted.
#[test]
fn p13_progress_of_a_map_that_was_dropped() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let waits = share(&gate);
        let progress = Progress::new();
        let options = MapOptions::new().progress(&progress).buffersize(8).chunksize(2);
        let mapped = pool.map_with(options, move |_: u64| waits.pass(), 0..100).unwrap();
        gate.wait_for_arrivals(1);
        drop(mapped);
        let counts = progress.snapshot();
        assert_eq!((counts.submitted, counts.cancelled, counts.running()), (8, 6, 2));
        gate.open();
        pool.shutdown();
        assert_eq!(progress.snapshot().done(), 8);
    });
}
