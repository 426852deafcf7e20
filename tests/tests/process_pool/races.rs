//! Regressions, each of which tells which events have to meet.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use concurrent_futures::{DeathCause, TaskError};
use concurrent_futures_tests::{
    Gate, delays,
    functions::{Log, double, pass, write},
    hostile::silence_bell,
    processes::{fork_server, kill_fork_server, send_signal, stop},
    registry,
};

use super::{
    beside, beside_on_all, builder,
    faults::{death, sockets},
    own_pid, pool, wait_until,
};

/// An argument that is too large for the socket's buffer is sent in pieces, by whoever finds that there is room again.
///
/// One thread of the pool finds nothing to send on a connection, and is about to stop looking for room; meanwhile the
/// worker ends its task, another thread sends the next argument, finds no room, and asks to be told of it. If the first
/// one goes on only now, nobody is told, the rest is never sent, and worker and pool wait for each other. Short tasks,
/// so that their start and end come close together, and large arguments widen the window.
#[test]
fn p23_a_large_argument_is_sent_to_its_end() {
    beside_on_all(|setup| {
        let pool = setup.builder(4).build().unwrap();
        let text = "x".repeat(600_000);
        let futures: Vec<_> = (0..400)
            .map(|_| pool.submit(|text: String| text.len(), text.clone()).unwrap())
            .collect();
        assert!(futures.into_iter().all(|future| future.result().unwrap() == 600_000));
    });
}

/// A worker that dies while its argument is on the way.
#[test]
fn p23_a_death_while_a_large_argument_is_sent() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        for _ in 0..10 {
            let pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
            stop(pid);
            // Sent as far as there is room. It has not been started, so another worker does it.
            let future = pool.submit(|text: String| text.len(), "x".repeat(5 << 20)).unwrap();
            send_signal(pid, libc::SIGKILL);
            assert_eq!(future.result().unwrap(), 5 << 20);
        }
    });
}

/// A task whose workers die again and again before they can start it fails in the end.
#[test]
fn a_task_is_not_sent_for_ever() {
    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        let mut pid = pool.submit(own_pid, ()).unwrap().result().unwrap();
        stop(pid);
        let future = pool.submit(double, 4).unwrap();
        let gate = Gate::closed();
        let mut deaths = 0;
        // Each worker is stopped when it can be, which may be too late.
        while !future.done() {
            send_signal(pid, libc::SIGKILL);
            deaths += 1;
            wait_until(|| {
                future.done() || pool.worker_pids().first().is_some_and(|new| *new != pid)
            });
            pid = pool.worker_pids().first().copied().unwrap_or(pid);
            stop(pid);
            if deaths > 100 {
                break;
            }
        }
        match future.result() {
            Ok(value) => assert_eq!(value, 8),
            Err(TaskError::Broken(_)) => {}
            Err(error) => assert_eq!(death(&error).cause(), DeathCause::Killed),
        }
        drop(gate);
        send_signal(pid, libc::SIGKILL);
    });
}

/// An initializer that cuts the connection is a failure to start, and the pool breaks after some of them.
#[test]
fn an_initializer_that_closes_the_connection() {
    fn close_everything(_: ()) {
        for fd in 3..1000 {
            // SAFETY: a mistake on purpose, in a process that is there to die of it.
            unsafe { libc::close(fd) };
        }
    }

    beside_on_all(|setup| {
        let pool = setup.builder(1).initializer(close_everything, ()).build().unwrap();
        let error = pool.submit(double, 4).unwrap().result().unwrap_err();
        assert!(matches!(error, TaskError::Broken(_)), "{error:?}");
    });
}

/// A task that cuts the connection is not waited for.
#[test]
fn a_task_that_closes_the_connection() {
    fn close_everything(_: ()) -> u64 {
        for fd in 0..1000 {
            // SAFETY: a mistake on purpose, in a process that is there to die of it.
            unsafe { libc::close(fd) };
        }
        7
    }

    fn shut_down(_: ()) -> u64 {
        for fd in sockets() {
            // SAFETY: takes two integers.
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
        }
        loop {
            std::thread::sleep(delays::long());
        }
    }

    beside_on_all(|setup| {
        for cut in [close_everything, shut_down] {
            let pool = setup.builder(1).build().unwrap();
            match pool.submit_fn(cut, ()).unwrap().result() {
                // What is in shared memory needs no descriptor.
                Ok(result) => assert_eq!(result, 7),
                Err(error) => assert!(
                    matches!(death(&error).cause(), DeathCause::Disconnected | DeathCause::Killed),
                    "{error:?}"
                ),
            }
            assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
        }
    });
}

