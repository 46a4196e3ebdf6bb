//! `ensemble up`: run a topology.

use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::{Context, detach};
use crate::child::Launch;
use crate::clock::short;
use crate::paint::{Colour, Palette, Table};
use crate::preflight;
use crate::state::{ServiceState, State};
use crate::supervisor::Supervisor;
use crate::topology::{Selection, Topology};

/// How long processes that lost their supervisor may take to give back their ports.
const LEFT_BEHIND: Duration = Duration::from_secs(12);

/// Run a topology until Ctrl-C
///
/// Every service of the profiles runs as a child process at 127.0.0.1: its addresses come from
/// compose.yaml, where hosts and names of services become loopback. What dies is started again by
/// its policy. Nothing outlives this command, however it ends.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:
  ensemble up                             the default profile (COMPOSE_PROFILES)
  ensemble up overlay --detach            in the background, once it is healthy
  OVERLAY_A_PORT=40051 ensemble up        one port moved
  ensemble certs && ensemble up --tls     with mutual TLS
  HOST_1=10.0.0.1 HOST_2=10.0.0.2 ensemble up --host 1
                                          one host's half; the other runs --host 2 elsewhere")]
pub(crate) struct Arguments {
    /// The profiles of compose.yaml to run [default: $COMPOSE_PROFILES]
    #[arg(value_name = "PROFILE")]
    pub(crate) profiles: Vec<String>,
    /// Only the processes of this host, at the addresses that compose.yaml gives (HOST_1, …)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) host: Option<u32>,
    /// Run in the background, and return when all are healthy
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Give up waiting for health after so many seconds (with --detach)
    #[arg(long, value_name = "SECONDS", default_value_t = detach::PATIENCE_S)]
    pub(crate) timeout: u64,
    /// Speak TLS with the certificates in the folder `certs` beside compose.yaml
    #[arg(long)]
    pub(crate) tls: bool,
    /// Speak TLS with the certificates in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) certs: Option<PathBuf>,
    /// This process is the one in the background.
    #[arg(long, hide = true)]
    pub(crate) background: bool,
}

/// Runs it.
///
/// # Errors
///
/// What must be put right before it can run, or what failed while it ran.
pub(crate) async fn run(arguments: Arguments, context: Context) -> Result<ExitCode> {
    let started = Instant::now();
    let topology = context.topology()?;
    let certs = certs(&arguments, &topology)?;
    let profiles = arguments.profiles.clone();
    let selection = Selection { profiles, host: arguments.host, certs: certs.clone() };
    topology.write_if_embedded()?;
    let plan = topology.plan(&selection, &context.environment)?;
    let folder = context.folder()?;
    folder.make()?;
    if arguments.background {
        // Ctrl-C in the terminal that started us is not for us.
        rustix::process::setsid().context("cannot leave the terminal's session")?;
    }
    let lock = folder.lock().await?;
    if let Some(number) = arguments.host {
        preflight::host(number, topology.host_address(number)?)?;
    }
    // A state without a supervisor: it died, and its children may be stopping still.
    let patience = if folder.read()?.is_some() { LEFT_BEHIND } else { Duration::ZERO };
    preflight::check(&plan, certs.as_deref(), patience).await?;
    if arguments.detach {
        drop(lock);
        return detach::run(&arguments, &context, &folder).await;
    }
    let launch = Launch {
        executable: std::env::current_exe().context("cannot tell what this binary is")?,
        folder: topology.folder().to_owned(),
    };
    let supervisor = Supervisor {
        client_certs: certs.map(|certs| certs.join(super::certs::CLIENT)),
        plan,
        host: arguments.host,
        folder,
        lock,
        launch,
        palette: context.palette,
        background: arguments.background,
        started,
        welcome,
    };
    supervisor.run().await
}

/// The folder of the certificates, when TLS is wanted.
fn certs(arguments: &Arguments, topology: &Topology) -> Result<Option<PathBuf>> {
    let folder = match &arguments.certs {
        Some(folder) => folder.clone(),
        None if arguments.tls => topology.home().join(super::certs::FOLDER),
        None => return Ok(None),
    };
    let folder = absolute(&folder).with_context(|| format!("folder {}", folder.display()))?;
    Ok(Some(folder))
}

/// What the user sees when all are healthy: what is where, and what to try next.
pub(crate) fn welcome(state: &State, took: Duration, logs: &Path, palette: Palette) -> String {
    let mut table = Table::new(palette, ["SERVICE", "ROLE", "ADDRESS", "PID"]);
    for ServiceState { service, role, address, pid, .. } in &state.services {
        let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        table.row([service.into(), role.into(), address.into(), pid.into()]);
    }
    let count = state.services.len();
    let profiles = state.profiles.join(", ");
    let what = if profiles.is_empty() { profiles } else { format!("{profiles}: ") };
    let headline = format!("{what}{count} services are healthy after {}", short(took));
    let headline = palette.paint(Colour::Green, headline);
    let page = page(state).map_or_else(String::new, |page| {
        format!("Console: {}\n", palette.paint(Colour::Green, page))
    });
    let logs = logs.display();
    let mut next = Table::new(palette, ["Try next:", ""]);
    for (command, effect) in suggestions(state) {
        next.row([format!("  {command}").into(), effect.into()]);
    }
    format!("\n{headline}\n\n{table}\n{page}Logs: {logs}\n{next}")
}

/// Where a browser sees it all.
fn page(state: &State) -> Option<String> {
    let console = state.services.iter().find(|service| service.role == "console")?;
    let scheme = if state.client_certs.is_some() { "https" } else { "http" };
    Some(format!("{scheme}://{}/", console.address))
}

/// Three commands to try next, with what they do.
fn suggestions(state: &State) -> Vec<(String, String)> {
    let program = std::env::args().next().unwrap_or_else(|| "ensemble".to_owned());
    let mut suggestions = Vec::new();
    let mut suggest = |command: String, effect: String| suggestions.push((command, effect));
    let has = |role: &str| state.services.iter().any(|service| service.role == role);
    if has("overlay-leader") {
        suggest(format!("{program} overlay forward hello"), "a request through A to F".into());
    } else if has("raft-node") {
        let command = format!("{program} raft status");
        suggest(command, "who leads the replicated store, and how far its nodes are".into());
    } else if has("chord-node") {
        suggest(format!("{program} chord ring"), "who is where on the hash ring".into());
    } else if let Some(ServiceState { service, .. }) = state.services.first() {
        let command = format!("{program} logs {service} --follow");
        suggest(command, "what one of them says".into());
    }
    suggest(format!("{program} ps"), "what runs, where, and how it is".into());
    if let Some(ServiceState { service, pid: Some(pid), .. }) = state.services.last() {
        suggest(format!("kill -9 {pid}"), format!("{service} dies, and comes back"));
    }
    suggestions
}
