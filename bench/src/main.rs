//! Measures `ThreadPoolExecutor` beside its peers; `cargo xtask bench threads` runs it, `--help` says what else it can do.
//!
//! ```text
//!   main --> results --> child ==(a process for each sample)==> main --in-process --> workloads --> pools
//!              |
//!              +--> report, plot --> save
//! ```
//!
//! Every workload checks that its results are right. All values in one table come from one run, in which the contenders
//! take turns; the median of the repetitions counts, and ratios are to the best peer of the same run. Numbers of
//! different runs are not to be compared.

mod alloc;
mod child;
mod goal;
mod machine;
mod measure;
mod options;
mod output;
mod plot;
mod pools;
mod report;
mod results;
mod save;
mod tally;
mod work;
mod workloads;

use std::process::ExitCode;

use crate::{
    options::{HELP, Options},
    pools::OURS,
    results::{Found, Row},
    workloads::{Settings, Workload},
};

/// The command line was not understood, and nothing ran.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let selected = Options::parse().and_then(|options| {
        let workloads = options.select(workloads::all())?;
        Ok((options, workloads))
    });
    match selected {
        Ok((options, _)) if options.help => {
            output::result(HELP.trim_end());
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
        Ok((options, workloads)) if options.in_process => in_process(&options, &workloads),
        Ok((options, workloads)) => compare(&options, &workloads),
        Err(error) => {
            output::note(&format!("threads: {error}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Takes samples of one contender in this process, and prints them.
fn in_process(options: &Options, workloads: &[Workload]) -> ExitCode {
    let ([workload], [workers]) = (workloads, options.workers.as_slice()) else {
        output::note("threads: --in-process takes one workload and one number of workers");
        return ExitCode::from(EXIT_USAGE);
    };
    let [contender] = workload.contenders.as_slice() else {
        output::note("threads: --in-process takes one pool");
        return ExitCode::from(EXIT_USAGE);
    };
    let settings = settings(options, workload.workers.unwrap_or(*workers));
    for _ in 0..options.repetitions() {
        output::result(&child::format(&(contender.run)(&settings)));
    }
    ExitCode::SUCCESS
}

/// Runs everything, prints the tables and saves them if asked to. Fails if ours did anywhere.
fn compare(options: &Options, workloads: &[Workload]) -> ExitCode {
    let machine = machine::describe();
    output::note(&machine);
    let mut tables = Vec::new();
    for workers in &options.workers {
        let settings = settings(options, *workers);
        let mut rows = Vec::new();
        for workload in workloads {
            output::note(&format!("{} with {workers} workers ...", workload.name));
            rows.extend(results::run(workload, &settings, options.repetitions()));
        }
        tables.push((*workers, rows));
    }

    let mut section = head(options, &machine);
    for (index, (workers, rows)) in tables.iter().enumerate() {
        section.push_str(&format!("\n### {workers} workers\n\n{}\n", report::summary(rows)));
        if index == 0 && options.save.is_some() {
            let plot = save::PLOT;
            section.push_str(&format!("![Ratios of ours to the best peer]({plot})\n\n"));
        }
        section.push_str(&format!("Every pool:\n\n{}\n", report::details(rows)));
        for failure in report::failures(rows) {
            section.push_str(&format!("- {failure}\n"));
        }
    }
    section.push_str(&format!("\n### Workloads\n\n{}", report::definitions(workloads)));
    output::result(&section);

    if let (Some(folder), Some((workers, rows))) = (&options.save, tables.first()) {
        let title = format!("ThreadPoolExecutor and its peers, {workers} workers");
        if let Err(error) = save::save(folder, &section, &plot::svg(rows, &title)) {
            output::note(&format!("threads: {}: {error}", folder.display()));
            return ExitCode::FAILURE;
        }
    }
    let failed = |row: &Row| {
        row.cell(OURS).is_some_and(|cell| !matches!(cell.found, Found::Measured { .. }))
    };
    if tables.iter().flat_map(|(_, rows)| rows).any(failed) {
        output::note("threads: ours has failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
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

/// What a reader must know before the tables.
fn head(options: &Options, machine: &str) -> String {
    let quick = if options.quick { " --quick" } else { "" };
    format!(
        "## Thread pool\n\nMade by `cargo xtask bench threads{quick} --save`: {machine}.\n\n\
         Medians of {} repetitions in turn, [least–greatest]; times are wall-clock per task unless the workload says \
         otherwise; \"ours/best\" is to the best peer of this run, \"CPU\" the processor time of the whole program for \
         the same. Less is better everywhere. Peers: {}. `queue` is a hand-made pool of boxed closures in a \
         crossbeam channel, `async-task` one of runnables; `rayon` gives its results through a crossbeam channel; \
         `rayon+oneshot`, `queue` and `threadpool` through `oneshot`.\n",
        options.repetitions(),
        machine::peers(),
    )
}
