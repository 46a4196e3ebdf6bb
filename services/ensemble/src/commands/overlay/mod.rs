//! `ensemble overlay`: speaks with processes A to F.

mod check;
mod files;
mod forward;
mod system_test;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use chassis::Tls;
use chassis::channel::Connector;
use clap::{Args, Subcommand};
use overlay::client::Client;

use super::Context;
use crate::state::Known;
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
    /// In the order of the ids.
    known: Vec<Known>,
    connector: Connector,
    /// Whether a topology runs here.
    running: bool,
}

impl Processes {
    /// Those of the topology that runs here, or else those of the compose file on loopback.
    fn of(context: &Context) -> Result<Self> {
        let state = context.folder()?.running()?;
        let running = state.is_some();
        let (known, certs) = match state {
            Some(state) => (state.known(overlay::ROLES), state.client_certs),
            None => {
                let selection =
                    Selection { profiles: vec!["overlay".into()], ..Selection::default() };
                let plan = context.topology()?.plan(&selection, &context.environment)?;
                let known = plan.units.iter().filter_map(|unit| {
                    let (id, service) = (unit.id()?.to_owned(), unit.service.clone());
                    Some(Known { id, service, address: unit.address.to_string() })
                });
                let mut known: Vec<_> = known.collect();
                known.sort();
                (known, None)
            }
        };
        let tls = certs.map(|folder| Tls::read(&folder)).transpose()?;
        Ok(Self { known, connector: Connector::new(tls), running })
    }

    /// The address of a process, which may be given as its service or as an address.
    fn address(&self, process: &str) -> Result<String> {
        if let Some(known) = Known::find(&self.known, process) {
            return Ok(known.address.clone());
        }
        ensure!(!process.contains("//"), "{process}: give HOST:PORT, without a scheme");
        if process.contains(':') {
            return Ok(process.into());
        }
        let ids: Vec<_> = self.known.iter().map(|known| known.id.as_str()).collect();
        Err(anyhow!("there is no process {process}; there are {}", ids.join(", ")))
    }

    async fn connect(&self, process: &str) -> Result<Client> {
        let address = self.address(process)?;
        let client = Client::connect(&self.connector, &address, PROMPT).await;
        let remedy =
            if self.running { "how it is: `ensemble ps`" } else { "start it: `ensemble up`" };
        client.map_err(|error| anyhow!("{process} cannot be reached ({remedy}): {error:#}"))
    }
}
