//! How a benchmark runs: until it is done, told to stop, or out of time.

use std::fmt::Debug;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than a whole run takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// Runs a program on one thread, and says why it fails.
pub(crate) fn run(name: &str, work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("starting a runtime").and_then(|runtime| runtime.block_on(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives up at a signal or the deadline: what was started is then ended on the way out.
pub(crate) async fn uninterrupted<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to stop"),
        _ = hang_up.recv() => bail!("the terminal is gone"),
        () = tokio::time::sleep(DEADLINE) => bail!("not done after {DEADLINE:?}"),
    }
}

/// What is measured: these parts, or all if none is named. Each is told when its turn comes.
pub(crate) fn turns<P>(only: &[P]) -> impl Iterator<Item = &'static P>
where
    P: ValueEnum + PartialEq + Debug + 'static,
{
    let all = P::value_variants().iter();
    let chosen = all.filter(move |part| only.is_empty() || only.contains(part));
    chosen.inspect(|part| eprintln!("measuring {part:?} …"))
}
