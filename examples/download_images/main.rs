//! Downloads many images with a pool of threads: the first program that people write with Python's
//! `concurrent.futures`, with what a real one needs around it.
//!
//! ```python
//! def download_image(img_url):
//!     img_bytes = requests.get(img_url).content
//!     img_name = img_url.split('/')[3]
//!     img_name = f'{img_name}.jpg'
//!     with open(img_name, 'wb') as img_file:
//!         img_file.write(img_bytes)
//!         print(f'{img_name} was downloaded')
//!
//! with concurrent.futures.ThreadPoolExecutor() as executor:
//!     executor.map(download_image, img_urls)
//! ```
//!
//! Given URLs, this downloads them, reports each failure and goes on. Without any, it downloads from a server of its
//! own and shows how much faster the pool is than one download after the other:
//!
//! ```console
//! $ cargo run --release --example download_images
//! $ cargo run --release --example download_images -- --jobs 32
//! $ cargo run --release --example download_images -- --output images https://images.unsplash.com/photo-1516117172878-fd2c41f4a759
//! ```
//!
//! Where to look: `batch` has all the futures, `download` is what one task does, `interrupt` ends it early, and `names`
//! chooses the files. `demo`, `server` and `pictures` are the self-contained mode; `args` and `console` talk to the user.

mod args;
mod batch;
mod console;
mod demo;
mod download;
mod interrupt;
mod names;
mod pictures;
mod server;
#[cfg(test)]
mod testing;

use std::{error::Error, fs, io, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use concurrent_futures::ThreadPoolExecutor;

use crate::{
    args::{Command, Settings},
    batch::Summary,
    console::Console,
    download::{Client, Route},
    interrupt::Interrupt,
};

/// Some download failed.
const FAILED: u8 = 1;
/// The command line made no sense, and nothing was tried.
const MISUSED: u8 = 2;
/// What shells report for a program that Ctrl-C ended: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1), io::stdin()) {
        Ok(command) => command,
        Err(error) => {
            console::complain(&error);
            return ExitCode::from(MISUSED);
        }
    };
    let done = match command {
        Command::Help => {
            console::say(&args::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo(settings) => demonstrate(&settings),
        Command::Download { urls, output, settings } => download(&urls, output, &settings),
    };
    done.unwrap_or_else(|error| {
        console::complain(&format_args!("download_images: {}", batch::chain(&*error)));
        ExitCode::from(FAILED)
    })
}

fn download(
    urls: &[String],
    output: PathBuf,
    settings: &Settings,
) -> Result<ExitCode, Box<dyn Error>> {
    fs::create_dir_all(&output)
        .map_err(|error| format!("cannot create {}: {error}", output.display()))?;
    let pool = pool(settings)?;
    let client = Client::new(Route::Environment, settings.timeout, pool.max_workers());
    let interrupt = Interrupt::on_ctrl_c(&pool, &client)?;
    let downloader = client.into_directory(output);

    let start = Instant::now();
    let console = Console::new("downloading", urls.len());
    let summary = batch::download_all(
        &pool,
        names::plan(urls),
        move |download| downloader.fetch(download),
        |url, outcome| console.show(url, &outcome),
    );
    console.finish();
    console::say(&format_args!("{summary} in {:.2} s", start.elapsed().as_secs_f64()));

    Ok(match summary {
        _ if interrupt.pressed() => ExitCode::from(INTERRUPTED),
        Summary { failed: 0, .. } => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    })
}

fn demonstrate(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let pool = pool(settings)?;
    let client = Client::new(Route::Direct, settings.timeout, pool.max_workers());
    let interrupt = Interrupt::on_ctrl_c(&pool, &client)?;
    match demo::Demo::default().run(&pool, &client) {
        Ok(report) => {
            console::say(&report);
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if interrupt.pressed() => Ok(ExitCode::from(INTERRUPTED)),
        Err(error) => Err(error),
    }
}

/// The pool that everything runs on, shared with the handler of Ctrl-C and with nobody else.
fn pool(settings: &Settings) -> Result<Arc<ThreadPoolExecutor>, Box<dyn Error>> {
    let mut builder = ThreadPoolExecutor::builder().thread_name_prefix("download");
    if let Some(jobs) = settings.jobs {
        builder = builder.max_workers(jobs.get());
    }
    Ok(Arc::new(builder.build()?))
}
