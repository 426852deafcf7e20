//! How a map reads its input: never further than its window, which bounds memory whatever the input.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use concurrent_futures::{InvalidMapOptions, MapOptions, Progress};
use concurrent_futures_tests::{
    Gate, delays,
    drops::{DropCounter, Token},
    guarded, registry,
};

use super::pool;

/// Items are counted while they exist, as items, in tasks, or as results: never more than the window.
#[test]
fn f087_p08_there_are_never_more_items_than_the_window_holds() {
    guarded(|| {
        let pool = pool(3);
        for buffersize in [1, 2, 5, 16] {
            for chunksize in [None, Some(1), Some(2), Some(5), Some(40)] {
                let counter = DropCounter::new();
                let most = Cell::new(0);
                let input = std::iter::repeat_with(|| counter.token())
                    .inspect(|_| most.set(most.get().max(counter.alive())));
                let options = MapOptions::new().buffersize(buffersize);
                let options = chunksize.into_iter().fold(options, MapOptions::chunksize);
                let mut mapped = pool.map_with(options, |token: Token| token, input).unwrap();
                for _ in 0..200 {
                    drop(mapped.next().unwrap().unwrap());
                }
                drop(mapped);
                // The one that was just made is not in the window yet.
                assert!(most.get() <= buffersize + 1, "{} of {buffersize}", most.get());
                // A call that is running is not cut short; it ends, and its item with it.
                while counter.alive() > 0 {
                    thread::yield_now();
                }
            }
        }
    });
}

/// Without a window of one's own there is one all the same: some chunks for each worker, of a bounded size. An endless
/// input is no problem, also if nobody takes a result.
#[test]
fn f078_p08_an_endless_input_is_no_problem() {
    guarded(|| {
        let pool = pool(2);
        let read = Cell::new(0_u64);
        let mut mapped = pool.map(|n| n, (0..).inspect(|_: &u64| read.set(read.get() + 1)));
        assert!(read.get() <= 100, "{} items for two workers", read.get());
        for n in 0..100_000 {
            assert_eq!(mapped.next().unwrap().unwrap(), n);
        }
        let ahead = read.get() - 100_000;
        assert!(ahead <= 2 * 8 * 8192, "{ahead} items ahead");
    });
}

/// With slow calls the chunks do not grow, and neither does the window.
#[test]
fn p08_slow_calls_are_not_read_ahead_for() {
    guarded(|| {
        let pool = pool(2);
        let read = Cell::new(0_usize);
        let slow = |n: u64| {
            thread::sleep(delays::task() / 2);
            n
        };
        let mut mapped = pool.map(slow, (0..).inspect(|_| read.set(read.get() + 1)));
        let window = read.get();
        for n in 0..50 {
            assert_eq!(mapped.next().unwrap().unwrap(), n);
            assert!(read.get() <= window + 50);
        }
    });
}

/// A window of one reads an item when the result before it has been taken, so the input may depend on that result.
#[test]
fn f087_an_input_may_wait_for_the_result_before() {
    guarded(|| {
        let pool = pool(2);
        let (answer, question) = mpsc::channel();
        answer.send(1_u64).unwrap();
        let options = MapOptions::new().buffersize(1);
        let mut doubled = pool.map_with(options, |n| n * 2, question).unwrap();
        let mut last = 0;
        for _ in 0..20 {
            last = doubled.next().unwrap().unwrap();
            answer.send(last).unwrap();
        }
        assert_eq!(last, 1 << 20);
        drop(answer);
        assert_eq!(doubled.next().unwrap().unwrap(), 1 << 21);
        assert!(doubled.next().is_none());
    });
}

/// An input that blocks holds up whoever reads it, that is `next`; what was submitted runs meanwhile.
#[test]
fn p08_an_input_that_blocks_does_not_stop_what_was_submitted() {
    guarded(|| {
        let pool = pool(2);
        let gate = Gate::closed();
        let (feed, input) = mpsc::channel();
        let (done, results) = mpsc::channel();
        for _ in 0..2 {
            feed.send(registry::find::<Gate>(gate.key())).unwrap();
        }
        let consumer = thread::spawn(move || {
            let pass = |gate: std::sync::Arc<Gate>| gate.pass();
            for result in pool.map(pass, input) {
                done.send(result.is_ok()).unwrap();
            }
        });
        // Both run, though the map is still reading.
        gate.wait_for_arrivals(2);
        gate.open();
        drop(feed);
        assert_eq!(results.into_iter().filter(|ok| *ok).count(), 2);
        consumer.join().unwrap();
    });
}

