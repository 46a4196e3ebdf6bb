//! The follower's side of the log (3.5): takes what follows what it has, and says where to look
//! when it does not.

use std::sync::Arc;
use std::time::Duration;

use protocols::{NodeId, Outbox};

use crate::{Entry, Index, Message, Mismatch, Notice, Payload, Raft, Record, Role, Term};

impl Raft {
    /// Something came from the leader of `term`. False if it does not lead any more; it is told.
    pub(crate) fn hear_leader(
        &mut self,
        now: Duration,
        from: NodeId,
        term: Term,
        out: &mut Outbox<Self>,
    ) -> bool {
        if term < self.term {
            let nowhere = Mismatch { previous: Index(0), term: None, first: Index(1) };
            let answer = Message::Appended { term: self.term, round: 0, outcome: Err(nowhere) };
            out.send(from, answer);
            return false;
        }
        match self.role {
            Role::Leader(_) if term == self.term => {
                // Nobody honest leads beside it.
                self.ignored += 1;
                return false;
            }
            Role::Follower if term == self.term && self.leader == Some(from) => {
                self.heard = Some(now);
                self.leader_gone = false;
                self.wait(self.patience, out);
            }
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.follow(now, term, Some(from), out);
            }
        }
        true
    }

    pub(crate) fn on_append_entries(
        &mut self,
        now: Duration,
        from: NodeId,
        (term, commit, round): (Term, Index, u64),
        (previous, entries): ((Index, Term), Vec<Arc<Entry>>),
        out: &mut Outbox<Self>,
    ) {
        if !is_consecutive(previous, &entries, term) {
            self.ignored += 1;
            return;
        }
        if !self.hear_leader(now, from, term, out) {
            return;
        }
        let outcome = match self.mismatch(previous) {
            Some(mismatch) => Err(mismatch),
            None => match self.take_entries(&entries, out) {
                Some(()) => Ok(Index(previous.0.0 + entries.len() as u64)),
                None => return,
            },
        };
        if let Ok(matched) = outcome {
            let known = commit.min(matched);
            if self.commit < known {
                self.commit = known;
                self.apply(out);
            }
        }
        out.send(from, Message::Appended { term: self.term, round, outcome });
        self.ask_again(now, out);
    }

    /// Where its log differs from the leader's at this entry; none if it does not.
    fn mismatch(&self, (index, term): (Index, Term)) -> Option<Mismatch> {
        // What is applied is the leader's too.
        if index <= self.applied || self.log.term(index) == Some(term) {
            return None;
        }
        let own = self.log.term(index);
        let first = match own {
            Some(_) => self.log.first_of_term_at(index).max(self.applied.next()),
            None => self.log.last().0.next(),
        };
        Some(Mismatch { previous: index, term: own, first })
    }

    /// Takes what it does not have. None, and takes nothing, if that contradicts what is applied:
    /// no honest leader says so.
    fn take_entries(&mut self, entries: &[Arc<Entry>], out: &mut Outbox<Self>) -> Option<()> {
        let known = |entry: &Arc<Entry>| {
            entry.index < self.log.first() || self.log.term(entry.index) == Some(entry.term)
        };
        let beyond = entries.iter().position(|entry| !known(entry)).unwrap_or(entries.len());
        let fresh = &entries[beyond..];
        let Some(entry) = fresh.first() else { return Some(()) };
        let before = entry.index.previous();
        let earlier = |known: &Arc<Entry>| entry.time < known.time;
        let falls = self.log.term(before).is_none_or(|term| entry.term < term)
            || self.log.get(before).is_some_and(earlier);
        if entry.index <= self.applied || falls {
            self.ignored += 1;
            return None;
        }
        if entry.index <= self.log.last().0 {
            self.truncate(entry.index);
            out.notify(Notice::Configured(self.configuration().clone()));
        }
        let mut configured = false;
        for entry in fresh {
            configured |= matches!(entry.payload, Payload::Configuration(_));
            self.push(entry.clone());
        }
        out.persist(Record::Append(fresh.to_vec()));
        if configured {
            out.notify(Notice::Configured(self.configuration().clone()));
        }
        Some(())
    }
}

/// Whether entries follow each other and what is before them, in terms and times that a leader of
/// `term` can have.
fn is_consecutive(previous: (Index, Term), entries: &[Arc<Entry>], term: Term) -> bool {
    let (mut index, mut of, mut time) = (previous.0, previous.1, crate::Time(0));
    entries.iter().all(|entry| {
        let follows = entry.index.0.checked_sub(1) == Some(index.0)
            && of <= entry.term
            && entry.term <= term
            && time <= entry.time;
        (index, of, time) = (entry.index, entry.term, entry.time);
        follows
    })
}
