//! What is seen, as a value that is told the time: the processes by what they last said, what has
//! changed since the last frame, and the frames of the last minutes.

mod history;
mod merged;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Bytes;
use proto::ensemble::observe::v1::LogLine;
use serde_json::Value;

use self::history::History;
use self::traffic::{Meter, Rates};
use crate::limits::{exact, shortened};
use crate::logs::{Level, Logs};
use crate::picture::{Act, Event, Faults, Frame, Health, Node, Nodes, Snapshot, Told, View};
use crate::promises::{Observed, Promises};
use crate::traces::Stats;

/// Processes that are shown.
const NODES_LIMIT: usize = 1024;
/// Characters of a name.
const NAME_LIMIT: usize = 128;
/// Characters of an event.
pub(crate) const EVENT_LIMIT: usize = 1024;
/// Events and acts of one frame; more are left out.
const NEWS_LIMIT: usize = 1000;
/// Milliseconds after which a process that does not answer is not shown any more.
const FORGET_MS: u64 = 60_000;
/// Milliseconds between two judgements of what needs rest.
const JUDGE_MS: u64 = 250;
/// Frames that a viewer may lag behind before it is shown everything anew.
const LAG_LIMIT: u64 = history::FINE as u64;

/// What was seen of a process at an address.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Who it says it is, and how long it has lived.
    Known(Identity),
    /// How it is.
    Health(Health),
    /// Whether faults can be switched on.
    Faults(bool),
    /// Its view, as it says it.
    View(String),
    /// Something notable.
    Event(String),
    /// How long it lives, in microseconds, and how many messages it has sent since, by peer.
    Traffic(u64, BTreeMap<String, u64>),
    /// A line of its log.
    Log(LogLine),
    /// Lines of its log that were missed.
    MissedLogs(u64),
    /// The address is nobody's any more.
    Gone,
}

/// Who a process says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) role: String,
    pub(crate) name: String,
    /// When it began.
    pub(crate) started: Option<u64>,
}

/// What a viewer is shown next.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// The frame that follows the one that it has seen.
    Frame(Told),
    /// Nothing has changed since.
    Nothing,
    /// It lags too far behind: it is shown everything anew.
    Anew,
}

/// Everything that is seen.
#[derive(Debug)]
pub(crate) struct Scene {
    nodes: Nodes,
    /// Whose address it is.
    keys: BTreeMap<Arc<str>, String>,
    /// What they count, by key.
    meters: BTreeMap<String, Meter>,
    logs: Logs,
    changed: BTreeSet<String>,
    gone: Vec<String>,
    events: Vec<Event>,
    acts: Vec<Act>,
    promises: Promises,
    /// When the promises were judged last.
    judged: u64,
    /// The spans by the last count.
    spans: Stats,
    /// Frames so far.
    number: u64,
    history: History,
}

impl Scene {
    /// Nothing yet; the history takes so many bytes at most.
    pub(crate) fn new(history_bytes: usize) -> Self {
        Self {
            nodes: Nodes::new(),
            keys: BTreeMap::new(),
            meters: BTreeMap::new(),
            logs: Logs::default(),
            changed: BTreeSet::new(),
            gone: Vec::new(),
            events: Vec::new(),
            acts: Vec::new(),
            promises: Promises::default(),
            judged: 0,
            spans: Stats::default(),
            number: 0,
            history: History::new(history_bytes),
        }
    }

    /// Every process, by key.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Something was seen at an address.
    pub(crate) fn see(&mut self, at: u64, address: &Arc<str>, seen: Seen) {
        if let Seen::Known(identity) = seen {
            return self.meet(at, address, identity);
        }
        let Some(key) = self.keys.get(address).cloned() else { return };
        if let Seen::Gone = seen {
            self.keys.remove(address);
            return self.forget(at, &key);
        }
        let Some(node) = self.nodes.get_mut(&key) else { return };
        let mut shown = None;
        match seen {
            Seen::Health(health) if node.health != health => {
                (node.health, node.since) = (health, at);
            }
            Seen::Faults(on) if node.faults_on != on => node.faults_on = on,
            Seen::View(view) => match serde_json::from_str::<Value>(&view) {
                Ok(view) if view.is_object() => {
                    let view = exact(view);
                    (node.view, node.viewed) = (Some(View::of(&view)), at);
                    shown = Some(view);
                }
                Ok(_) | Err(_) => return self.tell(at, key, "its view makes no sense".to_owned()),
            },
            Seen::Event(text) => return self.tell(at, key, text),
            Seen::Traffic(alive_us, sent) => return self.measure(at, key, alive_us, sent),
            Seen::Log(line) => return self.logs.put(&key, line),
            Seen::MissedLogs(count) => return self.logs.missed(at, &key, count),
            Seen::Health(_) | Seen::Faults(_) | Seen::Known(_) | Seen::Gone => return,
        }
        self.observe(at, &key, shown);
        self.changed.insert(key);
    }

