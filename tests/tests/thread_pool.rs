//! The thread pool by itself: its threads and how many there are, what each of them holds, waits inside tasks, scopes,
//! and every way for a pool to end.

mod thread_pool {
    mod accounting;
    mod calls;
    mod drops;
    mod events;
    mod exit;
    mod hooks;
    mod idle;
    mod initializer;
    mod join;
    mod map_vec;
    mod memory;
    mod nested;
    mod order;
    mod scope;
    mod shutdown;
    mod shutdown_inside;
    mod start_failure;

    use std::sync::Arc;

    use concurrent_futures::{Builder, Future, ThreadPoolExecutor};
    use concurrent_futures_tests::{Gate, gate::OpenOnDrop, registry, threads::unique_prefix};

    /// A pool with so many workers.
    fn pool(max_workers: usize) -> ThreadPoolExecutor {
        ThreadPoolExecutor::with_max_workers(max_workers).expect("a number of workers")
    }

    /// The choices for a pool whose threads can be told from all others, and what their names begin with.
    fn named() -> (Builder, String) {
        let prefix = unique_prefix();
        (ThreadPoolExecutor::builder().thread_name_prefix(&*prefix), prefix)
    }

    /// The gate as tasks hold it.
    fn share(gate: &OpenOnDrop) -> Arc<Gate> {
        registry::find(gate.key())
    }

    /// Keeps `count` workers busy until the gate opens; returns when they are.
    fn occupy<S: 'static>(
        pool: &ThreadPoolExecutor<S>,
        gate: &OpenOnDrop,
        count: usize,
    ) -> Vec<Future<()>> {
        let arrived = gate.arrived();
        let futures = (0..count)
            .map(|_| {
                let gate = share(gate);
                pool.spawn(move || gate.pass()).expect("accepted")
            })
            .collect();
        gate.wait_for_arrivals(arrived + count);
        futures
    }
}
