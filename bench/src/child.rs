//! A sample in a process of its own.
//!
//! So memory is as fresh as it gets, pools that belong to the whole program can be measured with any number of workers,
//! nothing that one pool leaves behind (threads, a fragmented heap) disturbs the next, and a pool that deadlocks can be
//! killed. The parent sleeps while a child runs: it blocks on the child's output, and looks at its processor time ten
//! times a second.

use std::{
    env, fs,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    measure::Sample,
    workload::{Settings, Workload},
};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Whatever it does by then, it is not a benchmark.
const SPAN_MAX: Duration = Duration::from_secs(120);

/// How a sample ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Measured(Sample),
    /// It has not used a processor for longer than the workload may.
    Deadlocks,
    /// It panicked, with this message.
    Panics(String),
    /// It ended in another way.
    Fails(String),
}

/// Takes one sample.
pub(crate) fn sample(workload: &Workload, pool: &str, settings: &Settings) -> Outcome {
    match attempt(workload, pool, settings) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Fails(error.to_string()),
    }
}

fn attempt(workload: &Workload, pool: &str, settings: &Settings) -> io::Result<Outcome> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--in-process", "--reps", "1", "--only", workload.name, "--pool", pool]);
    command.args(["--workers", &settings.workers.to_string()]);
    command.args(["--steps", &settings.steps_per_microsecond.to_string()]);
    command.args(settings.quick.then_some("--quick"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;

    let (sender, ended) = channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let readers = thread::spawn(move || {
        let stderr = thread::spawn(move || read(stderr));
        let stdout = read(stdout);
        drop(sender);
        (stdout, stderr.join().unwrap_or_default())
    });
    let begin = Instant::now();
    let (mut cpu, mut since) = (None, begin);
    let verdict = loop {
        match ended.recv_timeout(LOOK_EVERY) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = cpu_ticks(&child);
        if now != cpu {
            (cpu, since) = (now, Instant::now());
        }
        if since.elapsed() > workload.patience {
            break Some(Outcome::Deadlocks);
        }
        if begin.elapsed() > SPAN_MAX {
            break Some(Outcome::Fails(format!("takes more than {} s", SPAN_MAX.as_secs())));
        }
    };
    if verdict.is_some() {
        child.kill()?;
    }
    let status = child.wait()?;
    let (stdout, stderr) = readers.join().unwrap_or_default();
    Ok(verdict.unwrap_or_else(|| outcome(status, &stdout, &stderr)))
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is still the best that there is.
        drop(pipe.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn outcome(status: ExitStatus, stdout: &str, stderr: &str) -> Outcome {
    if status.success() {
        return match stdout.parse() {
            Ok(sample) => Outcome::Measured(sample),
            Err(error) => Outcome::Fails(format!("{error}: {stdout:?}")),
        };
    }
    // The first panic is the cause; the next line is its message.
    let mut lines = stderr.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    match lines.next() {
        Some(message) => Outcome::Panics(message.to_owned()),
        None => {
            Outcome::Fails(format!("{status}: {}", stderr.lines().next().unwrap_or("no message")))
        }
    }
}

/// The ticks of processor time that the process has used, all threads together.
fn cpu_ticks(child: &Child) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(ticks.next()?.ok()? + ticks.next()?.ok()?)
}
