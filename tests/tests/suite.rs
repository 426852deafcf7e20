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
    use concurrent_futures_process_pool::{ProcessPoolExecutor, StartMethod};
    use concurrent_futures_tests::{MinimalExecutor, WireExecutor, arena};

    fn processes(
        method: StartMethod,
        shared_memory: bool,
        max_workers: usize,
    ) -> ProcessPoolExecutor {
        ProcessPoolExecutor::builder()
            .max_workers(max_workers)
            .start_method(method)
            .shared_memory(shared_memory)
            // Where tasks find gates and lists.
            .env(arena::VARIABLE, arena::path())
            // The panics of tasks are expected.
            .forward_stderr(false)
            .build()
            .expect("a pool")
    }

    fn forked(max_workers: usize) -> ProcessPoolExecutor {
        processes(StartMethod::ForkServer, true, max_workers)
    }

    fn spawned(max_workers: usize) -> ProcessPoolExecutor {
        processes(StartMethod::Spawn, true, max_workers)
    }

    fn over_sockets(max_workers: usize) -> ProcessPoolExecutor {
        processes(StartMethod::ForkServer, false, max_workers)
    }

    fn pool(max_workers: usize) -> ThreadPoolExecutor {
        ThreadPoolExecutor::with_max_workers(max_workers).expect("a number of workers")
    }

    executors! {
        // name:               concurrency, two workers, drop, both, memory
        inline:                 lacks, lacks, lacks, lacks, has,   |run| run(InlineExecutor::new());
        thread_pool_1:          has,   lacks, has,   has,   has,   |run| run(pool(1));
        thread_pool_2:          has,   has,   has,   has,   has,   |run| run(pool(2));
        thread_pool_5:          has,   has,   has,   has,   has,   |run| run(pool(5));
        minimal:                has,   lacks, has,   has,   has,   |run| run(MinimalExecutor::new());
        wire_1:                 has,   lacks, has,   has,   has,   |run| run(WireExecutor::new(1));
        wire_3:                 has,   has,   has,   has,   has,   |run| run(WireExecutor::new(3));
        reference:              has,   has,   lacks, lacks, has,   |run| { let pool = pool(2); run(&pool) };
        dyn_reference:          has,   has,   lacks, lacks, has,   |run| run(&pool(2) as &dyn Executor);
        dyn_box:                has,   has,   has,   has,   has,   |run| run(Box::new(pool(2)) as Box<dyn Executor>);
        dyn_arc:                has,   has,   has,   has,   has,   |run| run(Arc::new(pool(2)) as Arc<dyn Executor>);
        dyn_box_wire:           has,   has,   has,   has,   has,   |run| run(Box::new(WireExecutor::new(2)) as Box<dyn Executor>);
        process_fork_1:has,   lacks, has,   has,   lacks, |run| run(forked(1));
        process_fork_3:has,   has,   has,   has,   lacks, |run| run(forked(3));
        process_spawn_2:   has,   has,   has,   has,   lacks, |run| run(spawned(2));
        process_socket_1: has, lacks, has,   has,   lacks, |run| run(over_sockets(1));
        process_socket_3: has, has,   has,   has,   lacks, |run| run(over_sockets(3));
    }
}