/// What talks nonsense to the pool is killed, and its task fails with that.
#[test]
fn a_task_that_writes_to_the_connection() {
    fn write_nonsense(_: ()) -> u64 {
        let nonsense = [0xAA_u8; 100];
        for fd in sockets() {
            // SAFETY: the bytes are there; whose descriptor that is, is the point.
            unsafe { libc::write(fd, nonsense.as_ptr().cast(), nonsense.len()) };
        }
        loop {
            std::thread::sleep(delays::long());
        }
    }

    beside_on_all(|setup| {
        let pool = setup.builder(1).build().unwrap();
        let error = pool.submit(write_nonsense, ()).unwrap().result().unwrap_err();
        assert_eq!(death(&error).cause(), DeathCause::ProtocolViolation, "{error:?}");
        assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// The death of the fork server is one failure, however many workers it was starting. They wait in their initializer
/// until it has been killed.
#[test]
fn the_death_of_the_fork_server_while_many_workers_start() {
    fn wait_if_first((gate, workers): (u64, u64)) {
        let gate = registry::reach::<Gate>(gate);
        if gate.arrived() < usize::try_from(workers).unwrap() {
            gate.pass();
        }
    }

    beside_on_all(|setup| {
        let gate = Gate::closed();
        let set_up = (gate.key(), 8);
        let pool = setup.builder(8).initializer(wait_if_first, set_up).build().unwrap();
        let futures: Vec<_> = (0..8).map(|n| pool.submit(double, n).unwrap()).collect();
        gate.wait_for_arrivals(8);
        wait_until(|| pool.worker_pids().len() == 8);
        kill_fork_server(&pool.worker_pids());
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().unwrap(), 2 * n);
        }
    });
}

/// The death of the fork server takes all workers with it: what runs fails, what is queued runs in new ones.
#[test]
fn the_death_of_the_fork_server_while_tasks_run() {
    beside_on_all(|setup| {
        let gate = Gate::closed();
        let pool = setup.builder(2).build().unwrap();
        let running: Vec<_> = (0..2).map(|_| pool.submit(pass, gate.key()).unwrap()).collect();
        gate.wait_for_arrivals(2);
        let queued = pool.submit(double, 4).unwrap();
        assert!(kill_fork_server(&pool.worker_pids()));
        for future in running {
            let error = future.result().unwrap_err();
            assert_eq!(death(&error).cause(), DeathCause::Unknown);
        }
        assert_eq!(queued.result().unwrap(), 8);
    });
}

/// A deadline of the pool is kept while callbacks take long: the callback waits for a worker to be dismissed for having
/// nothing to do, of which the thread that runs the callback may be the only one to know when.
#[test]
fn a_deadline_passes_while_a_callback_waits() {
    beside_on_all(|setup| {
        let choices = setup.builder(2).idle_timeout(delays::short());
        let pool = std::sync::Arc::new(choices.build().unwrap());
        for _ in 0..20 {
            let gate = Gate::closed();
            let future = pool.submit(pass, gate.key()).unwrap();
            let inner = std::sync::Arc::clone(&pool);
            let (sender, receiver) = std::sync::mpsc::channel();
            future.add_done_callback(move |_| {
                wait_until(|| inner.stats().workers == 0);
                sender.send(()).unwrap();
            });
            gate.open();
            receiver.recv().unwrap();
        }
    });
}

/// Workers that were started in advance and have nothing to do are not dismissed and replaced in turn.
#[test]
fn idle_workers_that_are_to_be_there_stay() {
    beside_on_all(|setup| {
        let pool = setup.builder(2).idle_timeout(Duration::from_millis(1)).build().unwrap();
        pool.prestart(1).unwrap();
        wait_until(|| pool.stats().idle_workers == 1);
        let pids = pool.worker_pids();
        std::thread::sleep(delays::moment());
        assert_eq!(pool.worker_pids(), pids);
    });
}

/// A worker that has done its task and died: the pool finds its connection closed, and then what it has answered. It is sent
/// nothing, while the fork server has not said how it ended, and somebody else is there.
#[test]
fn a_worker_that_has_hung_up_gets_no_task() {
    fn pass_silently(gate: u64) -> u64 {
        registry::reach::<Gate>(gate).pass();
        silence_bell();
        gate
    }

    beside(|| {
        let pool = pool(2);
        let (first, second) = (Gate::closed(), Gate::closed());
        let silent = pool.submit(pass_silently, first.key()).unwrap();
        first.wait_for_arrivals(1);
        let pid = pool.worker_pids()[0];
        let other = pool.submit(pass, second.key()).unwrap();
        second.wait_for_arrivals(1);
        let server = fork_server(&pool.worker_pids()).unwrap();
        stop(server);
        first.open();
        // For the answer, of which nobody hears.
        std::thread::sleep(delays::moment());
        send_signal(pid, libc::SIGKILL);
        wait_until(|| silent.done());
        let next = pool.submit(double, 4).unwrap();
        second.open();
        let outcome = next.result_timeout(delays::scaled(Duration::from_secs(5)));
        send_signal(server, libc::SIGCONT);
        assert_eq!(outcome.unwrap().unwrap(), 8);
        other.result().unwrap();
        wait_until(|| pool.stats().worker_deaths == 1);
    });
}

/// Each worker dies when it has done its first task, as the connection is gone then. Which tasks were sent to it meanwhile is a
/// matter of luck, and so is how often; none of them fails of that.
#[test]
fn tasks_that_come_after_one_that_closes_the_connection() {
    fn close_sockets(n: u64) -> u64 {
        for fd in sockets() {
            // SAFETY: takes an integer.
            unsafe { libc::close(fd) };
        }
        n
    }

    beside(|| {
        for workers in [2, 8] {
            let pool = pool(workers);
            let futures: Vec<_> =
                (0..200).map(|n| pool.submit(close_sockets, n).unwrap()).collect();
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().unwrap(), n);
            }
        }
    });
}

