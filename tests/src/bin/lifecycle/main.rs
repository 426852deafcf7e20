//! Programs with a process pool, for tests that watch a whole tree of processes from outside.
//!
//! The first argument names the scenario, the second one how workers are started, and the third one says more. A program
//! prints lines at which its test does something, and goes on when it is sent a line; one that checks by itself prints
//! `done` at its end.

#[cfg(target_os = "linux")]
mod callers;
#[cfg(target_os = "linux")]
mod endings;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod moments;
#[cfg(target_os = "linux")]
mod places;
#[cfg(target_os = "linux")]
mod pools;
#[cfg(target_os = "linux")]
mod tasks;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
    let method = match argument(1) {
        "spawn" => concurrent_futures_process_pool::StartMethod::Spawn,
        _ => concurrent_futures_process_pool::StartMethod::ForkServer,
    };
    let scenario = argument(0);
    let scenarios: &[(&str, Scenario)] = &[
        ("moment", moments::reach),
        ("end", endings::end),
        ("place", places::survive),
        ("caller", callers::call),
        ("limit", limits::limit),
        ("pools", pools::run),
    ];
    let (_, run) = scenarios.iter().find(|(name, _)| *name == scenario).expect("a scenario");
    run(&Setup { method, which: argument(2), more: argument(3) });
}

#[cfg(target_os = "linux")]
type Scenario = fn(&Setup<'_>);

/// What a scenario is told.
#[cfg(target_os = "linux")]
struct Setup<'a> {
    method: concurrent_futures_process_pool::StartMethod,
    which: &'a str,
    more: &'a str,
}

#[cfg(target_os = "linux")]
impl Setup<'_> {
    fn builder(&self) -> concurrent_futures_process_pool::Builder {
        concurrent_futures_process_pool::ProcessPoolExecutor::builder()
            .start_method(self.method)
            .max_workers(2)
    }

    fn pool(&self) -> concurrent_futures_process_pool::ProcessPoolExecutor {
        self.builder().build().expect("a pool")
    }

    fn unknown(&self) -> ! {
        panic!("there is no {:?} of this scenario", self.which)
    }
}
