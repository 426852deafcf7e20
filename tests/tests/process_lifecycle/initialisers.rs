//! Code that runs before `main`, and that the pool's takes over from: whatever place the linker gives it, it has run when
//! a task does. The tests are their own workers here.

use std::io::Write;

use concurrent_futures_process_pool::{ProcessPoolExecutor, StartMethod};
use concurrent_futures_tests::guarded;
use concurrent_futures_tests_initialisers::{c_global, cpp_global, rust_globals};

fn in_a_task<R>(function: fn(()) -> R) -> [R; 2]
where
    R: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    [StartMethod::ForkServer, StartMethod::Spawn].map(|method| {
        guarded(move || {
            let pool = ProcessPoolExecutor::builder().start_method(method).max_workers(1);
            pool.build().unwrap().submit_fn(function, ()).unwrap().result().unwrap()
        })
    })
}

#[test]
fn a_constructor_in_c_has_run() {
    assert_eq!(c_global(), 41);
    assert_eq!(in_a_task(|()| c_global()), [41; 2]);
}

#[test]
fn constructors_in_cpp_have_run() {
    if cpp_global().is_none() {
        // Past the capture of test output, so that it is seen.
        writeln!(std::io::stderr(), "NOT RUN: there is no C++ compiler").ok();
        return;
    }
    assert_eq!(cpp_global(), Some(1001));
    assert_eq!(in_a_task(|()| cpp_global()), [Some(1001); 2]);
}

#[test]
fn initialisers_in_rust_have_run_in_their_order() {
    assert_eq!(rust_globals(), (43, 44));
    assert_eq!(in_a_task(|()| rust_globals()), [(43, 44); 2]);
}
