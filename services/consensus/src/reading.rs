//! Linearizable reads without the log (6.4). A leader asks a majority whether it still leads, and
//! then answers from what was committed before it asked; a follower asks the leader up to where it
//! must have applied, and answers itself. All reads that come meanwhile share the next question.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::{NodeId, Outbox, Ticket};

use crate::replication::Leader;
use crate::store::Query;
use crate::{Index, Message, Notice, Raft, Refusal, Role, Route};

/// A lease lasts this part of the shortest election time-out, in tenths: clocks may differ.
const LEASE_TENTHS: u32 = 8;

/// A read that waits at the leader.
#[derive(Debug)]
pub(crate) struct Question {
    reader: Reader,
    /// The round that must be answered, and what was committed when it began; none while it waits
    /// for a round to begin.
    round: Option<(u64, Index)>,
}

impl Question {
    pub(crate) fn is_of(&self, ticket: Ticket) -> bool {
        matches!(self.reader, Reader::Local(local, _) if local == ticket)
    }
}

#[derive(Debug)]
enum Reader {
    Local(Ticket, Query),
    Remote(NodeId, Ticket),
}

/// Reads that wait at a follower.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Those that the leader is to be asked about with the next flush.
    unasked: Vec<(Ticket, Query)>,
    /// Those that it was asked about, and when.
    asked: BTreeMap<Ticket, (Duration, Vec<(Ticket, Query)>)>,
    /// Those that wait until so much is applied.
    behind: BTreeMap<Index, Vec<(Ticket, Query)>>,
    /// How many there are.
    count: usize,
}

impl Reads {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Vec<(Ticket, Query)>> {
        let asked = self.asked.values_mut().map(|(_, reads)| reads);
        asked.chain(self.behind.values_mut()).chain([&mut self.unasked])
    }

    pub(crate) fn forget(&mut self, ticket: Ticket) {
        for reads in self.all() {
            reads.retain(|(caller, _)| *caller != ticket);
        }
        self.count = self.all().map(|reads| reads.len()).sum();
    }
}

impl Raft {
    pub(crate) fn on_read(
        &mut self,
        now: Duration,
        ticket: Ticket,
        query: Query,
        route: Route,
        out: &mut Outbox<Self>,
    ) {
        if self.has_lease(now) {
            return self.answer(ticket, &query, out);
        }
        let limit = self.config.waiting_limit;
        if let Some(leader) = self.leading() {
            if leader.questions.len() >= limit {
                return out.notify(Notice::Refused(ticket, Refusal::Busy));
            }
            let reader = Reader::Local(ticket, query);
            leader.questions.push_back(Question { reader, round: None });
            return self.ask_when_idle(out);
        }
        match self.whom_to_ask(route, self.reads.count) {
            Ok(_) => {
                self.reads.unasked.push((ticket, query));
                self.reads.count += 1;
                self.arm_flush(out);
            }
            Err(refusal) => out.notify(Notice::Refused(ticket, refusal)),
        }
    }

    /// Begins a round with the next flush, unless one is on its way: the reads wait for that, and
    /// then share the next. A leader that has committed nothing yet begins one when it has.
    fn ask_when_idle(&mut self, out: &mut Outbox<Self>) {
        let commit = self.commit;
        let Some(leader) = self.leading() else { return };
        let asked = |question: &Question| question.round.is_some();
        if leader.first <= commit && !leader.questions.front().is_some_and(asked) {
            self.arm_flush(out);
        }
    }

    /// Asks the members, with whatever is sent to them next, whether it still leads.
    pub(crate) fn begin_round(&mut self, now: Duration) {
        if let Some(leader) = self.leading() {
            leader.round += 1;
            leader.rounds.push_back((leader.round, now));
        }
    }

    /// Begins a round for the reads that wait for one. False if there are none, or if what is
    /// committed is not known yet.
    pub(crate) fn put_questions(&mut self, now: Duration) -> bool {
        let commit = self.commit;
        let Some(leader) = self.leading() else { return false };
        let idle = leader.questions.front().is_some_and(|question| question.round.is_none());
        if !idle || commit < leader.first {
            return false;
        }
        self.begin_round(now);
        let Some(leader) = self.leading() else { return false };
        let round = leader.round;
        for question in &mut leader.questions {
            question.round = Some((round, commit));
        }
        true
    }

    /// Counts the answers to its rounds.
    pub(crate) fn confirm(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let me = self.config.me;
        let Role::Leader(leader) = &self.role else { return };
        let answered = |voter: NodeId| match leader.progress.get(&voter) {
            Some(progress) => progress.round,
            None if voter == me => leader.round,
            None => 0,
        };
        let confirmed = self.reached(answered);
        let Some(leader) = self.leading() else { return };
        while let Some((round, began)) = leader.rounds.front().copied()
            && round <= confirmed
        {
            leader.rounds.pop_front();
            leader.confirmed = (round, Some(began));
        }
        self.answer_questions(now, out);
    }

