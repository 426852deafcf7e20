//! Python's [`concurrent.futures`](https://docs.python.org/3/library/concurrent.futures.html) for Rust: one small API
//! over anything that can run a task.
//!
//! ```
//! use std::collections::HashMap;
//! use concurrent_futures::{ThreadPoolExecutor, as_completed};
//!
//! fn load(url: &str) -> Result<Vec<u8>, std::io::Error> {
//!     // ... fetch it ...
//! #   if url.contains("missing") { return Err(std::io::ErrorKind::NotFound.into()); }
//!     Ok(url.as_bytes().to_vec())
//! }
//!
//! let pool = ThreadPoolExecutor::with_max_workers(5)?;
//! let mut urls = HashMap::new();
//! let mut futures = Vec::new();
//! for url in ["https://www.rust-lang.org", "https://docs.rs", "https://example.com/missing"] {
//!     let future = pool.submit(load, url)?.flatten();
//!     urls.insert(future.id(), url);
//!     futures.push(future);
//! }
//! for future in as_completed(futures) {
//!     let url = urls[&future.id()];
//!     match future.result() {
//!         Ok(page) => println!("{url} is {} bytes", page.len()),
//!         Err(error) => println!("{url}: {error}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It is the main example of Python's documentation. When `pool` goes out of scope, it waits for what was submitted, as
//! leaving Python's `with` block does.
//!
//! # A tour
//!
//! Submit a call and take its result. A task that panics, is cancelled or is never run is an `Err`, never a hang:
//!
//! ```
//! use std::time::Duration;
//! use concurrent_futures::{TaskError, ThreadPoolExecutor};
//!
//! let pool = ThreadPoolExecutor::new();
//! let power = pool.submit(|(base, exponent)| u64::pow(base, exponent), (323, 2))?;
//! assert_eq!(power.result_timeout(Duration::from_secs(60))??, 104_329);
//!
//! let broken = pool.spawn(|| -> u8 { panic!("no more numbers") })?;
//! match broken.result() {
//!     Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "no more numbers"),
//!     other => unreachable!("{other:?}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Map a function over any iterator, also an endless one, and take the results in order:
//!
//! ```
//! # use concurrent_futures::ThreadPoolExecutor;
//! # let pool = ThreadPoolExecutor::new();
//! let mut squares = pool.map(|n: u64| n * n, 1..);
//! assert_eq!(squares.next().unwrap()?, 1);
//! assert_eq!(squares.next().unwrap()?, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Borrow from the caller, inside a scope that waits for its tasks:
//!
//! ```
//! # use concurrent_futures::ThreadPoolExecutor;
//! # let pool = ThreadPoolExecutor::new();
//! let text = String::from("to be or not to be");
//! let count = pool.scope(|scope| {
//!     let words = scope.spawn(|| text.split(' ').count())?;
//!     let letters = scope.spawn(|| text.chars().filter(|c| c.is_alphabetic()).count())?;
//!     Ok::<_, Box<dyn std::error::Error>>((words.result()?, letters.result()?))
//! })?;
//! assert_eq!(count, (6, 13));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Await a future, in any runtime:
//!
//! ```
//! # use concurrent_futures::{TaskError, ThreadPoolExecutor};
//! async fn answer(pool: &ThreadPoolExecutor) -> Result<u64, Box<dyn std::error::Error>> {
//!     Ok(pool.spawn(|| 6 * 7)?.await?)
//! }
//! ```
//!
//! Leave the choice of executor to others. Code written against the trait runs on any of them:
//!
//! ```
//! use concurrent_futures::{Executor, ExecutorExt, InlineExecutor, MapError, ThreadPoolExecutor};
//!
//! fn total(executor: &dyn Executor, words: &[&str]) -> Result<usize, MapError> {
//!     executor.map(|word: String| word.len(), words.iter().map(ToString::to_string)).sum()
//! }
//!
//! assert_eq!(total(&ThreadPoolExecutor::new(), &["one", "three"])?, 8);
//! assert_eq!(total(&InlineExecutor::new(), &["one", "three"])?, 8);
//! # Ok::<(), MapError>(())
//! ```
//!
//! # From Python to Rust
//!
//! | Python | here |
//! |---|---|
//! | `with ThreadPoolExecutor(max_workers=5) as pool:` | `let pool = ThreadPoolExecutor::with_max_workers(5)?;`, and its [drop](ThreadPoolExecutor#dropping) |
//! | `ThreadPoolExecutor(5, 'name', initializer, initargs)` | [`ThreadPoolExecutor::builder`]; the initializer captures its arguments |
//! | `pool.submit(f, a)` | [`pool.submit(f, a)`](ThreadPoolExecutor::submit)`?` |
//! | `pool.submit(f, a, b)` | `pool.submit(\|(a, b)\| f(a, b), (a, b))?` or [`pool.spawn(move \|\| f(a, b))`](ThreadPoolExecutor::spawn)`?` |
//! | `pool.map(f, xs)` | [`pool.map(f, xs)`](ThreadPoolExecutor::map), whose items are `Result`s |
//! | `pool.map(f, xs, ys)` | `pool.map(\|(x, y)\| f(x, y), xs.zip(ys))` |
//! | `pool.map(f, xs, timeout=, chunksize=, buffersize=)` | [`pool.map_with`](ThreadPoolExecutor::map_with) and [`MapOptions`] |
//! | `pool.shutdown(wait=False, cancel_futures=True)` | [`pool.shutdown_with`](Executor::shutdown_with)`(`[`Shutdown::no_wait`]`().cancel_futures())` |
//! | `future.result()`, `future.result(timeout)` | [`future.result()`](Future::result)`?`, [`future.result_timeout(timeout)`](Future::result_timeout)`??` |
//! | `future.exception()` | [`future.exception()`](Future::exception) |
//! | `future.cancel()`, `.cancelled()`, `.running()`, `.done()` | the same |
//! | `future.add_done_callback(f)` | [`future.add_done_callback(f)`](Future::add_done_callback), or [`future.on_done(f)`](Future::on_done) to be given the result |
//! | a future with several readers | [`future.share()`](Future::share) |
//! | `{future: url}` | a map from [`future.id()`](Future::id) |
//! | `asyncio.wrap_future(future)` | `future.await` |
//! | `wait(fs, timeout, return_when=FIRST_COMPLETED)` | [`wait`]`(fs, `[`ReturnWhen::FirstCompleted`]`)`, [`wait_timeout`] |
//! | `as_completed(fs)`, `as_completed(fs, timeout)` | [`as_completed`], [`as_completed_timeout`]; [`CompletionSet`] to add more meanwhile |
//! | `Future()`, `set_result`, `set_exception` | [`promise()`](promise), [`Promise`] |
//! | `raise` in a task | return `Err`, and [`flatten`](Future::flatten) the future |
//! | `CancelledError`, `BrokenExecutor` | [`TaskError::Cancelled`], [`TaskError::Broken`] |
//! | `TimeoutError` | [`TimeoutError`] for a wait; never mixed up with a task's own error |
//! | `InvalidStateError` | [`InvalidStateError`]; a second completion does not compile |
//! | `RuntimeError('cannot schedule new futures after shutdown')` | [`SubmitError`] with [`Refusal::ShutDown`], which gives the task back |
//!
//! Where behaviour differs, it is on purpose; the repository's `docs/conformance.md` goes through it row by row. The
//! differences one meets first: reading a result moves it out of the future; [`map`](ThreadPoolExecutor::map) keeps a
//! window of items in the executor instead of all of them, and an item that fails does not end it; cancelling wakes
//! everyone who waits, at once; and a task may wait for another task of its own pool.
//!
//! # Which executor
//!
//! | for | use |
//! |---|---|
//! | tasks that wait: downloads, files, databases, child processes | [`ThreadPoolExecutor`], with many workers |
//! | tasks that compute | [`ThreadPoolExecutor`], with one worker for each processor |
//! | tests and debugging: everything in order, in one thread | [`InlineExecutor`] |
//! | something of your own | three methods of [`Executor`]; there is an example, `third_party_executor` |
//!
//! Threads share one fate: a task that crashes, or takes all the memory, takes the program with it. Running tasks in
//! processes of their own is what the feature `process-pool` is reserved for.
//!
//! # Features
//!
//! - `thread-pool` (default): [`ThreadPoolExecutor`].
//! - `process-pool`: reserved for the process pool, which is being built; it adds nothing yet.
//!
//! The parts are crates of their own, for those who need just one: `concurrent-futures-future`, `-executor` and
//! `-thread-pool`.
//!
//! # Forking
//!
//! A process that forks without executing another program has, in the child, one thread and none of the pool's workers.
//! A pool must not be used there; dropping it is harmless.

#![forbid(unsafe_code)]

pub use concurrent_futures_executor::{
    Executor, ExecutorExt, InlineExecutor, InvalidMapOptions, Map, MapError, MapOptions, Portable,
    Refusal, Shutdown, ShutdownError, StillRunning, SubmitError, Task, Wait, local,
};
pub use concurrent_futures_future::{
    AnyFuture, AsCompleted, AsCompletedTimeout, AsCompletedTimeoutError, Blocked, BrokenExecutor,
    CancelOnDrop, CodecError, Completed, CompletionSet, Crossing, DoneAndNotDone, Event, Failure,
    Future, FutureId, Host, InvalidStateError, PackagedTask, Panic, PoolId, Progress,
    ProgressSnapshot, Promise, Ran, ReturnWhen, SharedFuture, State, TaskError, TimeoutError, Work,
    as_completed, as_completed_timeout, blocking, promise, report, set_event_hook, wait,
    wait_timeout, work_for,
};
#[cfg(feature = "thread-pool")]
pub use concurrent_futures_thread_pool::{
    BuildError, Builder, DropPolicy, PoolStats, Scope, ScopedFuture, ThreadPoolExecutor,
};