    /// A process has counted its messages.
    fn measure(&mut self, at: u64, key: String, alive_us: u64, sent: BTreeMap<String, u64>) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        let meter = self.meters.entry(key.clone()).or_default();
        match meter.read(at, alive_us, sent, &node.traffic) {
            Ok(Some(rates)) => {
                node.traffic = rates;
                self.changed.insert(key);
            }
            Ok(None) => (),
            Err(reason) => self.tell(at, key, reason),
        }
    }

    /// Has the promises judged by what a process is: by this view, or by the one that it has.
    fn observe(&mut self, at: u64, key: &str, shown: Option<Value>) {
        let Some(node) = self.nodes.get(key) else { return };
        let view = shown.or_else(|| node.view.as_ref().map(View::read));
        let observed = Observed {
            key,
            system: &node.system,
            name: &node.name,
            view: view.as_ref(),
            reachable: node.health != Health::Unreachable,
            started: node.started,
            broken: node.faults != Faults::default(),
        };
        self.promises.seen(at, &observed);
    }

    fn tell(&mut self, at: u64, node: String, text: String) {
        if self.events.len() < NEWS_LIMIT {
            let text = shortened(text, EVENT_LIMIT);
            self.events.push(Event { at, node, text });
        }
    }

    /// A process says who it is. Another one at the same address takes its place; the same one
    /// that has begun anew has no faults.
    fn meet(&mut self, at: u64, address: &Arc<str>, identity: Identity) {
        let role = shortened(identity.role, NAME_LIMIT);
        let name = shortened(identity.name, NAME_LIMIT);
        let system = role.split('-').next().unwrap_or_default().to_owned();
        let key = format!("{system}/{name}");
        if let Some(before) = self.keys.get(address).filter(|before| **before != key).cloned() {
            self.forget(at, &before);
        }
        if self.nodes.len() >= NODES_LIMIT && !self.nodes.contains_key(&key) {
            return;
        }
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host).to_owned();
        let node = self.nodes.entry(key.clone()).or_insert_with(|| Node {
            key: key.clone(),
            system,
            role: role.clone(),
            name,
            address: address.to_string(),
            host: host.clone(),
            health: Health::NotServing,
            since: at,
            started: identity.started,
            faults_on: false,
            faults: Faults::default(),
            traffic: Rates::new(),
            view: None,
            viewed: at,
        });
        // Two clocks never quite agree. By one that was set back, a younger process is older.
        let is_another = |one: Option<u64>, other: Option<u64>| {
            one.zip(other).is_none_or(|(one, other)| other.abs_diff(one) > 1_000)
        };
        if is_another(node.started, identity.started) {
            node.started = identity.started;
            node.faults = Faults::default();
        }
        (node.role, node.address, node.host) = (role, address.to_string(), host);
        // Where it was before, nobody speaks for it any more.
        self.keys.retain(|_, known| *known != key);
        self.keys.insert(address.clone(), key.clone());
        self.changed.insert(key);
    }

    fn forget(&mut self, at: u64, key: &str) {
        if self.nodes.remove(key).is_some() {
            self.promises.gone(at, key);
            self.meters.remove(key);
            self.logs.forget(key);
            self.changed.remove(key);
            self.gone.push(key.to_owned());
        }
    }

    /// Faults were switched on or off through this console.
    pub(crate) fn set_faults(&mut self, at: u64, key: &str, change: impl FnOnce(&mut Faults)) {
        if let Some(node) = self.nodes.get_mut(key) {
            change(&mut node.faults);
            self.observe(at, key, None);
            self.changed.insert(key.to_owned());
        }
    }

    /// A user had the cluster do something.
    pub(crate) fn acted(&mut self, act: Act) {
        if act.ok {
            self.promises.answered(act.at, act.system, &act.answer);
        }
        if self.acts.len() < NEWS_LIMIT {
            self.acts.push(act);
        }
    }

    /// What has changed since the last frame; nothing if nothing has.
    pub(crate) fn frame(&mut self, at: u64, spans: Option<Stats>) -> Option<Told> {
        self.expire(at);
        if JUDGE_MS <= at.abs_diff(self.judged) {
            self.judged = at;
            self.promises.tick(at);
        }
        let promises = self.promises.changed();
        self.spans = spans.unwrap_or(self.spans);
        let changed = std::mem::take(&mut self.changed);
        let nodes = changed.iter().filter_map(|key| self.nodes.get(key)).collect::<Vec<_>>();
        let (gone, events) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.events));
        let (acts, logs) = (std::mem::take(&mut self.acts), self.logs.news(at));
        let quiet = nodes.is_empty() && gone.is_empty() && events.is_empty() && acts.is_empty();
        if quiet && logs.is_empty() && promises.is_empty() && spans.is_none() {
            return None;
        }
        self.number += 1;
        let number = self.number;
        let frame = Frame { at, number, nodes, gone, events, promises, acts, logs, spans };
        let frame = Told::new("frame", number, &frame);
        if self.history.oldest().is_none() {
            // There was nothing before the first. What was before another one had no room.
            let (nodes, promises, spans) = (Vec::new(), Vec::new(), Stats::default());
            let logs = BTreeMap::new();
            let nothing = Snapshot { at, nodes, promises, spans, logs, oldest: at };
            let before = match number {
                1 => Told::new("snapshot", 0, &nothing),
                _ => self.snapshot(at),
            };
            self.history.put_snapshot(at, number - 1, before);
        }
        self.history.put_frame(at, number, frame.clone());
        if self.history.wants_snapshot(at) {
            let snapshot = self.snapshot(at);
            self.history.put_snapshot(at, number, snapshot);
        }
        Some(frame)
    }

    /// The lines of a process's log that are as grave as `least` and newer than the one with the
    /// number `after`, as JSON; nothing if there is no such process.
    pub(crate) fn log(&self, key: &str, least: Level, after: u64) -> Option<Value> {
        self.nodes.contains_key(key).then(|| self.logs.list(key, least, after))
    }

    /// Who has not answered for long is not shown any more; a suspension ends by itself, and so
    /// does the traffic of who does not count any.
    fn expire(&mut self, at: u64) {
        let silent = |node: &&Node| {
            node.health == Health::Unreachable && node.since.saturating_add(FORGET_MS) <= at
        };
        let silent = self.nodes.values().filter(silent).map(|node| node.key.clone());
        for key in silent.collect::<Vec<_>>() {
            self.keys.retain(|_, known| *known != key);
            self.forget(at, &key);
        }
        for node in self.nodes.values_mut() {
            if node.faults.suspended_until.take_if(|until| *until <= at).is_some() {
                self.changed.insert(node.key.clone());
            }
            let meter = self.meters.get(&node.key);
            if !node.traffic.is_empty() && meter.is_none_or(|meter| meter.is_silent(at)) {
                node.traffic.clear();
                self.changed.insert(node.key.clone());
            }
        }
    }

    /// What a viewer is shown next that has seen the frame of this number.
    pub(crate) fn after(&self, number: u64) -> Next {
        match self.number.saturating_sub(number) {
            0 => Next::Nothing,
            1..=LAG_LIMIT => match self.history.frame(number + 1) {
                Some(frame) => Next::Frame(frame.clone()),
                None => Next::Anew,
            },
            _ => Next::Anew,
        }
    }

    /// Everything that there is.
    pub(crate) fn snapshot(&self, at: u64) -> Told {
        let oldest = self.history.oldest().unwrap_or(at);
        let (nodes, promises) = (self.nodes.values().collect(), self.promises.all());
        let (spans, logs) = (self.spans, self.logs.last());
        let snapshot = Snapshot { at, nodes, promises, spans, logs, oldest };
        Told::new("snapshot", self.number, &snapshot)
    }

    /// The frames of the last number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What was seen between two times, as JSON in pieces.
    pub(crate) fn history(&self, from: u64, to: u64) -> Option<Vec<Bytes>> {
        self.history.between(from, to)
    }
}
