//! `ensemble chord`: speaks with the hash ring.

mod check;
mod circle;
mod crawl;
mod info;
mod invariant;
mod keys;
mod ring;
mod shell;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use chassis::channel::Connector;
use chord::client::{Client, Error, Node, Options, Registry};
use clap::{Args, Subcommand};

use self::crawl::Survey;
use super::Context;
use super::client::{ClientOptions, Output, explained};
use crate::state::Known;

/// Where they are when no topology runs and nobody says where.
const DEFAULT_REGISTRY: &str = "127.0.0.1:50080";
const DEFAULTS: [&str; 6] = [
    "127.0.0.1:50081",
    "127.0.0.1:50082",
    "127.0.0.1:50083",
    "127.0.0.1:50084",
    "127.0.0.1:50085",
    "127.0.0.1:50086",
];
/// How long the registry, or the state of a node, may take.
const PROMPT: Duration = Duration::from_secs(2);
/// The most nodes of a registry that keys are asked of.
const ENDPOINTS: usize = 16;
/// What a condition that does not hold exits with.
const UNMET: u8 = 3;

/// Use the hash ring, and look at its nodes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ensemble chord ring
  ensemble chord save Kazan 'capital of Tatarstan'
  ensemble chord find Kazan --path
  ensemble chord check --within 30
  ensemble chord --endpoints 10.0.0.1:50081,10.0.0.2:50082 ring

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the key of save exists, that of find or remove does
not, or a check does not hold")]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command may be told.
#[derive(Debug, Args)]
struct Common {
    /// Where nodes are, as HOST:PORT,… [default: those of --registry, what `ensemble up` runs here,
    /// or 127.0.0.1:50081 to 50086]
    #[arg(long, global = true, value_name = "ADDRESSES", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Where the registry is, as HOST:PORT [default: what `ensemble up` runs here, what the nodes
    /// of --endpoints say, or 127.0.0.1:50080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    registry: Option<String>,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(info::Arguments),
    Fingers(info::Fingers),
    Save(keys::Save),
    Find(keys::Find),
    Remove(keys::Remove),
    Locate(keys::Locate),
    Ring(ring::Arguments),
    Check(check::Arguments),
    Quit(info::Quit),
    Shell(shell::Arguments),
}

/// Runs the command.
///
/// # Errors
///
/// What the user is told.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<ExitCode> {
    let ring = Ring::of(&arguments.options, context).await?;
    match arguments.command {
        Command::Info(_) => info::run(&ring).await,
        Command::Fingers(arguments) => info::fingers(&arguments, &ring).await,
        Command::Save(arguments) => keys::save(&arguments, &ring).await,
        Command::Find(arguments) => keys::find(&arguments, &ring).await,
        Command::Remove(arguments) => keys::remove(&arguments, &ring).await,
        Command::Locate(arguments) => keys::locate(&arguments, &ring).await,
        Command::Ring(arguments) => ring::run(&arguments, &ring).await,
        Command::Check(arguments) => check::run(&arguments, &ring).await,
        Command::Quit(arguments) => info::quit(&arguments, &ring).await,
        Command::Shell(_) => shell::run(&ring).await,
    }
}

/// The ring, as it is known here.
struct Ring {
    connector: Connector,
    client: Client,
    options: Options,
    /// Where its registry is; nothing when its nodes are to be asked.
    registry: Option<String>,
    /// Whether the user says that the registry is there.
    registry_given: bool,
    /// The nodes that run here.
    known: Vec<Known>,
    /// Where the user says that nodes are.
    given: Vec<String>,
    output: Output,
}

impl Ring {
    /// The nodes that the user names, those of the registry that the user names, those of the
    /// topology that runs here, or those that are usual.
    async fn of(options: &Common, context: &Context) -> Result<Self> {
        let deadline = options.client.deadline()?;
        let patience = Options { deadline, ..Options::default() };
        let state = context.folder()?.running()?;
        let running = |role| state.as_ref().map(|state| state.known(&[role])).unwrap_or_default();
        let (given, known) = (options.endpoints.clone(), running(&chord::NODE));
        let mut registry = options.registry.clone();
        if given.is_empty() {
            let own = running(&chord::REGISTRY).into_iter().next().map(|known| known.address);
            let usual = known.is_empty().then(|| DEFAULT_REGISTRY.to_owned());
            registry = registry.or(own).or(usual);
        }
        let connector = Connector::new(options.client.tls(state.as_ref())?);
        let mut endpoints = given.clone();
        if let Some(address) = &registry {
            let asked = Registry::new(connector.clone(), address)
                .map_err(|error| anyhow!("--registry: {error}"))?;
            if options.registry.is_some() && given.is_empty() {
                // One that does not answer may be why somebody looks at the ring.
                let info = asked.with_deadline(deadline.min(PROMPT)).info().await;
                let nodes = info.map(|info| info.nodes).unwrap_or_default();
                endpoints.extend(nodes.iter().take(ENDPOINTS).map(|it| it.address.to_string()));
            }
        }
        if endpoints.is_empty() {
            endpoints.extend(known.iter().map(|known| known.address.clone()));
        }
        if endpoints.is_empty() {
            endpoints.extend(DEFAULTS.map(String::from));
        }
        let client = Client::new(connector.clone(), &endpoints, patience)
            .map_err(|error| anyhow!("--endpoints: {error}"))?;
        Ok(Self {
            connector,
            client,
            options: patience,
            registry,
            registry_given: options.registry.is_some(),
            known,
            given,
            output: options.client.output(context.palette),
        })
    }

    /// The node at this address.
    fn node_at(&self, address: &str) -> Result<Node, Error> {
        Node::new(self.connector.clone(), address, self.options)
    }

    /// The registry at this address.
    fn registry_at(&self, address: &str) -> Result<Registry, Error> {
        let registry = Registry::new(self.connector.clone(), address)?;
        Ok(registry.with_deadline(self.options.deadline))
    }

    /// A node by its id, its service or its address.
    async fn node(&self, name: &str) -> Result<Node> {
        if name.contains(':') {
            return Ok(self.node_at(name)?);
        }
        if let Some(known) = Known::find(&self.known, name) {
            return Ok(self.node_at(&known.address)?);
        }
        let survey = Survey::take(self).await;
        let ids = || survey.states().map(|(_, state)| state.node.id.to_string());
        let found = survey.states().find(|(_, state)| state.node.id.to_string() == name);
        if let Some((at, _)) = found {
            return Ok(self.node_at(at)?);
        }
        let there = match ids().next() {
            None => "no node answers that would know; give HOST:PORT".to_owned(),
            Some(_) => format!("there are {}", text::listed(ids())),
        };
        Err(anyhow!("there is no node {name}; {there}"))
    }

    /// What the user is told of an error.
    fn explain(&self, what: &str, error: &Error) -> anyhow::Error {
        let runs_nowhere = self.given.is_empty() && self.known.is_empty() && !self.registry_given;
        let remedy = match error {
            Error::Unavailable(_) if runs_nowhere => {
                "nothing was done; start it: `ensemble up chord`"
            }
            Error::Unavailable(_)
            | Error::Unknown(_)
            | Error::Invalid(_)
            | Error::Full(_)
            | Error::AddressTaken(_)
            | Error::IdTaken(_)
            | Error::NoNode(_)
            | Error::Refused(_) => error.remedy(),
        };
        explained(what, error, remedy)
    }
}
