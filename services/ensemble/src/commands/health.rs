//! `ensemble health`: who serves.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use chassis::health::{Status, check};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Context;
use crate::nearest::nearest;
use crate::paint::{Cell, Colour, Table};
use crate::topology::Selection;

/// How long a service may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Ask services whether they serve; exit with 1 when one does not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble health                          all that run here
  ensemble health overlay-a overlay-b
  ensemble health 10.0.0.2:50053 --tls-dir certs/client")]
pub(crate) struct Arguments {
    /// Names of services, or addresses as HOST:PORT [default: all that run here]
    #[arg(value_name = "SERVICE|ADDRESS")]
    targets: Vec<String>,
    /// The folder with tls.crt, tls.key and ca.crt to speak TLS with
    #[arg(long, value_name = "FOLDER")]
    tls_dir: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What a service answered.
pub(crate) enum Answer {
    Serving,
    NotServing,
    Unreachable(String),
}

impl Answer {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::Unreachable(_) => "unreachable",
        }
    }

    pub(crate) fn cell(&self) -> Cell {
        let colour = match self {
            Self::Serving => Colour::Green,
            Self::NotServing => Colour::Yellow,
            Self::Unreachable(_) => Colour::Red,
        };
        Cell::painted(self.name(), colour)
    }

    fn reason(&self) -> &str {
        match self {
            Self::Serving | Self::NotServing => "",
            Self::Unreachable(reason) => reason,
        }
    }
}

/// Asks and prints.
///
/// # Errors
///
/// A target is neither a service nor an address.
pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<ExitCode> {
    let known = Known::of(context)?;
    let mut targets = Vec::new();
    if arguments.targets.is_empty() {
        targets.clone_from(&known.services);
    }
    for target in &arguments.targets {
        targets.push((target.clone(), known.address(target).await?));
    }
    ensure!(!targets.is_empty(), "there is nobody to ask");
    let certs = arguments.tls_dir.as_deref().or(known.client_certs.as_deref());
    let answers = ask_all(targets.iter().map(|(_, address)| *address), certs).await;
    let mut out = io::stdout();
    if arguments.json {
        let all = targets.iter().zip(&answers).map(|((name, address), answer)| {
            json!({
                "service": name,
                "address": address,
                "health": answer.name(),
                "reason": answer.reason(),
            })
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&all.collect::<Vec<_>>())?)?;
    } else {
        let mut table = Table::new(context.palette, ["SERVICE", "ADDRESS", "HEALTH", ""]);
        for ((name, address), answer) in targets.iter().zip(&answers) {
            table.row([name.into(), address.into(), answer.cell(), answer.reason().into()]);
        }
        write!(out, "{table}")?;
    }
    let all_serve = answers.iter().all(|answer| matches!(answer, Answer::Serving));
    Ok(if all_serve { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The services whose addresses are known: those that run here, or else those of the default
/// profile.
struct Known {
    services: Vec<(String, SocketAddr)>,
    client_certs: Option<PathBuf>,
}

impl Known {
    fn of(context: &Context) -> Result<Self> {
        if let Some(state) = context.folder()?.running()? {
            let services =
                state.services.into_iter().map(|service| (service.service, service.address));
            return Ok(Self { services: services.collect(), client_certs: state.client_certs });
        }
        let plan = context.topology()?.plan(&Selection::default(), &context.environment)?;
        let services = plan.units.into_iter().map(|unit| (unit.service, unit.address));
        Ok(Self { services: services.collect(), client_certs: None })
    }

    async fn address(&self, target: &str) -> Result<SocketAddr> {
        if let Some((_, address)) = self.services.iter().find(|(name, _)| name == target) {
            return Ok(*address);
        }
        if !target.contains(':') {
            let names = self.services.iter().map(|(name, _)| name.as_str());
            let hint = nearest(target, names).suggestion("ensemble ps");
            return Err(anyhow!("there is no service {target}{hint}"));
        }
        let looked_up = timeout(ANSWER, tokio::net::lookup_host(target)).await;
        let mut found = looked_up
            .with_context(|| format!("the name of {target} is not found in time"))?
            .with_context(|| format!("cannot tell the address of {target}"))?;
        found.next().with_context(|| format!("{target} has no address"))
    }
}

/// Asks all at once, and answers in their order.
pub(crate) async fn ask_all(
    addresses: impl IntoIterator<Item = SocketAddr>,
    certs: Option<&Path>,
) -> Vec<Answer> {
    let mut asking = JoinSet::new();
    for (position, address) in addresses.into_iter().enumerate() {
        let certs = certs.map(Path::to_owned);
        asking.spawn(async move {
            let answer = match check(address, certs.as_deref(), "", ANSWER).await {
                Ok(Status::Serving) => Answer::Serving,
                Ok(Status::NotServing) => Answer::NotServing,
                Err(error) => Answer::Unreachable(format!("{error:#}")),
            };
            (position, answer)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(position, _)| *position);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
