//! What a server of Raft shows of itself.

use serde_json::Value;

use crate::promises::reading::{field, list, number, optional};

/// The most members of a cluster.
const MEMBERS_LIMIT: usize = 32;

/// A server's view.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) id: u64,
    pub(super) leads: bool,
    pub(super) term: u64,
    pub(super) leader: Option<u64>,
    pub(super) vote: Option<u64>,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) commit: u64,
    pub(super) applied: u64,
    pub(super) snapshot: u64,
    /// Up to where the logs of other members match, as a leader knows.
    pub(super) matched: Vec<(u64, u64)>,
}

impl View {
    /// Nothing if it makes no sense, or is another server's.
    pub(super) fn read(view: &Value, name: &str) -> Option<Self> {
        let id = field(view, "id").filter(|id| id.to_string() == name)?;
        let leads = match view.get("role")?.as_str()? {
            "leader" => true,
            "follower" | "pre_candidate" | "candidate" => false,
            _ => return None,
        };
        let member = |member: &Value| Some((field(member, "id")?, optional_matched(member)?));
        let members = list(view.get("members")?, MEMBERS_LIMIT, member)?;
        let others = members.into_iter().filter(|(other, _)| leads && *other != id);
        Some(Self {
            id,
            leads,
            term: field(view, "term")?,
            leader: optional(view, "leader", number)?,
            vote: optional(view, "vote", number)?,
            first: field(view, "first")?,
            last: field(view, "last")?,
            commit: field(view, "commit")?,
            applied: field(view, "applied")?,
            snapshot: field(view, "snapshot")?,
            matched: others.filter_map(|(id, matched)| Some((id, matched?))).collect(),
        })
    }

    /// Who leads in its term, as far as it knows.
    pub(super) fn known_leader(&self) -> Option<u64> {
        if self.leads { Some(self.id) } else { self.leader }
    }

    /// Which of its marks are not in order.
    pub(super) fn disorder(&self) -> Option<String> {
        let Self { first, last, commit, applied, snapshot, .. } = *self;
        let rules = [
            (snapshot <= applied, "its snapshot is beyond what it has applied"),
            (applied <= commit, "it has applied what is not committed"),
            (commit <= last, "it lacks what is committed"),
            (first <= snapshot.saturating_add(1), "its log begins after a gap"),
        ];
        let (_, wrong) = rules.into_iter().find(|(holds, _)| !holds)?;
        Some(format!(
            "{wrong}: first {first}, snapshot {snapshot}, applied {applied}, committed {commit}, \
             last {last}"
        ))
    }
}

fn optional_matched(member: &Value) -> Option<Option<u64>> {
    if member.get("matched").is_none() {
        return Some(None);
    }
    optional(member, "matched", number)
}
