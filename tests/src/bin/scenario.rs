//! Programs that end in one way or another, for tests that watch a whole process.
//!
//! The first argument names the scenario. What a scenario prints is what its test looks at.

use std::{
    error::Error,
    io::{Write, stdout},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use concurrent_futures::{DropPolicy, Shutdown, ThreadPoolExecutor};
use concurrent_futures_tests::delays;

/// Long enough that a task which is waited for is told from one that is not.
fn task() -> Duration {
    2 * delays::task()
}

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).unwrap_or_default().as_str() {
        "drop-at-end" => at_end(|_| {}),
        "no-wait-at-end" => at_end(|pool| {
            pool.shutdown_with(Shutdown::no_wait()).expect("nothing to wait for");
        }),
        "detach-stuck" => stuck(DropPolicy::Detach),
        "wait-for-stuck" => stuck(DropPolicy::WaitFor(task())),
        "static-stuck" => static_stuck(),
        "forget-at-end" => forget(),
        "submit-at-exit" => submit_at_exit(),
        "panic-in-main" => panic_in_main(),
        "one-processor" => one_processor(),
        "fork" => fork(),
        "log" => log::run(),
        "no-second-thread" => memory::no_second_thread(),
        "wait-without-second-thread" => memory::wait_without_second_thread(),
        other => Err(format!("there is no scenario `{other}`").into()),
    }
}

fn print(line: &str) {
    writeln!(stdout().lock(), "{line}").expect("somebody reads this");
}

fn one_worker() -> ThreadPoolExecutor {
    ThreadPoolExecutor::with_max_workers(1).expect("one is a number of workers")
}

fn at_end(before: impl FnOnce(&ThreadPoolExecutor)) -> Result<(), Box<dyn Error>> {
    let pool = one_worker();
    for n in 0..20 {
        drop(pool.submit(
            |n| {
                thread::sleep(task());
                print(&format!("task {n}"));
            },
            n,
        )?);
    }
    before(&pool);
    Ok(())
}

fn stuck(policy: DropPolicy) -> Result<(), Box<dyn Error>> {
    let pool = ThreadPoolExecutor::builder().drop_policy(policy).build()?;
    get_stuck(&pool)?;
    drop(pool);
    print("the end of main");
    Ok(())
}

/// Submits a task that never ends, and returns when it has begun.
fn get_stuck(pool: &ThreadPoolExecutor) -> Result<(), Box<dyn Error>> {
    let (begun, begins) = mpsc::channel();
    drop(pool.spawn(move || {
        begun.send(()).expect("main waits for this");
        loop {
            thread::park();
        }
    })?);
    Ok(begins.recv()?)
}

static POOL: OnceLock<ThreadPoolExecutor> = OnceLock::new();

fn static_stuck() -> Result<(), Box<dyn Error>> {
    get_stuck(POOL.get_or_init(ThreadPoolExecutor::new))?;
    print("the end of main");
    Ok(())
}

fn forget() -> Result<(), Box<dyn Error>> {
    let pool = one_worker();
    pool.spawn(|| ())?.result()?;
    #[expect(clippy::mem_forget, reason = "what is shown is what happens without the drop")]
    std::mem::forget(pool);
    print("the end of main");
    Ok(())
}

extern "C" fn submits() {
    let pool = POOL.get().expect("set before main ended");
    let answer = pool.spawn(|| 42).expect("accepted at exit").result().expect("an answer");
    print(&format!("at exit: {answer}"));
}

fn submit_at_exit() -> Result<(), Box<dyn Error>> {
    POOL.get_or_init(one_worker).spawn(|| ())?.result()?;
    // SAFETY: the handler is a plain function, and does nothing that is forbidden at exit.
    let registered = unsafe { libc::atexit(submits) };
    assert_eq!(registered, 0);
    print("the end of main");
    Ok(())
}

fn panic_in_main() -> Result<(), Box<dyn Error>> {
    let pool = one_worker();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    drop(pool.spawn(move || {
        begun.send(()).expect("main waits for this");
        released.recv().expect("the last is cancelled");
        print("task 0");
    })?);
    let queued: Vec<_> = (1..20)
        .map(|n| pool.submit(|n| print(&format!("task {n}")), n))
        .collect::<Result<_, _>>()?;
    // What is queued is cancelled before the drop of the pool waits for what runs.
    queued[18].add_done_callback(move |last| {
        assert!(last.cancelled());
        release.send(()).expect("the first waits for this");
    });
    begins.recv()?;
    panic!("the error that main ends with");
}

