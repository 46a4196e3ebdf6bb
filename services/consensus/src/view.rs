//! What an onlooker sees of a server.

use protocols::NodeId;
use serde::Serialize;

use crate::progress::{Pace, Progress};
use crate::store::Counts;
use crate::{Index, Raft, Role, Standing, Term};

/// What a server looks like from outside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Its name.
    pub id: NodeId,
    /// `follower`, `pre_candidate`, `candidate` or `leader`.
    pub role: &'static str,
    /// Its term.
    pub term: Term,
    /// Who leads, if it knows.
    pub leader: Option<NodeId>,
    /// Who has its vote in this term.
    pub vote: Option<NodeId>,
    /// The first entry that its log has in memory.
    pub first: Index,
    /// The last entry of its log.
    pub last: Index,
    /// The last entry that it knows to be committed.
    pub commit: Index,
    /// The last entry that it has applied.
    pub applied: Index,
    /// The last entry of its snapshot.
    pub snapshot: Index,
    /// Bytes of its log in memory.
    pub log_bytes: usize,
    /// What its store holds.
    pub store: Counts,
    /// The members by the latest configuration that it has.
    pub members: Vec<MemberView>,
    /// Whether a change of members is under way.
    pub change_pending: bool,
    /// Messages that made no sense.
    pub ignored: u64,
}

/// A member as a server sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberView {
    /// The member.
    pub id: NodeId,
    /// Where it is.
    pub address: String,
    /// What it is for.
    pub standing: Standing,
    /// Up to where its log matches; none unless the server leads.
    pub matched: Option<Index>,
    /// How long nothing was heard of it; none unless the server leads.
    pub silent_ms: Option<u64>,
    /// Whether a snapshot is on its way to it.
    pub snapshot: bool,
}

/// Where a server stands: what costs nothing to look at, for whoever looks after every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Its term.
    pub term: Term,
    /// Whether it leads.
    pub leads: bool,
    /// The first entry that its log has in memory.
    pub first: Index,
    /// The last entry of its log.
    pub last: Index,
    /// The last entry that it has applied.
    pub applied: Index,
    /// Bytes of its log in memory.
    pub log_bytes: usize,
    /// Bytes of its own entries that are not committed.
    pub uncommitted: usize,
    /// Requests that wait for entries, for the leader, and for rounds of questions.
    pub waiting: [usize; 3],
}

impl Raft {
    /// Where it stands.
    pub fn marks(&self) -> Marks {
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let questions = leader.map_or(0, |leader| leader.questions.len());
        let passed_on = self.forwarded.len() + self.reads.count();
        Marks {
            term: self.term,
            leads: leader.is_some(),
            first: self.log.first(),
            last: self.log.last().0,
            applied: self.applied,
            log_bytes: self.log.bytes(),
            uncommitted: leader.map_or(0, |leader| leader.uncommitted),
            waiting: [self.waiting.len(), passed_on, questions],
        }
    }

    pub(crate) fn look(&self) -> View {
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let mut members = Vec::new();
        for (id, member) in &self.configuration().members {
            let progress = leader.and_then(|leader| leader.progress.get(id));
            let own = leader.filter(|_| *id == self.config.me).map(|leader| leader.flushed);
            let silent = |progress: &Progress| self.now.saturating_sub(progress.heard);
            let silent = progress.map(silent).and_then(|time| u64::try_from(time.as_millis()).ok());
            members.push(MemberView {
                id: *id,
                address: member.address.to_string(),
                standing: member.standing,
                matched: progress.map(|progress| progress.matched).or(own),
                silent_ms: silent,
                snapshot: progress.is_some_and(|of| matches!(of.pace, Pace::Ship(_))),
            });
        }
        View {
            id: self.config.me,
            role: match self.role {
                Role::Follower => "follower",
                Role::PreCandidate(_) => "pre_candidate",
                Role::Candidate(_) => "candidate",
                Role::Leader(_) => "leader",
            },
            term: self.term,
            leader: self.leader,
            vote: self.vote,
            first: self.log.first(),
            last: self.log.last().0,
            commit: self.commit,
            applied: self.applied,
            snapshot: self.snapshot,
            log_bytes: self.log.bytes(),
            store: self.store.counts(),
            members,
            change_pending: self.change_pending(),
            ignored: self.ignored,
        }
    }

    /// The entry at this place of the log in memory, for whoever checks what a cluster did.
    pub fn entry(&self, index: Index) -> Option<&crate::Entry> {
        self.log.get(index).map(|entry| &**entry)
    }

    /// The store, as far as it is applied.
    pub fn store(&self) -> &crate::store::Store {
        &self.store
    }
}
