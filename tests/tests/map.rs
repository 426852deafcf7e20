//! `map` on the thread pool, where items and functions may be anything: how far it reads ahead, what it does with inputs
//! that panic, block or never end, with deadlines, and with an executor that refuses; and that nothing is ever lost.

mod map {
    mod ending;
    mod properties;
    mod reading;
    mod results;

    use concurrent_futures::ThreadPoolExecutor;

    fn pool(max_workers: usize) -> ThreadPoolExecutor {
        ThreadPoolExecutor::with_max_workers(max_workers).expect("a number of workers")
    }
}
