//! The lives of a process pool's processes: how they end when the program does, in whichever way and at whichever moment,
//! and what becomes of the pool in places that are hard on it.
//!
//! Each test runs `src/bin/lifecycle` in a process of its own, and counts from outside what is left of it.

#![cfg(target_os = "linux")]

mod process_lifecycle {
    mod builds;
    mod callers;
    mod endings;
    mod initialisers;
    mod killed;
    mod limits;
    mod places;
    mod pools;
    mod program;

    /// What the ways to start workers are called on the command line of the programs.
    const METHODS: [&str; 2] = ["forkserver", "spawn"];
}
