//! The table of all executors, with what each has; every case is run for every one of them.

use std::sync::Arc;

use concurrent_futures::{Executor, InlineExecutor, ThreadPoolExecutor};
use concurrent_futures_tests::{MinimalExecutor, WireExecutor, guarded};

/// The executor has what the case needs.
macro_rules! has {
    ($reason:literal $($test:tt)*) => { #[test] $($test)* };
}

/// The executor lacks what the case needs.
macro_rules! lacks {
    ($reason:literal $($test:tt)*) => { #[test] #[ignore = $reason] $($test)* };
}

macro_rules! instantiate {
    ({ $run:ident, $body:expr } $($module:ident { $($case:ident: $need:ident,)* })*) => {$($(
        $need! {
            fn $case() {
                use crate::suite::$module::$case as $run;
                guarded(|| $body)
            }
        }
    )*)*};
}

macro_rules! executors {
    ($(
        $name:ident: $concurrency:ident, $two_workers:ident, $drop:ident, $both:ident,
            |$run:ident| $body:expr;
    )*) => {$(
        mod $name {
            use super::*;

            macro_rules! needs_nothing {
                ($test:item) => { has! { "" $test } };
            }
            macro_rules! needs_concurrency {
                ($test:item) => { $concurrency! { "its tasks end before submit returns" $test } };
            }
            macro_rules! needs_two_workers {
                ($test:item) => { $two_workers! { "it runs one task at a time" $test } };
            }
            macro_rules! needs_drop {
                ($test:item) => { $drop! { "dropping this does not shut it down" $test } };
            }
            macro_rules! needs_concurrency_and_drop {
                ($test:item) => { $both! { "it lacks concurrency, or is a reference" $test } };
            }

            for_every_case! { instantiate { $run, $body } }
        }
    )*};
}

fn thread_pool(max_workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::with_max_workers(max_workers).expect("a number of workers")
}

executors! {
    // name:       concurrency, two workers, drop, both
    inline:        lacks, lacks, lacks, lacks, |run| run(InlineExecutor::new());
    thread_pool_1: has,   lacks, has,   has,   |run| run(thread_pool(1));
    thread_pool_2: has,   has,   has,   has,   |run| run(thread_pool(2));
    thread_pool_5: has,   has,   has,   has,   |run| run(thread_pool(5));
    minimal:       has,   lacks, has,   has,   |run| run(MinimalExecutor::new());
    wire_1:        has,   lacks, has,   has,   |run| run(WireExecutor::new(1));
    wire_3:        has,   has,   has,   has,   |run| run(WireExecutor::new(3));
    reference:     has,   has,   lacks, lacks, |run| run(&thread_pool(2));
    dyn_reference: has,   has,   lacks, lacks, |run| run(&thread_pool(2) as &dyn Executor);
    dyn_box:       has,   has,   has,   has,   |run| run(Box::new(thread_pool(2)) as Box<dyn Executor>);
    dyn_arc:       has,   has,   has,   has,   |run| run(Arc::new(thread_pool(2)) as Arc<dyn Executor>);
    dyn_box_wire:  has,   has,   has,   has,   |run| run(Box::new(WireExecutor::new(2)) as Box<dyn Executor>);
}