/// `unbounded` reads everything at the call, and the results of what fails to be read are not waited for.
#[test]
fn f078_f079_an_unbounded_map_whose_input_panics() {
    guarded(|| {
        let pool = pool(1);
        let gate = Gate::closed();
        let waits = registry::find::<Gate>(gate.key());
        let counter = DropCounter::new();
        let input = (0..).map(|n| {
            assert!(n < 50, "no more");
            counter.token()
        });
        let options = MapOptions::new().unbounded();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.map_with(
                options,
                move |token: Token| {
                    waits.pass();
                    drop(token);
                },
                input,
            )
            .map(drop)
        }));
        assert_eq!(caught.map(|_| ()).unwrap_err().downcast_ref(), Some(&"no more"));
        // Whatever had not started is cancelled and gone by the time the panic is out.
        assert!(counter.alive() <= 1, "{} items", counter.alive());
        gate.open();
        pool.shutdown();
        assert_eq!((counter.made(), counter.alive()), (50, 0));
    });
}

/// An input that panics in the middle of a chunk: what it had yielded is submitted with the next call.
#[test]
fn f079_the_items_before_a_panic_are_not_lost() {
    guarded(|| {
        let pool = pool(2);
        for chunksize in 1..6 {
            for last in 0..12 {
                let progress = Progress::new();
                let input = (0..).inspect(|n| assert!(*n != last, "item {n}"));
                let options =
                    MapOptions::new().chunksize(chunksize).buffersize(3).progress(&progress);
                let begin = AssertUnwindSafe(|| pool.map_with(options, |n| n, input).unwrap());
                let Ok(mut mapped) = catch_unwind(begin) else {
                    assert!(last < 3, "read at the call");
                    continue;
                };
                let mut results = Vec::new();
                let mut panics = 0;
                loop {
                    match catch_unwind(AssertUnwindSafe(|| mapped.next())) {
                        Ok(Some(result)) => results.push(result.unwrap()),
                        Ok(None) => break,
                        Err(_) => panics += 1,
                    }
                }
                assert_eq!(panics, 1);
                assert!(results.into_iter().eq(0..last));
                assert_eq!(progress.snapshot().succeeded, last);
            }
        }
    });
}

/// A chunk or a window of nothing is a typed error, and nothing is read for it.
#[test]
fn f084_f086_options_are_checked_first() {
    guarded(|| {
        let pool = pool(1);
        let unread = || std::iter::repeat_with(|| -> u64 { unreachable!("nothing is read") });
        for (options, error) in [
            (MapOptions::new().chunksize(0), InvalidMapOptions::ZeroChunksize),
            (MapOptions::new().buffersize(0), InvalidMapOptions::ZeroBuffersize),
            (MapOptions::new().chunksize(0).unbounded(), InvalidMapOptions::ZeroChunksize),
            (MapOptions::new().buffersize(0).unordered(), InvalidMapOptions::ZeroBuffersize),
        ] {
            assert_eq!(pool.map_with(options, |n| n, unread()).unwrap_err(), error);
        }
        let boxed: Box<dyn std::error::Error> = Box::new(InvalidMapOptions::ZeroChunksize);
        assert_eq!(boxed.to_string(), "the chunksize of a map must be at least 1");
        assert_eq!(pool.thread_count(), 0);
    });
}

/// `size_hint` bounds what is left at every moment, whatever happens.
#[test]
fn the_size_hint_is_right() {
    guarded(|| {
        let pool = pool(2);
        for chunksize in [1, 3] {
            for count in [0, 1, 7, 20] {
                let options = MapOptions::new().chunksize(chunksize).buffersize(5);
                let mut mapped = pool.map_with(options, |n| n, 0..count).unwrap();
                let mut left = count;
                loop {
                    let (lower, upper) = mapped.size_hint();
                    assert!(
                        lower <= left && left <= upper.unwrap(),
                        "{left} in {lower}..={upper:?}"
                    );
                    // One more than there are items, in case there comes an error.
                    assert!(upper.unwrap() <= left + 1);
                    if mapped.next().is_none() {
                        break;
                    }
                    left -= 1;
                }
                assert_eq!((left, mapped.size_hint()), (0, (0, Some(0))));
            }
        }
        let endless = pool.map(|n| n, 0_u64..);
        assert_eq!(endless.size_hint().0, 0);
        let unknown = pool.map(|n| n, std::iter::from_fn(|| Some(1)));
        assert_eq!(unknown.size_hint(), (0, None));
    });
}
