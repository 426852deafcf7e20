//! All samples of a run, and what they come to.

use crate::{
    child::{self, Outcome},
    goal::{Bound, Verdict},
    measure::{Sample, Summary},
    output,
    workload::{Contender, Metric, OURS, Settings, Workload},
};

/// One metric with what every contender reached.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) metric: Metric,
    pub(crate) cells: Vec<Cell>,
}

/// What one contender reached.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) pool: &'static str,
    pub(crate) is_reference: bool,
    pub(crate) found: Found,
}

#[derive(Clone, Debug)]
pub(crate) enum Found {
    Measured {
        value: Summary,
        /// The median processor time of an operation.
        cpu: Option<f64>,
    },
    Deadlocks,
    Panics(String),
    Fails(String),
}

impl Cell {
    /// The median, if it was measured.
    pub(crate) fn value(&self) -> Option<f64> {
        match &self.found {
            Found::Measured { value, .. } => Some(value.median),
            _ => None,
        }
    }
}

impl Row {
    /// What a contender reached; the first has precedence if there are two of the name.
    pub(crate) fn cell(&self, pool: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.pool == pool)
    }

    /// The peer with the least value.
    pub(crate) fn best(&self) -> Option<&Cell> {
        let peers = self.cells.iter().filter(|cell| cell.pool != OURS && !cell.is_reference);
        let measured = peers.filter_map(|cell| Some((cell.value()?, cell)));
        measured.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, cell)| cell)
    }

    fn value_of(&self, pool: &str) -> Option<f64> {
        self.cell(pool).and_then(Cell::value)
    }

    /// Ours as a multiple of the best peer.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (ours, best) = (self.value_of(OURS)?, self.best()?.value()?);
        (best > 0.0).then(|| ours / best)
    }

    /// The same for the processor time.
    pub(crate) fn cpu_ratio(&self) -> Option<f64> {
        let cpu = |cell: &Cell| match cell.found {
            Found::Measured { cpu, .. } => cpu.filter(|cpu| *cpu > 0.0),
            _ => None,
        };
        Some(cpu(self.cell(OURS)?)? / cpu(self.best()?)?)
    }

    /// A bound as a multiple of the best peer.
    pub(crate) fn bound_ratio(&self, bound: Bound) -> Option<f64> {
        let best = self.best()?.value()?;
        match bound {
            Bound::Best(factor) => Some(factor),
            Bound::Peer(factor, peer) => Some(factor * self.value_of(peer)? / best),
            Bound::Absolute(_) | Bound::Finishes => None,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Some(goal) = self.metric.goal else { return Verdict::Open };
        if self.cell(OURS).is_none() {
            return Verdict::Open;
        }
        let best = self.best().and_then(Cell::value);
        goal.judge(self.value_of(OURS), best, |pool| self.value_of(pool))
    }
}

/// Runs a workload: all contenders once, then all again, so that what changes on the machine meanwhile hits all of them.
pub(crate) fn run(workload: &Workload, settings: &Settings, repetitions: usize) -> Vec<Row> {
    let settings = &Settings { workers: workload.workers.unwrap_or(settings.workers), ..*settings };
    let repetitions = if workload.once { 1 } else { repetitions };
    let mut entries: Vec<Entry<'_>> = workload.contenders.iter().map(Entry::new).collect();
    let count = entries.len();
    for repetition in 0..repetitions {
        for index in 0..count {
            // Each time another one goes first.
            let entry = &mut entries[(index + repetition) % count];
            if entry.failure.is_none() {
                entry.add(child::sample(workload, entry.contender.pool, settings));
            }
        }
    }
    let metrics = workload.metrics.iter().enumerate();
    metrics
        .map(|(index, metric)| Row {
            metric: *metric,
            cells: entries.iter().map(|entry| entry.cell(index)).collect(),
        })
        .collect()
}

/// What is known of one contender.
struct Entry<'a> {
    contender: &'a Contender,
    samples: Vec<Sample>,
    /// After a failure there are no more samples.
    failure: Option<Found>,
}

impl<'a> Entry<'a> {
    fn new(contender: &'a Contender) -> Self {
        Self { contender, samples: Vec::new(), failure: None }
    }

    fn add(&mut self, outcome: Outcome) {
        let failure = match outcome {
            Outcome::Measured(sample) => {
                self.samples.push(sample);
                return;
            }
            Outcome::Deadlocks => Found::Deadlocks,
            Outcome::Panics(message) => Found::Panics(message),
            Outcome::Fails(message) => Found::Fails(message),
        };
        output::note(&format!("  {}: {failure:?}", self.contender.pool));
        self.failure = Some(failure);
    }

    fn cell(&self, metric: usize) -> Cell {
        let found = self.failure.clone().unwrap_or_else(|| {
            let values = self.samples.iter().filter_map(|sample| sample.values.get(metric));
            let cpu = self.samples.iter().filter_map(|sample| sample.cpu).collect();
            match Summary::of(values.copied().collect()) {
                Some(value) => {
                    Found::Measured { value, cpu: Summary::of(cpu).map(|cpu| cpu.median) }
                }
                None => Found::Fails("no value".to_owned()),
            }
        });
        Cell { pool: self.contender.pool, is_reference: self.contender.is_reference, found }
    }
}
