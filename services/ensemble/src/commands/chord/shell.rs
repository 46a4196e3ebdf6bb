//! `ensemble chord shell`: the document's client, one command a line.
//!
//! Answers go to standard output as the document prints them; what else is to be said, to standard
//! error.

use std::process::ExitCode;

use anyhow::{Result, anyhow, ensure};
use chord::client::{Error, Node, Registry};
use serde_json::json;

use super::keys::sentence;
use super::{Ring, info, text};
use crate::commands::bytes::{self, shown};
use crate::commands::client;
use crate::commands::shell::{Shell, split};

const HELP: &str = "connect HOST:PORT   speak with this registry or node from here on
get_info            of a registry: its nodes; of a node: itself, its predecessor and its fingers
save \"KEY\" TEXT     save a key that holds nothing yet; the text is the rest of the line
remove KEY          remove a key
find KEY            show what a key holds
help                this
quit                end";

/// Speak with the registry or one node, one command a line, until `quit`
///
/// Reads standard input, so that it can be scripted. Exits with 1 when a command failed; an answer
/// that begins with False is an answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord shell
  echo 'connect 127.0.0.1:50081
  save \"Kazan\" capital of Tatarstan
  find Kazan' | ensemble chord shell

Commands: connect HOST:PORT, get_info, save \"KEY\" TEXT, remove KEY, find KEY, help, quit")]
pub(super) struct Arguments {}

/// With whom one speaks.
enum Party {
    Registry(Registry),
    Node(Node),
}

impl Party {
    fn name(&self) -> String {
        match self {
            Self::Registry(registry) => format!("registry {}", registry.address()),
            Self::Node(node) => format!("node {}", node.address()),
        }
    }
}

/// Reads and answers until the end.
pub(super) async fn run(ring: &Ring) -> Result<ExitCode> {
    // With --endpoints it is clear with whom to speak.
    let party = match ring.given.first() {
        Some(address) => Some(Party::Node(ring.node_at(address)?)),
        None => None,
    };
    Conversation { ring, party }.run().await
}

/// Speaks with one party after another.
struct Conversation<'a> {
    ring: &'a Ring,
    party: Option<Party>,
}

impl Conversation<'_> {
    fn connected(&self) -> Result<&Party> {
        self.party.as_ref().ok_or_else(|| anyhow!("not connected; first: connect HOST:PORT"))
    }

    fn node(&self) -> Result<&Node> {
        match self.connected()? {
            Party::Node(node) => Ok(node),
            Party::Registry(_) => {
                Err(anyhow!("a registry keeps no keys; connect to one of its nodes: get_info"))
            }
        }
    }
}

impl Shell for Conversation<'_> {
    const COMMANDS: &'static [&'static str] =
        &["connect", "get_info", "save", "remove", "find", "help", "quit"];

    fn partner(&self) -> String {
        self.party.as_ref().map_or_else(String::new, Party::name)
    }

    async fn obey(&mut self, command: &str, rest: &str) -> Result<()> {
        let ring = self.ring;
        match command {
            "connect" => {
                self.party = Some(connect(rest, ring).await?);
                Ok(())
            }
            "get_info" => get_info(self.connected()?, ring).await,
            "save" => {
                let (key, value) = key_and_text(rest)?;
                let node = self.node()?;
                let (key, value) = (ring.output.bytes(key)?, ring.output.bytes(value)?);
                let saved = node.save(&key, &value, None).await.map_err(explained)?;
                let sentence = sentence::save(&key, saved.outcome, saved.by.id);
                ring.output
                    .tell(sentence, &json!(text::done(Some(saved.outcome), Some(&key), &saved)))
            }
            "remove" => {
                let key = ring.output.bytes(key_alone(rest, "remove KEY")?)?;
                let removed = self.node()?.remove(&key, None).await.map_err(explained)?;
                let sentence = sentence::remove(&key, removed.outcome, removed.by.id);
                ring.output
                    .tell(sentence, &json!(text::done(Some(removed.outcome), Some(&key), &removed)))
            }
            "find" => {
                let key = ring.output.bytes(key_alone(rest, "find KEY")?)?;
                let found = self.node()?.find(&key, None).await.map_err(explained)?;
                let value = found.outcome.as_deref();
                let mut lines = sentence::find(&key, value.is_some(), found.by.id);
                let mut object = text::done(Some(value.is_some()), Some(&key), &found);
                if let Some(value) = value {
                    lines = format!("{lines}\n{}", shown(value));
                    bytes::put(&mut object, "value", value);
                }
                ring.output.tell(lines, &json!(object))
            }
            _ => ring.output.tell(HELP, &json!({ "help": HELP })),
        }
    }
}

