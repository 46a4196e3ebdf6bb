//! `ensemble up --detach`: the supervisor in the background.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::Context;
use super::up::{Arguments, welcome};
use crate::output::LogFile;
use crate::state::{Folder, Phase, State};
use crate::supervisor::OWN_NAME;

/// How long to wait for health when nothing else is said, in seconds.
pub(crate) const PATIENCE_S: u64 = 60;
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// Starts this command again in the background and waits until all services are healthy.
///
/// # Errors
///
/// It cannot start, it ended, or the services are not healthy in time: then it still runs.
pub(crate) async fn run(
    arguments: &Arguments,
    context: &Context,
    folder: &Folder,
) -> Result<ExitCode> {
    let started = Instant::now();
    let log = folder.log(OWN_NAME);
    drop(LogFile::open(log.clone())?);
    let mut output = OpenOptions::new().append(true).open(&log)?;
    let before = output.metadata()?.len();
    let errors = output.try_clone()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(again(arguments, context))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(errors)
        .spawn()
        .context("cannot start the supervisor")?;
    output.flush()?;
    let until = started + Duration::from_secs(arguments.timeout);
    loop {
        if let Some(status) = child.try_wait()? {
            let log = fs::read(&log).unwrap_or_default();
            let said = log.get(usize::try_from(before)?..).unwrap_or_default();
            bail!(reason(&String::from_utf8_lossy(said)).unwrap_or_else(|| status.to_string()));
        }
        if let Some(state) = state_of(folder, &child)? {
            if state.all_healthy() {
                let text = welcome(&state, started.elapsed(), &folder.logs(), context.palette);
                writeln!(io::stdout(), "{text}\n`ensemble down` stops it")?;
                return Ok(ExitCode::SUCCESS);
            }
            if Instant::now() >= until {
                return Err(missing(&state, arguments.timeout));
            }
        } else if Instant::now() >= until {
            bail!("the supervisor says nothing: {} may tell why", log.display());
        }
        sleep(LOOK).await;
    }
}

/// The state that the supervisor which we have started has written.
fn state_of(folder: &Folder, child: &Child) -> Result<Option<State>> {
    Ok(folder.read()?.filter(|state| Some(state.pid) == child.id()))
}

/// The arguments with which this command runs in the background.
fn again(arguments: &Arguments, context: &Context) -> Vec<OsString> {
    let mut again: Vec<OsString> = Vec::new();
    if let Some(file) = &context.file {
        again.extend(["--file".into(), file.into()]);
    }
    again.extend(["up".into(), "--background".into()]);
    if let Some(host) = arguments.host {
        again.extend(["--host".into(), host.to_string().into()]);
    }
    if let Some(certs) = &arguments.certs {
        again.extend(["--certs".into(), certs.into()]);
    }
    if arguments.tls {
        again.push("--tls".into());
    }
    again.push("--".into());
    again.extend(arguments.profiles.iter().map(Into::into));
    again
}

/// Why the supervisor ended, in its own words.
fn reason(said: &str) -> Option<String> {
    let line = said.lines().rev().find_map(|line| line.strip_prefix("ensemble: "))?;
    Some(line.to_owned())
}

fn missing(state: &State, seconds: u64) -> anyhow::Error {
    let missing = state.services.iter().filter(|service| service.state != Phase::Healthy);
    let list: Vec<_> =
        missing.map(|service| format!("{} ({})", service.service, service.state.name())).collect();
    anyhow!(
        "not healthy after {seconds} s: {}; `ensemble logs` may tell why, `ensemble down` stops it",
        list.join(", ")
    )
}
