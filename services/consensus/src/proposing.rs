//! Commands: how they come into the log and their answers come back, and how many there may be.
//!
//! A leader that is deposed keeps those who wait: if their entries are committed after all they get
//! their answers, and if an entry of a later leader is, they are told that nothing was done. That
//! another entry stands in the place of theirs means nothing until it is committed (figure 3.7).

use std::collections::BTreeSet;
use std::time::Duration;

use protocols::{NodeId, Outbox, Ticket, Trace};

use crate::log::command_size;
use crate::store::{self, Action, Answer, Command, Query};
use crate::{Entry, Index, Message, Notice, Payload, Raft, Refusal, Role, Route, Term};

/// Tickets of one member that are remembered, against repetitions.
const SEEN_LIMIT: usize = 65_536;

/// Tickets of a server begin with a random number of its incarnation, and end with a count.
pub(crate) const INCARNATION_SHIFT: u32 = 31;
/// Incarnations of one member whose tickets are remembered.
const INCARNATIONS_LIMIT: usize = 4;

/// Who wants to know what becomes of something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A local caller.
    Local(Ticket),
    /// A member that passed a command on.
    Proposal(NodeId, Ticket),
    /// A member that passed a change of members or of leaders on.
    Change(NodeId, Ticket),
}

/// What was passed on to the leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded {
    /// Who waits for it here.
    pub(crate) caller: Ticket,
    /// Whom it was passed on to.
    pub(crate) to: NodeId,
}

/// Tickets of one member that were used, so that none is used twice.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By incarnation, the latest last.
    incarnations: Vec<(u64, Used)>,
}

/// Tickets of one incarnation, which counts upwards.
#[derive(Debug, Default)]
struct Used {
    /// Every ticket up to here counts as used.
    floor: Option<Ticket>,
    used: BTreeSet<Ticket>,
}

impl Seen {
    /// Uses a ticket. False if it was used.
    pub(crate) fn insert(&mut self, ticket: Ticket) -> bool {
        let number = ticket.0 >> INCARNATION_SHIFT;
        if let Some((_, used)) = self.incarnations.iter_mut().find(|(known, _)| *known == number) {
            return used.insert(ticket);
        }
        if self.incarnations.len() >= INCARNATIONS_LIMIT {
            self.incarnations.remove(0);
        }
        self.incarnations.push((number, Used::default()));
        self.insert(ticket)
    }
}

impl Used {
    fn insert(&mut self, ticket: Ticket) -> bool {
        if Some(ticket) <= self.floor || !self.used.insert(ticket) {
            return false;
        }
        if self.used.len() > SEEN_LIMIT
            && let Some(lowest) = self.used.pop_first()
        {
            self.floor = Some(lowest);
        }
        true
    }
}

impl Raft {
    pub(crate) fn on_proposal(
        &mut self,
        now: Duration,
        ticket: Ticket,
        command: Command,
        route: Route,
        out: &mut Outbox<Self>,
    ) {
        let origin = Origin::Local(ticket);
        if let Role::Leader(_) = self.role {
            return self.propose(now, origin, command, out);
        }
        match self.whom_to_ask(route, self.forwarded.len()) {
            Ok(leader) => {
                let passed = self.pass_on(ticket, leader);
                out.send(leader, Message::Propose(self.term, passed, command));
            }
            Err(refusal) => self.refuse(origin, refusal, out),
        }
    }

    /// The leader, if a caller lets this server ask it, and no more than the limit wait already.
    pub(crate) fn whom_to_ask(&self, route: Route, waiting: usize) -> Result<NodeId, Refusal> {
        match (self.leader, route) {
            (Some(_), Route::Forward) if waiting >= self.config.waiting_limit => Err(Refusal::Busy),
            (Some(leader), Route::Forward) if !self.leader_gone => Ok(leader),
            (leader, _) => Err(Refusal::NotLeader(leader)),
        }
    }

    /// Remembers that something is passed on, and gives it a ticket of this server's.
    pub(crate) fn pass_on(&mut self, caller: Ticket, to: NodeId) -> Ticket {
        self.serial += 1;
        let ticket = Ticket(self.serial);
        self.forwarded.insert(ticket, Forwarded { caller, to });
        ticket
    }

    /// What was passed on to `from` comes back: to whom here.
    pub(crate) fn come_back(&mut self, from: NodeId, ticket: Ticket) -> Option<Ticket> {
        self.forwarded.get(&ticket).filter(|forwarded| forwarded.to == from)?;
        self.forwarded.remove(&ticket).map(|forwarded| forwarded.caller)
    }

    /// A follower passes a command on.
    pub(crate) fn on_propose(
        &mut self,
        now: Duration,
        (from, ticket): (NodeId, Ticket),
        term: Term,
        command: Command,
        out: &mut Outbox<Self>,
    ) {
        let origin = Origin::Proposal(from, ticket);
        let current = self.term == term;
        match self.leading() {
            Some(leader) if current => {
                if leader.seen.entry(from).or_default().insert(ticket) {
                    self.propose(now, origin, command, out);
                }
            }
            // It may be the repetition of one that was taken when this server led in that term.
            Some(_) | None => self.refuse(origin, Refusal::Unknown, out),
        }
    }

