//! `ensemble raft status` and `leader`: how the nodes are, and who leads.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use raft::client::{Client, Error, MemberStatus, Node, NodeStatus};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Cluster, PROMPT};
use crate::paint::{Cell, Colour, Palette, Table};

/// Show how the nodes are; exit with 1 when one does not answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft status
  ensemble raft status --watch
  ensemble raft status --json

LAG is how many entries a node lacks that the leader has; SILENT, how long the leader has not heard
it.")]
pub(super) struct Arguments {
    /// Show it again every so many seconds until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
}

/// Show who leads
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft leader
  ensemble raft leader --json")]
pub(super) struct Leader {}

/// What one node says, and what the leader says of it.
struct Row {
    /// Its id, if anybody has told it.
    id: Option<u64>,
    address: String,
    state: Result<NodeStatus, Error>,
    /// How the leader, or else a node that answers, sees it.
    member: Option<MemberStatus>,
}

/// Everything that the nodes say.
struct Picture {
    rows: Vec<Row>,
    /// The leader's state.
    leader: Option<NodeStatus>,
}

/// Asks and prints.
pub(super) async fn run(arguments: &Arguments, cluster: &Cluster) -> Result<ExitCode> {
    if let Some(seconds) = arguments.watch {
        ensure!((0.1..=3600.0).contains(&seconds), "--watch {seconds}: 0.1 to 3600");
    }
    loop {
        let picture = look(&cluster.client).await;
        let text = match cluster.output.json {
            true => as_json(&picture)?,
            false => as_table(&picture, cluster.output.palette),
        };
        let mut out = io::stdout();
        if arguments.watch.is_some() && out.is_terminal() && !cluster.output.json {
            // Home, and nothing below.
            write!(out, "\x1b[H\x1b[J")?;
        }
        write!(out, "{text}")?;
        out.flush()?;
        let Some(seconds) = arguments.watch else {
            let all = picture.rows.iter().all(|row| row.state.is_ok());
            return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => (),
            _ = tokio::signal::ctrl_c() => {
                // After the terminal's `^C`.
                writeln!(io::stdout())?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Prints who leads.
pub(super) async fn leader(cluster: &Cluster) -> Result<ExitCode> {
    let leader = cluster.client.leader().await;
    let leader = leader.map_err(|error| cluster.explain("leader", &error))?;
    cluster.output.tell(format!("{} {}", leader.id, leader.address), &json!(leader))?;
    Ok(ExitCode::SUCCESS)
}

/// The members by the word of the leader, or else of the node that is furthest; none when nobody
/// answers.
pub(super) async fn members_of(client: &Client) -> Vec<MemberStatus> {
    let states = ask(client, endpoints(client)).await;
    best(states.iter().filter_map(|(_, state)| state.as_ref().ok()))
        .map(|state| state.members.clone())
        .unwrap_or_default()
}

/// Every node: those that were given, and those that they tell of.
pub(super) async fn nodes_of(client: &Client) -> Vec<Node> {
    let rows = look(client).await.rows;
    rows.iter().filter_map(|row| client.node(&row.address).ok()).collect()
}

/// The state that knows most: a leader's, the latest one's.
fn best<'a>(states: impl Iterator<Item = &'a NodeStatus>) -> Option<&'a NodeStatus> {
    states.max_by_key(|state| (state.term, state.role == "leader", state.commit))
}

fn endpoints(client: &Client) -> impl Iterator<Item = String> {
    client.endpoints().into_iter().map(|address| address.to_string())
}

/// Asks all at once, and answers in their order.
async fn ask(
    client: &Client,
    addresses: impl Iterator<Item = String>,
) -> Vec<(String, Result<NodeStatus, Error>)> {
    let client = client.with_deadline(PROMPT);
    let mut asking = JoinSet::new();
    for (position, address) in addresses.enumerate() {
        let node = client.node(&address);
        asking.spawn(async move {
            let state = match node {
                Ok(node) => node.status().await,
                Err(error) => Err(error),
            };
            (position, (address, state))
        });
    }
    let mut found = asking.join_all().await;
    found.sort_by_key(|(position, _)| *position);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Asks the nodes that were given, and then those that they tell of.
async fn look(client: &Client) -> Picture {
    let mut states = ask(client, endpoints(client)).await;
    let members = best(states.iter().filter_map(|(_, state)| state.as_ref().ok()))
        .map(|state| state.members.clone())
        .unwrap_or_default();
    let answered: BTreeSet<_> =
        states.iter().filter_map(|(_, state)| state.as_ref().ok().map(|state| state.id)).collect();
    let asked: BTreeSet<_> = states.iter().map(|(address, _)| address.clone()).collect();
    let others = members
        .iter()
        .filter(|member| !answered.contains(&member.id) && !asked.contains(&member.address));
    states.extend(ask(client, others.map(|member| member.address.clone())).await);
    let known = states.iter().filter_map(|(_, state)| state.as_ref().ok());
    let best = best(known).cloned();
    let leader = best.clone().filter(|state| state.role == "leader");
    let members = best.map(|state| state.members).unwrap_or_default();
    let mut rows: Vec<_> = states
        .into_iter()
        .map(|(address, state)| {
            let is_it = |member: &&MemberStatus| match &state {
                Ok(state) => member.id == state.id,
                Err(_) => member.address == address,
            };
            let member = members.iter().find(is_it).cloned();
            let told = state.as_ref().ok().map(|state| state.id);
            let id = told.or_else(|| member.as_ref().map(|member| member.id));
            Row { id, address, state, member }
        })
        .collect();
    rows.sort_by_key(|row| (row.id.is_none(), row.id));
    // Two addresses may be one node's.
    rows.dedup_by(|later, row| row.id.is_some() && row.id == later.id);
    Picture { rows, leader }
}

/// A text, or a dash in its place.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn as_json(picture: &Picture) -> Result<String> {
    let mut text = String::new();
    for Row { id, address, state, member } in &picture.rows {
        let mut line = json!({ "node": id, "address": address, "member": member });
        match state {
            Ok(state) => line["status"] = json!(state),
            Err(error) => line["error"] = error.to_string().into(),
        }
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn as_table(picture: &Picture, palette: Palette) -> String {
    let heading = [
        "NODE", "ADDRESS", "STANDING", "ROLE", "TERM", "LAST", "COMMIT", "APPLIED", "LAG",
        "SNAPSHOT", "KEYS", "SILENT",
    ];
    let mut table = Table::new(palette, heading);
    for Row { id, address, state, member } in &picture.rows {
        let standing = or_dash(member.as_ref().map(|member| member.standing.name()));
        let silent = member.as_ref().and_then(|member| member.silent_ms);
        let silent = or_dash(silent.map(|silent| format!("{silent} ms")));
        let start = [or_dash(*id).into(), address.into(), standing.into()];
        let rest: [Cell; 9] = match state {
            Ok(state) => {
                let snapshot = or_dash((state.snapshot > 0).then_some(state.snapshot));
                [
                    role(state),
                    state.term.into(),
                    state.last_index.into(),
                    state.commit.into(),
                    state.applied.into(),
                    lag(picture, member.as_ref()).into(),
                    snapshot.into(),
                    state.keys.into(),
                    silent.into(),
                ]
            }
            Err(error) => {
                let reason = error.to_string().replace(&format!("{address}: "), "");
                let empty = || Cell::from("");
                let reason = Cell::painted(reason, Colour::Red);
                [reason, empty(), empty(), empty(), empty(), empty(), empty(), empty(), empty()]
            }
        };
        let mut cells = start.into_iter().chain(rest);
        table.row(std::array::from_fn::<_, 12, _>(|_| cells.next().expect("three and nine")));
    }
    let mut text = table.to_string();
    match &picture.leader {
        None => text += "Nobody leads, as far as these nodes know.\n",
        Some(leader) if leader.change_pending => text += "A change of members is under way.\n",
        Some(_) => (),
    }
    text
}

fn role(state: &NodeStatus) -> Cell {
    let name = state.role.replace('_', " ");
    match state.role.as_str() {
        "leader" => Cell::painted(name, Colour::Green),
        "follower" => name.into(),
        _ => Cell::painted(name, Colour::Yellow),
    }
}

/// How many entries a member lacks that the leader has.
fn lag(picture: &Picture, member: Option<&MemberStatus>) -> String {
    let (Some(leader), Some(member)) = (&picture.leader, member) else { return "-".into() };
    match member {
        member if member.id == leader.id => "-".into(),
        MemberStatus { snapshot: true, .. } => "snapshot".into(),
        member => or_dash(member.match_index.map(|it| leader.last_index.saturating_sub(it))),
    }
}
