//! `ensemble raft member`, `transfer`, `snapshot` and `suspend`: the cluster itself.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use raft::client::MemberStatus;
use serde_json::json;

use super::{Cluster, done, status};
use crate::paint::{Cell, Table};

/// Add, promote, remove and list members
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  ensemble raft member list
  ensemble raft member add 6 127.0.0.1:50076
  ensemble raft member add 7 127.0.0.1:50077 --learner
  ensemble raft member promote 7
  ensemble raft member remove 6")]
pub(super) enum Command {
    /// Add a member, which votes once it has caught up; of one that is there, set the address
    Add {
        /// Its id, which no other member has had
        id: u64,
        /// Where it is, as HOST:PORT
        address: String,
        /// It stays a learner, which does not vote
        #[arg(long)]
        learner: bool,
    },
    /// Let a learner that has caught up vote
    Promote {
        /// The learner
        id: u64,
    },
    /// Remove a member, the leader too
    Remove {
        /// The member
        id: u64,
    },
    /// List the members
    List,
}

/// Hand leadership over
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft transfer
  ensemble raft transfer 3")]
pub(super) struct Transfer {
    /// The id of the voter that is to lead [default: the one that is furthest]
    to: Option<u64>,
}

/// Take a snapshot on a node, and drop its log before it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft snapshot
  ensemble raft snapshot 3")]
pub(super) struct Snapshot {
    /// The node, by its id, its service or as HOST:PORT [default: every node]
    node: Option<String>,
}

/// Make a node deaf and mute for a while, as if it were disconnected
///
/// The node must run with CHASSIS_FAULTS=on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft suspend 1 10
  ensemble raft suspend 127.0.0.1:50071 10")]
pub(super) struct Suspend {
    /// The node, by its id, its service or as HOST:PORT
    node: String,
    /// For how long
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
}

/// Changes or lists the members.
pub(super) async fn run(command: &Command, cluster: &Cluster) -> Result<ExitCode> {
    let client = &cluster.client;
    let (id, changed, text) = match command {
        Command::List => return list(cluster).await,
        Command::Add { id, address, learner } => {
            let added = client.add_member(*id, address, *learner).await;
            (id, added, format!("{id} is a member, at {address}"))
        }
        Command::Promote { id } => (id, client.promote_member(*id).await, format!("{id} votes")),
        Command::Remove { id } => (id, client.remove_member(*id).await, format!("{id} is removed")),
    };
    changed.map_err(|error| cluster.explain(&format!("member {id}"), &error))?;
    done(cluster, &text)
}

async fn list(cluster: &Cluster) -> Result<ExitCode> {
    let members = status::members_of(&cluster.client).await;
    if members.is_empty() {
        return Err(anyhow!("no node answers; how they are: `ensemble raft status`"));
    }
    if cluster.output.json {
        for member in &members {
            writeln!(io::stdout(), "{}", json!(member))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        Table::new(cluster.output.palette, ["NODE", "ADDRESS", "STANDING", "MATCH", "SILENT"]);
    for member in members {
        let MemberStatus { id, address, standing, match_index, silent_ms, snapshot } = member;
        let standing = standing.name();
        let matches = match (match_index, snapshot) {
            (_, true) => "snapshot on its way".into(),
            (index, false) => status::or_dash(index),
        };
        let silent = silent_ms.map(|silent| format!("{silent} ms"));
        let cells: [Cell; 5] = [
            id.into(),
            address.into(),
            standing.into(),
            matches.into(),
            status::or_dash(silent).into(),
        ];
        table.row(cells);
    }
    write!(io::stdout(), "{table}")?;
    Ok(ExitCode::SUCCESS)
}

/// Hands leadership over.
pub(super) async fn transfer(arguments: &Transfer, cluster: &Cluster) -> Result<ExitCode> {
    let leader = cluster.client.transfer_leadership(arguments.to).await;
    let leader = leader.map_err(|error| cluster.explain("transfer", &error))?;
    cluster.output.tell(format!("{leader} leads"), &json!({ "leader": leader }))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes snapshots, one after another.
pub(super) async fn snapshot(arguments: &Snapshot, cluster: &Cluster) -> Result<ExitCode> {
    let nodes = match &arguments.node {
        Some(node) => vec![cluster.node(node).await?],
        None => status::nodes_of(&cluster.client).await,
    };
    let mut code = ExitCode::SUCCESS;
    for node in nodes {
        let address = node.address();
        match node.snapshot().await {
            Ok(last) => {
                let text = format!("{address}: a snapshot of everything up to {last}");
                cluster.output.tell(text, &json!({ "address": address, "last_index": last }))?;
            }
            Err(error) => {
                eprintln!("ensemble: snapshot: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Makes a node play dead.
pub(super) async fn suspend(arguments: &Suspend, cluster: &Cluster) -> Result<ExitCode> {
    let Suspend { node, seconds } = arguments;
    let suspended = cluster.node(node).await?.suspend(*seconds).await;
    suspended.map_err(|error| cluster.explain(&format!("suspend {node}"), &error))?;
    done(cluster, &format!("{node} is deaf and mute for {seconds} s"))
}
