//! What a pool has done and is doing.

/// What a [`ProcessPoolExecutor`](crate::ProcessPoolExecutor) has done and is doing, in one consistent snapshot.
///
/// Of the tasks, `submitted` is always the sum of `queued`, `running`, `succeeded`, `failed` and `cancelled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Tasks that were accepted.
    pub submitted: u64,
    /// Tasks that wait to be run, including those that were cancelled and nobody has noticed yet.
    pub queued: u64,
    /// Tasks that workers have.
    pub running: u64,
    /// Tasks that were run and have a value.
    pub succeeded: u64,
    /// Tasks that panicked, or whose worker died, or that the pool could not run any more.
    pub failed: u64,
    /// Tasks that were cancelled before they started.
    pub cancelled: u64,
    /// Worker processes, including those that are starting or about to end.
    pub workers: usize,
    /// Workers that wait for a task.
    pub idle_workers: usize,
    /// Workers that died without having been told to end, or with a task.
    pub worker_deaths: u64,
}
