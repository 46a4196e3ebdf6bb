//! Elections (3.4), with pre-vote (9.6): who cannot win disturbs nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use protocols::{NodeId, Outbox};
use rand::Rng as _;

use crate::replication::Leader;
use crate::{
    Index, Message, Notice, Occurrence, Payload, Raft, Record, Refusal, Role, Term, Timer,
};

impl Raft {
    /// Draws how long to wait for a leader, and begins to.
    pub(crate) fn be_patient(&mut self, out: &mut Outbox<Self>) {
        self.patience = self.random.random_range(self.config.election.clone());
        self.wait(self.patience, out);
    }

    /// Sets the election timer.
    pub(crate) fn wait(&mut self, period: Duration, out: &mut Outbox<Self>) {
        self.timer = (self.now, period);
        out.arm(Timer::Election, period);
    }

    /// No leader was heard, or no candidate elected: asks whether it would be elected itself.
    pub(crate) fn stand(&mut self, now: Duration, out: &mut Outbox<Self>) {
        self.set_leader(None, out);
        if !self.config.lease_reads {
            self.heard = None;
        }
        self.be_patient(out);
        if !self.may_stand() {
            self.role = Role::Follower;
            return;
        }
        self.role = Role::PreCandidate(BTreeSet::from([self.config.me]));
        let term = Term(self.term.0 + 1);
        self.ask_for_votes(term, (true, false), out);
        self.count_votes(now, out);
    }

    /// Stands for election in the next term.
    fn campaign(&mut self, now: Duration, transfer: bool, out: &mut Outbox<Self>) {
        self.set_leader(None, out);
        self.term = Term(self.term.0 + 1);
        self.vote = Some(self.config.me);
        self.role = Role::Candidate(BTreeSet::from([self.config.me]));
        out.persist(Record::Ballot(self.term, self.vote));
        out.notify(Notice::Occurred(Occurrence::Stood(self.term)));
        self.be_patient(out);
        self.ask_for_votes(self.term, (false, transfer), out);
        self.count_votes(now, out);
    }

    fn ask_for_votes(&self, term: Term, (pre, transfer): (bool, bool), out: &mut Outbox<Self>) {
        let last = self.log.last();
        for peer in self.other_voters() {
            out.send(peer, Message::RequestVote { term, last, pre, transfer });
        }
    }

    /// Whether a leader is at work, as far as this server knows: no other is needed then (4.2.3).
    fn hears_leader(&self, now: Duration) -> bool {
        let least = *self.config.election.start();
        let heard = self.heard.is_some_and(|heard| now.saturating_sub(heard) < least);
        matches!(self.role, Role::Leader(_)) || heard && !self.leader_gone
    }

    pub(crate) fn on_request_vote(
        &mut self,
        now: Duration,
        from: NodeId,
        (term, last): (Term, (Index, Term)),
        (pre, transfer): (bool, bool),
        out: &mut Outbox<Self>,
    ) {
        if !transfer && self.hears_leader(now) {
            return out.send(from, Message::Vote { term: self.term, granted: false, pre });
        }
        let (last_index, last_term) = self.log.last();
        let up_to_date = (last_term, last_index) <= (last.1, last.0);
        if pre {
            let granted = self.term < term && up_to_date;
            let term = if granted { term } else { self.term };
            return out.send(from, Message::Vote { term, granted, pre });
        }
        if self.term < term {
            self.follow(now, term, None, out);
        }
        let free = self.vote.is_none_or(|vote| vote == from);
        let granted = self.term == term && free && up_to_date;
        if granted {
            if self.vote.is_none() {
                self.vote = Some(from);
                out.persist(Record::Ballot(self.term, self.vote));
            }
            self.wait(self.patience, out);
        }
        out.send(from, Message::Vote { term: self.term, granted, pre });
    }

