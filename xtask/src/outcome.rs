//! How a verb ends.
//!
//! A check that could not run is neither a pass nor a failure. It has its own place in [`Report`],
//! so that a green `ci` on a machine without some tool still shows what nobody has checked there.

/// What a verb returns.
pub(crate) type Outcome = Result<Report, Failure>;

/// Nothing failed; some checks may not have run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    not_run: Vec<String>,
    /// Set if no check ran at all, which is not to be called a success.
    is_empty: bool,
}

impl Report {
    /// The report of a verb that had to skip its only check.
    pub(crate) fn skipped(check: &str, reason: &str) -> Self {
        let mut report = Self { is_empty: true, ..Self::default() };
        report.skip(check, reason);
        report
    }

    /// Records that `check` did not run.
    pub(crate) fn skip(&mut self, check: &str, reason: &str) {
        self.not_run.push(format!("{check}: NOT RUN ({reason})"));
    }

    /// Takes over the skipped checks of a verb that ran as part of this one.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.not_run.extend(other.not_run);
    }

    /// The checks that did not run, each with its reason.
    pub(crate) fn not_run(&self) -> &[String] {
        &self.not_run
    }

    /// The verdict in a word or two.
    pub(crate) fn verdict(&self) -> &'static str {
        if self.is_empty { "NOT RUN" } else { "ok" }
    }
}

/// Why a verb failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The arguments made no sense, and nothing ran.
    Usage(String),
    /// These steps failed; each cause starts with the name of its step.
    Steps(Vec<String>),
}

impl Failure {
    /// One step failed, for this reason.
    pub(crate) fn step(name: &str, why: impl std::fmt::Display) -> Self {
        Self::Steps(vec![format!("{name}: {why}")])
    }
}

/// Runs every step even when an early one fails, and then fails with all of their causes.
///
/// Most verbs stop at the first failure with `?`. Where the steps are independent and slow, the
/// whole picture saves the user a second run.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    report: Report,
    causes: Vec<String>,
}

impl Gathered {
    /// Adds the outcome of one step.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Ok(report) => self.report.absorb(report),
            Err(Failure::Usage(cause)) => self.causes.push(cause),
            Err(Failure::Steps(causes)) => self.causes.extend(causes),
        }
    }

    /// The outcome of all steps together.
    pub(crate) fn finish(self) -> Outcome {
        if self.causes.is_empty() { Ok(self.report) } else { Err(Failure::Steps(self.causes)) }
    }
}