/// A fork server that takes its time to kill a worker is not taken for one that cannot, and killed with all workers.
#[test]
fn a_slow_fork_server_is_left_alone() {
    fn say_ready((before, after): (u64, u64)) -> u64 {
        registry::reach::<Gate>(before).pass();
        let mut frame = [0_u8; 24];
        // Of a worker that has said so already.
        frame[..4].copy_from_slice(&[b'C', b'F', 1, 33]);
        for fd in sockets() {
            // SAFETY: the bytes are there; whose descriptor that is, is the point.
            unsafe { libc::write(fd, frame.as_ptr().cast(), frame.len()) };
        }
        registry::reach::<Gate>(after).pass();
        0
    }

    beside(|| {
        let pool = pool(2);
        let (gate, before, after) = (Gate::closed(), Gate::closed(), Gate::closed());
        let good = pool.submit(pass, gate.key()).unwrap();
        gate.wait_for_arrivals(1);
        let good_pid = pool.worker_pids()[0];
        let bad = pool.submit(say_ready, (before.key(), after.key())).unwrap();
        before.wait_for_arrivals(1);
        let pids = pool.worker_pids();
        let server = fork_server(&pids).unwrap();
        stop(server);
        before.open();
        after.wait_for_arrivals(1);
        std::thread::sleep(delays::moment());
        for pid in pids.into_iter().filter(|pid| *pid != good_pid) {
            send_signal(pid, libc::SIGKILL);
        }
        std::thread::sleep(delays::after_hanging_up());
        send_signal(server, libc::SIGCONT);
        let error = bad.result().unwrap_err();
        assert_eq!(death(&error).cause(), DeathCause::ProtocolViolation);
        gate.open();
        assert_eq!(good.result().unwrap(), gate.key());
    });
}

/// A worker that outlives the fork server, since a task has put it into another group, and told the kernel to leave it alone:
/// what was sent to it goes to another worker, and is not run by both.
#[test]
fn what_goes_to_another_worker_does_not_run_in_one_that_lives_on() {
    fn live_on(gate: u64) -> u64 {
        // SAFETY: takes integers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
        // SAFETY: takes nothing.
        let server = unsafe { libc::getppid() };
        // SAFETY: takes integers.
        let group = unsafe { libc::getpgid(server) };
        // SAFETY: takes integers.
        unsafe { libc::setpgid(0, group) };
        // The thread that watches the connection is to come late: it shares a processor with this one, and gives way.
        // SAFETY: plain data.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is there.
        unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
        // SAFETY: the set is there.
        let first = (0..1000).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).unwrap();
        // SAFETY: plain data.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is there.
        unsafe { libc::CPU_SET(first, &mut set) };
        let first_thread = own_pid(()).cast_signed();
        for thread in [0, first_thread] {
            // SAFETY: the set is there.
            unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
        }
        let parameter = libc::sched_param { sched_priority: 0 };
        // SAFETY: the parameter is there.
        unsafe { libc::sched_setscheduler(first_thread, libc::SCHED_IDLE, &raw const parameter) };
        let gate = registry::reach::<Gate>(gate);
        gate.pass();
        while gate.arrived() < 2 {}
        0
    }

    beside(|| {
        for _ in 0..10 {
            let pool = pool(1);
            let (gate, log) = (Gate::closed(), Log::new());
            let short: Vec<_> = (0..500).map(|n| pool.submit(double, n).unwrap()).collect();
            for future in short {
                future.result().unwrap();
            }
            gate.open();
            let first = pool.submit(live_on, gate.key()).unwrap();
            gate.wait_for_arrivals(1);
            let futures: Vec<_> =
                (0..20).map(|n| pool.submit(write, (log.key(), n)).unwrap()).collect();
            kill_fork_server(&pool.worker_pids());
            first.result().unwrap_err();
            gate.pass();
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().unwrap(), n);
            }
            assert_eq!(log.entries(), (0..20).collect::<Vec<_>>());
        }
    });
}

