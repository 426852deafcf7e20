//! Many downloads at once: what happens to one of them happens to no other.

use std::{collections::BTreeMap, io, path::PathBuf, time::Duration};

use concurrent_futures::Shutdown;
use ureq::http::StatusCode;

use super::*;
use crate::{names, testing::in_time};

const WORKERS: usize = 3;

fn pool() -> ThreadPoolExecutor {
    ThreadPoolExecutor::with_max_workers(WORKERS).unwrap()
}

fn plan(paths: &[&str]) -> Vec<Result<Download, (String, BadUrl)>> {
    let urls: Vec<_> = paths.iter().map(|path| format!("http://host/{path}")).collect();
    names::plan(&urls)
}

/// What each path came to, as a user would read it.
type Outcomes = BTreeMap<String, Result<(String, u64), String>>;

fn run(
    pool: &ThreadPoolExecutor,
    paths: &[&str],
    fetch: impl Fn(&Download) -> Result<u64, DownloadError> + Send + Sync + 'static,
) -> (Summary, Outcomes) {
    let mut outcomes = Outcomes::new();
    let summary = download_all(pool, plan(paths), fetch, |url, outcome| {
        let outcome = match outcome {
            Ok((name, bytes)) => Ok((name.to_owned(), bytes)),
            Err(error) => Err(reason(&error)),
        };
        let path = url.strip_prefix("http://host/").unwrap().to_owned();
        assert!(outcomes.insert(path, outcome).is_none(), "{url} ended twice");
    });
    (summary, outcomes)
}

#[test]
fn every_failure_is_reported_and_the_rest_goes_on() {
    in_time(|| {
        let paths = ["cat", "missing", "", "slow", "dog", "disk", "panic", "bird"];
        let (summary, mut outcomes) = run(&pool(), &paths, |download| match &*download.name {
            "missing.jpg" => Err(DownloadError::Status(StatusCode::NOT_FOUND)),
            "slow.jpg" => Err(DownloadError::TimedOut(Duration::from_millis(1500))),
            "disk.jpg" => Err(DownloadError::Disk {
                action: "create",
                path: PathBuf::from("disk.jpg.part"),
                source: io::Error::other("no space left"),
            }),
            "panic.jpg" => panic!("a bug in the program"),
            name => Ok(name.len() as u64),
        });
        assert_eq!(summary, Summary { downloaded: 3, failed: 5, cancelled: 0, bytes: 7 + 7 + 8 });

        let panic = outcomes.remove("panic").unwrap().unwrap_err();
        assert!(panic.starts_with("the task panicked at "), "{panic}");
        assert!(panic.ends_with(": a bug in the program"), "{panic}");
        let expected = [
            ("", Err("bad URL: its path has no part to name a file by")),
            ("bird", Ok(("bird.jpg", 8))),
            ("cat", Ok(("cat.jpg", 7))),
            ("disk", Err("cannot create disk.jpg.part: no space left")),
            ("dog", Ok(("dog.jpg", 7))),
            ("missing", Err("the server answered 404 Not Found")),
            ("slow", Err("timed out after 1.5s")),
        ];
        assert_eq!(outcomes.len(), expected.len());
        for (path, expected) in expected {
            let outcome = outcomes[path].as_ref();
            let outcome = outcome.map(|(name, bytes)| (&**name, *bytes)).map_err(|error| &**error);
            assert_eq!(outcome, expected, "{path}");
        }
    });
}

/// Each worker is hit by a panic, most of them several times, and all of them go on.
#[test]
fn panics_do_not_use_up_the_workers() {
    in_time(|| {
        let paths: Vec<_> = (0..10 * WORKERS).map(|number| number.to_string()).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let (summary, _) = run(&pool(), &paths, |download| {
            assert!(download.url.ends_with('0'), "a bug in the program");
            Ok(1)
        });
        let fine = paths.iter().filter(|path| path.ends_with('0')).count() as u64;
        let failed = paths.len() as u64 - fine;
        assert_eq!(summary, Summary { downloaded: fine, failed, cancelled: 0, bytes: fine });
    });
}

#[test]
fn nothing_to_download_is_fine() {
    in_time(|| assert_eq!(run(&pool(), &[], |_| Ok(1)).0, Summary::default()));
}

/// As by Ctrl-C. The first download shuts the pool down, perhaps before all others were submitted: those that were are
/// cancelled, and those that were not are refused, which is the same to the user.
#[test]
fn a_shutdown_cancels_what_has_not_started() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::with_max_workers(1).unwrap());
        let handler = Arc::downgrade(&pool);
        let paths = ["cat", "dog", "bird", "fish"];
        let (summary, outcomes) = run(&pool, &paths, move |_| {
            let pool = handler.upgrade().unwrap();
            pool.shutdown_with(Shutdown::no_wait().cancel_futures()).unwrap();
            Ok(1)
        });
        assert_eq!(summary, Summary { downloaded: 1, failed: 0, cancelled: 3, bytes: 1 });
        assert_eq!(outcomes["cat"], Ok(("cat.jpg".to_owned(), 1)));
        assert_eq!(summary.to_string(), "1 downloaded, 0 failed, 3 not started, 1 bytes");
    });
}
