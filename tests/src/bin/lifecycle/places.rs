//! Tasks that are hard on their worker.

use std::{fs, io::Write, process::Command, thread};

use concurrent_futures_process_pool::{
    ProcessPoolExecutor,
    executor::{
        Shutdown,
        future::{DeathCause, TaskError},
    },
};
use concurrent_futures_tests::delays;

use crate::{
    Setup,
    tasks::{add_one, cause, park, print, until},
};

pub(crate) fn survive(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(1).build().expect("a pool");
    match setup.which {
        "closes-descriptors" => {
            // Its result is in shared memory, or else nothing can be learnt of it any more, but that it has gone.
            if let Err(error) = pool.submit(close_all, ()).expect("accepted").result() {
                cause(&error);
            }
        }
        "changes-directory" => {
            let task = pool.submit(|()| std::env::set_current_dir("/").is_ok(), ());
            assert!(task.expect("accepted").result().expect("an answer"));
            // It is the worker's, for all of its tasks, and nobody else's.
            let folder = pool.submit(|()| std::env::current_dir().ok(), ()).expect("accepted");
            assert_eq!(folder.result().expect("a path"), Some("/".into()));
            assert_ne!(std::env::current_dir().expect("a path"), std::path::Path::new("/"));
        }
        "resets-signals" => {
            pool.submit(reset_signals, ()).expect("accepted").result().expect("reset");
            let task = pool.submit(|()| -> () { std::process::abort() }, ()).expect("accepted");
            assert_eq!(cause(&task.result().expect_err("aborted")), DeathCause::Aborted);
        }
        "forks" => forks(setup),
        "exits" => {
            let exits: [fn(()); 2] = [
                |()| std::process::exit(7),
                // SAFETY: nothing has to be run at the end.
                |()| unsafe { libc::_exit(7) },
            ];
            for exit in exits {
                let error =
                    pool.submit_fn(exit, ()).expect("accepted").result().expect_err("exited");
                let TaskError::WorkerDied(died) = &error else { panic!("{error:?}") };
                assert_eq!((died.cause(), died.exit_code()), (DeathCause::Exited, Some(7)));
            }
        }
        "leaves-threads" => {
            let task = pool.submit(|()| (0..20).for_each(|_| drop(thread::spawn(|| park()))), ());
            task.expect("accepted").result().expect("they are left alone");
        }
        "prints" => {
            pool.submit(print_much, ()).expect("accepted").result().expect("printed");
        }
        "ignores-sigterm" => return ignores_sigterm(setup),
        "leaves-group" => return leaves_group(setup),
        "stops" => {
            // A stopped worker is one that works for long.
            // SAFETY: takes two integers.
            let task = pool.submit(|()| unsafe { libc::raise(libc::SIGSTOP) }, ());
            let task = task.expect("accepted");
            until(|| pool.stats().running == 1);
            pool.kill_workers_with(Shutdown::wait()).expect("killed");
            assert_eq!(cause(&task.result().expect_err("killed")), DeathCause::Stopped);
            return print("done");
        }
        _ => setup.unknown(),
    }
    goes_on(&pool);
    print("done");
}

/// The pool is as good as new.
fn goes_on(pool: &ProcessPoolExecutor) {
    let results: Vec<_> =
        pool.map(add_one, 0..20).map(|result| result.expect("a number")).collect();
    assert_eq!(results, (1..21).collect::<Vec<_>>());
    assert!(pool.broken().is_none());
    pool.shutdown();
}

fn close_all((): ()) {
    for fd in 0..1000 {
        // SAFETY: the process is lost after this, and known to be.
        unsafe { libc::close(fd) };
    }
}