    /// Brings a command into the log, if the limits allow it.
    fn propose(&mut self, now: Duration, origin: Origin, command: Command, out: &mut Outbox<Self>) {
        if let Err((field, problem)) = store::check(&command.action) {
            return self.refuse(origin, Refusal::Invalid(field, problem), out);
        }
        let uncommitted = self.leading().map_or(0, |leader| leader.uncommitted);
        let size = command_size(&command);
        let puts = matches!(command.action, Action::Put { .. });
        let bytes = self.store.counts().bytes + (uncommitted + size) as u64;
        if self.transfer.is_some() {
            self.refuse(origin, Refusal::HandingOver, out);
        } else if uncommitted > self.config.uncommitted_bytes
            || self.waiting.len() >= self.config.waiting_limit
        {
            self.refuse(origin, Refusal::Busy, out);
        } else if puts && bytes > self.config.store_bytes {
            self.refuse(origin, Refusal::Full, out);
        } else {
            let trace = command.trace;
            self.append(now, Payload::Command(command), Some(origin), out);
            if trace != Trace::default() {
                out.notify(Notice::Logged(self.log.last().0, trace));
            }
        }
    }

    /// An entry is applied: whoever waits for it is answered.
    pub(crate) fn tell_applied(
        &mut self,
        entry: &Entry,
        answer: Option<Answer>,
        out: &mut Outbox<Self>,
    ) {
        self.give_up_before(entry.term, out);
        let Some(origin) = self.waiting.remove(&(entry.term, entry.index)) else { return };
        if let Payload::Command(command) = &entry.payload
            && command.trace != Trace::default()
        {
            out.notify(Notice::Committed(entry.index));
        }
        match (origin, answer) {
            (Origin::Local(ticket), Some(answer)) => {
                out.notify(Notice::Answered(ticket, answer, entry.index));
            }
            (Origin::Proposal(peer, ticket), Some(answer)) => {
                out.send(peer, Message::Proposed(ticket, Ok(answer)));
            }
            (origin, _) => self.done(origin, out),
        }
    }

    /// An entry of this term is committed: what waits of earlier terms is in no later leader's log.
    pub(crate) fn give_up_before(&mut self, term: Term, out: &mut Outbox<Self>) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 < term
        {
            let origin = first.remove();
            self.refuse(origin, Refusal::Overwritten, out);
        }
    }

    /// A change is done.
    pub(crate) fn done(&self, origin: Origin, out: &mut Outbox<Self>) {
        match origin {
            Origin::Local(ticket) => out.notify(Notice::Done(ticket)),
            Origin::Proposal(peer, ticket) | Origin::Change(peer, ticket) => {
                out.send(peer, Message::Administered(ticket, Ok(())));
            }
        }
    }

    /// Something was not done.
    pub(crate) fn refuse(&self, origin: Origin, refusal: Refusal, out: &mut Outbox<Self>) {
        match origin {
            Origin::Local(ticket) => out.notify(Notice::Refused(ticket, refusal)),
            Origin::Proposal(peer, ticket) => {
                out.send(peer, Message::Proposed(ticket, Err(refusal)));
            }
            Origin::Change(peer, ticket) => {
                out.send(peer, Message::Administered(ticket, Err(refusal)));
            }
        }
    }

    /// The leader tells what became of a command.
    pub(crate) fn on_proposed(
        &mut self,
        from: NodeId,
        ticket: Ticket,
        outcome: Result<Answer, Refusal>,
        out: &mut Outbox<Self>,
    ) {
        let Some(caller) = self.come_back(from, ticket) else { return };
        match outcome {
            Ok(answer) => out.notify(Notice::Answered(caller, answer, Index(0))),
            Err(refusal) => out.notify(Notice::Refused(caller, refusal)),
        }
    }

    /// What was passed on to a leader that is gone may have been done or not; what was only to be
    /// read can be asked again.
    pub(crate) fn abandon_forwarded(&mut self, out: &mut Outbox<Self>) {
        for (_, Forwarded { caller, .. }) in std::mem::take(&mut self.forwarded) {
            out.notify(Notice::Refused(caller, Refusal::Unknown));
        }
        self.abandon_reads(out);
    }

    /// A local caller has gone away.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.forwarded.retain(|_, forwarded| forwarded.caller != ticket);
        self.reads.forget(ticket);
        if let Some(leader) = self.leading() {
            leader.questions.retain(|question| !question.is_of(ticket));
        }
    }

    /// Answers from the store as it is.
    pub(crate) fn answer(&self, ticket: Ticket, query: &Query, out: &mut Outbox<Self>) {
        match store::check_query(query) {
            Ok(()) => {
                let answer = self.store.query(query);
                out.notify(Notice::Answered(ticket, answer, self.applied));
            }
            Err((field, problem)) => {
                out.notify(Notice::Refused(ticket, Refusal::Invalid(field, problem)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ticket_is_used_twice_and_a_restart_begins_anew() {
        let mut seen = Seen::default();
        let ticket =
            |incarnation: u64, count: u64| Ticket((incarnation << INCARNATION_SHIFT) + count);
        for count in 1..=SEEN_LIMIT as u64 + 10 {
            assert!(seen.insert(ticket(9, count)));
        }
        for count in [1, 11, SEEN_LIMIT as u64 + 10] {
            assert!(!seen.insert(ticket(9, count)), "{count}");
        }
        // An incarnation whose number is lower is not taken for a repetition.
        assert!(seen.insert(ticket(3, 1)));
        assert!(!seen.insert(ticket(3, 1)));
        assert!(!seen.insert(ticket(9, 12)));
    }
}
