//! What every executor must do, run for every executor that there is.
//!
//! A case is a function that is generic over the executor; most names begin with the row of Python's behaviours that the
//! case shows. `cases.rs` lists all cases with what each needs, and the table below lists the executors with what each
//! has. A case whose need is not met appears as an ignored test that says why.

mod suite {
    #[macro_use]
    mod cases;
    #[macro_use]
    mod instantiate;

    mod contract;
    mod map;
    mod map_options;
    mod refusing;
    mod shutdown;
    mod submit;
    mod wire;

    use std::sync::Arc;

    use concurrent_futures::{Executor, InlineExecutor, ThreadPoolExecutor};
    use concurrent_futures_tests::{MinimalExecutor, WireExecutor};

    fn pool(max_workers: usize) -> ThreadPoolExecutor {
        ThreadPoolExecutor::with_max_workers(max_workers).expect("a number of workers")
    }

    executors! {
        // name:       concurrency, two workers, drop, both
        inline:        lacks, lacks, lacks, lacks, |run| run(InlineExecutor::new());
        thread_pool_1: has,   lacks, has,   has,   |run| run(pool(1));
        thread_pool_2: has,   has,   has,   has,   |run| run(pool(2));
        thread_pool_5: has,   has,   has,   has,   |run| run(pool(5));
        minimal:       has,   lacks, has,   has,   |run| run(MinimalExecutor::new());
        wire_1:        has,   lacks, has,   has,   |run| run(WireExecutor::new(1));
        wire_3:        has,   has,   has,   has,   |run| run(WireExecutor::new(3));
        reference:     has,   has,   lacks, lacks, |run| { let pool = pool(2); run(&pool) };
        dyn_reference: has,   has,   lacks, lacks, |run| run(&pool(2) as &dyn Executor);
        dyn_box:       has,   has,   has,   has,   |run| run(Box::new(pool(2)) as Box<dyn Executor>);
        dyn_arc:       has,   has,   has,   has,   |run| run(Arc::new(pool(2)) as Arc<dyn Executor>);
        dyn_box_wire:  has,   has,   has,   has,   |run| run(Box::new(WireExecutor::new(2)) as Box<dyn Executor>);
    }
}
