//! `ensemble chord save`, `find`, `remove` and `locate`: keys, and whose they are.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use chord::client::{Done, Id, Mode, Place, VALUE_LIMIT};
use serde_json::{Map, Value, json};

use super::{Ring, UNMET, text};
use crate::commands::bytes::{self, shown};

/// Save a key that holds nothing yet; exit with 3 when it holds something
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord save Kazan 'capital of Tatarstan'
  ensemble chord save picture - < picture.png
  ensemble chord save picture --file picture.png --path")]
pub(super) struct Save {
    /// The key, 1 to 4,096 bytes
    key: String,
    /// The value, at most 1 MiB; `-` reads it from standard input
    #[arg(required_unless_present = "file", allow_hyphen_values = true)]
    text: Option<String>,
    /// The file that holds the value
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Also the nodes that the lookup came to
    #[arg(long)]
    path: bool,
}

/// Show what a key holds; exit with 3 when it holds nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord find Kazan
  ensemble chord find picture --value > picture.png
  ensemble chord find Kazan --path")]
pub(super) struct Find {
    /// The key
    key: String,
    /// Only the value, byte for byte
    #[arg(long, conflicts_with_all = ["json", "path"])]
    value: bool,
    /// Also the nodes that the lookup came to
    #[arg(long)]
    path: bool,
}

/// Remove a key; exit with 3 when it holds nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord remove Moscow
  ensemble chord remove Moscow --path")]
pub(super) struct Remove {
    /// The key
    key: String,
    /// Also the nodes that the lookup came to
    #[arg(long)]
    path: bool,
}

/// Show which node is responsible for a place of the circle, or for a key
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble chord locate 22
  ensemble chord locate --key Kazan --path")]
pub(super) struct Locate {
    /// The place: 0 to 2^m − 1
    #[arg(required_unless_present = "key")]
    id: Option<u64>,
    /// The key, instead of a place
    #[arg(long, conflicts_with = "id")]
    key: Option<String>,
    /// Also the nodes that the lookup came to
    #[arg(long)]
    path: bool,
}

/// The document's words for what came of it.
pub(super) mod sentence {
    use super::shown;
    use chord::client::Id;

    pub(crate) fn save(key: &[u8], saved: bool, node: Id) -> String {
        match saved {
            true => format!("True, {} is saved in node {node}", shown(key)),
            false => format!("False, {} is already exist in node {node}", shown(key)),
        }
    }

    pub(crate) fn find(key: &[u8], found: bool, node: Id) -> String {
        match found {
            true => format!("True, {} is saved in node {node}", shown(key)),
            false => format!("False, {} does not exist in node {node}", shown(key)),
        }
    }

    pub(crate) fn remove(key: &[u8], removed: bool, node: Id) -> String {
        match removed {
            true => format!("True, {} is removed from node {node}", shown(key)),
            false => format!("False, {} does not exist in node {node}", shown(key)),
        }
    }
}

/// Saves a key.
pub(super) async fn save(arguments: &Save, ring: &Ring) -> Result<ExitCode> {
    let key = ring.output.bytes(&arguments.key)?;
    let value = match (&arguments.file, &arguments.text) {
        (Some(path), _) => read_file(path)?,
        (None, Some(text)) if text == "-" => read(io::stdin(), "standard input")?,
        (None, Some(text)) => ring.output.bytes(text)?,
        (None, None) => Vec::new(),
    };
    ensure!(value.len() <= VALUE_LIMIT, "the value has more than 1 MiB, the most that a key takes");
    let saved = ring.client.save(&key, &value, mode(arguments.path)).await;
    let saved = saved.map_err(|error| ring.explain(&arguments.key, &error))?;
    let sentence = sentence::save(&key, saved.outcome, saved.by.id);
    let object = text::done(Some(saved.outcome), Some(&key), &saved);
    tell(ring, &sentence, object, arguments.path.then_some(&saved))?;
    Ok(code(saved.outcome))
}

