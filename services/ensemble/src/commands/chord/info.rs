//! `ensemble chord info`, `fingers` and `quit`: who there is, whom a node knows, and one less.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use chord::client::{Circle, Id, NodeState, Peer};
use serde_json::json;

use super::crawl::Survey;
use super::{Ring, text};
use crate::paint::{Palette, Table};

/// List the registered nodes, in order of registration
///
/// Without a registry that answers: the ring in order of ids, as its nodes know it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord info
  ensemble chord info --registry 127.0.0.1:50080 --json")]
pub(super) struct Arguments {}

/// Show the fingers of a node, first its successor
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord fingers 24
  ensemble chord fingers chord-1 -l
  ensemble chord fingers 127.0.0.1:50081 --json")]
pub(super) struct Fingers {
    /// The node, by its id, its service or as HOST:PORT
    node: String,
    /// Every finger, with where it begins and what it stands for
    #[arg(long, short)]
    long: bool,
}

/// Have a node leave the ring: its keys go to its successor, and its process ends
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord quit 24
  ensemble chord quit 127.0.0.1:50081")]
pub(super) struct Quit {
    /// The node, by its id, its service or as HOST:PORT
    node: String,
}

/// Lists the nodes.
pub(super) async fn run(ring: &Ring) -> Result<ExitCode> {
    let nodes = match registered(ring).await? {
        Some(nodes) => nodes,
        None => crawled(ring).await?,
    };
    list(&nodes, ring)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints nodes as the document's client does.
pub(super) fn list(nodes: &[Peer], ring: &Ring) -> Result<()> {
    for peer in nodes {
        ring.output.tell(text::line(peer), &text::peer(peer))?;
    }
    Ok(())
}

/// Those that the registry lists, if it is known where it is.
async fn registered(ring: &Ring) -> Result<Option<Vec<Peer>>> {
    let Some(address) = &ring.registry else { return Ok(None) };
    match ring.registry_at(address)?.info().await {
        Ok(info) => Ok(Some(info.nodes)),
        Err(error) if ring.registry_given => Err(ring.explain("info", &error)),
        Err(_) => Ok(None),
    }
}

/// Those that answer, and whom they know.
async fn crawled(ring: &Ring) -> Result<Vec<Peer>> {
    let survey = Survey::take(ring).await;
    if let Some((_, Ok(info))) = survey.registry {
        return Ok(info.nodes);
    }
    let nodes: Vec<Peer> = survey.states().map(|(_, state)| state.node.clone()).collect();
    match survey.silent().next() {
        Some((_, error)) if nodes.is_empty() => Err(ring.explain("info", error)),
        None if nodes.is_empty() => {
            Err(anyhow!("no node answers; start them: `ensemble up chord`"))
        }
        _ => {
            eprintln!("ensemble: no registry answers; these are the nodes that do");
            Ok(nodes)
        }
    }
}

/// Shows the fingers of a node.
pub(super) async fn fingers(arguments: &Fingers, ring: &Ring) -> Result<ExitCode> {
    let name = &arguments.node;
    let node = ring.node(name).await?;
    let explain = |error| ring.explain(&format!("fingers {name}"), &error);
    if !arguments.long {
        let fingers = node.fingers().await.map_err(explain)?;
        list(&fingers.fingers, ring)?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = node.state().await.map_err(explain)?;
    let shown = match ring.output.json {
        true => as_json(&state)?,
        false => as_table(&state, ring.output.palette).to_string(),
    };
    write!(io::stdout(), "{shown}")?;
    Ok(ExitCode::SUCCESS)
}

/// A finger: its number, where it begins, where the next one does, and who it is.
fn each(state: &NodeState) -> impl Iterator<Item = (u32, Id, Id, Option<&Peer>)> {
    let circle = Circle::new(state.bits);
    (0..state.bits).map(move |index| {
        let start = circle.finger(state.node.id, index);
        let end = match index + 1 < state.bits {
            true => circle.finger(state.node.id, index + 1),
            false => state.node.id,
        };
        (index + 1, start, end, finger(state, index))
    })
}

/// The node of the finger with this index, from 0, as far as it is known.
pub(super) fn finger(state: &NodeState, index: u32) -> Option<&Peer> {
    let run = state.fingers.iter().find(|run| {
        let steps = index.checked_sub(run.index);
        steps.is_some_and(|steps| steps < run.count)
    });
    run.map(|run| &run.peer)
}

fn as_json(state: &NodeState) -> Result<String> {
    let mut text = String::new();
    for (number, start, end, peer) in each(state) {
        let successor = peer.map(text::peer);
        let line = json!({ "finger": number, "start": start, "before": end, "node": successor });
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn as_table(state: &NodeState, palette: Palette) -> Table {
    let heading = ["FINGER", "START", "INTERVAL", "SUCCESSOR", "ADDRESS"];
    let mut table = Table::new(palette, heading);
    for (number, start, end, peer) in each(state) {
        let interval = format!("[{start}, {end})");
        let id = text::or_dash(peer.map(|peer| peer.id));
        let address = text::or_dash(peer.map(|peer| &peer.address));
        table.row([number.into(), start.into(), interval.into(), id.into(), address.into()]);
    }
    table
}

/// Has a node leave.
pub(super) async fn quit(arguments: &Quit, ring: &Ring) -> Result<ExitCode> {
    let name = &arguments.node;
    let successor = ring.node(name).await?.quit().await;
    let successor = successor.map_err(|error| ring.explain(&format!("quit {name}"), &error))?;
    let text = match &successor {
        Some(peer) => format!("{name} has left; node {} has its keys", peer.id),
        None => format!("{name} has left; it was alone, and its keys are gone"),
    };
    let json = json!({ "left": name, "successor": successor.as_ref().map(text::peer) });
    ring.output.tell(text, &json)?;
    Ok(ExitCode::SUCCESS)
}
