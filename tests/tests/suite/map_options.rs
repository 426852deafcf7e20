//! The options of `map`: chunks, windows, counts, and results in the order in which they come.

use std::cell::Cell;

use concurrent_futures::{
    Executor, ExecutorExt, InvalidMapOptions, MapError, MapOptions, Progress, TaskError,
};
use concurrent_futures_tests::{
    Gate,
    functions::{double, double_even, pass, pass_unless_zero, square},
};

/// Chunks are a matter of cost: whatever their size, every item has its result, in its place.
pub(super) fn f084_chunks_carry_every_item(executor: impl Executor) {
    for chunksize in [1, 2, 3, 7, 100, usize::MAX] {
        for count in [0, 1, 6, 7, 8, 50] {
            let options = MapOptions::new().chunksize(chunksize);
            let squares = executor.map_with(options, square, 0..count).unwrap();
            assert!(squares.map(Result::unwrap).eq((0..count).map(square)));
        }
    }
}

/// An item that fails takes none of its chunk with it.
pub(super) fn f085_an_item_of_a_chunk_fails_alone(executor: impl Executor) {
    let options = MapOptions::new().chunksize(4);
    let results: Vec<_> = executor.map_with(options, double_even, 0..10).unwrap().collect();
    assert_eq!(results.len(), 10);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, 2 * n),
            Err(MapError::Task(TaskError::Panicked(panic))) => {
                assert_eq!(panic.message(), format!("{n} is odd"));
                assert!(panic.location().is_some_and(|place| place.contains("functions.rs")));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A chunk or a window of nothing is an error of its own, and is found before anything is read.
pub(super) fn f086_zero_is_refused_before_the_input_is_read(executor: impl Executor) {
    let input = || std::iter::repeat_with(|| -> u64 { panic!("nobody asked") });
    let options = MapOptions::new().chunksize(0);
    let error = executor.map_with(options, double, input()).unwrap_err();
    assert_eq!(error, InvalidMapOptions::ZeroChunksize);
    let options = MapOptions::new().buffersize(0);
    let error = executor.map_with(options, double, input()).unwrap_err();
    assert_eq!(error, InvalidMapOptions::ZeroBuffersize);
    assert_eq!(error.to_string(), "the buffersize of a map must be at least 1");
}

/// Reads `count` items through a map, and checks at every read that no more than `buffersize` have been read and not
/// yielded.
fn check_window(executor: &impl Executor, chunksize: usize, buffersize: usize, count: u64) {
    let (read, yielded) = (Cell::new(0_usize), Cell::new(0_usize));
    let input = (0..count).inspect(|_| {
        read.set(read.get() + 1);
        let held = read.get() - yielded.get();
        assert!(held <= buffersize, "{held} items in a buffer of {buffersize}");
    });
    let options = MapOptions::new().chunksize(chunksize).buffersize(buffersize);
    let mut doubled = executor.map_with(options, double, input).unwrap();
    for n in 0..count {
        // Counted by the test only after `next` has returned, but read by `next` before: while it runs, the item that it
        // is about to yield is still held.
        assert_eq!(doubled.next().unwrap().unwrap(), 2 * n);
        yielded.set(yielded.get() + 1);
    }
    assert!(doubled.next().is_none());
}

/// The window is as large as was said between the calls of `next`, and during them.
pub(super) fn f087_buffersize_is_never_exceeded(executor: impl Executor) {
    for buffersize in [1, 2, 3, 10, usize::MAX] {
        check_window(&executor, 1, buffersize, 40);
    }
}

/// The window counts items, however they are grouped.
pub(super) fn f088_buffersize_counts_items_also_in_chunks(executor: impl Executor) {
    for chunksize in [2, 3, 5, 50] {
        for buffersize in [1, 2, 3, 4, 7, 10] {
            check_window(&executor, chunksize, buffersize, 30);
        }
    }
}

/// Items are counted, not tasks; a chunk's failures are known when its results have been taken.
pub(super) fn p13_progress_counts_items(executor: impl Executor) {
    for chunksize in [1, 3] {
        let progress = Progress::new();
        let options = MapOptions::new().chunksize(chunksize).progress(&progress);
        let results = executor.map_with(options, double_even, 0..10).unwrap();
        assert_eq!(results.filter(Result::is_ok).count(), 5);
        let counts = progress.snapshot();
        assert_eq!((counts.submitted, counts.started, counts.cancelled), (10, 10, 0));
        assert_eq!((counts.succeeded, counts.failed, counts.done()), (5, 5, 10));
        assert_eq!((counts.running(), counts.pending()), (0, 0));
    }
}

/// The counts can be read while the work goes on, and tell running from waiting.
pub(super) fn p13_progress_is_readable_meanwhile(executor: impl Executor) {
    let gate = Gate::closed();
    let progress = Progress::new();
    let workers = executor.max_workers();
    let options = MapOptions::new().progress(&progress);
    let passing = executor.map_with(options, pass, vec![gate.key(); workers + 3]).unwrap();
    gate.wait_for_arrivals(workers);
    let counts = progress.snapshot();
    assert_eq!(counts.submitted, workers as u64 + 3);
    assert_eq!((counts.running(), counts.pending()), (workers as u64, 3));
    assert_eq!(counts.done(), 0);
    drop(passing);
    let counts = progress.snapshot();
    assert_eq!((counts.cancelled, counts.pending()), (3, 0));
    gate.open();
    executor.shutdown();
    assert_eq!(progress.snapshot().succeeded, workers as u64);
}

/// Without order, every item has its result all the same.
pub(super) fn unordered_yields_everything(executor: impl Executor) {
    for chunksize in [1, 4] {
        let options = MapOptions::new().unordered().chunksize(chunksize).buffersize(9);
        let squares = executor.map_with(options, square, 0..100).unwrap();
        let mut squares: Vec<_> = squares.collect::<Result<_, _>>().unwrap();
        squares.sort_unstable();
        assert!(squares.into_iter().eq((0..100).map(square)));
    }
}

/// A slow item does not hold up the others.
pub(super) fn unordered_yields_what_is_ready(executor: impl Executor) {
    let gate = Gate::closed();
    let options = MapOptions::new().unordered();
    let items = [gate.key(), 0, 0, 0];
    let mut passing = executor.map_with(options, pass_unless_zero, items).unwrap();
    for _ in 0..3 {
        assert_eq!(passing.next().unwrap().unwrap(), 0);
    }
    gate.open();
    assert_eq!(passing.next().unwrap().unwrap(), gate.key());
    assert!(passing.next().is_none());
}
