//! What the benchmarks have in common: how samples are taken, compared with goals, and reported. Each program in `src/bin`
//! adds the pools of one kind and what is asked of them.
//!
//! ```text
//!   main --> suite --> results --> child ==(a process for each sample)==> main --in-process --> workloads --> pools
//!              |
//!              +--> report, plot --> save
//! ```
//!
//! Every workload checks that its results are right. All values in one table come from one run, in which the contenders
//! take turns; the median of the repetitions counts, and ratios are to the best peer of the same run. Numbers of
//! different runs are not to be compared.

pub mod alloc;
mod child;
pub mod goal;
mod machine;
pub mod measure;
mod options;
mod output;
mod plot;
mod report;
mod results;
mod save;
pub mod suite;
pub mod work;
pub mod workload;
