//! What a user has the cluster do from the page, and how it is broken. Everything goes by the
//! clients that other programs use, to the processes that are seen.

mod breaking;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use chassis::channel::Connector;
use chord::client::{Done, Hop, Place, Reason};
use overlay::client::{Operation, Team};
use raft::client::Freshness;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use self::breaking::{Break, break_it};
use crate::picture::{Health, Node, Nodes};

/// How long an act may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Characters of a key in what is told of an act.
const SHOWN: usize = 64;

/// Something to be done.
#[derive(Debug)]
pub(crate) enum Deed {
    /// Has the overlay work on a text.
    Forward(Forward),
    /// Something with a key of the store.
    Store(Store),
    /// Something with a key of the ring.
    Ring(Ring),
}

/// What is done with a key of the store.
#[derive(Debug)]
pub(crate) enum Store {
    Put(Pair),
    Get(Key),
    Delete(Key),
}

/// What is done with a key of the ring.
#[derive(Debug)]
pub(crate) enum Ring {
    Save(Pair),
    Find(Key),
    Remove(Key),
    Locate(Key),
}

/// A text for the overlay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    /// The process that is asked; the leader if none is named.
    at: Option<String>,
    payload: String,
    #[serde(default)]
    operation: Work,
}

/// What the overlay does with a text.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Work {
    #[default]
    Text,
    Count,
    Digest,
}

/// A key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    key: String,
}

/// A key and what it is to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    key: String,
    value: String,
}

/// What came of a deed: what the page shows, or why there is nothing to show.
pub(crate) type Outcome = Result<Value, String>;

impl Deed {
    /// The system that does it.
    pub(crate) fn system(&self) -> &'static str {
        match self {
            Self::Forward(_) => "overlay",
            Self::Store(_) => "raft",
            Self::Ring(_) => "chord",
        }
    }

    /// The system and what it does.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.system(), self.verb().0)
    }

    /// What is done, in a few words.
    pub(crate) fn words(&self) -> String {
        let (verb, what) = self.verb();
        let shown = what.chars().take(SHOWN).collect::<String>();
        let rest = if shown.len() < what.len() { "…" } else { "" };
        format!("{verb} {shown}{rest}")
    }

    /// What is done, and with what.
    fn verb(&self) -> (&'static str, &str) {
        match self {
            Self::Forward(forward) => ("forward", &forward.payload),
            Self::Store(Store::Put(pair)) => ("put", &pair.key),
            Self::Store(Store::Get(key)) => ("get", &key.key),
            Self::Store(Store::Delete(key)) => ("delete", &key.key),
            Self::Ring(Ring::Save(pair)) => ("save", &pair.key),
            Self::Ring(Ring::Find(key)) => ("find", &key.key),
            Self::Ring(Ring::Remove(key)) => ("remove", &key.key),
            Self::Ring(Ring::Locate(key)) => ("locate", &key.key),
        }
    }

    /// Does it.
    pub(crate) async fn carry_out(&self, clients: &Clients, nodes: &Nodes) -> Outcome {
        match self {
            Self::Forward(deed) => forward(&clients.connector, nodes, deed).await,
            Self::Store(deed) => in_store(clients.of_store(nodes)?, deed).await,
            Self::Ring(deed) => on_ring(clients.of_ring(nodes)?, deed).await,
        }
    }
}

/// The clients by which acts are done. Each lasts while the same processes are there: connections
/// are made once, and who led the last time is asked first.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) connector: Connector,
    store: Mutex<Kept<raft::client::Client>>,
    ring: Mutex<Kept<chord::client::Client>>,
}

/// A client, and where those are that it asks.
type Kept<C> = Option<(Vec<String>, C)>;

impl Clients {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, store: Mutex::default(), ring: Mutex::default() }
    }

    fn of_store(&self, nodes: &Nodes) -> Result<raft::client::Client, String> {
        kept(&self.store, addresses(nodes, "raft-node")?, |endpoints| {
            let options = raft::client::Options { deadline: PATIENCE, ..<_>::default() };
            raft::client::Client::new(self.connector.clone(), endpoints, options)
        })
    }

    fn of_ring(&self, nodes: &Nodes) -> Result<chord::client::Client, String> {
        kept(&self.ring, addresses(nodes, "chord-node")?, |endpoints| {
            let options = chord::client::Options { deadline: PATIENCE, ..<_>::default() };
            chord::client::Client::new(self.connector.clone(), endpoints, options)
        })
    }
}

/// The client that there is, or another if the processes are others.
fn kept<C: Clone, E: ToString>(
    kept: &Mutex<Kept<C>>,
    endpoints: Vec<String>,
    make: impl FnOnce(&[String]) -> Result<C, E>,
) -> Result<C, String> {
    let mut kept = kept.lock().expect("no holder panics");
    match &*kept {
        Some((same, client)) if *same == endpoints => Ok(client.clone()),
        _ => {
            let client = make(&endpoints).map_err(|error| error.to_string())?;
            *kept = Some((endpoints, client.clone()));
            Ok(client)
        }
    }
}

