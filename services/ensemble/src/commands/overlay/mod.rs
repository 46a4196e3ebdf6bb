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
    /// Id, service and `host:port`, in the order of the ids.
    known: Vec<(String, String, String)>,
    connector: Connector,
    /// Whether a topology runs here.
    running: bool,
}

impl Processes {
    /// Those of the topology that runs here, or else those of the compose file on loopback.
    fn of(context: &Context) -> Result<Self> {
        let state = context.folder()?.running()?;
        let running = state.is_some();
        let (mut known, certs): (Vec<_>, _) = match state {
            Some(state) => {
                let ours = |role: &str| overlay::ROLES.iter().any(|ours| ours.name == role);
                let services = state.services.into_iter().filter(|service| ours(&service.role));
                let known = services.filter_map(|service| {
                    Some((service.id?, service.service, service.address.to_string()))
                });
                (known.collect(), state.client_certs)
            }
            None => {
                let selection =
                    Selection { profiles: vec!["overlay".into()], ..Selection::default() };
                let plan = context.topology()?.plan(&selection, &context.environment)?;
                let known = plan.units.iter().filter_map(|unit| {
                    Some((unit.id()?.to_owned(), unit.service.clone(), unit.address.to_string()))
                });
                (known.collect(), None)
            }
        };
        known.sort();
        let tls = certs.map(|folder| Tls::read(&folder)).transpose()?;
        Ok(Self { known, connector: Connector::new(tls), running })
    }

    /// The address of a process, which may be given as its service or as an address.
    fn address(&self, process: &str) -> Result<String> {
        let named =
            |(id, service, _): &&(String, String, String)| id == process || service == process;
        if let Some((_, _, address)) = self.known.iter().find(named) {
            return Ok(address.clone());
        }
        ensure!(!process.contains("//"), "{process}: give HOST:PORT, without a scheme");
        if process.contains(':') {
            return Ok(process.into());
        }
        let ids: Vec<_> = self.known.iter().map(|(id, _, _)| id.as_str()).collect();
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
