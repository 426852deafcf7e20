//! The demonstration, with less of everything.

use std::{fs, time::Duration};

use super::*;
use crate::{
    download::Route,
    testing::{in_time, long},
};

const JOBS: usize = 4;

fn small() -> Demo {
    Demo { images: 12, sample: 3, latency_ms: (0, 0) }
}

fn pool_and_client() -> (ThreadPoolExecutor, Client) {
    let pool = ThreadPoolExecutor::with_max_workers(JOBS).unwrap();
    (pool, Client::new(Route::Direct, long(), JOBS))
}

#[test]
fn it_serves_downloads_and_checks() {
    in_time(|| {
        let (pool, client) = pool_and_client();
        let report = small().run(&pool, &client).unwrap();
        assert_eq!((report.images, report.sample, report.jobs), (12, 3, JOBS));
        let size: usize = (0..12).map(|number| pictures::encoded(number).unwrap().len()).sum();
        assert_eq!(report.bytes, size as u64);
    });
}

#[test]
fn an_interruption_ends_it_with_an_error() {
    in_time(|| {
        let (pool, client) = pool_and_client();
        client.hang_up();
        small().run(&pool, &client).unwrap_err();
    });
}

#[test]
fn one_wrong_image_is_found() {
    in_time(|| {
        let (pool, client) = pool_and_client();
        let demo = small();
        let server = demo.serve(&pool).unwrap();
        let downloads = demo.downloads(&server).unwrap();
        let directory = tempfile::tempdir().unwrap();
        together(&pool, &client, &downloads, directory.path()).unwrap();
        check_all(&pool, &downloads, directory.path()).unwrap();

        let [first, second] = [0, 1].map(|n: usize| directory.path().join(&downloads[n].name));
        fs::copy(first, second).unwrap();
        let error = check_all(&pool, &downloads, directory.path()).unwrap_err().to_string();
        assert!(error.starts_with("1 images are not what the server sent:\n"), "{error}");
        assert!(error.contains("picture-1.png: "), "{error}");
    });
}

#[test]
fn the_report_says_what_was_measured_and_what_was_estimated() {
    let report = |sample| Report {
        images: 240,
        bytes: 1000,
        sample,
        one_by_one: Duration::from_secs(9),
        jobs: 6,
        together: Duration::from_millis(1500),
    };
    assert_eq!(
        report(40).to_string(),
        "240 images, 1000 bytes, one by one 9.00 s (estimated from 40), with 6 threads 1.50 s: 6.0 times faster"
    );
    assert_eq!(
        report(240).to_string(),
        "240 images, 1000 bytes, one by one 9.00 s, with 6 threads 1.50 s: 6.0 times faster"
    );
}
