//! Makes a test out of each case for each executor.

/// The executor has what the case needs.
macro_rules! has {
    ($reason:literal $test:item) => {
        #[test]
        $test
    };
}

/// The executor lacks what the case needs.
macro_rules! lacks {
    ($reason:literal $test:item) => {
        #[test]
        #[ignore = $reason]
        $test
    };
}

/// Makes a test out of each case, for one executor.
macro_rules! instantiate {
    ({ $run:ident, $body:expr } $($module:ident { $($case:ident: $need:ident,)* })*) => {$($(
        $need! {
            fn $case() {
                use crate::suite::$module::$case as $run;
                concurrent_futures_tests::guarded(|| $body)
            }
        }
    )*)*};
}

/// Makes a module out of each executor.
macro_rules! executors {
    ($(
        $name:ident: $concurrency:ident, $two_workers:ident, $drop:ident, $both:ident,
            $memory:ident, |$run:ident| $body:expr;
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
            macro_rules! needs_memory {
                ($test:item) => { $memory! { "its tasks run in other processes" $test } };
            }

            for_every_case! { instantiate { $run, $body } }
        }
    )*};
}
