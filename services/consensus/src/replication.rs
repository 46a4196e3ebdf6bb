//! The leader's side of the log (3.5, 3.6): entries go out in a pipeline, many in a message, while
//! the leader writes them itself (10.2.1); what a majority has is committed; and a leader that does
//! not hear a majority steps down (6.2).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocols::{NodeId, Outbox};

use crate::log::size;
use crate::progress::{Clock, Pace, Progress};
use crate::proposing::Origin;
use crate::reading::Question;
use crate::{Entry, Index, Message, Mismatch, Notice, Payload, Raft, Record, Role, Term, Timer};

/// Entries in one message.
const ENTRIES_LIMIT: usize = 4096;
/// How long the followers may not know what is committed, if nothing else is said to them.
const COMMIT_PATIENCE: Duration = Duration::from_millis(2);

/// What only a leader knows.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Its first entry: only when that is committed does it know what is.
    pub(crate) first: Index,
    /// Up to here its log has left this server, towards its disk and its members.
    pub(crate) flushed: Index,
    /// The other members.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The latest round of questions whether it still leads.
    pub(crate) round: u64,
    /// When the rounds began that are not answered by a majority, the oldest first.
    pub(crate) rounds: VecDeque<(u64, Duration)>,
    /// The latest round that a majority has answered, and when it began.
    pub(crate) confirmed: (u64, Option<Duration>),
    /// Reads that wait for a round that began after them.
    pub(crate) questions: VecDeque<Question>,
    /// Bytes of entries that are not committed.
    pub(crate) uncommitted: usize,
    /// Whether the followers will be told what is committed.
    pub(crate) commit_armed: bool,
    /// It has asked an heir to stand for election: no lease is safe from that.
    pub(crate) lease_given_up: bool,
    pub(crate) clock: Clock,
    /// Tickets of commands that were passed on to it in this term.
    pub(crate) seen: BTreeMap<NodeId, crate::proposing::Seen>,
}

impl Leader {
    pub(crate) fn new(raft: &Raft, now: Duration) -> Self {
        let last = raft.log.last().0;
        Self {
            first: last.next(),
            flushed: last,
            progress: BTreeMap::new(),
            round: 0,
            rounds: VecDeque::new(),
            confirmed: (0, None),
            questions: VecDeque::new(),
            uncommitted: 0,
            commit_armed: false,
            lease_given_up: false,
            clock: Clock { began: now, from: raft.log.last_time() },
            seen: BTreeMap::new(),
        }
    }
}

