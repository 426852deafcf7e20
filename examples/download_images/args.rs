//! The command line: what was asked for, or what is wrong with the question.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use lexopt::Arg;

#[cfg(test)]
mod tests;

pub(crate) const HELP: &str = "\
Downloads images in parallel.

usage: download_images [--output DIR] [--jobs N] [--timeout SECONDS] [--from FILE] [URL...]

Without any URL it serves generated images from a server of its own, downloads them one by one and
then in parallel, checks each of them, and prints how much faster that was.

  -o, --output DIR       where to put the images, made if missing (default: here)
  -j, --jobs N           how many to download at a time (default: the processors and four more,
                         at most 32)
  -t, --timeout SECONDS  how long one image may take in all (default: 30)
  -f, --from FILE        also download the URLs in FILE, one on each line; - is standard input
  -h, --help             print this

A file is named after the first part of its URL's path, the fourth piece between slashes:
https://images.unsplash.com/photo-1516117172878-fd2c41f4a759 becomes
photo-1516117172878-fd2c41f4a759.jpg. A piece that ends like an image already, as in fox.png, is
kept as it is. If several URLs have the same name, the second gets -2 at its end, and so on.

The exit code is 0 if all is well, 1 if anything failed, 2 for a wrong command line, and 130 after
Ctrl-C.";

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    /// No URL was given: show what the pool is good for.
    Demo(Settings),
    Download {
        urls: Vec<String>,
        output: PathBuf,
        settings: Settings,
    },
}

/// What holds for either way of running.
#[derive(Debug, PartialEq)]
pub(crate) struct Settings {
    /// `None` leaves the choice to the library.
    pub(crate) jobs: Option<NonZeroUsize>,
    /// For one image, from looking up its host to its last byte.
    pub(crate) timeout: Duration,
}

/// What is wrong with the command line.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "download_images: {}\nTry --help.", self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads the arguments, without the program's name, and the files that they mention.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    stdin: impl Read,
) -> Result<Command, UsageError> {
    let mut urls = Vec::new();
    let mut files = Vec::new();
    let mut output = None;
    let mut settings = Settings { jobs: None, timeout: TIMEOUT_DEFAULT };

    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('o') | Arg::Long("output") => output = Some(parser.value()?.into()),
            Arg::Short('f') | Arg::Long("from") => files.push(PathBuf::from(parser.value()?)),
            Arg::Short('j') | Arg::Long("jobs") => {
                settings.jobs = Some(number("--jobs", &parser.value()?)?);
            }
            Arg::Short('t') | Arg::Long("timeout") => {
                settings.timeout = timeout(number("--timeout", &parser.value()?)?)?;
            }
            Arg::Value(url) => urls
                .push(url.into_string().map_err(|url| UsageError(format!("not a URL: {url:?}")))?),
            other => return Err(other.unexpected().into()),
        }
    }

    let any = !urls.is_empty() || !files.is_empty();
    let mut stdin = Some(stdin);
    for file in files {
        urls.extend(
            read(&file, &mut stdin)
                .map_err(|error| UsageError(format!("cannot read {}: {error}", file.display())))?,
        );
    }
    match output {
        None if !any => Ok(Command::Demo(settings)),
        Some(_) if !any => Err(UsageError("--output is of no use without a URL".to_owned())),
        output => {
            let output = output.unwrap_or_else(|| PathBuf::from("."));
            Ok(Command::Download { urls, output, settings })
        }
    }
}

fn number<T: FromStr<Err: fmt::Display>>(option: &str, value: &OsString) -> Result<T, UsageError> {
    let text = value.to_string_lossy();
    text.parse().map_err(|error| UsageError(format!("{option} {text}: {error}")))
}

fn timeout(seconds: f64) -> Result<Duration, UsageError> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) if !timeout.is_zero() => Ok(timeout),
        Ok(_) => Err(UsageError(format!("--timeout {seconds}: no time for anything"))),
        Err(error) => Err(UsageError(format!("--timeout {seconds}: {error}"))),
    }
}

/// The lines of a file that are neither empty nor start with `#`.
fn read(file: &Path, stdin: &mut Option<impl Read>) -> io::Result<Vec<String>> {
    let source: Box<dyn Read + '_> = if file == Path::new("-") {
        Box::new(stdin.take().ok_or_else(|| io::Error::other("it was read already"))?)
    } else {
        Box::new(File::open(file)?)
    };
    let mut urls = Vec::new();
    for line in BufReader::new(source).lines() {
        let line = line?;
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            urls.push(line.to_owned());
        }
    }
    Ok(urls)
}
