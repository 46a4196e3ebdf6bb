//! What the overlay promises: limits are kept, and whose part is missing in an answer is named.
//!
//! Who should have taken part is read off the views: a leader asks its neighbours that lead a team
//! or work, a team leader the workers of its own team next to it. Nobody misses those behind one
//! that is missing itself. Of a payload that is split, a process whose part would be empty is not
//! asked; there the parts must leave no gap, and whether the last one reaches the end is not
//! judged, since an answer does not say how long the payload was.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use self::answer::Answer;
use super::Observed;
use super::reading::{clock, field, list};
use super::verdict::Verdict;

/// Milliseconds for which the processes must have been what they are, for an answer that comes
/// to be one of theirs.
const SETTLED_MS: u64 = 10_000;
/// Neighbours of a process.
const NEIGHBOURS_LIMIT: usize = 64;
/// Bytes of a name; the places of processes with longer ones are not known.
const NAME_LIMIT: usize = 64;

/// What a process is to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    role: Role,
    team: String,
    neighbours: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    TeamLeader,
    Worker,
}

impl Place {
    fn read(view: &Value) -> Option<Self> {
        let role = match view.get("role")?.as_str()? {
            "leader" => Role::Leader,
            "team_leader" => Role::TeamLeader,
            "worker" => Role::Worker,
            _ => return None,
        };
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| text.len() <= NAME_LIMIT)?;
            Some(text.to_owned())
        };
        let neighbours = list(view.get("neighbours")?, NEIGHBOURS_LIMIT, |one| text(one.get(0)?))?;
        Some(Self { role, team: text(view.get("team")?)?, neighbours })
    }

    /// Whether a request for all teams that comes here goes on to this neighbour.
    fn asks(&self, next: &Self) -> bool {
        match (self.role, next.role) {
            (Role::Leader, Role::TeamLeader | Role::Worker) => true,
            (Role::TeamLeader, Role::Worker) => self.team == next.team,
            (Role::Leader | Role::TeamLeader, _) | (Role::Worker, _) => false,
        }
    }
}

/// What is known of the overlay.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The processes by key: what they are, and since when.
    places: BTreeMap<String, (Place, u64)>,
    limits: Verdict,
    nothing_silent: Verdict,
}

impl Default for Overlay {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            limits: Verdict::new(
                "overlay/limits",
                "No process has more requests in hand or waiting than its limits",
            ),
            nothing_silent: Verdict::new(
                "overlay/nothing-silent",
                "An answer names everybody whose part is missing, and is complete if there is none",
            ),
        }
    }
}

impl Overlay {
    pub(super) fn verdicts(&self) -> [&Verdict; 2] {
        [&self.limits, &self.nothing_silent]
    }

    pub(super) fn verdicts_mut(&mut self) -> [&mut Verdict; 2] {
        [&mut self.limits, &mut self.nothing_silent]
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.places.remove(key);
    }

    /// A process shows another view.
    pub(super) fn see(&mut self, at: u64, node: &Observed, view: &Value) {
        self.see_limits(at, node.key, view);
        let named = view.get("id").and_then(Value::as_str) == Some(node.name);
        match Place::read(view).filter(|_| named) {
            Some(place) if self.places.get(node.key).is_some_and(|(known, _)| *known == place) => {}
            Some(place) => {
                // Its configuration is read when it begins.
                let is_first = !self.places.contains_key(node.key);
                let since = node.started.filter(|_| is_first).map_or(at, |since| since.min(at));
                self.places.insert(node.key.to_owned(), (place, since));
            }
            None => self.forget(node.key),
        }
    }

    fn see_limits(&mut self, at: u64, key: &str, view: &Value) {
        let pair = |of, limit| Some((field(view, of)?, field(view, limit)?));
        let pairs = [
            (pair("active", "active_limit"), "in hand"),
            (pair("queued", "queue_limit"), "waiting"),
        ];
        if pairs.iter().all(|(pair, _)| pair.is_none()) {
            return;
        }
        let over = pairs.into_iter().filter_map(|(pair, what)| {
            let (number, limit) = pair?;
            let when = clock(at);
            (limit < number).then(|| format!("{key}: {number} {what} of {limit} at {when}"))
        });
        self.limits.judge(at, over.collect::<Vec<_>>());
    }

    /// A request for all teams has its answer.
    pub(super) fn answered(&mut self, at: u64, answer: &Value) {
        let Some(answer) = Answer::read(answer) else { return };
        let silent = match &answer.text {
            true => self.silent(at, &answer),
            false => answer.gap(),
        };
        if silent.is_none() && answer.complete.is_none() {
            return;
        }
        let against = [answer.contradiction(), silent.flatten()];
        let said = |wrong: String| format!("answer at {}: {wrong}", clock(at));
        self.nothing_silent.judge(at, against.into_iter().flatten().map(said));
    }

    /// Who should have taken part, did not, and is not named; nothing if it is not known for long
    /// enough who should.
    fn silent(&self, at: u64, answer: &Answer) -> Option<Option<String>> {
        let place = |name: &str| {
            let known = self.places.get(&format!("overlay/{name}"));
            known.map(|(place, since)| (place, since.saturating_add(SETTLED_MS) <= at))
        };
        let mut waiting = vec![answer.entry.as_deref()?];
        let mut passed = waiting.clone();
        let mut silent = Vec::new();
        while let Some(name) = waiting.pop() {
            let (here, true) = place(name)? else { return None };
            for next in &here.neighbours {
                // Of whom nothing was ever seen, nobody knows whether it should.
                let Some((there, settled)) = place(next) else { continue };
                if passed.contains(&next.as_str()) || !here.asks(there) {
                    continue;
                }
                if !settled {
                    return None;
                }
                passed.push(next);
                if answer.visited.contains(next) {
                    waiting.push(next);
                } else if !answer.missing.contains(next) {
                    silent.push(next.as_str());
                }
            }
        }
        let silent = (!silent.is_empty())
            .then(|| format!("{} took no part and is not said to be missing", silent.join(", ")));
        Some(silent)
    }
}
