//! Programs whose own ways with processes differ from others.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use concurrent_futures_process_pool::{
    BuildError, ProcessPoolExecutor,
    executor::{Refusal, future::DeathCause},
};

use crate::{
    Setup,
    tasks::{add_one, await_test, cause, print},
};

pub(crate) fn call(setup: &Setup<'_>) {
    match setup.which {
        "ignores-sigchld" => {
            // SAFETY: ignoring a signal runs no code.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            works(setup);
        }
        "reaps-all" => reaps_all(setup),
        "plain" => works(setup),
        "marked" => {
            // It comes to `main` like any program, but its workers would be marked as well, so it gets no pool.
            let refused = ProcessPoolExecutor::new();
            assert!(matches!(refused, Err(BuildError::NotTakenOver(_))), "{refused:?}");
        }
        "inner-program" => inner_program(setup),
        "print-signals" => return print(&signals()),
        "signals" => {
            // What a program is like that this one starts, against what a task is like.
            let plain =
                Command::new("/proc/self/exe").args(["caller", "-", "print-signals"]).output();
            let plain = String::from_utf8(plain.expect("a program").stdout).expect("text");
            let pool = setup.pool();
            let task = pool.submit(|()| signals(), ()).expect("accepted").result();
            assert_eq!(task.expect("text"), plain.trim_end());
        }
        "descriptors" => {
            let pool = setup.pool();
            let open = pool.submit(|()| descriptors(), ()).expect("accepted").result();
            let open = open.expect("numbers");
            let (standard, others) = open.split_at(3);
            assert_eq!(standard, [0, 1, 2]);
            // The connection, and the memory that is shared.
            assert!(others.len() <= 2 && others.iter().all(|number| *number >= 100), "{open:?}");
        }
        "deleted" => {
            let pool = setup.pool();
            assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
            print("there");
            await_test();
            assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
            // Another worker, and another server.
            works(setup);
        }
        "plugin" => plugin(setup),
        _ => setup.unknown(),
    }
    print("done");
}

/// A pool with whatever there is to be told of the ends of processes.
fn works(setup: &Setup<'_>) {
    let pool = setup.builder().forward_stderr(false).build().expect("a pool");
    for _ in 0..5 {
        let good = pool.submit(add_one, 1).expect("accepted");
        let aborts = pool.submit(|()| -> () { std::process::abort() }, ()).expect("accepted");
        let exits = pool.submit(|()| -> () { std::process::exit(1) }, ()).expect("accepted");
        assert_eq!(good.result().expect("a number"), 2);
        assert_eq!(cause(&aborts.result().expect_err("aborted")), DeathCause::Aborted);
        assert_eq!(cause(&exits.result().expect_err("exited")), DeathCause::Exited);
    }
    pool.shutdown();
}

/// A thread takes the status of every child, the pool's server among them.
fn reaps_all(setup: &Setup<'_>) {
    static OVER: AtomicBool = AtomicBool::new(false);
    let reaper = thread::spawn(|| {
        while !OVER.load(Ordering::Relaxed) {
            // SAFETY: takes a null pointer for a status that nobody wants to know.
            unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
        }
    });
    for _ in 0..3 {
        works(setup);
    }
    OVER.store(true, Ordering::Relaxed);
    reaper.join().expect("it ends");
}

/// A program that a task starts is an ordinary program, and may have a pool; here that of the very same executable.
fn inner_program(setup: &Setup<'_>) {
    let pool = setup.pool();
    let output = pool.submit(start_program, ()).expect("accepted").result().expect("output");
    assert_eq!(output, "done\n");
    let marked = pool.submit(|()| has_marker(), ()).expect("accepted").result();
    assert!(!marked.expect("an answer"));
}

fn start_program((): ()) -> String {
    let output = Command::new("/proc/self/exe").args(["caller", "forkserver", "plain"]).output();
    String::from_utf8(output.expect("a program").stdout).expect("text")
}

fn has_marker() -> bool {
    std::env::vars_os().any(|(name, _)| name.to_string_lossy().contains("CONCURRENT_FUTURES_PROC"))
}

/// Which signals are pending, blocked, ignored, and caught, as the kernel has it for the calling thread. Without 32 and
/// 33, which the C library keeps for its own threads.
fn signals() -> String {
    const C_LIBRARY: u64 = 3 << 31;
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("a process");
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a set");
        let set = u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a number");
        format!("{name} {:x}", set & !C_LIBRARY)
    };
    ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"].map(set).join(" ")
}

/// The numbers of those that are open.
fn descriptors() -> Vec<i32> {
    let is_open = |fd: &i32| {
        // SAFETY: asks, and touches nothing.
        unsafe { libc::fcntl(*fd, libc::F_GETFD) >= 0 }
    };
    (0..2000).filter(is_open).collect()
}

/// The path of the library follows.
fn plugin(setup: &Setup<'_>) {
    let path = std::ffi::CString::new(setup.more).expect("a path");
    // SAFETY: the path is a C string; the library's initialisers do nothing but look at the environment.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{}", setup.more);
    let find = |name: &std::ffi::CStr| {
        // SAFETY: the library is open, and the name a C string.
        let address = unsafe { libc::dlsym(library, name.as_ptr()) };
        assert!(!address.is_null(), "{name:?}");
        address
    };
    let builds = find(c"process_pool_plugin_builds_a_pool");
    // SAFETY: this is the type of that function.
    let builds =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(builds) };
    assert_eq!(builds(), 1, "refused, because no worker would come of it");
    let adds_one = find(c"process_pool_plugin_adds_one");
    // SAFETY: as above; both were compiled by the same compiler.
    let adds_one = unsafe { std::mem::transmute::<*mut libc::c_void, fn(u64) -> u64>(adds_one) };
    assert_eq!(adds_one(1), 2);
    let pool = setup.pool();
    let refused = pool.submit_fn(adds_one, 1).expect_err("workers do not have it");
    assert!(matches!(refused.reason(), Refusal::NotPortable), "{refused:?}");
    works(setup);
}
