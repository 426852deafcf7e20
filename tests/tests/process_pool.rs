//! The process pool by itself: workers that die in every way and at every moment, and what its own options do.
//!
//! Most tests run at the same time as others. Those that count what a pool leaves behind run [`alone`].

mod process_pool {
    mod ahead;
    mod callbacks;
    mod chunks;
    mod crossing;
    mod ending;
    mod faults;
    mod hostile;
    mod large;
    mod leaks;
    mod matrix;
    mod options;
    mod programs;
    mod races;
    mod shared;
    mod storm;

    use std::{
        sync::{PoisonError, RwLock},
        thread,
    };

    use concurrent_futures_process_pool::{Builder, ProcessPoolExecutor, StartMethod};
    use concurrent_futures_tests::{arena, delays, guarded};

    /// How workers are started, and by which way tasks travel.
    #[derive(Clone, Copy, Debug)]
    struct Setup {
        method: StartMethod,
        shared_memory: bool,
    }

    /// The start is the same whichever the way is, so that not all combinations are needed.
    const SETUPS: [Setup; 3] = [
        Setup { method: StartMethod::ForkServer, shared_memory: true },
        Setup { method: StartMethod::Spawn, shared_memory: true },
        Setup { method: StartMethod::ForkServer, shared_memory: false },
    ];

    impl Setup {
        fn builder(self, max_workers: usize) -> Builder {
            builder(max_workers).start_method(self.method).shared_memory(self.shared_memory)
        }
    }

    static ALONE: RwLock<()> = RwLock::new(());

    /// A test that others may run beside.
    fn beside(body: impl FnOnce() + Send + 'static) {
        let _others = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        guarded(body);
    }

    /// The same, for each set-up.
    fn beside_on_all(body: impl Fn(Setup) + Send + 'static) {
        beside(move || SETUPS.into_iter().for_each(body));
    }

    /// A test that no other test of this file runs beside.
    fn alone(body: impl FnOnce() + Send + 'static) {
        let _nobody = ALONE.write().unwrap_or_else(PoisonError::into_inner);
        guarded(body);
    }

    /// The choices for a pool whose tasks find gates and lists, and whose complaints are not shown.
    fn builder(max_workers: usize) -> Builder {
        ProcessPoolExecutor::builder()
            .max_workers(max_workers)
            .env(arena::VARIABLE, arena::path())
            // A backtrace takes long to write.
            .env("RUST_BACKTRACE", "0")
            .forward_stderr(false)
    }

    fn pool(max_workers: usize) -> ProcessPoolExecutor {
        builder(max_workers).build().expect("a pool")
    }

    /// Returns when `condition` holds, for what has no way to wake anybody.
    fn wait_until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::sleep(delays::poll());
        }
    }

    /// The process that the caller is in, as a task.
    fn own_pid(_: ()) -> u32 {
        std::process::id()
    }
}