async fn in_store(client: raft::client::Client, deed: &Store) -> Outcome {
    let told = |error: raft::client::Error| remedied(&error, error.remedy());
    match deed {
        Store::Put(Pair { key, value }) => {
            Ok(json!(client.put(key.clone(), value.clone()).await.map_err(told)?))
        }
        Store::Delete(Key { key }) => Ok(json!(client.delete(key.clone()).await.map_err(told)?)),
        Store::Get(Key { key }) => {
            let item = client.get(key.clone(), Freshness::Latest).await.map_err(told)?;
            let item = item.map(|item| {
                let value = String::from_utf8_lossy(&item.value).into_owned();
                json!({ "value": value, "version": item.version, "created": item.created })
            });
            Ok(json!({ "found": item.is_some(), "item": item }))
        }
    }
}

async fn on_ring(client: chord::client::Client, deed: &Ring) -> Outcome {
    let told = |error: chord::client::Error| remedied(&error, error.remedy());
    // Each hop with its time.
    let mode = Some(chord::client::Mode::Iterative);
    match deed {
        Ring::Save(Pair { key, value }) => {
            let done = client.save(key.as_bytes(), value.as_bytes(), mode).await.map_err(told)?;
            Ok(looked_up(&done, if done.outcome { "saved" } else { "exists" }, None))
        }
        Ring::Find(Key { key }) => {
            let done = client.find(key.as_bytes(), mode).await.map_err(told)?;
            let value = done.outcome.as_deref().map(String::from_utf8_lossy);
            let outcome = if value.is_some() { "found" } else { "missing" };
            Ok(looked_up(&done, outcome, value.as_deref()))
        }
        Ring::Remove(Key { key }) => {
            let done = client.remove(key.as_bytes(), mode).await.map_err(told)?;
            Ok(looked_up(&done, if done.outcome { "removed" } else { "missing" }, None))
        }
        Ring::Locate(Key { key }) => {
            let place = Place::Key(key.clone().into_bytes());
            let done = client.locate(&place, mode).await.map_err(told)?;
            Ok(looked_up(&done, "located", None))
        }
    }
}

async fn forward(connector: &Connector, nodes: &Nodes, deed: &Forward) -> Outcome {
    let asked = match &deed.at {
        Some(name) => nodes.get(&format!("overlay/{name}")),
        None => nodes.values().find(|node| node.role == "overlay-leader"),
    };
    let asked = asked.ok_or("there is no such process of the overlay; see the floor plan")?;
    let client = overlay::client::Client::connect(connector, &asked.address, CONNECT).await;
    let client = client.map_err(|error| format!("{error:#}"))?;
    let operation = match deed.operation {
        Work::Text => Operation::Process,
        Work::Count => Operation::WordCount,
        Work::Digest => Operation::Digest,
    };
    let payload = deed.payload.clone().into_bytes();
    let answer = client.forward(payload, operation, Team::Unspecified, PATIENCE).await;
    answer.map(|answer| json!(answer)).map_err(|refusal| refusal.to_string())
}

/// Where the processes of a role are that may answer.
fn addresses(nodes: &Nodes, role: &str) -> Result<Vec<String>, String> {
    let ours = |node: &&Node| node.role == role;
    let alive = |node: &&Node| node.health != Health::Unreachable;
    let some = nodes.values().filter(ours).filter(alive).map(|node| node.address.clone());
    let some = some.collect::<Vec<_>>();
    if some.is_empty() {
        return Err(format!("no {role} is there to be asked; start some: `ensemble up`"));
    }
    Ok(some)
}

fn remedied(error: &impl ToString, remedy: &str) -> String {
    match remedy {
        "" => error.to_string(),
        remedy => format!("{}; {remedy}", error.to_string()),
    }
}

fn looked_up<T>(done: &Done<T>, outcome: &str, value: Option<&str>) -> Value {
    // JavaScript tells no numbers apart that are so large.
    let peer = |peer: &chord::client::Peer| {
        let (id, address) = (peer.id.to_string(), &*peer.address);
        json!({ "id": id, "address": address })
    };
    let hop = |hop: &Hop| {
        json!({
            "id": hop.peer.id.to_string(),
            "address": &*hop.peer.address,
            "reason": reason(hop.reason),
            "took_us": hop.took.map(|took| took.as_micros() as u64),
            "answered": hop.answered,
        })
    };
    json!({
        "outcome": outcome,
        "value": value,
        "by": peer(&done.by),
        "id": done.id.to_string(),
        "path": done.path.iter().map(hop).collect::<Vec<_>>(),
    })
}

fn reason(reason: Reason) -> String {
    match reason {
        Reason::Entry => "was asked".to_owned(),
        Reason::Finger(index) => format!("finger {index}"),
        Reason::Successor(index) => format!("successor {index}"),
        Reason::Responsible => "responsible".to_owned(),
        Reason::Redirected => "redirected".to_owned(),
    }
}

/// How long something took.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, u64) {
    let began = Instant::now();
    let done = work.await;
    (done, began.elapsed().as_micros() as u64)
}
