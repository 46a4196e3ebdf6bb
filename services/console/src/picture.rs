//! The words in which the page is told what there is: what `GET /events` and `GET /history` say.
//!
//! Times are milliseconds since 1970 by this process's clock.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::promises::Promise;
use crate::traces::{Stats, TraceId};

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// It takes requests.
    Serving,
    /// It is not ready yet, or stopping.
    NotServing,
    /// It does not answer.
    Unreachable,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Node {
    /// `system/name`: no other has it.
    pub(crate) key: String,
    /// Such as `raft`.
    pub(crate) system: String,
    /// Such as `raft-node`.
    pub(crate) role: String,
    /// Its name within its system.
    pub(crate) name: String,
    /// `host:port`.
    pub(crate) address: String,
    /// Processes of one host are drawn together.
    pub(crate) host: String,
    pub(crate) health: Health,
    /// Since when it is so.
    pub(crate) since: u64,
    /// When the process began.
    pub(crate) started: Option<u64>,
    /// Whether faults can be switched on.
    pub(crate) faults_on: bool,
    /// Those that were switched on by this console.
    pub(crate) faults: Faults,
    /// Messages a second that it sends, by the name of the peer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) traffic: BTreeMap<String, u64>,
    /// Its own view.
    pub(crate) view: Option<View>,
    /// When that was seen.
    pub(crate) viewed: u64,
}

/// A process's own view, kept as the text that is told: as a tree it takes ten times as much.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct View(#[serde(serialize_with = "told_as_it_is")] Arc<RawValue>);

fn told_as_it_is<S: serde::Serializer>(text: &RawValue, serializer: S) -> Result<S::Ok, S::Error> {
    text.serialize(serializer)
}

impl View {
    pub(crate) fn of(view: &Value) -> Self {
        Self(to_raw_value(view).expect("a value is JSON").into())
    }

    pub(crate) fn read(&self) -> Value {
        serde_json::from_str(self.0.get()).expect("it was a value")
    }
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Faults that were switched on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Faults {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended_until: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cut: Vec<Cut>,
    /// The shortest and the longest wait of a message, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay: Option<(u32, u32)>,
    /// The probability that a message is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drop: Option<f64>,
}

/// Peers from or to which nothing passes; all of them if none is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) peers: Vec<String>,
    pub(crate) direction: Direction,
}

/// Which way nothing passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    #[default]
    Both,
    In,
    Out,
}

/// Something notable that a process told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) at: u64,
    /// The key of the process.
    pub(crate) node: String,
    pub(crate) text: String,
}

/// What a user had the cluster do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Act {
    pub(crate) at: u64,
    pub(crate) system: &'static str,
    pub(crate) text: String,
    pub(crate) ok: bool,
    pub(crate) answer: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<TraceId>,
}

/// Everything that there is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot<'a> {
    pub(crate) at: u64,
    pub(crate) nodes: Vec<&'a Node>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) spans: Stats,
    /// The number of the newest line of each log.
    pub(crate) logs: BTreeMap<String, u64>,
    /// How far the history goes back.
    pub(crate) oldest: u64,
}

/// What has changed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Frame<'a> {
    pub(crate) at: u64,
    pub(crate) number: u64,
    /// Those that changed, whole.
    pub(crate) nodes: Vec<&'a Node>,
    /// Keys of those that are not shown any more.
    pub(crate) gone: Vec<String>,
    pub(crate) events: Vec<Event>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) acts: Vec<Act>,
    /// The number of the newest line of each log that has become longer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) logs: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spans: Option<Stats>,
}

/// What is told to whoever looks, made once for all: a server-sent event, and the JSON in it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    event: Bytes,
    json: Range<usize>,
}

impl Told {
    /// Tells of this; JSON has no line breaks.
    pub(crate) fn new(kind: &str, number: u64, of: &impl Serialize) -> Self {
        let mut text = format!("event: {kind}\nid: {number}\ndata: ").into_bytes();
        let begin = text.len();
        let written = serde_json::to_writer(&mut text, of);
        written.expect("strings for keys, and no numbers that JSON has not");
        let json = begin..text.len();
        text.extend(b"\n\n");
        Self { event: text.into_boxed_slice().into(), json }
    }

    /// As a viewer is sent it.
    pub(crate) fn event(&self) -> Bytes {
        self.event.clone()
    }

    /// The JSON alone, without a copy.
    pub(crate) fn piece(&self) -> Bytes {
        self.event.slice(self.json.clone())
    }

    pub(crate) fn json(&self) -> &str {
        str::from_utf8(&self.event[self.json.clone()]).expect("it was written as text")
    }
}

/// Processes by their keys.
pub(crate) type Nodes = BTreeMap<String, Node>;
