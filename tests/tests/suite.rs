//! What every executor must do, run for every executor that there is.
//!
//! A case is a function that is generic over the executor; its name begins with the row of Python's behaviours that it
//! shows. [`for_every_case`](suite::cases) lists the cases with what each needs, and this file lists the executors with
//! what each has. A case whose need is not met is skipped, and says so; [`suite::skips`] holds the whole table.

mod suite {
    #[macro_use]
    mod cases;
    mod contract;
    mod errors;
    mod executors;
    mod map;
    mod options;
    mod shutdown;
    mod submit;
    mod wire;
}
