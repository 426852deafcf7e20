//! The command line.

use std::path::PathBuf;

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt,
};

use crate::workload::{Contender, Workload};

/// What `--help` prints of the program `name`, which measures the `subject`.
pub(crate) fn help(name: &str, subject: &str) -> String {
    format!(
        "\
Measures the {subject} beside its peers, each sample in a process of its own.

usage: {name} [options]

  --quick          counts about ten times smaller, 3 repetitions: for trying things out
  --workers LIST   numbers of workers, separated by commas [2]
  --only LIST      only workloads whose name is, or starts with, one of these
  --pool LIST      only these pools
  --reps N         repetitions, of which the median counts [5]
  --save DIR       also write performance.md and performance-{name}.svg there
  --in-process     take the samples in this process, for a profiler or a debugger; with one workload and one pool
  --list           show the names of workloads and pools
  --help           show this"
    )
}

const REPETITIONS: usize = 5;
const REPETITIONS_QUICK: usize = 3;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) workers: Vec<usize>,
    only: Vec<String>,
    pool: Vec<String>,
    repetitions: Option<usize>,
    pub(crate) save: Option<PathBuf>,
    pub(crate) in_process: bool,
    /// What the process that starts samples has found; see [`crate::work`].
    pub(crate) steps_per_microsecond: Option<u64>,
    pub(crate) list: bool,
    pub(crate) help: bool,
}

impl Options {
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self {
            quick: false,
            workers: vec![2],
            only: Vec::new(),
            pool: Vec::new(),
            repetitions: None,
            save: None,
            in_process: false,
            steps_per_microsecond: None,
            list: false,
            help: false,
        };
        let mut parser = Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => options.quick = true,
                Long("workers") => {
                    let workers: Vec<usize> = list(&mut parser)?
                        .iter()
                        .map(|number| number.parse())
                        .collect::<Result<_, _>>()
                        .map_err(|error| format!("--workers: {error}"))?;
                    if workers.contains(&0) || workers.is_empty() {
                        return Err("--workers: at least one".into());
                    }
                    options.workers = workers;
                }
                Long("only") => options.only = list(&mut parser)?,
                Long("pool") => options.pool = list(&mut parser)?,
                Long("reps") => options.repetitions = Some(parser.value()?.parse()?),
                Long("save") => options.save = Some(parser.value()?.into()),
                Long("in-process") => options.in_process = true,
                Long("steps") => options.steps_per_microsecond = Some(parser.value()?.parse()?),
                Long("list") => options.list = true,
                Long("help") | Short('h') => options.help = true,
                Long(_) | Short(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        if options.save.is_some() && !(options.only.is_empty() && options.pool.is_empty()) {
            return Err("--save: a part of the results would replace the whole".into());
        }
        Ok(options)
    }

    /// The workloads and contenders that were asked for.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub(crate) fn select(&self, workloads: Vec<Workload>) -> Result<Vec<Workload>, lexopt::Error> {
        let wanted = |workload: &Workload| {
            self.only.is_empty() || self.only.iter().any(|only| workload.name.starts_with(only))
        };
        // A name in full is not the beginning of another.
        let exact = |workload: &Workload| self.only.iter().any(|only| workload.name == only);
        let any_exact = self.only.len() == 1 && workloads.iter().any(exact);
        let mut selected: Vec<_> = workloads
            .into_iter()
            .filter(|workload| if any_exact { exact(workload) } else { wanted(workload) })
            .collect();
        if !self.pool.is_empty() {
            let wanted =
                |contender: &Contender| self.pool.iter().any(|pool| pool == contender.pool);
            for workload in &mut selected {
                workload.contenders.retain(wanted);
            }
            selected.retain(|workload| !workload.contenders.is_empty());
        }
        if selected.is_empty() {
            return Err("no workload and pool of these names; see --list".into());
        }
        Ok(selected)
    }

    pub(crate) fn repetitions(&self) -> usize {
        let usual = if self.quick { REPETITIONS_QUICK } else { REPETITIONS };
        self.repetitions.unwrap_or(usual).max(1)
    }
}

fn list(parser: &mut Parser) -> Result<Vec<String>, lexopt::Error> {
    let text = parser.value()?.string()?;
    Ok(text.split(',').map(|part| part.trim().to_owned()).collect())
}
