//! What the user sees: a progress bar on standard error, and lines that do not garble it.

use std::{
    cell::Cell,
    fmt::Display,
    io::{self, Write},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::batch::{self, Outcome};

const TEMPLATE: &str = "{prefix} {elapsed_precise} [{bar:40}] {pos}/{len} {msg}";
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// A progress bar with as many steps as there are downloads. Hidden if standard error is not a terminal.
pub(crate) struct Console {
    bar: ProgressBar,
    bytes: Cell<u64>,
}

impl Console {
    pub(crate) fn new(title: &'static str, downloads: usize) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE)
            .expect("the template is valid")
            .progress_chars("=> ");
        let bar = ProgressBar::new(downloads as u64).with_style(style).with_prefix(title);
        // The clock goes on while all downloads wait for their servers.
        bar.enable_steady_tick(REDRAW_INTERVAL);
        Self { bar, bytes: Cell::new(0) }
    }

    /// Prints what a URL came to, and moves the bar on.
    pub(crate) fn show(&self, url: &str, outcome: &Outcome<'_>) {
        match outcome {
            Ok((name, bytes)) => {
                self.bar.suspend(|| say(&format_args!("{name} was downloaded")));
                self.step(*bytes);
            }
            // Said once, by the summary: there may be thousands of them.
            Err(error) if error.is_cancelled() => self.step(0),
            Err(error) => {
                let reason = batch::reason(error);
                self.bar.suspend(|| complain(&format_args!("{url}: {reason}")));
                self.step(0);
            }
        }
    }

    /// Moves the bar on, by one image of this size.
    pub(crate) fn step(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.bar.set_message(HumanBytes(self.bytes.get()).to_string());
        self.bar.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Prints a line on standard output.
pub(crate) fn say(line: &dyn Display) {
    // Whoever closed the other end of the pipe does not want to know; the images are the point.
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// Prints a line on standard error.
pub(crate) fn complain(line: &dyn Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
