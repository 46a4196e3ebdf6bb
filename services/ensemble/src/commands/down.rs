//! `ensemble down`: stop what runs.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::clock::short;

/// How often to look whether it has stopped.
const LOOK: Duration = Duration::from_millis(20);

/// Stop what runs, and wait until it has stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble down
  ensemble down --timeout 60")]
pub(crate) struct Arguments {
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

/// Stops it.
///
/// # Errors
///
/// It does not stop in time.
pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<ExitCode> {
    let folder = context.folder()?;
    let mut out = io::stdout();
    // The lock is held, so the number in it is that of a supervisor which lives.
    let Some(pid) = folder.holder()? else {
        writeln!(out, "nothing runs here")?;
        return Ok(ExitCode::SUCCESS);
    };
    let started = Instant::now();
    let number = Pid::from_raw(pid.cast_signed()).context("the lock names no process")?;
    kill_process(number, Signal::TERM).with_context(|| format!("cannot stop process {pid}"))?;
    while folder.holder()? == Some(pid) {
        if started.elapsed() >= Duration::from_secs(arguments.timeout) {
            bail!(
                "process {pid} has not stopped after {} s: `kill -9 {pid}` ends it, and its \
                 services with it",
                arguments.timeout
            );
        }
        sleep(LOOK).await;
    }
    writeln!(out, "stopped after {}", short(started.elapsed()))?;
    Ok(ExitCode::SUCCESS)
}