/// Finds out who is there.
async fn connect(address: &str, ring: &Ring) -> Result<Party> {
    let usage = |error: Error| anyhow!("{error}; write: connect HOST:PORT");
    let registry = ring.registry_at(address).map_err(usage)?;
    let (party, kind) = match registry.info().await {
        Ok(_) => (Party::Registry(registry), "registry"),
        // It does not serve what a registry does.
        Err(Error::Refused(_)) => {
            let node = ring.node_at(address)?;
            match node.fingers().await {
                Ok(_) => (Party::Node(node), "node"),
                Err(Error::Refused(_)) => {
                    return Err(anyhow!("{address}: neither a registry nor a node of a ring"));
                }
                Err(error) => return Err(explained(error)),
            }
        }
        Err(error) => return Err(explained(error)),
    };
    match ring.output.json {
        true => ring.output.tell("", &json!({ "connected": address, "kind": kind }))?,
        false => eprintln!("connected to the {kind} at {address}"),
    }
    Ok(party)
}

async fn get_info(party: &Party, ring: &Ring) -> Result<()> {
    match party {
        Party::Registry(registry) => {
            info::list(&registry.info().await.map_err(explained)?.nodes, ring)
        }
        Party::Node(node) => {
            let state = node.state().await.map_err(explained)?;
            let fingers = node.fingers().await.map_err(explained)?.fingers;
            let mut lines = format!("node {}\n", text::line(&state.node));
            lines += &match &state.predecessor {
                Some(peer) => format!("predecessor {}\n", text::line(peer)),
                None => "predecessor unknown\n".to_owned(),
            };
            lines += "finger table:";
            for peer in &fingers {
                lines = format!("{lines}\n{}", text::line(peer));
            }
            let json = json!({
                "node": text::peer(&state.node),
                "predecessor": state.predecessor.as_ref().map(text::peer),
                "fingers": text::peers(&fingers),
            });
            ring.output.tell(lines, &json)
        }
    }
}

fn explained(error: Error) -> anyhow::Error {
    client::explained("", &error, error.remedy())
}

/// A key, in quotes or one word, and what follows it.
fn key_and_text(rest: &str) -> Result<(&str, &str)> {
    let usage = "write: save \"KEY\" TEXT";
    let (key, value) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let halves = quoted.split_once('"');
            let (key, value) = halves.ok_or_else(|| anyhow!("the quote is not closed; {usage}"))?;
            ensure!(
                value.is_empty() || value.starts_with(char::is_whitespace),
                "a space is missing after the key; {usage}"
            );
            (key, value.trim())
        }
        None => split(rest),
    };
    ensure!(!key.is_empty() && !value.is_empty(), "a key and a text are wanted; {usage}");
    Ok((key, value))
}

/// A key that is the rest of the line, in quotes or not.
fn key_alone<'a>(rest: &'a str, usage: &str) -> Result<&'a str> {
    let key = match rest.strip_prefix('"') {
        Some(quoted) => quoted
            .strip_suffix('"')
            .filter(|key| !key.contains('"'))
            .ok_or_else(|| anyhow!("the quote is not closed; write: {usage}"))?,
        None => rest,
    };
    ensure!(!key.is_empty(), "a key is wanted; write: {usage}");
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_quoted_as_in_the_document() {
        for (rest, key, value) in [
            ("\"Kazan\" capital of Tatarstan", "Kazan", "capital of Tatarstan"),
            ("\"some key\"  some \"quoted\" text", "some key", "some \"quoted\" text"),
            ("Kazan capital", "Kazan", "capital"),
        ] {
            assert_eq!(key_and_text(rest).expect("well formed"), (key, value), "{rest}");
        }
        for rest in ["", "Kazan", "\"Kazan", "\"Kazan\"", "\"\" text", "\"Kazan\"text", "\"a b"] {
            assert!(key_and_text(rest).is_err(), "{rest}");
        }
        for (rest, key) in [("Kazan", "Kazan"), ("\"Kazan\"", "Kazan"), ("some key", "some key")] {
            assert_eq!(key_alone(rest, "find KEY").expect("well formed"), key, "{rest}");
        }
        for rest in ["", "\"", "\"Kazan", "\"Kazan\" x", "\"a\"b\""] {
            assert!(key_alone(rest, "find KEY").is_err(), "{rest}");
        }
    }
}
