//! `ensemble raft shell`: the document's client, one command a line.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use raft::client::{Leader, Node};
use serde_json::json;

use super::Cluster;
use crate::commands::shell::{Shell, split};

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
    // With --endpoints it is clear with whom to speak.
    let node = match cluster.given.first() {
        Some(address) => Some(cluster.node(address).await?),
        None => None,
    };
    Conversation { cluster, node }.run().await
}

/// Speaks with one node after another.
struct Conversation<'a> {
    cluster: &'a Cluster,
    node: Option<Node>,
}

impl Conversation<'_> {
    fn connected(&self) -> Result<&Node> {
        self.node.as_ref().ok_or_else(|| anyhow!("not connected; first: connect HOST:PORT"))
    }
}

impl Shell for Conversation<'_> {
    const COMMANDS: &'static [&'static str] =
        &["connect", "getleader", "suspend", "setval", "getval", "help", "quit"];

    fn partner(&self) -> String {
        self.node.as_ref().map_or_else(String::new, |node| node.address().to_owned())
    }

    async fn obey(&mut self, command: &str, rest: &str) -> Result<()> {
        let cluster = self.cluster;
        match command {
            "connect" => {
                // The document writes the port apart.
                let address = rest.split_whitespace().collect::<Vec<_>>().join(":");
                let other = cluster.client.node(&address).map_err(usage("connect HOST:PORT"))?;
                let leader = other.leader().await?;
                self.node = Some(other);
                let json = json!({ "connected": address, "leader": leader });
                cluster.output.tell(format!("connected to {address}"), &json)
            }
            "getleader" => {
                let leader = self.connected()?.leader().await?;
                let text = match &leader {
                    Some(Leader { id, address }) => format!("{id} {address}"),
                    None => "nobody leads".into(),
                };
                cluster.output.tell(text, &json!({ "leader": leader }))
            }
            "suspend" => {
                let seconds = rest.parse().map_err(usage("suspend SECONDS"))?;
                self.connected()?.suspend(seconds).await?;
                cluster
                    .output
                    .tell(format!("suspended for {seconds} s"), &json!({ "suspended": seconds }))
            }
            "setval" => {
                let (key, value) = split(rest);
                if key.is_empty() || value.is_empty() {
                    return Err(usage("setval KEY VALUE")("a key and a value are wanted"));
                }
                let success = self.connected()?.set_value(key, value).await?;
                let text = if success { "done" } else { "not done" };
                cluster.output.tell(text, &json!({ "success": success }))
            }
            "getval" if rest.is_empty() => Err(usage("getval KEY")("a key is wanted")),
            "getval" => {
                let value = self.connected()?.value(rest).await?;
                let json = json!({ "success": value.is_some(), "value": value });
                cluster.output.tell(value.as_deref().unwrap_or("None"), &json)
            }
            _ => cluster.output.tell(HELP, &json!({ "help": HELP })),
        }
    }
}

/// A command was written wrong.
fn usage<E: std::fmt::Display>(how: &str) -> impl Fn(E) -> anyhow::Error {
    move |problem| anyhow!("{problem}; write: {how}")
}
