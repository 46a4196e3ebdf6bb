//! `ensemble raft put`, `get`, `delete`, `cas` and `range`: keys and values.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use raft::client::{self, Condition, Freshness, Item, Outcome, VALUE_LIMIT};
use serde_json::json;

use super::text::{self, shortened, shown};
use super::{Cluster, UNMET};
use crate::paint::Table;

/// Set a key; exit with 3 when its condition does not hold
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft put greeting hello
  ensemble raft put picture - < picture.png
  ensemble raft put lock me --if-absent --lease 17
  ensemble raft put greeting hi --if-version 4")]
pub(super) struct Put {
    /// The key, 1 to 4,096 bytes
    key: String,
    /// The value, at most 1 MiB; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// It expires with this lease
    #[arg(long, value_name = "ID")]
    lease: Option<u64>,
    #[command(flatten)]
    condition: When,
}

/// What must hold.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct When {
    /// Only if there is no such key
    #[arg(long)]
    if_absent: bool,
    /// Only if it was last set at this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Only if it has this value
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    if_value: Option<String>,
}

/// Show what a key has; exit with 1 when there is no such key
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft get greeting
  ensemble raft get picture --print-value > picture.png
  ensemble raft get greeting --stale --json")]
pub(super) struct Get {
    /// The key
    key: String,
    /// From whatever node answers, which may be behind
    #[arg(long)]
    stale: bool,
    /// Only the value, byte for byte
    #[arg(long, conflicts_with = "json")]
    print_value: bool,
}

/// Remove a key; exit with 3 when its condition does not hold
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft delete greeting
  ensemble raft delete lock --if-value me")]
pub(super) struct Delete {
    /// The key
    key: String,
    #[command(flatten)]
    condition: When,
}

/// Set a key that has the expected value; exit with 3 when it has another, or none
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft cas greeting hello 'hello world'")]
pub(super) struct Cas {
    /// The key
    key: String,
    /// What it must have
    #[arg(allow_hyphen_values = true)]
    expected: String,
    /// What it has from then on; `-` reads it from standard input
    #[arg(value_name = "NEW", allow_hyphen_values = true)]
    value: String,
}

/// List keys in order
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft range
  ensemble raft range users/ --limit 10
  ensemble raft range users/ --after users/carol --json

A long value is cut short, except as JSON.")]
pub(super) struct Range {
    /// How the keys begin [default: all keys]
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// The most keys
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Only keys after this one
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// From whatever node answers, which may be behind
    #[arg(long)]
    stale: bool,
}

impl When {
    fn condition(&self, cluster: &Cluster) -> Result<Condition> {
        Ok(match (self.if_absent, self.if_version, &self.if_value) {
            (true, _, _) => Condition::Absent,
            (_, Some(version), _) => Condition::Version(version),
            (_, _, Some(value)) => Condition::Value(cluster.output.bytes(value)?.into()),
            (false, None, None) => Condition::Always,
        })
    }
}

/// Sets a key.
pub(super) async fn put(arguments: &Put, cluster: &Cluster) -> Result<ExitCode> {
    let condition = arguments.condition.condition(cluster)?;
    let (key, value) = (cluster.output.bytes(&arguments.key)?, value(&arguments.value, cluster)?);
    let mut put = client::Put::new(key, value).when(condition);
    put.lease = arguments.lease;
    write(put, &arguments.key, cluster).await
}

/// Sets a key that has a value.
pub(super) async fn cas(arguments: &Cas, cluster: &Cluster) -> Result<ExitCode> {
    let condition = Condition::Value(cluster.output.bytes(&arguments.expected)?.into());
    let (key, value) = (cluster.output.bytes(&arguments.key)?, value(&arguments.value, cluster)?);
    write(client::Put::new(key, value).when(condition), &arguments.key, cluster).await
}

/// In a session, so that it is carried out once however often it has to be sent.
async fn write(put: client::Put, name: &str, cluster: &Cluster) -> Result<ExitCode> {
    let session = cluster.client.session();
    let outcome = session.put_if(put).await;
    close(&session).await;
    told(name, &outcome.map_err(|error| cluster.explain(name, &error))?, "is set", cluster)
}