    /// Answers the reads whose rounds a majority has answered.
    pub(crate) fn answer_questions(&mut self, now: Duration, out: &mut Outbox<Self>) {
        // A voter that is alone has nobody to ask.
        if self.leading().is_some_and(|leader| !leader.rounds.is_empty())
            && self.is_quorum(&[self.config.me].into())
            && let Some(leader) = self.leading()
        {
            leader.confirmed = (leader.round, Some(now));
            leader.rounds.clear();
        }
        let mut told = None;
        while let Some(leader) = self.leading()
            && let Some(Question { round: Some((round, index)), .. }) = leader.questions.front()
            && *round <= leader.confirmed.0
        {
            let index = *index;
            let Question { reader, .. } = leader.questions.pop_front().expect("it has a front");
            match reader {
                Reader::Local(ticket, query) => self.answer(ticket, &query, out),
                Reader::Remote(peer, ticket) => {
                    // It can answer only when it knows that so much is committed.
                    if told.replace(peer) != Some(peer) {
                        self.tell_commit_to(peer, out);
                    }
                    out.send(peer, Message::Readable(ticket, Ok(index)));
                }
            }
        }
        if self.leading().is_some_and(|leader| !leader.questions.is_empty()) {
            self.ask_when_idle(out);
        }
    }

    /// Whether no other leader can have been elected yet.
    fn has_lease(&mut self, now: Duration) -> bool {
        let lasts = *self.config.election.start() * LEASE_TENTHS / 10;
        let (leases, commit) = (self.config.lease_reads, self.commit);
        self.leading().is_some_and(|leader| {
            let began = leader.confirmed.1;
            leases
                && !leader.lease_given_up
                && leader.first <= commit
                && began.is_some_and(|began| now.saturating_sub(began) < lasts)
        })
    }

    /// A follower asks up to where it must have applied.
    pub(crate) fn on_read_index(&mut self, from: NodeId, ticket: Ticket, out: &mut Outbox<Self>) {
        let (hint, limit) = (self.leader, self.config.waiting_limit);
        let refusal = match self.leading() {
            Some(leader) if leader.questions.len() < limit => {
                let reader = Reader::Remote(from, ticket);
                leader.questions.push_back(Question { reader, round: None });
                return self.ask_when_idle(out);
            }
            Some(_) => Refusal::Busy,
            None => Refusal::NotLeader(hint),
        };
        out.send(from, Message::Readable(ticket, Err(refusal)));
    }

    /// A leader that is deposed answers no more reads.
    pub(crate) fn refuse_reads(&self, leader: Leader, out: &mut Outbox<Self>) {
        let refusal = Refusal::NotLeader(None);
        for Question { reader, .. } in leader.questions {
            match reader {
                Reader::Local(ticket, _) => out.notify(Notice::Refused(ticket, refusal.clone())),
                Reader::Remote(peer, ticket) => {
                    out.send(peer, Message::Readable(ticket, Err(refusal.clone())));
                }
            }
        }
    }

    /// A follower asks the leader about the reads that came together.
    pub(crate) fn ask_to_read(&mut self, out: &mut Outbox<Self>) {
        let reads = std::mem::take(&mut self.reads.unasked);
        if reads.is_empty() {
            return;
        }
        let Some(leader) = self.leader else {
            self.reads.unasked = reads;
            return self.abandon_reads(out);
        };
        self.serial += 1;
        let ticket = Ticket(self.serial);
        let since = self.heard.unwrap_or_default();
        self.reads.asked.insert(ticket, (since, reads));
        out.send(leader, Message::ReadIndex(ticket));
    }

    /// What was asked too long ago was lost on the way, one way or the other.
    pub(crate) fn ask_again(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let (patience, leader) = (*self.config.election.end(), self.leader);
        let Some(mut oldest) = self.reads.asked.first_entry() else { return };
        let since = &mut oldest.get_mut().0;
        if now.saturating_sub(*since) > patience
            && let Some(leader) = leader
        {
            *since = now;
            out.send(leader, Message::ReadIndex(*oldest.key()));
        }
    }

    /// The leader says up to where it must have applied.
    pub(crate) fn on_readable(
        &mut self,
        from: NodeId,
        ticket: Ticket,
        outcome: Result<Index, Refusal>,
        out: &mut Outbox<Self>,
    ) {
        if self.leader != Some(from) {
            return;
        }
        let Some((_, reads)) = self.reads.asked.remove(&ticket) else { return };
        match outcome {
            Ok(index) => {
                self.reads.behind.entry(index).or_default().extend(reads);
                self.answer_applied(out);
            }
            Err(refusal) => {
                self.reads.count -= reads.len();
                for (caller, _) in reads {
                    out.notify(Notice::Refused(caller, refusal.clone()));
                }
            }
        }
    }

    /// Answers the reads for which enough is applied.
    pub(crate) fn answer_applied(&mut self, out: &mut Outbox<Self>) {
        while let Some(entry) = self.reads.behind.first_entry()
            && *entry.key() <= self.applied
        {
            let reads = entry.remove();
            self.reads.count -= reads.len();
            for (ticket, query) in reads {
                self.answer(ticket, &query, out);
            }
        }
    }

    /// There is no leader who could say anything to the reads that were asked about. Those that
    /// wait for entries keep waiting: what was committed comes.
    pub(crate) fn abandon_reads(&mut self, out: &mut Outbox<Self>) {
        let asked =
            std::mem::take(&mut self.reads.asked).into_values().flat_map(|(_, reads)| reads);
        let unasked = std::mem::take(&mut self.reads.unasked);
        for (caller, _) in asked.chain(unasked) {
            self.reads.count -= 1;
            out.notify(Notice::Refused(caller, Refusal::NotLeader(None)));
        }
    }
}
