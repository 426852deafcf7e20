//! A program that measures one kind of pool: its command line, its run and its report.

use std::process::ExitCode;

use crate::{
    machine,
    options::{self, Options},
    output, plot, report,
    results::{self, Found, Row},
    save, work,
    workload::{OURS, Settings, Workload},
};

/// The command line was not understood, and nothing ran.
const EXIT_USAGE: u8 = 2;

/// What is measured.
#[derive(Debug)]
pub struct Suite {
    /// Of the program, of its section in the document, and of its plot.
    pub name: &'static str,
    /// What it measures, as the help and the heading of the report say it.
    pub subject: &'static str,
    /// The type that it measures.
    pub executor: &'static str,
    /// The crates whose releases a reader must know.
    pub crates: &'static [&'static str],
    /// What else a reader must know: of which parts a contender consists, and how to read its figures.
    pub notes: &'static str,
    /// In the order of the table.
    pub workloads: fn() -> Vec<Workload>,
    /// Takes contenders out that this machine lacks, and says for the report what it found.
    pub prepare: fn(&mut Vec<Workload>) -> Option<String>,
}

impl Suite {
    /// The `main` of the program.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let selected = Options::parse().and_then(|options| {
            let workloads = options.select((self.workloads)())?;
            Ok((options, workloads))
        });
        match selected {
            Ok((options, _)) if options.help => {
                output::result(&options::help(self.name, self.subject));
                ExitCode::SUCCESS
            }
            Ok((options, workloads)) if options.list => {
                for workload in workloads {
                    let pools: Vec<_> =
                        workload.contenders.iter().map(|contender| contender.pool).collect();
                    output::result(&format!("{:<20} {}", workload.name, pools.join(", ")));
                }
                ExitCode::SUCCESS
            }
            Ok((options, workloads)) if options.in_process => self.in_process(&options, &workloads),
            Ok((options, workloads)) => self.compare(&options, workloads),
            Err(error) => {
                self.note(&error.to_string());
                ExitCode::from(EXIT_USAGE)
            }
        }
    }

    /// Takes samples of one contender in this process, and prints them.
    fn in_process(&self, options: &Options, workloads: &[Workload]) -> ExitCode {
        let ([workload], [workers]) = (workloads, options.workers.as_slice()) else {
            self.note("--in-process takes one workload and one number of workers");
            return ExitCode::from(EXIT_USAGE);
        };
        let [contender] = workload.contenders.as_slice() else {
            self.note("--in-process takes one pool");
            return ExitCode::from(EXIT_USAGE);
        };
        let settings = settings(options, workload.workers.unwrap_or(*workers));
        for _ in 0..options.repetitions() {
            output::result(&(contender.run)(&settings).to_string());
        }
        ExitCode::SUCCESS
    }

    /// Runs everything, prints the tables and saves them if asked to. Fails if ours did anywhere.
    fn compare(&self, options: &Options, mut workloads: Vec<Workload>) -> ExitCode {
        let machine = machine::describe();
        output::note(&machine);
        let found = (self.prepare)(&mut workloads);
        if let Some(found) = &found {
            output::note(found);
        }
        let mut tables = Vec::new();
        for workers in &options.workers {
            let settings = settings(options, *workers);
            let mut rows = Vec::new();
            for workload in &workloads {
                output::note(&format!("{} with {workers} workers ...", workload.name));
                rows.extend(results::run(workload, &settings, options.repetitions()));
            }
            tables.push((*workers, rows));
        }

        let mut section = self.head(options, &machine, found.as_deref());
        for (index, (workers, rows)) in tables.iter().enumerate() {
            section.push_str(&format!("\n### {workers} workers\n\n{}\n", report::summary(rows)));
            if index == 0 && options.save.is_some() {
                let plot = save::plot(self.name);
                section.push_str(&format!("![Ratios of ours to the best peer]({plot})\n\n"));
            }
            section.push_str(&format!("Every pool:\n\n{}\n", report::details(rows)));
            for failure in report::failures(rows) {
                section.push_str(&format!("- {failure}\n"));
            }
        }
        section.push_str(&format!("\n### Workloads\n\n{}", report::definitions(&workloads)));
        output::result(&section);

        if let (Some(folder), Some((workers, rows))) = (&options.save, tables.first()) {
            let title = format!("{} and its peers, {workers} workers", self.executor);
            if let Err(error) = save::save(folder, self.name, &section, &plot::svg(rows, &title)) {
                self.note(&format!("{}: {error}", folder.display()));
                return ExitCode::FAILURE;
            }
        }
        let failed = |row: &Row| {
            row.cell(OURS).is_some_and(|cell| !matches!(cell.found, Found::Measured { .. }))
        };
        if tables.iter().flat_map(|(_, rows)| rows).any(failed) {
            self.note("ours has failed");
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }

    /// What a reader must know before the tables.
    fn head(&self, options: &Options, machine: &str, found: Option<&str>) -> String {
        let name = self.name;
        let quick = if options.quick { " --quick" } else { "" };
        let found = found.map_or_else(String::new, |found| format!(" {found}."));
        format!(
            "## The {subject}\n\nMade by `cargo xtask bench {name}{quick} --save`: {machine}.{found}\n\n\
             Medians of {repetitions} repetitions in turn, [least–greatest]; times are wall-clock per task unless the \
             workload says otherwise; \"ours/best\" is to the best peer of this run, \"CPU\" the processor time of the \
             whole program for the same. Less is better everywhere. Peers: {releases}. {notes}\n",
            subject = self.subject,
            repetitions = options.repetitions(),
            releases = machine::releases(self.crates),
            notes = self.notes,
        )
    }

    fn note(&self, text: &str) {
        output::note(&format!("{}: {text}", self.name));
    }
}

fn settings(options: &Options, workers: usize) -> Settings {
    Settings {
        workers,
        quick: options.quick,
        steps_per_microsecond: options
            .steps_per_microsecond
            .unwrap_or_else(work::steps_per_microsecond),
    }
}