#[cfg(target_os = "linux")]
fn one_processor() -> Result<(), Box<dyn Error>> {
    // SAFETY: all zeros is the empty set.
    let mut current: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the pointer is to a set of this size.
    let got = unsafe { libc::sched_getaffinity(0, size, &raw mut current) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    let first = (0..8 * size)
        // SAFETY: the index is within the set.
        .find(|&processor| unsafe { libc::CPU_ISSET(processor, &current) })
        .ok_or("no processor")?;
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index is within the set.
    unsafe { libc::CPU_SET(first, &mut one) };
    // SAFETY: as above.
    let set = unsafe { libc::sched_setaffinity(0, size, &raw const one) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    print(&ThreadPoolExecutor::new().max_workers().to_string());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn one_processor() -> Result<(), Box<dyn Error>> {
    Err("this is for Linux".into())
}

fn fork() -> Result<(), Box<dyn Error>> {
    let pool = Arc::new(ThreadPoolExecutor::with_max_workers(2)?);
    let (open, opens) = mpsc::channel::<()>();
    // One worker sleeps, one is in the middle of a task.
    let running = pool.spawn(move || opens.recv().map_or(7, |()| 8))?;
    pool.spawn(|| ())?.result()?;
    let queued = pool.spawn(|| 7)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "what is shown is what happens in a forked child"
    )]
    // SAFETY: the child only drops the pool, prints, and leaves by `_exit`; the one lock that it needs and that another
    // thread may have held is that of the standard output, which nobody has used yet.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = pool.shutdown_with(Shutdown::wait()).map_or(1, |()| 0);
        drop(Arc::into_inner(pool));
        print(&format!("child {status}"));
        // SAFETY: ends the process, without the exit handlers of the parent.
        unsafe { libc::_exit(status) };
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    let mut status = 0;
    // SAFETY: the child is ours, and the pointer is to an integer.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    drop(open);
    assert_eq!(queued.result()?, 7);
    print(&format!("parent {}", running.result()?));
    Ok(())
}

/// The logger of last resort: a line for each record.
mod log {
    use std::error::Error;

    use concurrent_futures::ThreadPoolExecutor;

    use super::print;

    struct Lines;

    impl ::log::Log for Lines {
        fn enabled(&self, _metadata: &::log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &::log::Record<'_>) {
            print(&format!("{} {}: {}", record.level(), record.target(), record.args()));
        }

        fn flush(&self) {}
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        // Panics are what is logged, so they need not be shown as well.
        std::panic::set_hook(Box::new(|_| {}));
        ::log::set_logger(&Lines).map_err(|error| error.to_string())?;
        ::log::set_max_level(::log::LevelFilter::Trace);
        let pool = ThreadPoolExecutor::with_max_workers(1)?;
        let seen: Result<(), _> = pool.spawn(|| panic!("somebody looks"))?.result();
        assert!(seen.is_err());
        let (promise, future) = concurrent_futures::promise();
        future.add_done_callback(|_| panic!("in a callback"));
        promise.set_result(())?;
        future.result()?;
        let unread = pool.spawn(|| panic!("nobody looks"))?;
        unread.wait();
        let never: concurrent_futures::Future<()> = unread;
        drop(never);
        pool.shutdown();
        let broken = ThreadPoolExecutor::builder()
            .max_workers(1)
            .thread_name_prefix("logged")
            .try_initializer(|| Err::<(), _>("no database"))
            .build()?;
        assert!(broken.spawn(|| ())?.result().is_err());
        broken.shutdown();
        Ok(())
    }
}

/// Running out of threads, which are made of memory: a limit that leaves no room for a second stack.
mod memory {
    use std::{error::Error, sync::Arc};

    use concurrent_futures::ThreadPoolExecutor;

    use super::print;

    /// A stack that is larger than everything else in this process.
    const STACK_SIZE: usize = 1 << 30;

    /// A pool with one worker, that cannot get another.
    fn with_one_thread() -> Result<Arc<ThreadPoolExecutor>, Box<dyn Error>> {
        let pool = ThreadPoolExecutor::builder().max_workers(4).stack_size(STACK_SIZE).build()?;
        pool.spawn(|| ())?.result()?;
        let pages: u64 = std::fs::read_to_string("/proc/self/statm")?
            .split(' ')
            .next()
            .ok_or("no size")?
            .parse()?;
        let most = pages * 4096 + STACK_SIZE as u64 / 2;
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the pointer is to a limit.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        Ok(Arc::new(pool))
    }

    pub(super) fn no_second_thread() -> Result<(), Box<dyn Error>> {
        let pool = with_one_thread()?;
        let (open, opens) = std::sync::mpsc::channel::<()>();
        let busy = pool.spawn(move || opens.recv().unwrap_or_default())?;
        let queued: Vec<_> = (0..5).map(|n| pool.spawn(move || n)).collect::<Result<_, _>>()?;
        print(&format!("{} thread", pool.thread_count()));
        drop(open);
        busy.result()?;
        let results: Vec<_> = queued
            .into_iter()
            .map(|future| future.result().map(|n: u64| n.to_string()))
            .collect::<Result<_, _>>()?;
        print(&results.join(" "));
        Ok(())
    }

    pub(super) fn wait_without_second_thread() -> Result<(), Box<dyn Error>> {
        let pool = with_one_thread()?;
        let inner = Arc::clone(&pool);
        let outer = pool.spawn(move || {
            let futures: Vec<_> =
                (0..20).map(|n| inner.spawn(move || n).expect("accepted")).collect();
            futures.into_iter().map(|future| future.result().expect("a number")).sum::<u64>()
        })?;
        let sum = outer.result()?;
        print(&format!("{} thread\n{sum}", pool.thread_count()));
        Ok(())
    }
}