    pub(crate) fn on_vote(
        &mut self,
        now: Duration,
        from: NodeId,
        term: Term,
        (granted, pre): (bool, bool),
        out: &mut Outbox<Self>,
    ) {
        match &mut self.role {
            Role::PreCandidate(votes) if pre && granted && term.0 == self.term.0 + 1 => {
                votes.insert(from);
                self.count_votes(now, out);
            }
            Role::Candidate(votes) if !pre && granted && term == self.term => {
                votes.insert(from);
                self.count_votes(now, out);
            }
            // A granted pre-vote names a term that nobody is in.
            _ if self.term < term && !(pre && granted) => self.follow(now, term, None, out),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => (),
        }
    }

    fn count_votes(&mut self, now: Duration, out: &mut Outbox<Self>) {
        match &self.role {
            Role::PreCandidate(votes) if self.is_quorum(votes) => self.campaign(now, false, out),
            Role::Candidate(votes) if self.is_quorum(votes) => self.lead(now, out),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => (),
        }
    }

    /// It is elected.
    fn lead(&mut self, now: Duration, out: &mut Outbox<Self>) {
        out.disarm(Timer::Election);
        self.role = Role::Leader(Box::new(Leader::new(self, now)));
        self.set_leader(Some(self.config.me), out);
        out.notify(Notice::Occurred(Occurrence::Won(self.term)));
        self.track_members(now);
        // Only an entry of its own term tells it what is committed (6.4, 3.6.2).
        self.append(now, Payload::Nothing, None, out);
        self.beat(now, out);
    }

    /// Follows whoever leads in `term`, which is not below its own; none if nobody knows who does.
    pub(crate) fn follow(
        &mut self,
        now: Duration,
        term: Term,
        leader: Option<NodeId>,
        out: &mut Outbox<Self>,
    ) {
        assert!(self.term <= term, "terms never fall");
        if self.term < term {
            self.term = term;
            self.vote = None;
            out.persist(Record::Ballot(term, None));
        }
        if let Role::Leader(_) = self.role {
            self.abdicate(out);
        }
        self.role = Role::Follower;
        self.set_leader(leader, out);
        if leader.is_some() {
            self.heard = Some(now);
        }
        self.be_patient(out);
    }

    /// What a leader leaves behind.
    fn abdicate(&mut self, out: &mut Outbox<Self>) {
        let Role::Leader(leader) = std::mem::replace(&mut self.role, Role::Follower) else {
            return;
        };
        for timer in [Timer::Heartbeat, Timer::Commit, Timer::Expiry] {
            out.disarm(timer);
        }
        out.notify(Notice::Occurred(Occurrence::SteppedDown(self.term)));
        // What has not left this server never will.
        let unsent = self.log.slice(leader.flushed.next(), usize::MAX, usize::MAX);
        self.truncate(leader.flushed.next());
        out.notify(Notice::Configured(self.configuration().clone()));
        for entry in unsent {
            if let Some(origin) = self.waiting.remove(&(entry.term, entry.index)) {
                self.refuse(origin, Refusal::NotLeader(None), out);
            }
        }
        self.refuse_reads(*leader, out);
    }

    /// The leader is known, or is not any more.
    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>, out: &mut Outbox<Self>) {
        if leader == self.leader && !self.leader_gone {
            return;
        }
        self.leader_gone = false;
        if leader != self.leader {
            let before = std::mem::replace(&mut self.leader, leader);
            self.abandon_forwarded(out);
            if leader.is_none() && before != Some(self.config.me) {
                out.notify(Notice::Occurred(Occurrence::Bereft(self.term)));
            }
            if let Some(leader) = leader {
                self.end_transfer(leader, out);
                if leader != self.config.me {
                    out.notify(Notice::Occurred(Occurrence::Followed(leader, self.term)));
                }
            }
        }
    }

    /// The leader wants this server to take its place at once (3.10).
    pub(crate) fn on_timeout_now(
        &mut self,
        now: Duration,
        from: NodeId,
        term: Term,
        out: &mut Outbox<Self>,
    ) {
        if term == self.term && self.leader == Some(from) && self.is_voter(self.config.me) {
            self.campaign(now, true, out);
        }
    }
}
