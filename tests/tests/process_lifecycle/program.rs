//! A program under test, and all that comes of it.
//!
//! Every process that descends from the program has a variable in its environment that no other process has, by which it
//! is found wherever it has gone: to another parent, group or session.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use concurrent_futures_tests::{delays, guarded};

const TAG_VARIABLE: &str = "LIFECYCLE_TAG";

/// What the programs under test are.
pub(super) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_lifecycle");

/// A process, as it was when it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) state: char,
    #[expect(dead_code, reason = "seen when a failure shows the process")]
    pub(super) name: String,
}

impl Process {
    /// Reads `/proc`; `None` if it is gone.
    pub(super) fn look(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (start, rest) = stat.rsplit_once(") ")?;
        let name = start.split_once('(')?.1.to_owned();
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, group, state, name })
    }
}

/// The numbers in a folder of `/proc`, or none if that is gone.
fn numbers(folder: impl AsRef<Path>) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub(super) fn send_signal(pid: i32, signal: i32) {
    // SAFETY: takes two integers.
    unsafe { libc::kill(pid, signal) };
}

/// A running program. Whatever is left of it is killed when this is dropped.
pub(super) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    tag: String,
}

impl Program {
    pub(super) fn start<const N: usize>(arguments: [&str; N]) -> Self {
        Self::start_with(EXECUTABLE, arguments, |_| {})
    }

    pub(super) fn start_with<const N: usize>(
        executable: impl AsRef<OsStr>,
        arguments: [&str; N],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let tag = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(executable);
        command
            .args(arguments)
            .env(TAG_VARIABLE, &tag)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        // A program that hangs must not be left behind by a test that fails for it.
        let die_with_test = || {
            // SAFETY: takes integers.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: a system call is all that happens between fork and exec.
        unsafe { command.pre_exec(die_with_test) };
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout, tag }
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The next line that it prints.
    #[track_caller]
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it has ended: {:?}", self.child.try_wait());
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(super) fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Lets it go on.
    pub(super) fn go_on(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Kills it, and nothing else, and reaps it.
    pub(super) fn kill(&mut self) {
        send_signal(self.pid(), libc::SIGKILL);
        self.child.wait().unwrap();
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// All processes that descend from it, and itself, without zombies: these have no environment any more.
    pub(super) fn processes(&self) -> Vec<Process> {
        let variable = format!("{TAG_VARIABLE}={}", self.tag);
        numbers("/proc")
            .into_iter()
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            })
            .filter_map(Process::look)
            .filter(|process| process.state != 'Z')
            .collect()
    }

    /// All that descends from it, without itself.
    pub(super) fn descendants(&self) -> Vec<Process> {
        self.processes().into_iter().filter(|process| process.pid != self.pid()).collect()
    }

    /// As `descendants`, when there are so many.
    #[track_caller]
    pub(super) fn await_descendants(&self, count: usize) -> Vec<Process> {
        let start = Instant::now();
        loop {
            let descendants = self.descendants();
            if descendants.len() == count {
                return descendants;
            }
            assert!(start.elapsed() < delays::hang() / 2, "{count} but {descendants:#?}");
            thread::sleep(delays::poll());
        }
    }

    /// Its children, zombies included.
    pub(super) fn children(&self) -> Vec<Process> {
        let parent = self.pid();
        let all = numbers("/proc").into_iter().filter_map(Process::look);
        all.filter(|process| process.parent == parent).collect()
    }

    /// The pool's fork server, if there is one pool.
    #[track_caller]
    pub(super) fn server(&self) -> i32 {
        let children = self.children();
        assert_eq!(children.len(), 1, "{children:?}");
        children[0].pid
    }

    /// How many descriptors, and which threads it has.
    pub(super) fn holdings(&self) -> (usize, usize) {
        let pid = self.pid();
        (numbers(format!("/proc/{pid}/fd")).len(), numbers(format!("/proc/{pid}/task")).len())
    }

    /// What its descriptors lead to.
    pub(super) fn descriptors(&self) -> Vec<String> {
        let folder = format!("/proc/{}/fd", self.pid());
        let links = numbers(&folder).into_iter().map(|fd| fs::read_link(format!("{folder}/{fd}")));
        links.flatten().map(|target| target.to_string_lossy().into_owned()).collect()
    }

    /// Waits until of all its processes only these are left.
    #[track_caller]
    pub(super) fn await_only(&self, expected: &[i32]) {
        let expected: BTreeSet<_> = expected.iter().copied().collect();
        let start = Instant::now();
        loop {
            let processes = self.processes();
            if processes.iter().map(|process| process.pid).collect::<BTreeSet<_>>() == expected {
                return;
            }
            assert!(start.elapsed() < delays::hang() / 2, "{expected:?} but {processes:#?}");
            thread::sleep(delays::poll());
        }
    }

    /// Waits until nothing is left of it. It has ended, or is about to.
    #[track_caller]
    pub(super) fn assert_gone(mut self) {
        self.stdin = None;
        self.child.wait().unwrap();
        self.await_only(&[]);
    }

    /// Waits for the end of a program that checks by itself, and that nothing is left of it.
    #[track_caller]
    pub(super) fn assert_done(mut self) {
        let mut last = String::new();
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            last = std::mem::take(&mut line);
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(last, "done\n");
        self.await_only(&[]);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Stopped processes first: nobody may start another one meanwhile.
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for process in processes {
                send_signal(process.pid, libc::SIGKILL);
            }
            thread::sleep(delays::poll());
        }
        drop(self.child.wait());
    }
}

/// Runs a program that checks by itself, and watches that it neither hangs nor leaves anything behind.
#[track_caller]
pub(super) fn run(scenario: &'static str, method: &'static str, which: &'static str) {
    guarded(move || Program::start([scenario, method, which]).assert_done());
}
