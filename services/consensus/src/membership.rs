//! Members come and go one at a time (4.1), learners first (4.2.1); leadership is handed over
//! (3.10).
//!
//! A change begins only when the last one is committed, and when the leader has committed an entry
//! of its own term: without that, two majorities might not overlap (Ongaro on raft-dev, July 2015).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocols::{NodeId, Outbox, Ticket};

use crate::progress::Progress;
use crate::proposing::Origin;
use crate::{
    Change, Configuration, Index, MEMBERS_LIMIT, Member, Message, Notice, Occurrence, Payload,
    Raft, Refusal, Role, Route, Standing, Timer,
};

/// A learner that lacks no more entries than these has caught up.
const LAG_LIMIT: u64 = 64;

/// Leadership is being handed over.
#[derive(Debug)]
pub(crate) struct Transfer {
    heir: NodeId,
    /// Who wants to know; none when a leader that was removed sees to its succession.
    origin: Option<Origin>,
    /// Whether the heir was asked to stand for election.
    asked: bool,
}

impl Raft {
    /// The members: the latest that the log has, committed or not (4.1).
    pub(crate) fn configuration(&self) -> &Arc<Configuration> {
        let (_, configuration) = self.configurations.last().expect("there is always one");
        configuration
    }

    /// The members after this entry.
    pub(crate) fn configuration_at(&self, index: Index) -> Arc<Configuration> {
        let earlier = self.configurations.iter().rev().find(|(at, _)| *at <= index);
        let (_, configuration) = earlier.expect("the oldest is that of what is applied");
        configuration.clone()
    }

    /// Drops the members before those that count for what is applied.
    pub(crate) fn forget_old_configurations(&mut self) {
        let current = self.configurations.partition_point(|(at, _)| *at <= self.applied);
        self.configurations.drain(..current.saturating_sub(1));
    }

