//! `ensemble raft shell`: the document's client, one command a line.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use raft::client::{Leader, Node};
use serde_json::json;

use super::Cluster;
use crate::nearest::nearest;

const COMMANDS: [&str; 7] = ["connect", "getleader", "suspend", "setval", "getval", "help", "quit"];
const HELP: &str = "connect HOST:PORT   speak with this node from here on
getleader           its leader's id and address
suspend SECONDS     make it deaf and mute for a while
setval KEY VALUE    set a key; the value is the rest of the line
getval KEY          read a key; None when there is no such key
help                this
quit                end";

/// Speak with one node, one command a line, until `quit`
///
/// Reads standard input, so that it can be scripted. Exits with 1 when a command failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft shell
  echo 'connect 127.0.0.1:50071
  setval greeting hello
  getval greeting' | ensemble raft shell

Commands: connect HOST:PORT, getleader, suspend SECONDS, setval KEY VALUE, getval KEY, help, quit")]
pub(super) struct Arguments {}

/// Reads and answers until the end.
pub(super) async fn run(cluster: &Cluster) -> Result<ExitCode> {
    let is_terminal = io::stdin().is_terminal();
    // With --endpoints it is clear with whom to speak.
    let mut node = match cluster.given.first() {
        Some(address) => Some(cluster.node(address).await?),
        None => None,
    };
    let mut failed = false;
    loop {
        if is_terminal {
            let mut out = io::stdout().lock();
            write!(out, "{}> ", node.as_ref().map_or("", Node::address))?;
            out.flush()?;
        }
        // Elsewhere, so that connections stay alive while somebody thinks.
        let line = tokio::task::spawn_blocking(|| io::stdin().lines().next()).await?;
        let Some(line) = line.transpose()? else { break };
        let (command, rest) = split(line.trim());
        match command {
            "" => (),
            "quit" => break,
            command => {
                if let Err(error) = obey(command, rest, &mut node, cluster).await {
                    eprintln!("{error:#}");
                    failed = true;
                }
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The first word, and what follows it.
fn split(line: &str) -> (&str, &str) {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (first, rest.trim())
}

async fn obey(command: &str, rest: &str, node: &mut Option<Node>, cluster: &Cluster) -> Result<()> {
    match command {
        "connect" => {
            // The document writes the port apart.
            let address = rest.split_whitespace().collect::<Vec<_>>().join(":");
            let other = cluster.client.node(&address).map_err(usage("connect HOST:PORT"))?;
            let leader = other.leader().await?;
            *node = Some(other);
            let json = json!({ "connected": address, "leader": leader });
            cluster.tell(format!("connected to {address}"), &json)
        }
        "getleader" => {
            let leader = connected(node)?.leader().await?;
            let text = match &leader {
                Some(Leader { id, address }) => format!("{id} {address}"),
                None => "nobody leads".into(),
            };
            cluster.tell(text, &json!({ "leader": leader }))
        }
        "suspend" => {
            let seconds = rest.parse().map_err(usage("suspend SECONDS"))?;
            connected(node)?.suspend(seconds).await?;
            cluster.tell(format!("suspended for {seconds} s"), &json!({ "suspended": seconds }))
        }
        "setval" => {
            let (key, value) = split(rest);
            if key.is_empty() || value.is_empty() {
                return Err(usage("setval KEY VALUE")("a key and a value are wanted"));
            }
            let success = connected(node)?.set_value(key, value).await?;
            let text = if success { "done" } else { "not done" };
            cluster.tell(text, &json!({ "success": success }))
        }
        "getval" if rest.is_empty() => Err(usage("getval KEY")("a key is wanted")),
        "getval" => {
            let value = connected(node)?.value(rest).await?;
            let json = json!({ "success": value.is_some(), "value": value });
            cluster.tell(value.as_deref().unwrap_or("None"), &json)
        }
        "help" => cluster.tell(HELP, &json!({ "help": HELP })),
        other => {
            let near = nearest(other, COMMANDS).suggestion("help");
            Err(anyhow!("there is no command {other}{near}"))
        }
    }
}

fn connected(node: &Option<Node>) -> Result<&Node> {
    node.as_ref().ok_or_else(|| anyhow!("not connected; first: connect HOST:PORT"))
}

/// A command was written wrong.
fn usage<E: std::fmt::Display>(how: &str) -> impl Fn(E) -> anyhow::Error {
    move |problem| anyhow!("{problem}; write: {how}")
}