fn reset_signals((): ()) {
    for number in 1..32 {
        // SAFETY: the default action runs no code; two signals refuse.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// One child lives on, one comes back from the task as its parent does, one panics, one ends at once.
fn forks(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(1).forward_stderr(false).build().expect("a pool");
    for how in 0..4 {
        for _ in 0..5 {
            let worker = pool.submit(|()| std::process::id(), ()).expect("accepted");
            let worker = worker.result().expect("a pid");
            let forked = pool.submit(fork, how).expect("accepted");
            let after = pool.submit(|()| std::process::id(), ()).expect("accepted");
            assert_eq!(forked.result().expect("the parent's"), worker);
            // What the child does costs nobody anything: the worker is the same.
            assert_eq!(after.result().expect("a pid"), worker);
        }
    }
    assert_eq!(pool.stats().worker_deaths, 0);
    pool.shutdown();
}

fn fork(how: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "what is shown is that a task may")]
    // SAFETY: nobody holds a lock that the child needs: no other thread of this process does anything.
    let child = unsafe { libc::fork() };
    if child == 0 {
        match how {
            0 => park(),
            1 => {}
            2 => std::panic::resume_unwind(Box::new("in the child")),
            // SAFETY: nothing has to be run at the end.
            _ => unsafe { libc::_exit(0) },
        }
    }
    if how != 0 {
        // SAFETY: the child is this process's, and nobody wants to know how it ended.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    std::process::id()
}

/// More than any pipe holds, to both.
fn print_much((): ()) {
    let line = [b'x'; 4095];
    for _ in 0..256 {
        std::io::stdout().write_all(&line).expect("somebody reads this");
        std::io::stdout().write_all(b"\n").expect("somebody reads this");
        std::io::stderr().write_all(&line).expect("somebody reads this");
        std::io::stderr().write_all(b"\n").expect("somebody reads this");
    }
}

/// A request to end that a task has the worker ignore: idle or busy, it ends as soon as it has nothing to do.
fn ignores_sigterm(setup: &Setup<'_>) {
    for busy in [false, true] {
        let pool = setup.builder().max_workers(1).build().expect("a pool");
        pool.submit(ignore_sigterm, ()).expect("accepted").result().expect("ignored");
        let folder = std::env::temp_dir().join(format!("gate-{}", std::process::id()));
        let path = folder.to_str().expect("a path").to_owned();
        let task = busy.then(|| pool.submit(until_there, path).expect("accepted"));
        until(|| pool.stats().running == u64::from(busy));
        pool.terminate_workers();
        fs::write(&folder, "").expect("a file");
        if let Some(task) = task {
            task.result().expect("it was left alone");
        }
        pool.shutdown_with(Shutdown::timeout(delays::long())).expect("it ends");
        fs::remove_file(&folder).expect("a file");
    }
    print("done");
}

fn until_there(path: String) {
    until(|| fs::exists(&path).expect("a path"));
}

fn ignore_sigterm((): ()) {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

/// A worker that has joined another process group, as the jobs of a shell do, is killed all the same.
fn leaves_group(setup: &Setup<'_>) {
    let pool = setup.builder().max_workers(1).build().expect("a pool");
    let task = pool.submit(join_child_group, ()).expect("accepted");
    until(|| pool.stats().running == 1);
    let worker = pool.worker_pids()[0].cast_signed();
    // SAFETY: takes a number, returns a number.
    until(|| unsafe { libc::getpgid(worker) } != worker);
    pool.kill_workers_with(Shutdown::wait()).expect("killed");
    assert_eq!(cause(&task.result().expect_err("killed")), DeathCause::Stopped);
    print("done");
}

#[expect(clippy::zombie_processes, reason = "the worker ends before it")]
fn join_child_group((): ()) {
    use std::os::unix::process::CommandExt;

    // It ends when the worker does, since it reads from that.
    let child = Command::new("cat")
        .process_group(0)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("a program");
    // SAFETY: takes two integers.
    let joined = unsafe { libc::setpgid(0, child.id().cast_signed()) };
    assert_eq!(joined, 0, "{}", std::io::Error::last_os_error());
    park();
}