/// Removes a key.
pub(super) async fn delete(arguments: &Delete, cluster: &Cluster) -> Result<ExitCode> {
    let condition = arguments.condition.condition(cluster)?;
    let key = cluster.output.bytes(&arguments.key)?;
    let session = cluster.client.session();
    let outcome = session.delete_if(key, condition).await;
    close(&session).await;
    let name = &arguments.key;
    told(name, &outcome.map_err(|error| cluster.explain(name, &error))?, "is deleted", cluster)
}

/// A session that is not closed ends by itself an hour later.
async fn close(session: &client::Session) {
    let _ = session.close().await;
}

fn told(name: &str, outcome: &Outcome, what: &str, cluster: &Cluster) -> Result<ExitCode> {
    if cluster.output.json {
        writeln!(io::stdout(), "{}", text::outcome(outcome))?;
    }
    match outcome {
        Outcome::Written(written) => {
            if !cluster.output.json {
                let version = written.version;
                let before = match written.previous {
                    Some(previous) => format!("before: version {previous}"),
                    None => "there was none before".into(),
                };
                writeln!(io::stdout(), "{name} {what} at version {version} ({before})")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Unmet(current) => {
            let has = match current {
                Some(Item { value, version, .. }) => {
                    format!("it has {} at version {version}", shortened(value))
                }
                None => "there is no such key".into(),
            };
            eprintln!("ensemble: {name}: the condition does not hold: {has}");
            Ok(ExitCode::from(UNMET))
        }
    }
}

/// Shows what a key has.
pub(super) async fn get(arguments: &Get, cluster: &Cluster) -> Result<ExitCode> {
    let key = cluster.output.bytes(&arguments.key)?;
    let item = cluster.client.get(key, freshness(arguments.stale)).await;
    let item = item.map_err(|error| cluster.explain(&arguments.key, &error))?;
    let mut out = io::stdout().lock();
    if cluster.output.json {
        writeln!(out, "{}", json!(item.as_ref().map(text::item)))?;
    }
    let Some(item) = item else {
        eprintln!("ensemble: {}: there is no such key", arguments.key);
        return Ok(ExitCode::FAILURE);
    };
    if arguments.print_value {
        out.write_all(&item.value)?;
        out.flush()?;
    } else if !cluster.output.json {
        write!(out, "{}", table(&[item], cluster))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists keys.
pub(super) async fn range(arguments: &Range, cluster: &Cluster) -> Result<ExitCode> {
    let mut range = cluster.client.range(cluster.output.bytes(&arguments.prefix)?);
    range = range.fresh(freshness(arguments.stale));
    if let Some(limit) = arguments.limit {
        range = range.limit(limit);
    }
    if let Some(after) = &arguments.after {
        range = range.after(cluster.output.bytes(after)?);
    }
    let mut all = Vec::new();
    loop {
        let page = range.next_page().await;
        let page = page.map_err(|error| cluster.explain("range", &error))?;
        let Some(page) = page else { break };
        match cluster.output.json {
            true => {
                let mut out = io::stdout().lock();
                for item in &page {
                    writeln!(out, "{}", text::item(item))?;
                }
            }
            false => all.extend(page),
        }
    }
    if !cluster.output.json {
        write!(io::stdout(), "{}", table(&all, cluster))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn freshness(stale: bool) -> Freshness {
    if stale { Freshness::Stale } else { Freshness::Latest }
}

fn table(items: &[Item], cluster: &Cluster) -> Table {
    let heading = ["KEY", "VERSION", "CREATED", "LEASE", "VALUE"];
    let mut table = Table::new(cluster.output.palette, heading);
    for Item { key, value, version, created, lease } in items {
        let lease = lease.map_or_else(|| "-".to_owned(), |lease| lease.to_string());
        let value = shortened(value);
        table.row([shown(key).into(), version.into(), created.into(), lease.into(), value.into()]);
    }
    table
}

/// A value that was given as an argument, or is read from standard input.
fn value(argument: &str, cluster: &Cluster) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    match argument {
        "-" => {
            // One byte more than the store takes: who reads so much knows that there is more.
            io::stdin().take(VALUE_LIMIT as u64 + 1).read_to_end(&mut value)?;
        }
        argument => value = cluster.output.bytes(argument)?,
    }
    ensure!(value.len() <= VALUE_LIMIT, "the value has more than 1 MiB, the most that a key takes");
    Ok(value)
}
