//! Limits of the operating system, reached at the start of a pool, when a worker is to be replaced, and in mid-run.

use std::fs;

use concurrent_futures_process_pool::{
    BuildError, ProcessPoolExecutor,
    executor::{Refusal, future::TaskError},
};

use crate::{
    Setup,
    tasks::{add_one, cause, print, until},
};

pub(crate) fn limit(setup: &Setup<'_>) {
    match setup.which {
        "descriptors-at-start" => descriptors_at_start(setup),
        "descriptors-in-mid-run" => descriptors_in_mid_run(setup),
        "descriptors-while-closing" => descriptors_while_closing(setup),
        "processes-at-start" => processes_at_start(setup),
        "processes-at-replacement" => processes_at_replacement(setup),
        "processes-in-mid-run" => processes_in_mid_run(setup),
        "threads-in-mid-run" => threads_in_mid_run(setup),
        "file-size-at-start" => file_size_at_start(setup),
        "file-size-in-mid-run" => file_size_in_mid_run(setup),
        _ => setup.unknown(),
    }
    print("done");
}

/// Sets the soft limit of a process and returns what it was.
fn set(pid: i32, resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to limits, or null for one that is not to be changed.
    let got = unsafe { libc::prlimit(pid, resource, std::ptr::null(), &raw mut old) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    let new = libc::rlimit { rlim_cur: soft.min(old.rlim_max), rlim_max: old.rlim_max };
    // SAFETY: as above.
    let set = unsafe { libc::prlimit(pid, resource, &raw const new, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    old.rlim_cur
}

/// Leaves room for so many descriptors more than there are.
fn leave_descriptors(count: u64) -> u64 {
    let open = fs::read_dir("/proc/self/fd").expect("descriptors").count() as u64 - 1;
    set(0, libc::RLIMIT_NOFILE, open + count)
}

fn answers(pool: &ProcessPoolExecutor) {
    assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
}

/// With room for none, for one, and so on, each is a typed error until there are enough; then all is well.
fn descriptors_at_start(setup: &Setup<'_>) {
    let mut refused = 0;
    for count in 0..24 {
        let old = leave_descriptors(count);
        let outcome = setup.builder().max_workers(1).build();
        let pool = match outcome {
            Err(BuildError::Io(_)) => {
                refused += 1;
                set(0, libc::RLIMIT_NOFILE, old);
                continue;
            }
            other => other.expect("a pool"),
        };
        match pool.submit(add_one, 1) {
            Err(error) => {
                assert!(matches!(error.reason(), Refusal::NoWorker(_)), "{error:?}");
                refused += 1;
                // It may another time.
                set(0, libc::RLIMIT_NOFILE, old);
                answers(&pool);
            }
            Ok(task) => {
                match task.result() {
                    Ok(n) => assert_eq!(n, 2),
                    Err(TaskError::Broken(_)) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
                set(0, libc::RLIMIT_NOFILE, old);
            }
        }
        pool.shutdown();
    }
    assert!((2..15).contains(&refused), "{refused}");
}

/// A second worker cannot be had, so the first one does everything; when there is room again it gets help.
fn descriptors_in_mid_run(setup: &Setup<'_>) {
    let pool = setup.pool();
    answers(&pool);
    let old = leave_descriptors(1);
    let results: Vec<_> =
        pool.map(add_one, 0..100).map(|result| result.expect("a number")).collect();
    assert_eq!(results, (1..101).collect::<Vec<_>>());
    assert_eq!(pool.stats().workers, 1);
    set(0, libc::RLIMIT_NOFILE, old);
    pool.prestart(2).expect("accepted");
    until(|| pool.stats().idle_workers == 2);
    pool.shutdown();
}

/// No worker can be had for what a closing pool has queued: that fails, and the end comes.
fn descriptors_while_closing(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(1).forward_stderr(false).build().expect("a pool");
    let gate = std::env::temp_dir().join(format!("closing-{}", std::process::id()));
    let path = gate.to_str().expect("a path").to_owned();
    let dies = pool.submit(die_when_there, path).expect("accepted");
    let queued = pool.submit(add_one, 1).expect("accepted");
    until(|| pool.stats().running == 1);
    // SAFETY: makes descriptors, which stay until the end of the process.
    let fill = || unsafe { libc::dup(0) } >= 0;
    leave_descriptors(1);
    let closing = std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| pool.shutdown());
        until(|| pool.submit(add_one, 1).is_err());
        fs::write(&gate, "").expect("a file");
        // Whatever the worker that ends gives back is taken.
        until(|| {
            while fill() {}
            pool.broken().is_some()
        });
        shutdown.join()
    });
    closing.expect("it ends");
    cause(&dies.result().expect_err("it aborted"));
    assert!(matches!(queued.result(), Err(TaskError::Broken(_))));
    fs::remove_file(gate).expect("a file");
}

fn die_when_there(path: String) {
    until(|| fs::exists(&path).expect("a path"));
    std::process::abort();
}

fn server() -> i32 {
    let threads = fs::read_dir("/proc/self/task").expect("threads");
    threads
        .flatten()
        .flat_map(|thread| {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            children.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
        .next()
        .expect("a child")
        .parse()
        .expect("a pid")
}

/// Neither a thread nor a process can be had: typed, and well again when they can.
fn processes_at_start(setup: &Setup<'_>) {
    let pool = setup.pool();
    let old = set(0, libc::RLIMIT_NPROC, 0);
    let refused = pool.submit(add_one, 1).expect_err("no thread, no process");
    assert!(matches!(refused.reason(), Refusal::NoWorker(_)), "{refused:?}");
    set(0, libc::RLIMIT_NPROC, old);
    answers(&pool);
    pool.shutdown();
}

/// The only worker dies, and another one cannot be had: the pool breaks and says why.
fn processes_at_replacement(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(1).forward_stderr(false).build().expect("a pool");
    answers(&pool);
    set(server(), libc::RLIMIT_NPROC, 0);
    assert!(
        pool.submit(|()| -> () { std::process::abort() }, ()).expect("accepted").result().is_err()
    );
    let error = pool.submit(add_one, 1).expect("accepted").result().expect_err("no worker");
    assert!(matches!(error, TaskError::Broken(_)), "{error:?}");
    assert!(pool.broken().is_some());
    pool.shutdown();
}

/// A second worker can be forked, but has no thread for tasks. It is not missed, and nothing breaks.
fn threads_in_mid_run(setup: &Setup<'_>) {
    let pool = setup.builder().forward_stderr(false).build().expect("a pool");
    answers(&pool);
    until(|| pool.stats().idle_workers == 1);
    // SAFETY: takes nothing, returns a number.
    let user = unsafe { libc::getuid() };
    let all = fs::read_dir("/proc").expect("processes").flatten();
    let own = all.filter(|it| {
        let status = fs::read_to_string(it.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with(&format!("Uid:\t{user}\t")))
    });
    let threads = own.flat_map(|it| fs::read_dir(it.path().join("task")).into_iter().flatten());
    // Room for a process and not for its second thread.
    let old = set(server(), libc::RLIMIT_NPROC, threads.count() as u64 + 1);
    let results: Vec<_> =
        pool.map(add_one, 0..100).map(|result| result.expect("a number")).collect();
    assert_eq!(results, (1..101).collect::<Vec<_>>());
    set(server(), libc::RLIMIT_NPROC, old);
    pool.prestart(2).expect("accepted");
    until(|| pool.stats().idle_workers == 2);
    pool.shutdown();
}

/// A second worker cannot be had: the first one does everything, and nothing breaks.
fn processes_in_mid_run(setup: &Setup<'_>) {
    let pool = setup.builder().forward_stderr(false).build().expect("a pool");
    answers(&pool);
    let old = set(server(), libc::RLIMIT_NPROC, 0);
    let results: Vec<_> =
        pool.map(add_one, 0..100).map(|result| result.expect("a number")).collect();
    assert_eq!(results, (1..101).collect::<Vec<_>>());
    set(server(), libc::RLIMIT_NPROC, old);
    pool.prestart(2).expect("accepted");
    until(|| pool.stats().idle_workers == 2);
    pool.shutdown();
}

/// Longer than what goes through a ring.
const LONG: usize = 100_000;

fn long_answers(pool: &ProcessPoolExecutor) -> Result<(), TaskError> {
    let future = pool.submit(|text: String| text + "!", "x".repeat(LONG)).expect("accepted");
    assert_eq!(future.result()?.len(), LONG + 1);
    Ok(())
}

/// How many workers this process shares memory with.
fn shared() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("this process has memory");
    maps.lines().filter(|line| line.contains("memfd:worker")).count()
}

/// If files must not be as long as the one in memory, which takes no more than is written to it, there is none.
fn file_size_at_start(setup: &Setup<'_>) {
    let old = set(0, libc::RLIMIT_FSIZE, 1 << 30);
    let pool = setup.builder().max_workers(1).build().expect("a pool");
    answers(&pool);
    long_answers(&pool).expect("no limit for what goes through a socket");
    assert_eq!(shared(), 0);
    set(0, libc::RLIMIT_FSIZE, old);
    let other = setup.builder().max_workers(1).build().expect("a pool");
    answers(&other);
    assert_eq!(shared(), 1);
}

/// An argument that is beyond the limit of this process is an error of the task, and not a signal. A worker does not write to
/// files for its results, and so needs none.
fn file_size_in_mid_run(setup: &Setup<'_>) {
    let limit_own = |soft: u64| set(0, libc::RLIMIT_FSIZE, soft);
    let pool = setup.builder().max_workers(1).build().expect("a pool");
    long_answers(&pool).expect("no limit yet");
    assert_eq!(shared(), 1);
    let old = limit_own(1 << 30);
    let error = long_answers(&pool).expect_err("the argument is too long");
    assert!(error.to_string().contains("no room"), "{error}");
    answers(&pool);
    limit_own(old);
    long_answers(&pool).expect("no limit any more");
    let limited = pool.submit(|soft: u64| set(0, libc::RLIMIT_FSIZE, soft), 1 << 30);
    limited.expect("accepted").result().expect("the old limit");
    long_answers(&pool).expect("no limit for what goes through a mapping");
    answers(&pool);
}
