//! Several pools: one in the other, one beside the other, and beside many threads.

use concurrent_futures_tests::guarded;

use super::{
    METHODS,
    program::{Program, run},
};

#[test]
fn pools_in_tasks_three_deep() {
    for method in METHODS {
        run("pools", method, "nested");
    }
}

/// The program is killed, and so one after the other are its workers, their pools' workers, and those of these.
#[test]
fn killed_with_pools_in_tasks() {
    for method in METHODS {
        guarded(move || {
            let mut program = Program::start(["pools", method, "nested-park"]);
            program.expect("there");
            // Four pools, each with a server and a worker.
            program.await_descendants(8);
            program.kill();
            program.assert_gone();
        });
    }
}

#[test]
fn a_hundred_pools_at_once() {
    run("pools", "forkserver", "hundred");
}

#[test]
fn a_pool_beside_hundreds_of_threads() {
    for method in METHODS {
        run("pools", method, "threads");
    }
}
