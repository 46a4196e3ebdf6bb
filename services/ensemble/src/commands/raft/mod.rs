//! `ensemble raft`: speaks with the replicated store.

mod keys;
mod leases;
mod members;
mod shell;
mod status;
mod text;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use chassis::channel::Connector;
use clap::{Args, Subcommand};
use raft::client::{Client, Error, Node, Options};
use serde_json::json;

use super::Context;
use super::client::{ClientOptions, Output, explained};
use crate::state::Known;

/// Where the nodes are when no topology runs and nobody says where.
const DEFAULTS: [&str; 5] =
    ["127.0.0.1:50071", "127.0.0.1:50072", "127.0.0.1:50073", "127.0.0.1:50074", "127.0.0.1:50075"];
/// How long the state of a node may take.
const PROMPT: Duration = Duration::from_secs(2);
/// What a condition that does not hold exits with.
const UNMET: u8 = 3;

/// Use the replicated store, and look at its nodes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ensemble raft status
  ensemble raft put greeting hello
  ensemble raft get greeting
  ensemble raft watch
  ensemble raft --endpoints 10.0.0.1:50071,10.0.0.2:50071 leader

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the condition of put, delete or cas does not hold")]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command may be told.
#[derive(Debug, Args)]
struct Common {
    /// Where nodes are, as HOST:PORT,… [default: what `ensemble up` runs here, or
    /// 127.0.0.1:50071 to 50075]
    #[arg(long, global = true, value_name = "ADDRESSES", value_delimiter = ',')]
    endpoints: Vec<String>,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    Leader(status::Leader),
    Put(keys::Put),
    Get(keys::Get),
    Delete(keys::Delete),
    Cas(keys::Cas),
    Range(keys::Range),
    Watch(watch::Arguments),
    #[command(subcommand)]
    Lease(leases::Command),
    #[command(subcommand)]
    Member(members::Command),
    Transfer(members::Transfer),
    Snapshot(members::Snapshot),
    Suspend(members::Suspend),
    Shell(shell::Arguments),
}

/// Runs the command.
///
/// # Errors
///
/// What the user is told.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<ExitCode> {
    let cluster = Cluster::of(&arguments.options, context)?;
    match arguments.command {
        Command::Status(arguments) => status::run(&arguments, &cluster).await,
        Command::Leader(_) => status::leader(&cluster).await,
        Command::Put(arguments) => keys::put(&arguments, &cluster).await,
        Command::Get(arguments) => keys::get(&arguments, &cluster).await,
        Command::Delete(arguments) => keys::delete(&arguments, &cluster).await,
        Command::Cas(arguments) => keys::cas(&arguments, &cluster).await,
        Command::Range(arguments) => keys::range(&arguments, &cluster).await,
        Command::Watch(arguments) => watch::run(&arguments, &cluster).await,
        Command::Lease(command) => leases::run(&command, &cluster).await,
        Command::Member(command) => members::run(&command, &cluster).await,
        Command::Transfer(arguments) => members::transfer(&arguments, &cluster).await,
        Command::Snapshot(arguments) => members::snapshot(&arguments, &cluster).await,
        Command::Suspend(arguments) => members::suspend(&arguments, &cluster).await,
        Command::Shell(_) => shell::run(&cluster).await,
    }
}

/// The cluster, as it is known here.
struct Cluster {
    client: Client,
    /// What runs here.
    known: Vec<Known>,
    /// Where the user says that nodes are.
    given: Vec<String>,
    output: Output,
}

impl Cluster {
    /// The nodes that the user names, or those of the topology that runs here, or those that are
    /// usual.
    fn of(options: &Common, context: &Context) -> Result<Self> {
        let patience = Options { deadline: options.client.deadline()?, ..Options::default() };
        let state = context.folder()?.running()?;
        let known = state.as_ref().map(|state| state.known(raft::ROLES)).unwrap_or_default();
        let endpoints: Vec<String> = if !options.endpoints.is_empty() {
            options.endpoints.clone()
        } else if known.is_empty() {
            DEFAULTS.map(String::from).into()
        } else {
            known.iter().map(|known| known.address.clone()).collect()
        };
        let connector = Connector::new(options.client.tls(state.as_ref())?);
        let client = Client::new(connector, &endpoints, patience)
            .map_err(|error| anyhow!("--endpoints: {error}"))?;
        let (given, output) = (options.endpoints.clone(), options.client.output(context.palette));
        Ok(Self { client, known, given, output })
    }

    /// A node by its id, its service or its address.
    async fn node(&self, name: &str) -> Result<Node> {
        if name.contains(':') {
            return self.client.node(name).map_err(|error| anyhow!("{error}"));
        }
        if let Some(known) = Known::find(&self.known, name) {
            return self.client.node(&known.address).map_err(|error| anyhow!("{error}"));
        }
        let nodes = status::members_of(&self.client).await;
        if let Some(node) = nodes.iter().find(|node| node.id.to_string() == name) {
            return self.client.node(&node.address).map_err(|error| anyhow!("{error}"));
        }
        let ids: Vec<_> = nodes.iter().map(|node| node.id.to_string()).collect();
        let there = match ids.is_empty() {
            true => "no node answers that would know; give HOST:PORT".to_owned(),
            false => format!("there are {}", ids.join(", ")),
        };
        Err(anyhow!("there is no node {name}; {there}"))
    }

    /// What the user is told of an error.
    fn explain(&self, what: &str, error: &Error) -> anyhow::Error {
        let remedy = match error {
            Error::Unavailable(_) if self.given.is_empty() && self.known.is_empty() => {
                "nothing was done; start it: `ensemble up raft`"
            }
            Error::Unavailable(_)
            | Error::Unknown(_)
            | Error::Invalid(_)
            | Error::Full(_)
            | Error::Refused(_)
            | Error::NoLease(_)
            | Error::NoSession(_)
            | Error::Forgotten
            | Error::Compacted { .. } => error.remedy(),
        };
        explained(what, error, remedy)
    }
}

/// Prints nothing but that it is done.
fn done(cluster: &Cluster, text: &str) -> Result<ExitCode> {
    cluster.output.tell(text, &json!({ "done": true }))?;
    Ok(ExitCode::SUCCESS)
}
