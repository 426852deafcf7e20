//! What one task does: fetch a URL into a file, and leave either the whole file or none.

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::{Agent, http::StatusCode};

use crate::names::Download;

#[cfg(test)]
mod tests;

const BUFFER_BYTES: usize = 16 * 1024;

/// How to reach the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// By way of the proxy that `HTTPS_PROXY` and its kin ask for, if they do.
    Environment,
    /// Straight, for a server of our own.
    Direct,
}

/// The HTTP client. Clones share their connections, so that a task can go on where another has left one open.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    timeout: Duration,
}

impl Client {
    /// A client for so many downloads at a time, each of which may take no longer than `timeout`.
    pub(crate) fn new(route: Route, timeout: Duration, jobs: usize) -> Self {
        let mut config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_idle_connections(jobs)
            .max_idle_connections_per_host(jobs)
            .user_agent("download_images (an example of concurrent-futures)");
        if route == Route::Direct {
            config = config.proxy(None);
        }
        Self { agent: Agent::new_with_config(config.build()), timeout }
    }

    /// Makes all downloads fail, those that wait for their server included.
    pub(crate) fn hang_up(&self) {
        self.agent.clone().shutdown();
    }

    pub(crate) fn into_directory(self, directory: PathBuf) -> Downloader {
        Downloader { client: self, directory }
    }

    fn explain(&self, error: ureq::Error) -> DownloadError {
        match error {
            ureq::Error::StatusCode(code) => match StatusCode::from_u16(code) {
                Ok(status) => DownloadError::Status(status),
                Err(_) => DownloadError::Request(ureq::Error::StatusCode(code)),
            },
            ureq::Error::Timeout(_) => DownloadError::TimedOut(self.timeout),
            other => DownloadError::Request(other),
        }
    }
}

/// Fetches images into a directory.
pub(crate) struct Downloader {
    client: Client,
    directory: PathBuf,
}

impl Downloader {
    /// Fetches one image; says how many bytes it has.
    pub(crate) fn fetch(&self, download: &Download) -> Result<u64, DownloadError> {
        let explain = |error| self.client.explain(error);
        let mut response = self.client.agent.get(&download.url).call().map_err(explain)?;
        let mut body = response.body_mut().as_reader();

        // Nothing is written for a server that does not answer or says no.
        let mut part = PartFile::create(self.directory.join(&download.name))?;
        let mut bytes = 0;
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let read = body.read(&mut buffer).map_err(|error| explain(error.into()))?;
            if read == 0 {
                part.finish()?;
                return Ok(bytes);
            }
            part.write(&buffer[..read])?;
            bytes += read as u64;
        }
    }
}

/// Why an image could not be downloaded.
#[derive(Debug)]
pub(crate) enum DownloadError {
    /// The server's answer is not the image.
    Status(StatusCode),
    /// The answer was not complete in time.
    TimedOut(Duration),
    /// There was no answer, or it broke off.
    Request(ureq::Error),
    /// The image could not be written.
    Disk { action: &'static str, path: PathBuf, source: io::Error },
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the server answered {status}"),
            Self::TimedOut(after) => write!(f, "timed out after {after:?}"),
            Self::Request(_) => f.write_str("the request failed"),
            Self::Disk { action, path, .. } => write!(f, "cannot {action} {}", path.display()),
        }
    }
}

impl Error for DownloadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Status(_) | Self::TimedOut(_) => None,
            Self::Request(error) => Some(error),
            Self::Disk { source, .. } => Some(source),
        }
    }
}

/// A file that has its name only once it is complete. Until then it ends in `.part`, and is gone when this is dropped:
/// because the download failed, or because it panicked.
struct PartFile {
    target: PathBuf,
    path: PathBuf,
    /// `None` once it is closed, as it must be before some systems rename or remove it.
    file: Option<File>,
}

impl PartFile {
    fn create(target: PathBuf) -> Result<Self, DownloadError> {
        let mut path = OsString::from(&target);
        path.push(".part");
        let path = PathBuf::from(path);
        let file = File::create(&path).map_err(disk("create", &path))?;
        Ok(Self { target, path, file: Some(file) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(disk("write", &self.path)),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), DownloadError> {
        self.file = None;
        fs::rename(&self.path, &self.target).map_err(disk("create", &self.target))?;
        self.path.clear();
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        self.file = None;
        if !self.path.as_os_str().is_empty() {
            // There may be a reason why it cannot be removed, but the one why it should be is the one to report.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DownloadError {
    move |source| DownloadError::Disk { action, path: path.to_owned(), source }
}
