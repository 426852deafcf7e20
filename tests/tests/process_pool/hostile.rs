//! Workers that write random bytes to all memory that they share with the pool, all the time: each costs its own tasks, and
//! never crashes, hangs or corrupts this process, or what other workers do. The target `stress` has a longer one.

use std::time::{Duration, Instant};

use concurrent_futures_tests::{
    hostile,
    seed::{self, Random},
};

use super::{alone, builder};

/// For how long it goes on here.
const TIME: Duration = Duration::from_secs(3);

#[test]
fn workers_out_of_their_minds() {
    alone(|| {
        let mut seed = seed::of_this_run();
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            hostile::round(&mut Random::new(seed), || builder(2));
            seed = Random::new(seed).next();
        }
    });
}
