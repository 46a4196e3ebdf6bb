//! What the made-up nodes show of themselves: the JSON that the roles' own views make.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Nodes of each system.
pub(super) const EACH: usize = 20;
/// All of them.
pub(super) const NODES: usize = 3 * EACH;

/// A system of which nodes are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Overlay,
    Raft,
    Chord,
}

/// A node of which the views are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cast {
    pub(super) system: System,
    /// Its number among those of its system.
    pub(super) index: usize,
}

/// Microseconds since 1970.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_micros() as u64
}

impl Cast {
    /// Everybody.
    pub(super) fn all() -> Vec<Self> {
        let systems = [System::Overlay, System::Raft, System::Chord];
        let all = systems.into_iter();
        all.flat_map(|system| (0..EACH).map(move |index| Self { system, index })).collect()
    }

    pub(super) fn role(self) -> &'static str {
        match (self.system, self.index) {
            (System::Overlay, 0) => "overlay-leader",
            (System::Overlay, 1..=4) => "overlay-team-leader",
            (System::Overlay, _) => "overlay-worker",
            (System::Raft, _) => "raft-node",
            (System::Chord, _) => "chord-node",
        }
    }

    /// Its name within its system.
    pub(super) fn name(self) -> String {
        match self.system {
            System::Overlay => format!("P{}", self.index),
            System::Raft => (self.index + 1).to_string(),
            System::Chord => place(self.index).to_string(),
        }
    }

    /// Whether it looks different every time, even when nobody asks its system anything.
    pub(super) fn is_restless(self) -> bool {
        self == Self { system: System::Raft, index: 0 }
    }

    /// Its view after so many changes, the last of which was at this time.
    pub(super) fn view(self, changes: u64, stamp: u64) -> String {
        let view = match self.system {
            System::Overlay => self.overlay(changes, stamp),
            System::Raft => self.raft(changes, stamp),
            System::Chord => self.chord(changes, stamp),
        };
        view.to_string()
    }

    fn overlay(self, changes: u64, stamp: u64) -> Value {
        let (role, team) = match self.index {
            0 => ("leader", "green"),
            1..=4 => ("team_leader", if self.index.is_multiple_of(2) { "green" } else { "pink" }),
            index => ("worker", if index.is_multiple_of(2) { "green" } else { "pink" }),
        };
        let asked: Vec<usize> = match self.index {
            0 => (1..=4).collect(),
            index @ 1..=4 => {
                (5..EACH).filter(|worker| worker % 4 + 1 == index).chain([0]).collect()
            }
            index => vec![index % 4 + 1],
        };
        let neighbours: Vec<_> =
            asked.iter().map(|index| json!([format!("P{index}"), true])).collect();
        json!({
            "id": self.name(), "role": role, "team": team, "active": changes % 40,
            "active_limit": 100, "queued": changes % 90, "queue_limit": 200,
            "oldest_wait": took(changes % 900), "totals": {
                "answered": changes * 37, "refused": changes, "expired": 0, "cancelled": 0,
                "missing": 0, "ignored": stamp, "total": took(changes * 41_000),
                "queued": took(changes * 9_000),
            },
            "neighbours": neighbours,
        })
    }

    fn raft(self, changes: u64, stamp: u64) -> Value {
        let (leads, last) = (self.is_restless(), 1_000 + changes * 3);
        let member = |index: usize| {
            json!({
                "id": index + 1, "address": format!("127.0.0.1:{}", 50_071 + index),
                "standing": "voter", "matched": leads.then_some(last - 2),
                "silent_ms": (leads && index > 0).then_some((changes * 7 + index as u64) % 60),
                "snapshot": false,
            })
        };
        json!({
            "id": self.index + 1, "role": if leads { "leader" } else { "follower" }, "term": 3,
            "leader": 1, "vote": 1, "first": 1, "last": last, "commit": last - 2,
            "applied": last - 2, "snapshot": 0, "log_bytes": last * 64,
            "store": { "keys": 100, "bytes": 6_400, "leases": 0, "sessions": 1, "watches": 0 },
            "members": (0..EACH).map(member).collect::<Vec<_>>(), "change_pending": false,
            "ignored": stamp,
        })
    }

    fn chord(self, changes: u64, stamp: u64) -> Value {
        let peer = |index: usize| {
            let index = index % EACH;
            json!({ "id": place(index), "address": format!("127.0.0.1:{}", 50_081 + index) })
        };
        let before = self.index + EACH - 1;
        let fingers: Vec<_> =
            (0..5).map(|at| json!([at * 3, 3, peer(self.index + (1 << at))])).collect();
        json!({
            "node": peer(self.index), "bits": 16, "phase": "member", "predecessor": peer(before),
            "successors": [peer(self.index + 1), peer(self.index + 2), peer(self.index + 3)],
            "fingers": fingers, "ready": { "after": place(before % EACH), "to": place(self.index) },
            "keys": 500, "copies": 1_000, "bytes": 96_000, "bytes_limit": 67_108_864,
            "writing": changes % 5, "lookups": changes % 7, "counted": EACH, "on_ring": true,
            "lost": [], "totals": {
                "performed": changes * 11, "refused": 0, "hops": changes * 31,
                "took": took(changes * 900), "served": changes * 12, "suspected": 0,
                "repaired": 0, "ignored": stamp,
            },
        })
    }
}

/// Where a node of the ring is: on the circle of 2^16, evenly.
fn place(index: usize) -> usize {
    index * 65_536 / EACH + 11
}

fn took(micros: u64) -> Value {
    json!({ "secs": micros / 1_000_000, "nanos": micros % 1_000_000 * 1_000 })
}

/// When the view came about that a viewer is shown, in microseconds since 1970.
pub(super) fn stamp(view: &Value) -> Option<u64> {
    view.get("ignored").or_else(|| view.get("totals")?.get("ignored"))?.as_u64()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_node_has_a_name_of_its_own_and_its_views_say_when_they_came_about() {
        let all = Cast::all();
        assert_eq!(all.len(), NODES);
        assert_eq!(
            all.iter().map(|cast| (cast.role(), cast.name())).collect::<BTreeSet<_>>().len(),
            NODES
        );
        for cast in all {
            let view = serde_json::from_str(&cast.view(7, 1_790_000_000_000_000)).unwrap();
            assert_eq!(stamp(&view), Some(1_790_000_000_000_000), "{cast:?}");
        }
    }
}
