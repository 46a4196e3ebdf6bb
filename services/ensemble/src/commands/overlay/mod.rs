//! `ensemble overlay`: speaks with processes A to F.

mod check;
mod files;
mod forward;
mod system_test;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chassis::Tls;
use chassis::channel::Connector;
use clap::{Args, Subcommand};
use overlay::client::Client;

use super::Context;
use crate::nearest::nearest;
use crate::topology::Selection;

/// How long a connection, or the state of a process, may take.
const PROMPT: Duration = Duration::from_secs(2);

/// Send requests through the overlay of processes A to F, and look at it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Forward(forward::Arguments),
    Check(check::Arguments),
    Test(system_test::Arguments),
    Lint(files::Lint),
    Graph(files::Graph),
}

/// Runs the command.
///
/// # Errors
///
/// What the user is told.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<ExitCode> {
    match arguments.command {
        Command::Forward(arguments) => forward::run(arguments, &Processes::of(context)?).await,
        Command::Check(arguments) => {
            check::run(&arguments, &Processes::of(context)?, context.palette).await
        }
        Command::Test(arguments) => system_test::run(&arguments, &Processes::of(context)?).await,
        Command::Lint(arguments) => files::lint(&arguments),
        Command::Graph(arguments) => files::graph(&arguments),
    }
}

/// The processes that are known here, and how to reach them.
struct Processes {
    /// Id and `host:port`, in the order of the ids.
    addresses: Vec<(String, String)>,
    connector: Connector,
}

impl Processes {
    /// Those of the topology that runs here, or else those of the compose file on loopback.
    fn of(context: &Context) -> Result<Self> {
        let running = context.folder()?.running()?;
        let mut selection = Selection::default();
        if let Some(state) = &running {
            selection.profiles.clone_from(&state.profiles);
            selection.host = state.host;
        } else {
            selection.profiles.push("overlay".into());
        }
        let plan = context.topology()?.plan(&selection, &context.environment)?;
        let mut addresses: Vec<_> = (plan.units.iter())
            .filter_map(|unit| {
                Some((unit.environment.get("OVERLAY_ID")?.clone(), unit.address.to_string()))
            })
            .collect();
        addresses.sort();
        let certs = running.and_then(|state| state.client_certs);
        let tls = certs.map(|folder| Tls::read(&folder)).transpose()?;
        Ok(Self { addresses, connector: Connector::new(tls) })
    }

    /// The address of a process, which may be given as an address.
    fn address(&self, process: &str) -> Result<String> {
        if let Some((_, address)) = self.addresses.iter().find(|(id, _)| id == process) {
            return Ok(address.clone());
        }
        if process.contains(':') {
            return Ok(process.into());
        }
        let names = self.addresses.iter().map(|(id, _)| id.as_str());
        let hint = nearest(process, names).suggestion("ensemble overlay check");
        Err(anyhow!("there is no process {process}{hint}"))
    }

    async fn connect(&self, process: &str) -> Result<Client> {
        let address = self.address(process)?;
        Client::connect(&self.connector, &address, PROMPT)
            .await
            .with_context(|| format!("process {process}; does it run? `ensemble up` starts it"))
    }
}
