//! All the downloads together: the part of this program that Python's documentation has under
//! "ThreadPoolExecutor Example".

use std::{collections::HashMap, error::Error, fmt, sync::Arc};

use concurrent_futures::{Refusal, TaskError, ThreadPoolExecutor, as_completed};

use crate::{
    download::DownloadError,
    names::{BadUrl, Download},
};

#[cfg(test)]
mod tests;

/// What one URL came to: its file and how many bytes that has, or why there is none.
pub(crate) type Outcome<'a> = Result<(&'a str, u64), TaskError>;

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) downloaded: u64,
    pub(crate) failed: u64,
    /// Never started, because of an interruption.
    pub(crate) cancelled: u64,
    pub(crate) bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} downloaded, {} failed, ", self.downloaded, self.failed)?;
        if self.cancelled > 0 {
            write!(f, "{} not started, ", self.cancelled)?;
        }
        write!(f, "{} bytes", self.bytes)
    }
}

/// Downloads all that is planned, and calls `ended` for each URL as soon as it is known what it came to.
///
/// Whatever happens to one download, be it a panic, ends that download and no other.
pub(crate) fn download_all<F>(
    pool: &ThreadPoolExecutor,
    plan: Vec<Result<Download, (String, BadUrl)>>,
    fetch: F,
    mut ended: impl FnMut(&str, Outcome<'_>),
) -> Summary
where
    F: Fn(&Download) -> Result<u64, DownloadError> + Send + Sync + 'static,
{
    let mut summary = Summary::default();
    let mut ended = |url: &str, outcome: Outcome<'_>| {
        summary.count(&outcome);
        ended(url, outcome);
    };

    let fetch = Arc::new(fetch);
    let mut future_to_url = HashMap::new();
    let mut futures = Vec::new();
    for planned in plan {
        let download = match planned {
            Ok(download) => download,
            Err((url, bad)) => {
                ended(&url, Err(TaskError::failed(bad)));
                continue;
            }
        };
        let fetch = Arc::clone(&fetch);
        match pool.submit(move |download: Download| fetch(&download), download.clone()) {
            Ok(future) => {
                // An `Err` of the download becomes an error of its future, as an exception is in Python.
                let future = future.flatten();
                future_to_url.insert(future.id(), download);
                futures.push(future);
            }
            Err(refused) => ended(&download.url, Err(never_started(refused.into()))),
        }
    }

    for future in as_completed(futures) {
        let download = &future_to_url[&future.id()];
        let outcome = future.result().map(|bytes| (download.name.as_str(), bytes));
        ended(&download.url, outcome);
    }
    summary
}

impl Summary {
    fn count(&mut self, outcome: &Outcome<'_>) {
        match outcome {
            Ok((_, bytes)) => {
                self.downloaded += 1;
                self.bytes += bytes;
            }
            Err(error) if error.is_cancelled() => self.cancelled += 1,
            Err(_) => self.failed += 1,
        }
    }
}

/// A pool refuses new tasks once Ctrl-C has shut it down, and has cancelled the others by then.
fn never_started(refusal: Refusal) -> TaskError {
    match refusal {
        Refusal::ShutDown => TaskError::Cancelled,
        other => TaskError::failed(other),
    }
}

/// What went wrong with a download, and why, and why that.
pub(crate) fn reason(error: &TaskError) -> String {
    match error {
        // "The task returned an error" says nothing to somebody who knows of no tasks.
        TaskError::Failed(failure) => chain(failure.get_ref()),
        other => chain(other),
    }
}

/// An error and its sources, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}
