//! Everything that can be done with a thread pool, and to the workers of a process pool, at random, at once and for long: every future must end once, every
//! task run once or not at all, every thread leave, and everything that was made be dropped.
//!
//! `CONCURRENT_FUTURES_STRESS_SECONDS` says for how long each of these tests goes on, about 2 without it, and
//! `CONCURRENT_FUTURES_STRESS_SEED` what it does, at random without it. A failure prints its seed. A seed decides what is
//! done, not how the system schedules it, so it may take a few attempts to see the failure again.

mod stress {
    #[cfg(target_os = "linux")]
    mod hostile;
    mod lives;
    mod mix;
    #[cfg(target_os = "linux")]
    mod storm;
    mod together;

    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::{Duration, Instant},
    };

    use concurrent_futures_tests::{
        delays,
        guard::guarded_for,
        seed::{self, Random, SEED_VARIABLE},
    };

    /// Calls `round` with another generator each time, until the time is up.
    fn rounds(round: fn(&mut Random)) {
        let seconds = std::env::var("CONCURRENT_FUTURES_STRESS_SECONDS").ok();
        let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
        let time = Duration::from_secs(seconds);
        let begin = Instant::now();
        let mut seed = seed::of_this_run();
        while begin.elapsed() < time {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                // Each round is short, so that a hang is seen as one.
                guarded_for(delays::hang(), move || round(&mut Random::new(seed)));
            }));
            if let Err(payload) = outcome {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref().copied()).unwrap_or("(no text)");
                panic!("{SEED_VARIABLE}={seed}: {text}");
            }
            seed = Random::new(seed).next();
        }
    }
}
