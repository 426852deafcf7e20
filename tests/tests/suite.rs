//! What every executor must do, run for every executor that there is.
//!
//! A case is a function that is generic over the executor; most names begin with the row of Python's behaviours that the
//! case shows. `cases.rs` lists all cases with what each needs, and `executors.rs` lists the executors with what each
//! has. A case whose need is not met appears as an ignored test that says why.

mod suite {
    #[macro_use]
    mod cases;
    mod contract;
    mod executors;
    mod map;
    mod map_options;
    mod refusing;
    mod shutdown;
    mod submit;
    mod wire;
}
