//! The ways in which a program may leave a pool, with a task running that never ends by itself.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, id},
    sync::OnceLock,
};

use concurrent_futures_process_pool::{
    DropPolicy, ProcessPoolExecutor,
    executor::{
        Shutdown,
        future::{DeathCause, Future, TaskError},
    },
};

use crate::{
    Setup,
    tasks::{add_one, announce_and_park, await_test, cause, park, print, until},
};

static POOL: OnceLock<ProcessPoolExecutor> = OnceLock::new();

pub(crate) fn end(setup: &Setup<'_>) {
    match setup.which {
        "return" => busy_static(setup),
        "exit" => {
            busy_static(setup);
            std::process::exit(3);
        }
        "_exit" => {
            busy_static(setup);
            // SAFETY: nothing has to be run at the end.
            unsafe { libc::_exit(4) };
        }
        "panic" => {
            busy_static(setup);
            panic!("the end of main");
        }
        "abort" => {
            busy_static(setup);
            std::process::abort();
        }
        "forget" => {
            let pool = setup.pool();
            busy(&pool);
            #[expect(
                clippy::mem_forget,
                reason = "what is shown is what happens without the drop"
            )]
            std::mem::forget(pool);
        }
        "detach" => {
            let pool = setup.builder().drop_policy(DropPolicy::Detach).build().expect("a pool");
            busy(&pool);
        }
        "no-wait" => {
            let pool = POOL.get_or_init(|| setup.pool());
            busy(pool);
            pool.shutdown_with(Shutdown::no_wait()).expect("nothing to wait for");
        }
        "unwind" => unwind(setup),
        "exec" => {
            busy_static(setup);
            let error = Command::new("sh").args(["-c", "echo other; read line; echo end"]).exec();
            panic!("not executed: {error}");
        }
        "wait" => wait(setup),
        "kill-after" => kill_after(setup),
        "counted" => counted(setup),
        "fork" => fork(setup),
        "fork-ahead" => fork_ahead(setup),
        "fork-preload" => fork_preload(setup),
        "kill-server" => kill_server(setup),
        "kill-starting-server" => kill_starting_server(setup),
        _ => setup.unknown(),
    }
}

fn busy_static(setup: &Setup<'_>) {
    busy(POOL.get_or_init(|| setup.pool()));
}

/// Has a task running that never ends, another one that nobody waits for, and many that wait for those.
fn busy(pool: &ProcessPoolExecutor) -> Vec<Future<()>> {
    let mut tasks: Vec<_> =
        (0..2).map(|_| pool.submit(announce_and_park, ()).expect("accepted")).collect();
    tasks.extend((0..10).map(|_| pool.submit(|()| (), ()).expect("accepted")));
    until(|| pool.stats().running == 2);
    await_test();
    tasks
}

/// The error that leaves the function by a panic cancels what is queued, and the drop waits for what runs.
fn unwind(setup: &Setup<'_>) {
    let (keep, kept) = std::sync::mpsc::channel();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let pool = setup.builder().max_workers(1).build().expect("a pool");
        let gate = setup.more.to_owned();
        let running = pool.submit(until_there, gate.clone()).expect("accepted");
        until(|| pool.stats().running == 1);
        let queued: Vec<_> = (0..10).map(|n| pool.submit(add_one, n).expect("accepted")).collect();
        // What is queued is cancelled before the drop waits for what runs.
        queued[9].add_done_callback(move |last| {
            assert!(last.cancelled());
            fs::write(gate, "").expect("a file");
        });
        keep.send((running, queued)).expect("it is received below");
        panic!("while a task runs");
    }));
    assert!(outcome.is_err());
    let (running, queued) = kept.recv().expect("sent above");
    running.result().expect("the running task has ended well");
    assert!(queued.into_iter().all(|task| task.result().is_err_and(|error| error.is_cancelled())));
    print("done");
}

fn until_there(path: String) {
    until(|| fs::exists(&path).expect("a path"));
}

/// All that was submitted is run by the drop, and by a shutdown; nothing is left then.
fn wait(setup: &Setup<'_>) {
    print("start");
    await_test();
    for shut_down in [false, true] {
        let pool = setup.pool();
        let tasks: Vec<_> = (0..100).map(|n| pool.submit(add_one, n).expect("accepted")).collect();
        if shut_down {
            pool.shutdown();
        }
        drop(pool);
        let sum: u64 = tasks.into_iter().map(|task| task.result().expect("a number")).sum();
        assert_eq!(sum, 5050);
        print("over");
        await_test();
    }
    print("done");
}

/// A drop that gives up kills, and says what became of the task.
fn kill_after(setup: &Setup<'_>) {
    let policy = DropPolicy::WaitFor(concurrent_futures_tests::delays::short());
    let pool = setup.builder().drop_policy(policy).build().expect("a pool");
    let mut tasks = busy(&pool);
    let queued = tasks.split_off(2);
    drop(pool);
    for task in tasks {
        assert_eq!(cause(&task.result().expect_err("killed")), DeathCause::Stopped);
    }
    for task in queued {
        assert!(matches!(task.result(), Err(TaskError::Cancelled)));
    }
    print("done");
}

/// Makes pools, has them work, fail and crash, and ends them; the test counts before and after.
fn counted(setup: &Setup<'_>) {
    round(setup);
    print("before");
    await_test();
    for _ in 0..8 {
        round(setup);
    }
    print("after");
    await_test();
    print("done");
}

