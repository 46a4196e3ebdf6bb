//! When to stop: a signal, or the end of standard input for a process that is tied to its parent.
//! A second signal ends the process at once.

use std::io::Read as _;
use std::{io, process, thread};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// Tells everyone that it is time to stop. Clones share one fate. The default is one that nobody
/// requests but the role itself.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Returns when it is time to stop.
    pub async fn requested(&mut self) {
        // An error is impossible: this sender lives.
        let _ = self.0.subscribe().wait_for(|&requested| requested).await;
    }

    /// It is time to stop. False if it was already.
    pub fn request(&self) -> bool {
        !self.0.send_replace(true)
    }

    /// Whether it is time to stop.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Listens for SIGINT, SIGTERM and, when `tied`, for the end of standard input.
    pub(crate) fn listen(tied: bool) -> anyhow::Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let (signalled, input) = (stop.clone(), stop.clone());
        tokio::spawn(async move {
            for signals in 1.. {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                signalled.request();
                if signals > 1 {
                    warn!(signal = name, "told to stop again: ending at once");
                    process::exit(130);
                }
                info!(signal = name, "told to stop");
            }
        });
        if tied {
            // A thread, since a task that reads standard input would keep the runtime from ending.
            thread::Builder::new().name("tied".into()).spawn(move || {
                let mut stdin = io::stdin().lock();
                let mut buffer = [0; 64];
                while !matches!(stdin.read(&mut buffer), Ok(0) | Err(_)) {}
                if input.request() {
                    info!("standard input has closed: the parent is gone, stopping");
                }
            })?;
        }
        Ok(stop)
    }
}
