//! One command of a verb: shown as it could be typed, run under a hang guard, judged by its exit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::group::{self, Ended, Stdout};
use crate::outcome::{Failure, Outcome, Report};
use crate::{output, workspace};

#[cfg(test)]
mod tests;

/// A step that takes longer than this hangs. Nothing here takes a third of it on two cores.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Replaces [`LIMIT`], in seconds, for machines that are much slower.
const LIMIT_VARIABLE: &str = "XTASK_STEP_SECONDS_MAX";

/// A command with a name that failures and hangs are reported under.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    name: String,
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    limit: Duration,
}

impl Step {
    /// A run of cargo.
    pub(crate) fn cargo<S: Into<String>>(name: &str, args: impl IntoIterator<Item = S>) -> Self {
        Self::program(name, "cargo", args)
    }

    /// A run of another program.
    pub(crate) fn program<S: Into<String>>(
        name: &str,
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            limit: limit_from(std::env::var(LIMIT_VARIABLE).ok().as_deref()),
        }
    }

    /// Adds arguments.
    pub(crate) fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds `-p` for each package.
    pub(crate) fn packages<S: AsRef<str>>(self, names: impl IntoIterator<Item = S>) -> Self {
        let flags = names.into_iter().flat_map(|name| ["-p".to_owned(), name.as_ref().to_owned()]);
        self.args(flags)
    }

    /// Builds in a directory of its own. Needed wherever compiler flags differ: in a shared one each
    /// run would undo the work of the other.
    pub(crate) fn target_dir(self, dir: &Path) -> Self {
        self.args(["--target-dir".to_owned(), dir.display().to_string()])
    }

    /// Sets a variable for this command.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a variable unless the user has set it.
    pub(crate) fn env_default(self, name: &str, value: &str) -> Self {
        let value = std::env::var(name).unwrap_or_else(|_| value.to_owned());
        self.env(name, value)
    }

    /// Appends to a variable that holds flags separated by spaces, such as `RUSTFLAGS`.
    pub(crate) fn flags(self, name: &str, flags: &str) -> Self {
        let value = joined_flags(std::env::var(name).ok().as_deref(), flags);
        self.env(name, value)
    }

    /// Grants more time than usual.
    pub(crate) fn extend_limit(mut self, by: Duration) -> Self {
        self.limit += by;
        self
    }

    /// Shows and runs the command.
    pub(crate) fn run(&self) -> Outcome {
        self.execute(Stdout::Inherit).map(|_| Report::default())
    }

    /// Shows and runs the command, and returns what it printed to stdout as well.
    pub(crate) fn run_and_keep_output(&self) -> Result<String, Failure> {
        self.execute(Stdout::Tee)
    }

    /// Shows and runs a `cargo test` whose filter may match nothing, and counts the tests that ran.
    pub(crate) fn run_tests(&self) -> Result<usize, Failure> {
        self.execute(Stdout::Tee).map(|output| tests_run(&output))
    }

    /// Does the same and fails if there were none: to cargo, an empty run is a success.
    pub(crate) fn run_some_tests(&self) -> Outcome {
        match self.run_tests()? {
            0 => Err(Failure::step(&self.name, "no test ran")),
            _ => Ok(Report::default()),
        }
    }

    /// Runs the command silently and returns its stdout, or why there is none.
    ///
    /// For questions to the system: which version, is it installed.
    pub(crate) fn ask(&self) -> Result<String, String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`{}` did not start: {error}", self.line()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().next().unwrap_or("no message");
        Err(format!("`{}` failed: {complaint}", self.line()))
    }

    fn execute(&self, stdout: Stdout) -> Result<String, Failure> {
        output::command(&self.name, &self.line());
        match group::run(self.command(), self.limit, stdout) {
            Ok(Ended::Exited { status, stdout }) if status.success() => Ok(stdout),
            Ok(Ended::Exited { status, .. }) => Err(Failure::step(&self.name, status)),
            Ok(Ended::Hung { threads }) => {
                output::error(&format!("{} hangs; what ran in it:", self.name));
                for thread in threads {
                    output::error(&format!("  {thread}"));
                }
                let seconds = self.limit.as_secs();
                Err(Failure::step(&self.name, format!("HANG, killed after {seconds} s")))
            }
            Err(error) => Err(Failure::step(&self.name, error)),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(workspace::root());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The command as it could be typed into a shell at the root of the repository.
    fn line(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let program = std::iter::once(quoted(&self.program));
        let args = self.args.iter().map(|arg| quoted(arg));
        env.chain(program).chain(args).collect::<Vec<_>>().join(" ")
    }
}

/// Counts the tests that ran to their end, by the `test result` lines.
///
/// Such a line reads `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn tests_run(output: &str) -> usize {
    output
        .lines()
        .filter(|line| line.starts_with("test result: "))
        .flat_map(|line| line.split(['.', ';']))
        .filter_map(|part| {
            let (count, what) = part.trim().split_once(' ')?;
            matches!(what, "passed" | "failed").then(|| count.parse::<usize>().ok())?
        })
        .sum()
}

/// The limit that the user's variable asks for; nonsense counts as absence.
fn limit_from(variable: Option<&str>) -> Duration {
    variable.and_then(|value| value.parse().ok()).map_or(LIMIT, Duration::from_secs)
}

/// The user's flags come first, so that ours have the last word.
fn joined_flags(existing: Option<&str>, flags: &str) -> String {
    match existing.map(str::trim) {
        None | Some("") => flags.to_owned(),
        Some(existing) => format!("{existing} {flags}"),
    }
}

/// Quotes a word for the shell, if it needs that.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+/.,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