/// Removes a key.
pub(super) async fn remove(arguments: &Remove, ring: &Ring) -> Result<ExitCode> {
    let key = ring.output.bytes(&arguments.key)?;
    let removed = ring.client.remove(&key, mode(arguments.path)).await;
    let removed = removed.map_err(|error| ring.explain(&arguments.key, &error))?;
    let sentence = sentence::remove(&key, removed.outcome, removed.by.id);
    let object = text::done(Some(removed.outcome), Some(&key), &removed);
    tell(ring, &sentence, object, arguments.path.then_some(&removed))?;
    Ok(code(removed.outcome))
}

/// Shows what a key holds.
pub(super) async fn find(arguments: &Find, ring: &Ring) -> Result<ExitCode> {
    let key = ring.output.bytes(&arguments.key)?;
    let found = ring.client.find(&key, mode(arguments.path)).await;
    let found = found.map_err(|error| ring.explain(&arguments.key, &error))?;
    let value = found.outcome.as_deref();
    let sentence = sentence::find(&key, value.is_some(), found.by.id);
    if !arguments.value {
        let mut object = text::done(Some(value.is_some()), Some(&key), &found);
        let mut lines = sentence;
        if let Some(value) = value {
            bytes::put(&mut object, "value", value);
            lines = format!("{lines}\n{}", shown(value));
        }
        tell(ring, &lines, object, arguments.path.then_some(&found))?;
        return Ok(code(value.is_some()));
    }
    match value {
        Some(value) => {
            let mut out = io::stdout().lock();
            out.write_all(value)?;
            out.flush()?;
        }
        None => eprintln!("ensemble: {sentence}"),
    }
    Ok(code(value.is_some()))
}

/// Shows who is responsible.
pub(super) async fn locate(arguments: &Locate, ring: &Ring) -> Result<ExitCode> {
    let (place, name) = match (&arguments.key, arguments.id) {
        (Some(key), _) => (Place::Key(ring.output.bytes(key)?), key.clone()),
        (None, id) => {
            let id = id.unwrap_or_default();
            (Place::Id(Id(id)), id.to_string())
        }
    };
    let located = ring.client.locate(&place, mode(arguments.path)).await;
    let located = located.map_err(|error| ring.explain(&format!("locate {name}"), &error))?;
    let key = match &place {
        Place::Key(key) => Some(key.as_slice()),
        Place::Id(_) => None,
    };
    let what = match key {
        Some(key) => format!("{}, key {}", located.id, shown(key)),
        None => located.id.to_string(),
    };
    let (id, address) = (located.by.id, &located.by.address);
    let sentence = format!("Node {id} at {address} is responsible for {what}");
    tell(ring, &sentence, text::done(None, key, &located), arguments.path.then_some(&located))?;
    Ok(ExitCode::SUCCESS)
}

/// The times of the hops are only known to who asks one node after another.
fn mode(path: bool) -> Option<Mode> {
    path.then_some(Mode::Iterative)
}

fn code(done: bool) -> ExitCode {
    if done { ExitCode::SUCCESS } else { ExitCode::from(UNMET) }
}

fn tell<T>(
    ring: &Ring,
    sentence: &str,
    object: Map<String, Value>,
    path: Option<&Done<T>>,
) -> Result<()> {
    ring.output.tell(sentence, &json!(object))?;
    if let Some(done) = path.filter(|_| !ring.output.json) {
        write!(io::stdout(), "\n{}", text::path(&done.path, done.id, ring.output.palette))?;
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("--file {name}: cannot open it"))?;
    read(file, &name)
}

/// One byte more than a key takes: who reads so much knows that there is more.
fn read(from: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let reading = from.take(VALUE_LIMIT as u64 + 1).read_to_end(&mut value);
    reading.with_context(|| format!("cannot read {name}"))?;
    Ok(value)
}
