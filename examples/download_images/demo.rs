//! The self-contained mode: some hundreds of images, a server as slow as a real one, and the time that it takes to
//! download them one by one and then together.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use concurrent_futures::ThreadPoolExecutor;

use crate::{
    batch,
    console::Console,
    download::Client,
    names::{self, Download},
    pictures,
    server::{Answer, Server},
};

#[cfg(test)]
mod tests;

/// From one image to the next, modulo the range: it has no divisor in common with that, and so visits all of it.
const LATENCY_STEP_MS: u64 = 27;

/// How much to do, and how slowly to answer.
pub(crate) struct Demo {
    pub(crate) images: usize,
    /// How many of them to download one by one. All of them would take ten seconds.
    pub(crate) sample: usize,
    /// How long the server takes to answer, in milliseconds: at least the first, less than the second.
    pub(crate) latency_ms: (u64, u64),
}

impl Default for Demo {
    fn default() -> Self {
        Self { images: 240, sample: 40, latency_ms: (20, 60) }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    images: usize,
    bytes: u64,
    sample: usize,
    /// For all images, estimated from the sample.
    one_by_one: Duration,
    jobs: usize,
    together: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, bytes, sample, jobs, .. } = self;
        let [slow, fast] = [self.one_by_one, self.together].map(|time| time.as_secs_f64());
        write!(f, "{images} images, {bytes} bytes, one by one {slow:.2} s")?;
        if sample < images {
            write!(f, " (estimated from {sample})")?;
        }
        write!(f, ", with {jobs} threads {fast:.2} s: {:.1} times faster", slow / fast)
    }
}

impl Demo {
    /// Serves, downloads, checks and measures.
    pub(crate) fn run(
        &self,
        pool: &ThreadPoolExecutor,
        client: &Client,
    ) -> Result<Report, Box<dyn Error>> {
        let server = self.serve(pool)?;
        let downloads = self.downloads(&server)?;

        // Spread over all of them, as images differ in size and delay.
        let sample: Vec<_> =
            downloads.iter().step_by((self.images / self.sample).max(1)).cloned().collect();
        let scale = downloads.len() as f64 / sample.len() as f64;
        let one_by_one = one_by_one(client, &sample)?.mul_f64(scale);

        let directory = tempfile::tempdir()?;
        let (together, bytes) = together(pool, client, &downloads, directory.path())?;
        check_all(pool, &downloads, directory.path())?;

        let (images, sample, jobs) = (downloads.len(), sample.len(), pool.max_workers());
        Ok(Report { images, bytes, sample, one_by_one, jobs, together })
    }

    /// Makes the images, and starts a server that has them.
    fn serve(&self, pool: &ThreadPoolExecutor) -> Result<Server, Box<dyn Error>> {
        let mut images: Vec<Arc<[u8]>> = Vec::with_capacity(self.images);
        for image in pool.map(pictures::encoded, 0..self.images as u64) {
            images.push(image??.into());
        }
        let (shortest, longest) = self.latency_ms;
        let server = Server::start(move |path| {
            let number = path.strip_prefix("/picture-").and_then(|rest| rest.strip_suffix(".png"));
            let number = number.and_then(|number| number.parse::<usize>().ok());
            let Some((number, image)) = number.and_then(|n| Some((n, images.get(n)?))) else {
                return Answer::Missing;
            };
            // No two in a row are alike, and yet any sample is as slow as the whole.
            let more = number as u64 * LATENCY_STEP_MS % (longest - shortest).max(1);
            thread::sleep(Duration::from_millis(shortest + more));
            Answer::Found(Arc::clone(image))
        })?;
        Ok(server)
    }

    /// The images on the server, by number.
    fn downloads(&self, server: &Server) -> Result<Vec<Download>, Box<dyn Error>> {
        let urls: Vec<_> =
            (0..self.images).map(|number| server.url(&format!("/picture-{number}.png"))).collect();
        let plan = names::plan(&urls).into_iter();
        Ok(plan.map(|planned| planned.map_err(|(_, bad)| bad)).collect::<Result<_, _>>()?)
    }
}

/// How long it takes without the pool.
fn one_by_one(client: &Client, downloads: &[Download]) -> Result<Duration, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let downloader = client.clone().into_directory(directory.path().to_owned());
    let console = Console::new("one by one", downloads.len());
    let start = Instant::now();
    for download in downloads {
        let bytes = downloader.fetch(download)?;
        console.step(bytes);
    }
    let elapsed = start.elapsed();
    console.finish();
    Ok(elapsed)
}

/// How long it takes with the pool, and how many bytes there were.
fn together(
    pool: &ThreadPoolExecutor,
    client: &Client,
    downloads: &[Download],
    directory: &Path,
) -> Result<(Duration, u64), Box<dyn Error>> {
    let downloader = client.clone().into_directory(directory.to_owned());
    let fetch = move |download: &Download| downloader.fetch(download);
    let plan = downloads.iter().cloned().map(Ok).collect();
    let console = Console::new("together", downloads.len());
    let start = Instant::now();
    let summary = batch::download_all(pool, plan, fetch, |url, outcome| match &outcome {
        Ok((_, bytes)) => console.step(*bytes),
        Err(_) => console.show(url, &outcome),
    });
    let elapsed = start.elapsed();
    console.finish();
    if summary.downloaded < downloads.len() as u64 {
        return Err(format!("not all images could be downloaded: {summary}").into());
    }
    Ok((elapsed, summary.bytes))
}

/// Decodes all files, on the pool, and compares them with what was served.
fn check_all(
    pool: &ThreadPoolExecutor,
    downloads: &[Download],
    directory: &Path,
) -> Result<(), Box<dyn Error>> {
    let check = |(path, number): (PathBuf, u64)| {
        pictures::check(&path, number).map_err(|error| format!("{}: {error}", path.display()))
    };
    let paths: Vec<_> = downloads.iter().map(|download| directory.join(&download.name)).collect();
    let mut broken = Vec::new();
    for checked in pool.map(check, paths.into_iter().zip(0..)) {
        broken.extend(checked?.err());
    }
    if broken.is_empty() {
        return Ok(());
    }
    let count = broken.len();
    Err(format!("{count} images are not what the server sent:\n{}", broken.join("\n")).into())
}
