//! Programs with a process pool in unusual surroundings, for tests that watch a whole process.
//!
//! The first argument names the scenario. What a scenario prints is what its test looks at.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        error::Error,
        io::{Read, Write, stdin, stdout},
        process, thread,
    };

    use concurrent_futures::TaskError;
    use concurrent_futures_process_pool::{ProcessPoolExecutor, StartMethod};
    use concurrent_futures_tests::{delays, functions::double};

    pub(super) fn main() -> Result<(), Box<dyn Error>> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let method = match arguments.get(1).map(String::as_str) {
            Some("spawn") => StartMethod::Spawn,
            _ => StartMethod::ForkServer,
        };
        let builder = ProcessPoolExecutor::builder().max_workers(2).start_method(method);
        let pool = builder.forward_stderr(false).build()?;
        match arguments.first().map_or("", String::as_str) {
            "ignore-sigchld" => {
                // SAFETY: ignoring a signal runs no code.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
                deaths(&pool)
            }
            "reap-everything" => {
                thread::spawn(|| {
                    loop {
                        // SAFETY: a null pointer is allowed for the status.
                        unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
                    }
                });
                deaths(&pool)
            }
            "end-of-main" => {
                drop((0..20).map(|n| pool.submit(say, n)).collect::<Result<Vec<_>, _>>()?);
                Ok(())
            }
            "exit" => {
                pool.submit(double, 1)?.result()?;
                drop(pool.submit(sleep, ())?);
                process::exit(0)
            }
            // Until it is killed from outside.
            "busy" => {
                pool.submit(double, 1)?.result()?;
                drop([pool.submit(sleep, ())?, pool.submit(sleep, ())?]);
                print("ready");
                stdin().read_exact(&mut [0])?;
                Ok(())
            }
            other => Err(format!("there is no scenario `{other}`").into()),
        }
    }

    fn print(line: &str) {
        writeln!(stdout().lock(), "{line}").expect("somebody reads this");
    }

    fn say(n: u64) {
        print(&format!("task {n}"));
    }

    /// Goes on for longer than anybody waits.
    fn sleep(_: ()) {
        thread::sleep(delays::long());
    }

    /// Workers die, and are replaced.
    fn deaths(pool: &ProcessPoolExecutor) -> Result<(), Box<dyn Error>> {
        for n in 0..3 {
            match pool.submit(|()| -> u64 { process::abort() }, ())?.result() {
                Err(TaskError::WorkerDied(died)) => print(&format!("{:?}", died.cause())),
                other => print(&format!("{other:?}")),
            }
            print(&pool.submit(double, n)?.result()?.to_string());
        }
        Ok(())
    }
}
