//! The table of all cases, with what each needs of an executor.

/// What an executor has, beyond running tasks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Has {
    /// Tasks run in other threads, so that `submit` returns before they end.
    pub(super) concurrency: bool,
    /// How many run at the same time.
    pub(super) workers: usize,
    /// The value that a case is given is the executor itself: dropping it shuts the executor down.
    pub(super) drop: bool,
}

/// What a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing but an executor.
    Nothing,
    /// A task that waits for something must not keep the test from going on.
    Concurrency,
    /// Two tasks that wait for each other must be able to run.
    TwoWorkers,
    /// Dropping what the case is given must shut the executor down.
    Drop,
    /// As `Drop` and `Concurrency`.
    ConcurrencyAndDrop,
}

impl Has {
    pub(super) const fn meets(self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Concurrency => self.concurrency,
            Need::TwoWorkers => self.concurrency && self.workers >= 2,
            Need::Drop => self.drop,
            Need::ConcurrencyAndDrop => self.concurrency && self.drop,
        }
    }
}

/// Calls the macro `$run` with the executor's macro and the list of all cases.
macro_rules! for_every_case {
    ($run:ident! $($arguments:tt)*) => { $run! { $($arguments)*
        contract {
            once_a_task_runs_once: Nothing,
            order_f076_first_in_first_out: Nothing,
            memory_effects_reach_the_reader: Nothing,
        }
    }};
}