impl Raft {
    /// What only a leader knows, if this server is one.
    pub(crate) fn leading(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    pub(crate) fn progress(&mut self, peer: NodeId) -> Option<&mut Progress> {
        self.leading()?.progress.get_mut(&peer)
    }

    fn peers(&mut self) -> Vec<NodeId> {
        self.leading().map(|leader| leader.progress.keys().copied().collect()).unwrap_or_default()
    }

    /// Adds an entry of its own to the log; it leaves with the next flush.
    pub(crate) fn append(
        &mut self,
        now: Duration,
        payload: Payload,
        origin: Option<Origin>,
        out: &mut Outbox<Self>,
    ) {
        let (index, term) = (self.log.last().0.next(), self.term);
        let last_time = self.log.last_time();
        let leader = self.leading().expect("only a leader makes entries");
        let time = leader.clock.read(now).max(last_time);
        let entry = Entry { index, term, time, payload };
        leader.uncommitted += size(&entry);
        self.push(Arc::new(entry));
        if let Some(origin) = origin {
            self.waiting.insert((term, index), origin);
        }
        self.arm_flush(out);
    }

    /// A heartbeat is due: shows everyone that it lives, unless nobody shows it the same.
    pub(crate) fn beat(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let patience = *self.config.election.end();
        let Some(leader) = self.leading() else { return };
        let flushed = leader.flushed;
        let near = leader.progress.iter();
        let near = near.filter(|(_, progress)| now.saturating_sub(progress.heard) <= patience);
        let mut near = near.map(|(peer, _)| *peer).collect::<BTreeSet<_>>();
        near.insert(self.config.me);
        if !self.is_quorum(&near) {
            let term = self.term;
            return self.follow(now, term, None, out);
        }
        out.arm(Timer::Heartbeat, self.config.heartbeat);
        self.begin_round(now);
        for peer in self.peers() {
            self.ship_again(peer, out);
            if let Some(progress) = self.progress(peer)
                && let Pace::Probe { sent } = &mut progress.pace
            {
                *sent = false;
            }
            if !self.replicate(peer, flushed, out) {
                self.show_life(peer, out);
            }
        }
        // A voter that is alone has nobody to wait for.
        self.answer_questions(now, out);
    }

    /// Everything that came at once is in the log: sends it out, and keeps it.
    pub(crate) fn flush_as_leader(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let asked = self.put_questions(now);
        let last = self.log.last().0;
        for peer in self.peers() {
            if !self.replicate(peer, last, out) && asked && self.is_voter(peer) {
                self.show_life(peer, out);
            }
        }
        let leader = self.leading().expect("only a leader flushes so");
        let from = std::mem::replace(&mut leader.flushed, last).next();
        let entries = self.log.slice(from, usize::MAX, usize::MAX);
        if !entries.is_empty() {
            // After the messages: the followers write at the same time. It counts itself only
            // from here on, and whatever comes of that comes after this record.
            out.persist(Record::Append(entries));
        }
        self.advance(now, out);
        self.answer_questions(now, out);
    }

    /// Sends a member what it lacks of the log up to `last`, as far as there is room. False if
    /// nothing was sent.
    fn replicate(&mut self, peer: NodeId, last: Index, out: &mut Outbox<Self>) -> bool {
        let (flight, message_bytes) = (self.config.flight_bytes, self.config.message_bytes);
        let (term, commit, base) = (self.term, self.commit, self.log.first().previous());
        let mut sent = false;
        loop {
            let Role::Leader(leader) = &mut self.role else { return sent };
            let round = leader.round;
            let Some(progress) = leader.progress.get_mut(&peer) else { return sent };
            let before = progress.next.previous();
            if last <= before {
                return sent;
            }
            // Even if there is no room: what is under way may be lost, and no sign of life can
            // tell, because the entry that it would name was dropped.
            if before < base && !matches!(progress.pace, Pace::Ship(_)) {
                self.ship(peer, out);
                return true;
            }
            if !progress.has_room(flight) {
                return sent;
            }
            let count = usize::try_from(last.0 - before.0).unwrap_or(usize::MAX);
            let entries = self.log.slice(before.next(), count.min(ENTRIES_LIMIT), message_bytes);
            let bytes = entries.iter().map(|entry| size(entry)).sum();
            let until = entries.last().map_or(before, |entry| entry.index);
            let of = self.log.term(before).expect("it is not before the base");
            progress.sends(until, bytes);
            progress.told = commit;
            let previous = (before, of);
            out.send(peer, Message::AppendEntries { term, previous, entries, commit, round });
            sent = true;
        }
    }

    /// Tells a member that its leader lives, and what is committed.
    fn show_life(&mut self, peer: NodeId, out: &mut Outbox<Self>) {
        let (term, commit) = (self.term, self.commit);
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.round;
        let Some(progress) = leader.progress.get_mut(&peer) else { return };
        // What has not left yet is unknown to it, and what was dropped cannot be named.
        let before = progress.next.previous();
        let previous = match self.log.term(before) {
            Some(of) if before <= leader.flushed => (before, of),
            Some(_) | None => (Index(0), Term(0)),
        };
        progress.told = commit;
        let entries = Vec::new();
        out.send(peer, Message::AppendEntries { term, previous, entries, commit, round });
    }

    /// Tells a member what is committed, if it does not know it.
    pub(crate) fn tell_commit_to(&mut self, peer: NodeId, out: &mut Outbox<Self>) {
        let commit = self.commit;
        if self.progress(peer).is_some_and(|progress| progress.told < commit) {
            self.show_life(peer, out);
        }
    }

    /// Tells those who do not know it what is committed.
    pub(crate) fn tell_commit(&mut self, out: &mut Outbox<Self>) {
        if let Some(leader) = self.leading() {
            leader.commit_armed = false;
        }
        for peer in self.peers() {
            self.tell_commit_to(peer, out);
        }
    }

    pub(crate) fn on_appended(
        &mut self,
        now: Duration,
        from: NodeId,
        (term, round): (Term, u64),
        outcome: Result<Index, Mismatch>,
        out: &mut Outbox<Self>,
    ) {
        if self.term < term {
            return self.follow(now, term, None, out);
        }
        let outcome = outcome.map_err(|mismatch| (mismatch.previous, self.where_to_look(mismatch)));
        let current = term == self.term;
        let Role::Leader(leader) = &mut self.role else { return };
        let flushed = leader.flushed;
        let Some(progress) = leader.progress.get_mut(&from).filter(|_| current) else { return };
        progress.heard = now;
        progress.round = progress.round.max(round);
        match outcome {
            Ok(matched) if matched <= flushed => progress.matches(matched),
            // It cannot have what has not left the leader.
            Ok(_) => self.ignored += 1,
            Err((previous, next)) if progress.matched < previous => progress.look_at(next),
            // An answer from before it matched.
            Err(_) => (),
        }
        self.confirm(now, out);
        self.advance(now, out);
        self.replicate(from, flushed, out);
        self.promote_when_caught_up(now, from, out);
        self.hand_over_when_caught_up(from, out);
    }

    /// The next entry to send after a mismatch: skips terms, not entries.
    fn where_to_look(&self, mismatch: Mismatch) -> Index {
        let next = match mismatch.term {
            None => mismatch.first,
            Some(term) => {
                let last = self.log.last_up_to_term(term);
                if self.log.term(last) == Some(term) {
                    last.next()
                } else {
                    mismatch.first.min(last.next())
                }
            }
        };
        next.min(mismatch.previous)
    }

    /// What a majority of the voters has is committed, if it is of this term (3.6.2).
    pub(crate) fn advance(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let me = self.config.me;
        let Role::Leader(leader) = &self.role else { return };
        let matched = |voter: NodeId| match leader.progress.get(&voter) {
            Some(progress) => progress.matched,
            None if voter == me => leader.flushed,
            None => Index(0),
        };
        let committed = self.reached(matched);
        if committed <= self.commit || self.log.term(committed) != Some(self.term) {
            return;
        }
        // Entries of earlier leaders were never counted.
        let counted = self.commit.next().max(leader.first).0..=committed.0;
        let freed = counted.filter_map(|at| self.log.get(Index(at)));
        let freed = freed.map(|entry| size(entry)).sum::<usize>();
        self.commit = committed;
        let leader = self.leading().expect("it leads");
        leader.uncommitted -= freed;
        if !std::mem::replace(&mut leader.commit_armed, true) {
            out.arm(Timer::Commit, COMMIT_PATIENCE);
        }
        self.apply(out);
        self.await_deadline(now, out);
        self.settle_members(now, out);
        if self.leading().is_some_and(|leader| !leader.questions.is_empty()) {
            self.arm_flush(out);
        }
    }

    /// Sets the alarm for the next lease or session that ends.
    fn await_deadline(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let deadline = self.store.next_deadline();
        let Some(leader) = self.leading() else { return };
        match deadline {
            Some(deadline) => out.arm(Timer::Expiry, deadline.since(leader.clock.read(now))),
            None => out.disarm(Timer::Expiry),
        }
    }

    /// Tells everyone the time by an entry, so that what is over ends everywhere (its time is what
    /// the leader's clock says, and only here does a clock speak).
    pub(crate) fn pass_time(&mut self, now: Duration, out: &mut Outbox<Self>) {
        let deadline = self.store.next_deadline();
        let Some(leader) = self.leading() else { return };
        if deadline.is_some_and(|deadline| deadline <= leader.clock.read(now)) {
            self.append(now, Payload::Nothing, None, out);
        } else {
            self.await_deadline(now, out);
        }
    }

    /// What is committed is applied, and whoever waits for it is told.
    pub(crate) fn apply(&mut self, out: &mut Outbox<Self>) {
        while self.applied < self.commit {
            let index = self.applied.next();
            let entry = self.log.get(index).expect("what is committed is in the log").clone();
            let command = match &entry.payload {
                Payload::Command(command) => Some(command),
                Payload::Configuration(next) => {
                    self.notice_removal(next, out);
                    out.notify(Notice::Settled(next.clone()));
                    None
                }
                Payload::Nothing => None,
            };
            let (answer, events) = self.store.apply(index, entry.time, command);
            self.applied = index;
            if !events.is_empty() {
                out.notify(Notice::Changed(events));
            }
            self.tell_applied(&entry, answer, out);
        }
        self.forget_old_configurations();
        self.answer_applied(out);
        self.compact_when_due(out);
    }
}