    pub(crate) fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let members = self.configuration().members.iter();
        members.filter(|(_, member)| member.standing == Standing::Voter).map(|(id, _)| *id)
    }

    pub(crate) fn other_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters().filter(|voter| *voter != self.config.me)
    }

    pub(crate) fn is_voter(&self, node: NodeId) -> bool {
        let member = self.configuration().members.get(&node);
        member.is_some_and(|member| member.standing == Standing::Voter)
    }

    /// Whether it votes by its latest members or, as long as those may be overwritten, by the ones
    /// before: without whom they were to do without, they might never be committed (4.2.2).
    pub(crate) fn may_stand(&self) -> bool {
        let mut members = self.configurations.iter().map(|(_, of)| of.members.get(&self.config.me));
        members.any(|member| member.is_some_and(|member| member.standing == Standing::Voter))
    }

    /// Whether these are more than half of the voters.
    pub(crate) fn is_quorum(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let (mut all, mut with) = (0, 0);
        for voter in self.voters() {
            all += 1;
            with += usize::from(nodes.contains(&voter));
        }
        all < 2 * with
    }

    /// What more than half of the voters have reached at least: a place in the log, or a round.
    pub(crate) fn reached<T: Ord + Default + Copy>(&self, by: impl Fn(NodeId) -> T) -> T {
        let mut all = self.voters().map(by).collect::<Vec<_>>();
        all.sort_unstable();
        all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    /// Whether the latest members may yet be overwritten.
    pub(crate) fn change_pending(&self) -> bool {
        self.configurations.last().is_some_and(|(at, _)| self.commit < *at)
    }

    /// As leader, keeps a record of every other member, and of those that leave until they know.
    pub(crate) fn track_members(&mut self, now: Duration) {
        let (last, me) = (self.log.last().0, self.config.me);
        let members = self.configuration().members.keys().copied().collect::<BTreeSet<_>>();
        let Some(leader) = self.leading() else { return };
        for (peer, progress) in &mut leader.progress {
            progress.leaving = !members.contains(peer);
        }
        for peer in members.into_iter().filter(|peer| *peer != me) {
            leader.progress.entry(peer).or_insert_with(|| Progress::unknown(last, now));
        }
    }

    pub(crate) fn on_administration(
        &mut self,
        now: Duration,
        ticket: Ticket,
        change: Change,
        route: Route,
        out: &mut Outbox<Self>,
    ) {
        let origin = Origin::Local(ticket);
        if let Role::Leader(_) = self.role {
            return self.administer(now, origin, change, out);
        }
        match self.whom_to_ask(route, self.forwarded.len()) {
            Ok(leader) => {
                let passed = self.pass_on(ticket, leader);
                out.send(leader, Message::Administer(passed, change));
            }
            Err(refusal) => self.refuse(origin, refusal, out),
        }
    }

    /// The leader tells what became of a change.
    pub(crate) fn on_administered(
        &mut self,
        from: NodeId,
        ticket: Ticket,
        outcome: Result<(), Refusal>,
        out: &mut Outbox<Self>,
    ) {
        let Some(caller) = self.come_back(from, ticket) else { return };
        match outcome {
            Ok(()) => out.notify(Notice::Done(caller)),
            Err(refusal) => out.notify(Notice::Refused(caller, refusal)),
        }
    }

    /// A follower passes a change on.
    pub(crate) fn on_administer(
        &mut self,
        now: Duration,
        (from, ticket): (NodeId, Ticket),
        change: Change,
        out: &mut Outbox<Self>,
    ) {
        let origin = Origin::Change(from, ticket);
        match self.leading() {
            Some(leader) => {
                if leader.seen.entry(from).or_default().insert(ticket) {
                    self.administer(now, origin, change, out);
                }
            }
            // It may be the repetition of one that was taken when this server led.
            None => self.refuse(origin, Refusal::Unknown, out),
        }
    }

    /// Begins a change, if nothing stands in its way.
    pub(crate) fn administer(
        &mut self,
        now: Duration,
        origin: Origin,
        change: Change,
        out: &mut Outbox<Self>,
    ) {
        let commit = self.commit;
        let (pending, hint) = (self.change_pending(), self.leader);
        let Some(leader) = self.leading() else {
            return self.refuse(origin, Refusal::NotLeader(hint), out);
        };
        let early = commit < leader.first;
        if let Change::Transfer(heir) = change {
            return self.hand_over(now, origin, heir, out);
        }
        if early || pending {
            return self.refuse(origin, Refusal::ChangePending, out);
        }
        if self.transfer.is_some() {
            return self.refuse(origin, Refusal::HandingOver, out);
        }
        match self.changed(change) {
            Ok(members) => self.reconfigure(now, members, Some(origin), out),
            Err(refusal) => self.refuse(origin, refusal, out),
        }
    }

    /// The members after a change.
    fn changed(&self, change: Change) -> Result<Configuration, Refusal> {
        let mut next = Configuration::clone(self.configuration());
        match change {
            Change::Add(id, address, standing) => {
                if !next.members.contains_key(&id) && next.members.len() >= MEMBERS_LIMIT {
                    return Err(Refusal::TooManyMembers);
                }
                let standing = match standing {
                    // Nobody votes before it has caught up.
                    Standing::Voter | Standing::Joining => Standing::Joining,
                    Standing::Learner => Standing::Learner,
                };
                let added = Member { address: address.clone(), standing };
                next.members.entry(id).or_insert(added).address = address;
            }
            Change::Promote(id) => {
                let member = next.members.get_mut(&id).ok_or(Refusal::NoMember(id))?;
                if member.standing == Standing::Voter {
                    return Err(Refusal::AlreadyVoter(id));
                }
                member.standing = Standing::Voter;
                let lag = self.lag(id);
                if lag > LAG_LIMIT {
                    return Err(Refusal::Behind(id, lag));
                }
            }
            Change::Remove(id) => {
                next.members.remove(&id).ok_or(Refusal::NoMember(id))?;
                if !next.members.values().any(|member| member.standing == Standing::Voter) {
                    return Err(Refusal::LastVoter);
                }
            }
            Change::Transfer(_) => (),
        }
        Ok(next)
    }

    /// How many entries a member lacks.
    fn lag(&self, node: NodeId) -> u64 {
        let last = self.log.last().0.0;
        match &self.role {
            Role::Leader(leader) => {
                let progress = leader.progress.get(&node);
                progress.map_or(last, |progress| last - progress.matched.0)
            }
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => last,
        }
    }

    fn reconfigure(
        &mut self,
        now: Duration,
        next: Configuration,
        origin: Option<Origin>,
        out: &mut Outbox<Self>,
    ) {
        let next = Arc::new(next);
        self.append(now, Payload::Configuration(next.clone()), origin, out);
        self.track_members(now);
        out.notify(Notice::Configured(next));
    }

    /// A member that joins votes as soon as it has caught up.
    pub(crate) fn promote_when_caught_up(
        &mut self,
        now: Duration,
        node: NodeId,
        out: &mut Outbox<Self>,
    ) {
        let (commit, pending) = (self.commit, self.change_pending());
        let early = self.leading().is_none_or(|leader| commit < leader.first);
        let member = self.configuration().members.get(&node);
        let joins = member.is_some_and(|member| member.standing == Standing::Joining);
        let matched = self.progress(node).map_or(Index(0), |progress| progress.matched);
        if joins
            && !early
            && !pending
            && self.transfer.is_none()
            && matched > Index(0)
            && let Ok(next) = self.changed(Change::Promote(node))
        {
            self.reconfigure(now, next, None, out);
        }
    }

    /// These are the members for good: this server may be none of them any more.
    pub(crate) fn notice_removal(&self, next: &Configuration, out: &mut Outbox<Self>) {
        let before = self.configuration_at(self.applied);
        let me = self.config.me;
        if before.members.contains_key(&me) && !next.members.contains_key(&me) {
            out.notify(Notice::Occurred(Occurrence::Removed));
        }
    }

    /// What is committed may have removed members, the leader among them.
    pub(crate) fn settle_members(&mut self, now: Duration, out: &mut Outbox<Self>) {
        if self.change_pending() {
            return;
        }
        let me = self.config.me;
        let member = self.configuration().members.contains_key(&me);
        let Some(leader) = self.leading() else { return };
        if leader.progress.values().any(|progress| progress.leaving) {
            // They have the entry, or will never need it: this is the last that they hear.
            self.tell_commit(out);
            let Some(leader) = self.leading() else { return };
            leader.progress.retain(|_, progress| !progress.leaving);
        }
        if !member && self.transfer.is_none() {
            self.tell_commit(out);
            match self.furthest() {
                Some(heir) => {
                    out.send(heir, Message::TimeoutNow { term: self.term });
                    let term = self.term;
                    self.follow(now, term, None, out);
                }
                None => self.ignored += 1,
            }
        }
    }

    /// The voter, other than this server, whose log is longest.
    fn furthest(&mut self) -> Option<NodeId> {
        let others = self.other_voters().collect::<Vec<_>>();
        let leader = self.leading()?;
        let progress = |node: &NodeId| leader.progress.get(node).map(|of| (of.matched, of.heard));
        others.into_iter().max_by_key(progress)
    }

    /// Begins to hand leadership over.
    fn hand_over(
        &mut self,
        now: Duration,
        origin: Origin,
        heir: Option<NodeId>,
        out: &mut Outbox<Self>,
    ) {
        let patience = *self.config.election.end();
        let Some(heir) = heir.or_else(|| self.furthest()) else {
            return self.refuse(origin, Refusal::NoHeir, out);
        };
        if heir == self.config.me {
            return self.done(origin, out);
        }
        if !self.is_voter(heir) {
            return self.refuse(origin, Refusal::NoMember(heir), out);
        }
        if self.transfer.is_some() {
            return self.refuse(origin, Refusal::HandingOver, out);
        }
        let heard = self.progress(heir).map_or(Duration::ZERO, |progress| progress.heard);
        if now.saturating_sub(heard) > patience {
            return self.refuse(origin, Refusal::NoHeir, out);
        }
        self.transfer = Some(Transfer { heir, origin: Some(origin), asked: false });
        out.arm(Timer::Transfer, patience);
        self.hand_over_when_caught_up(heir, out);
    }

    /// The heir is asked to stand for election when nothing keeps it from winning.
    pub(crate) fn hand_over_when_caught_up(&mut self, from: NodeId, out: &mut Outbox<Self>) {
        let (last, term) = (self.log.last().0, self.term);
        if !matches!(&self.transfer, Some(transfer) if transfer.heir == from && !transfer.asked) {
            return;
        }
        let Some(leader) = self.leading() else { return };
        if leader.progress.get(&from).is_some_and(|progress| progress.matched == last) {
            leader.lease_given_up = true;
            out.send(from, Message::TimeoutNow { term });
            if let Some(transfer) = &mut self.transfer {
                transfer.asked = true;
            }
        }
    }

    /// There is a leader: what was to be handed over is.
    pub(crate) fn end_transfer(&mut self, leader: NodeId, out: &mut Outbox<Self>) {
        let Some(Transfer { heir, origin, .. }) = self.transfer.take() else { return };
        out.disarm(Timer::Transfer);
        match origin {
            Some(origin) if heir == leader => self.done(origin, out),
            Some(origin) if self.config.me == leader => {
                self.refuse(origin, Refusal::NoHeir, out);
            }
            Some(origin) => self.refuse(origin, Refusal::Unknown, out),
            None => (),
        }
    }

    /// The heir has not taken over in time.
    pub(crate) fn give_up_transfer(&mut self, now: Duration, out: &mut Outbox<Self>) {
        if let Some(Transfer { origin: Some(origin), .. }) = self.transfer.take() {
            let refusal = match self.role {
                Role::Leader(_) => Refusal::NoHeir,
                // The heir, or another, may lead by now.
                Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => Refusal::Unknown,
            };
            self.refuse(origin, refusal, out);
        }
        // Its own removal may have been committed meanwhile.
        self.settle_members(now, out);
    }
}
