//! Each way in which a download can fail, and what it leaves behind: nothing.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::channel},
    thread,
};

use tempfile::TempDir;

use super::*;
use crate::{
    server::{Answer, Server},
    testing::{files_in, in_time, long, short},
};

const NAME: &str = "cat.jpg";

/// A downloader with a directory of its own.
struct Fixture {
    directory: TempDir,
    downloader: Downloader,
}

impl Fixture {
    fn new() -> Self {
        Self::with_timeout(long())
    }

    fn with_timeout(timeout: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let client = Client::new(Route::Direct, timeout, 1);
        let downloader = client.into_directory(directory.path().to_owned());
        Self { directory, downloader }
    }

    fn fetch(&self, url: String) -> Result<u64, DownloadError> {
        self.downloader.fetch(&Download { url, name: NAME.to_owned() })
    }

    /// Fetches what is to fail, and makes sure that nothing is left of it.
    fn fail(&self, url: String) -> DownloadError {
        let error = self.fetch(url).unwrap_err();
        assert_eq!(files_in(self.directory.path()), [""; 0], "after {error}");
        error
    }
}

fn image() -> Arc<[u8]> {
    // Longer than a few buffers, and not a whole number of them.
    Arc::from(vec![7; 3 * BUFFER_BYTES + 1])
}

fn serve(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(answer).unwrap()
}

#[test]
fn an_image_arrives_whole() {
    in_time(|| {
        let server = serve(|_| Answer::Found(image()));
        let fixture = Fixture::new();
        assert_eq!(fixture.fetch(server.url("/cat")).unwrap(), image().len() as u64);
        assert_eq!(files_in(fixture.directory.path()), [NAME]);
        assert_eq!(*fs::read(fixture.directory.path().join(NAME)).unwrap(), *image());
    });
}

#[test]
fn an_image_may_be_empty() {
    in_time(|| {
        let server = serve(|_| Answer::Found(Arc::from([])));
        let fixture = Fixture::new();
        assert_eq!(fixture.fetch(server.url("/cat")).unwrap(), 0);
        assert_eq!(files_in(fixture.directory.path()), [NAME]);
    });
}

/// As in the seed, an image that is there already is replaced.
#[test]
fn an_older_image_is_replaced() {
    in_time(|| {
        let server = serve(|_| Answer::Found(image()));
        let fixture = Fixture::new();
        let path = fixture.directory.path().join(NAME);
        fs::write(&path, "an older image").unwrap();
        fixture.fetch(server.url("/cat")).unwrap();
        assert_eq!(*fs::read(path).unwrap(), *image());
    });
}

#[test]
fn an_older_image_outlives_a_failure() {
    in_time(|| {
        let server = serve(|_| Answer::CutShort(image()));
        let fixture = Fixture::new();
        let path = fixture.directory.path().join(NAME);
        fs::write(&path, "an older image").unwrap();
        fixture.fetch(server.url("/cat")).unwrap_err();
        assert_eq!(fs::read_to_string(path).unwrap(), "an older image");
        assert_eq!(files_in(fixture.directory.path()), [NAME]);
    });
}

#[test]
fn connections_are_used_again() {
    in_time(|| {
        let server = serve(|path| match path {
            "/missing" => Answer::Missing,
            _ => Answer::Found(image()),
        });
        let fixture = Fixture::new();
        for _ in 0..3 {
            fixture.fetch(server.url("/cat")).unwrap();
        }
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_missing_image_is_reported_as_the_server_has_it() {
    in_time(|| {
        let server = serve(|_| Answer::Missing);
        match Fixture::new().fail(server.url("/cat")) {
            DownloadError::Status(status) => assert_eq!(status, StatusCode::NOT_FOUND),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_silent_server_is_not_waited_for() {
    in_time(|| {
        let server = serve(|_| Answer::Silence);
        match Fixture::with_timeout(short()).fail(server.url("/cat")) {
            DownloadError::TimedOut(after) => assert_eq!(after, short()),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_refused_connection_is_reported() {
    in_time(|| {
        // A port that is taken, so that nobody else gets it meanwhile, by a connection and not by a listener.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let url = format!("http://{}/cat", taken.local_addr().unwrap());
        match Fixture::new().fail(url) {
            DownloadError::Request(ureq::Error::Io(error)) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn half_an_image_is_none() {
    in_time(|| {
        let server = serve(|_| Answer::CutShort(image()));
        match Fixture::new().fail(server.url("/cat")) {
            DownloadError::Request(ureq::Error::Io(error)) => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_url_that_the_client_rejects_is_reported() {
    in_time(|| {
        for url in ["http://two hosts/cat", "http:///cat", "http://host:port/cat"] {
            match Fixture::new().fail(url.to_owned()) {
                DownloadError::Request(_) => {}
                other => panic!("{url}: {other:?}"),
            }
        }
    });
}

/// Permissions would not do: the tests may be run by root, who may write anywhere.
#[test]
fn a_directory_that_is_none_is_reported() {
    in_time(|| {
        let server = serve(|_| Answer::Found(image()));
        let fixture = Fixture::new();
        let file = fixture.directory.path().join("file");
        fs::write(&file, "").unwrap();
        let downloader = fixture.downloader.client.into_directory(file.clone());
        let download = Download { url: server.url("/cat"), name: NAME.to_owned() };
        match downloader.fetch(&download).unwrap_err() {
            DownloadError::Disk { action, path, source } => {
                assert_eq!((action, path), ("create", file.join("cat.jpg.part")));
                assert_ne!(source.kind(), ErrorKind::Other);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(files_in(fixture.directory.path()), ["file"]);
    });
}

/// The last step of all may fail as well.
#[test]
fn a_name_that_is_taken_by_a_directory_is_reported() {
    in_time(|| {
        let server = serve(|_| Answer::Found(image()));
        let fixture = Fixture::new();
        fs::create_dir(fixture.directory.path().join(NAME)).unwrap();
        match fixture.fetch(server.url("/cat")).unwrap_err() {
            DownloadError::Disk { path, .. } => assert!(path.ends_with(NAME), "{path:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(files_in(fixture.directory.path()), [NAME]);
    });
}

#[test]
fn a_panic_leaves_no_part_behind() {
    let directory = tempfile::tempdir().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut part = PartFile::create(directory.path().join(NAME)).unwrap();
        part.write(b"half").unwrap();
        assert_eq!(files_in(directory.path()), ["cat.jpg.part"]);
        panic!("in the middle of a download");
    }));
    assert!(panic.is_err());
    assert_eq!(files_in(directory.path()), [""; 0]);
}

/// What Ctrl-C does to downloads that run.
#[test]
fn hanging_up_ends_a_download_that_waits() {
    in_time(|| {
        let (asked, is_asked) = channel();
        let server = serve(move |_| {
            asked.send(()).unwrap();
            Answer::Silence
        });
        let fixture = Fixture::new();
        let client = fixture.downloader.client.clone();
        let url = server.url("/cat");
        let waiting = thread::spawn(move || {
            let error = fixture.fail(url.clone());
            assert!(matches!(error, DownloadError::Request(_)), "{error:?}");
            // It stays so.
            let error = fixture.fail(url);
            assert!(matches!(error, DownloadError::Request(_)), "{error:?}");
        });
        is_asked.recv().unwrap();
        client.hang_up();
        waiting.join().unwrap();
    });
}