fn round(setup: &Setup<'_>) {
    let pool = setup.builder().forward_stderr(false).build().expect("a pool");
    let good = pool.submit(add_one, 1).expect("accepted");
    let aborts = pool.submit(|()| -> () { std::process::abort() }, ()).expect("accepted");
    let exits = pool.submit(|()| -> () { std::process::exit(1) }, ()).expect("accepted");
    let panics = pool.submit(|()| -> () { panic!() }, ()).expect("accepted");
    assert_eq!(good.result().expect("a number"), 2);
    assert_eq!(cause(&aborts.result().expect_err("aborted")), DeathCause::Aborted);
    assert_eq!(cause(&exits.result().expect_err("exited")), DeathCause::Exited);
    assert!(panics.result().expect_err("panicked").is_panic());
    assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
    pool.shutdown();
}

/// A process that the program forks without executing anything has all of the pool's descriptors.
fn fork(setup: &Setup<'_>) {
    let pool = setup.pool();
    assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
    #[expect(clippy::disallowed_methods, reason = "what is shown is what a forked child does")]
    // SAFETY: the child drops the pool, prints without std's locks, and sleeps.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = pool.shutdown_with(Shutdown::wait());
        drop(pool);
        print(if outcome.is_ok() { "child dropped it" } else { "child failed" });
        park();
    }
    print(&format!("child {child}"));
    await_test();
    // It has harmed nothing.
    assert_eq!(pool.submit(add_one, 2).expect("accepted").result().expect("a number"), 3);
    drop(pool.submit(announce_and_park, ()));
    park();
}

/// As `fork`, while the server is still busy with what is to be preloaded.
fn fork_preload(setup: &Setup<'_>) {
    let pool = setup.builder().preload(until_there, setup.more.to_owned()).build().expect("a pool");
    drop(pool.submit(add_one, 1).expect("accepted"));
    #[expect(clippy::disallowed_methods, reason = "what is shown is what a forked child does")]
    // SAFETY: the child sleeps.
    let child = unsafe { libc::fork() };
    if child == 0 {
        park();
    }
    print(&format!("child {child}"));
    park();
}

/// A forked child asks about tasks that were sent ahead to a worker, which are none of its business.
fn fork_ahead(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(1).build().expect("a pool");
    for n in 0..10 {
        assert_eq!(pool.submit(add_one, n).expect("accepted").result().expect("a number"), n + 1);
    }
    let first = pool.submit(until_there, setup.more.to_owned()).expect("accepted");
    let ahead: Vec<_> = (0..10).map(|n| pool.submit(add_one, n).expect("accepted")).collect();
    #[expect(clippy::disallowed_methods, reason = "what is shown is what a forked child does")]
    // SAFETY: the child asks futures, takes no lock that another thread may have held, and ends without the program's exit
    // handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // What it is told is of no consequence, also if one was not sent ahead and is cancelled here.
        for future in ahead {
            let _ = (future.running(), future.done(), future.cancel());
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the status is there to be written to.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    fs::write(setup.more, "").expect("a file");
    first.result().expect("no error");
    for (n, future) in (0..).zip(ahead) {
        assert_eq!(future.result().expect("a number"), n + 1);
    }
    print("done");
}

/// What was running fails, what was not goes on, again and again.
fn kill_server(setup: &Setup<'_>) {
    let pool = setup.pool();
    for _ in 0..3 {
        assert_eq!(pool.submit(add_one, 1).expect("accepted").result().expect("a number"), 2);
        let mut tasks = busy(&pool);
        let queued = tasks.split_off(2);
        for pid in children() {
            // SAFETY: takes two numbers; the children of this process are the pool's servers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        for task in tasks {
            let error = task.result().expect_err("its worker was killed");
            assert!(matches!(cause(&error), DeathCause::Unknown | DeathCause::Killed), "{error}");
        }
        for task in queued {
            task.result().expect("it had not started");
        }
    }
    assert!(pool.broken().is_none());
    pool.shutdown();
    print("done");
}

/// A server that dies with many workers which are not ready yet is one failure, and not as many as it has workers.
fn kill_starting_server(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(8).initializer(until_there, setup.more.to_owned());
    let pool = pool.build().expect("a pool");
    let tasks: Vec<_> = (0..8).map(|n| pool.submit(add_one, n).expect("accepted")).collect();
    until(|| pool.worker_pids().len() == 8);
    let old = pool.worker_pids();
    for pid in children() {
        // SAFETY: takes two numbers; the children of this process are the pool's servers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    // Until then some of the old ones may still be alive, and start a task before they are killed.
    until(|| pool.worker_pids().iter().all(|pid| !old.contains(pid)));
    fs::write(setup.more, "").expect("a file");
    let sum: u64 = tasks.into_iter().map(|task| task.result().expect("a number")).sum();
    assert_eq!(sum, 36);
    pool.shutdown();
    print("done");
}

fn children() -> Vec<i32> {
    let this = id();
    fs::read_dir(format!("/proc/{this}/task"))
        .expect("threads")
        .flat_map(|thread| {
            let path = thread.expect("a thread").path().join("children");
            fs::read_to_string(path)
                .unwrap_or_default()
                .split_whitespace()
                .map(|pid| pid.parse().expect("a pid"))
                .collect::<Vec<_>>()
        })
        .collect()
}
