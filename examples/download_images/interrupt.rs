//! Ctrl-C: ends the program at once and leaves nothing half-written, which takes more than letting it be killed.

use std::{
    process,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use concurrent_futures::{Shutdown, ThreadPoolExecutor};

use crate::{INTERRUPTED, console, download::Client};

/// How long running downloads may take to clean up. They only have to notice that their connection is gone; one that
/// has none yet may not notice, and has written nothing either.
const GRACE: Duration = Duration::from_secs(2);

/// Whether Ctrl-C was pressed.
pub(crate) struct Interrupt {
    pressed: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on, Ctrl-C cancels what `pool` has not started and makes what it has started fail.
    pub(crate) fn on_ctrl_c(
        pool: &Arc<ThreadPoolExecutor>,
        client: &Client,
    ) -> Result<Self, ctrlc::Error> {
        let pressed = Arc::new(AtomicBool::new(false));
        let handler = {
            // The handler is there until the program ends, and must not keep the pool that long.
            let (pressed, pool, client) =
                (Arc::clone(&pressed), Arc::downgrade(pool), client.clone());
            move || stop(&pressed, &pool, &client)
        };
        ctrlc::set_handler(handler)?;
        Ok(Self { pressed })
    }

    pub(crate) fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }
}

fn stop(pressed: &AtomicBool, pool: &Weak<ThreadPoolExecutor>, client: &Client) {
    // Relaxed: it only chooses an exit code, and whoever reads it was woken by what follows.
    pressed.store(true, Ordering::Relaxed);
    let Some(pool) = pool.upgrade() else { return };
    // The queue first, or the workers would go on to downloads that can only fail.
    let cancelled = pool.shutdown_with(Shutdown::no_wait().cancel_futures());
    client.hang_up();
    if let Err(error) = cancelled.and_then(|()| pool.shutdown_with(Shutdown::timeout(GRACE))) {
        console::complain(&format_args!("download_images: {error}"));
        process::exit(INTERRUPTED.into());
    }
}