/// A task closes the connection while the thread that watches it is not waiting, as it has just begun, or was interrupted. The
/// task comes to its end, and its result is in shared memory.
#[test]
fn a_connection_is_closed_while_nobody_waits_for_its_end() {
    fn close_and_interrupt(n: u64) -> u64 {
        extern "C" fn nothing(_: i32) {}

        for fd in sockets() {
            // SAFETY: takes an integer.
            unsafe { libc::close(fd) };
        }
        let handler: extern "C" fn(i32) = nothing;
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR1, handler as usize) };
        let first_thread = own_pid(()).cast_signed();
        // SAFETY: takes integers.
        unsafe { libc::syscall(libc::SYS_tgkill, first_thread, first_thread, libc::SIGUSR1) };
        std::thread::sleep(delays::moment());
        n
    }

    beside(|| {
        let pool = pool(1);
        assert_eq!(pool.submit(close_and_interrupt, 7).unwrap().result().unwrap(), 7);
        assert_eq!(pool.submit(double, 4).unwrap().result().unwrap(), 8);
    });
}

/// A worker is ready and then talks nonsense, and only after that the fork server says that it has forked it: it gets no task,
/// which would fail with it. The server is held up in the middle of forking, that worker and the next one.
#[test]
fn a_worker_that_is_to_be_killed_gets_no_task() {
    static GATES: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    static FORKED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn forked() {
        if let Some(gate) = GATES.get(FORKED.fetch_add(1, Ordering::SeqCst)) {
            registry::reach::<Gate>(gate.load(Ordering::SeqCst)).pass();
        }
    }

    fn hold_up_forks((first, second): (u64, u64)) {
        GATES[0].store(first, Ordering::SeqCst);
        GATES[1].store(second, Ordering::SeqCst);
        // SAFETY: the handler may wait, as the process has a single thread.
        unsafe { libc::pthread_atfork(None, Some(forked), None) };
    }

    fn rave_if_first((gate, log): (u64, u64)) {
        let log = registry::reach::<Log>(log);
        log.push(0);
        if log.entries().len() > 1 {
            return;
        }
        std::thread::spawn(move || {
            registry::reach::<Gate>(gate).pass();
            for fd in sockets() {
                // SAFETY: the bytes are there; whose descriptor that is, is the point.
                unsafe { libc::write(fd, [0xAA_u8; 24].as_ptr().cast(), 24) };
            }
        });
    }

    beside(|| {
        let (first, second, rave) = (Gate::closed(), Gate::closed(), Gate::closed());
        let (gate, log) = (Gate::closed(), Log::new());
        let pool = builder(2)
            .preload(hold_up_forks, (first.key(), second.key()))
            .initializer(rave_if_first, (rave.key(), log.key()))
            .build()
            .unwrap();
        pool.prestart(2).unwrap();
        first.wait_for_arrivals(1);
        rave.wait_for_arrivals(1);
        // For the worker to say that it is ready, and after that, for the pool to read nonsense.
        std::thread::sleep(delays::moment());
        rave.open();
        std::thread::sleep(delays::moment());
        let future = pool.submit(pass, gate.key()).unwrap();
        first.open();
        second.wait_for_arrivals(1);
        // For the task to be sent.
        std::thread::sleep(delays::moment());
        second.open();
        gate.open();
        assert_eq!(future.result().unwrap(), gate.key());
        wait_until(|| pool.stats().worker_deaths == 1);
    });
}
