//! A server with an onlooker: what it is told by others is written down as it arrives, and after
//! each step that applies anything it says how far it has come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consensus::store::Counts;
use consensus::{
    Config, Configuration, Entry, Index, Marks, Message, Notice, Raft, Record, Request, Term, Time,
    Timer, View,
};
use protocols::{Effect, Input, NodeId, Outbox, Protocol};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// What a server tells, and what its onlooker adds.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The server tells a caller.
    Notice(Notice),
    /// It has applied the log up to here: as little in advance of its other effects as a record
    /// allows, so that whoever is told this knows that all before it is durable.
    Applied(Applied),
}

/// How far a server has applied the log, and to what effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) to: Index,
    /// The term in which the server learnt it.
    pub(crate) term: Term,
    pub(crate) state: (Counts, Time),
}

/// What arrived anywhere, and so was said for good.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Who led in which term.
    leaders: BTreeMap<Term, NodeId>,
    /// For whom each server voted in each term.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// Votes that arrived since somebody last took them: the voter, the term and the candidate.
    arrived: Vec<(NodeId, Term, NodeId)>,
    /// The highest term in which each server spoke.
    spoke: BTreeMap<NodeId, Term>,
    /// By place: every entry that was sent or kept there, and the term of the one before it.
    entries: Vec<Vec<(Arc<Entry>, Term)>>,
}

impl Ledger {
    /// Election safety: a term has one leader.
    pub(crate) fn leads(&mut self, term: Term, node: NodeId) {
        let leader = *self.leaders.entry(term).or_insert(node);
        assert_eq!(leader, node, "{term:?} has one leader");
    }

    pub(crate) fn leader_of(&self, term: Term) -> Option<NodeId> {
        self.leaders.get(&term).copied()
    }

    /// The votes that arrived since they were last taken: the voter, the term and the candidate.
    pub(crate) fn take_votes(&mut self) -> Vec<(NodeId, Term, NodeId)> {
        std::mem::take(&mut self.arrived)
    }

    /// The highest term in which a server spoke.
    pub(crate) fn spoke(&self, node: NodeId) -> Term {
        self.spoke.get(&node).copied().unwrap_or_default()
    }

    /// Log matching: one entry has one place and term, and one entry before it. By induction, logs
    /// that agree in an entry agree in all before.
    pub(crate) fn matches(&mut self, entry: &Arc<Entry>, before: Term) {
        let place = usize::try_from(entry.index.0).expect("a storm is short");
        if self.entries.len() <= place {
            self.entries.resize(place + 1, Vec::new());
        }
        let there = &mut self.entries[place];
        match there.iter().find(|(known, _)| known.term == entry.term) {
            Some((known, known_before)) => {
                let same = Arc::ptr_eq(known, entry) || known == entry;
                assert!(same, "{known:?} and {entry:?} have the same place and term");
                assert_eq!(*known_before, before, "{entry:?} follows one entry");
            }
            None => there.push((entry.clone(), before)),
        }
    }

    /// The entry at this place of this term, if it was seen.
    pub(crate) fn entry(&self, index: Index, term: Term) -> Option<&Arc<Entry>> {
        let there = self.entries.get(usize::try_from(index.0).ok()?)?;
        there.iter().map(|(entry, _)| entry).find(|entry| entry.term == term)
    }

    fn hear(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let term = match message {
            Message::Vote { term, granted, pre } => {
                if *pre && *granted {
                    // It names a term that nobody is in.
                    return;
                }
                if *granted {
                    let vote = *self.votes.entry((from, *term)).or_insert(to);
                    assert_eq!(vote, to, "{from} votes once in {term:?}");
                    self.arrived.push((from, *term, to));
                }
                *term
            }
            Message::AppendEntries { term, previous, entries, .. } => {
                self.leads(*term, from);
                let mut before = previous.1;
                for entry in entries {
                    self.matches(entry, before);
                    before = entry.term;
                }
                *term
            }
            Message::InstallSnapshot { term, .. } => {
                self.leads(*term, from);
                *term
            }
            Message::RequestVote { term, pre: false, .. }
            | Message::Appended { term, .. }
            | Message::Installing { term, .. }
            | Message::TimeoutNow { term } => *term,
            Message::RequestVote { .. }
            | Message::Propose(..)
            | Message::Proposed(..)
            | Message::ReadIndex(_)
            | Message::Readable(..)
            | Message::Administer(..)
            | Message::Administered(..) => return,
        };
        let spoke = self.spoke.entry(from).or_default();
        *spoke = term.max(*spoke);
    }
}

/// A server and its onlooker.
#[derive(Debug)]
pub(crate) struct Witness {
    raft: Raft,
    me: NodeId,
    /// Which of the server's lives this is.
    pub(crate) life: u64,
    ledger: Arc<Mutex<Ledger>>,
    /// Kept from step to step for its memory alone.
    out: Vec<Effect<Raft>>,
}

impl Witness {
    pub(crate) fn new(
        config: Config,
        founders: Configuration,
        records: Vec<Record>,
        seed: u64,
        ledger: Arc<Mutex<Ledger>>,
    ) -> Self {
        let me = config.me;
        let raft = Raft::new(config, founders, records, StdRng::seed_from_u64(seed));
        Self { raft, me, life: seed, ledger, out: Vec::new() }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// A leader only adds to its log.
    fn compare(before: Marks, after: Marks) {
        assert!(before.term <= after.term, "terms never fall");
        assert!(before.applied <= after.applied, "what is applied stays so");
        if before.leads && after.leads && before.term == after.term {
            assert!(before.last <= after.last, "a leader only adds to its log");
        }
    }
}

impl Protocol for Witness {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Told;
    type Record = Record;
    type View = View;

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        let input = match input {
            Input::Start => Input::Start,
            Input::Message(from, message) => {
                self.ledger.lock().expect("no step has panicked").hear(from, self.me, &message);
                Input::Message(from, message)
            }
            Input::Unreachable(peer) => Input::Unreachable(peer),
            Input::Timeout(timer) => Input::Timeout(timer),
            Input::Request(request) => Input::Request(request),
        };
        let before = self.raft.marks();
        let mut inner = Outbox::default();
        self.raft.step(now, input, &mut inner);
        let after = self.raft.marks();
        Self::compare(before, after);

        self.out.extend(inner.drain());
        let last_record = self.out.iter().rposition(|of| matches!(of, Effect::Persist(_)));
        let place = last_record.map_or(0, |place| place + 1);
        let store = self.raft.store();
        let state = (store.counts(), store.time());
        let applied = Applied { to: after.applied, term: after.term, state };
        let applied = (before.applied < after.applied).then_some(applied);
        let rest = self.out.split_off(place);
        Self::pass_on(self.out.drain(..), out);
        if let Some(applied) = applied {
            out.notify(Told::Applied(applied));
        }
        Self::pass_on(rest.into_iter(), out);
    }

    fn view(&self) -> View {
        self.raft.view()
    }
}

impl Witness {
    fn pass_on(effects: impl Iterator<Item = Effect<Raft>>, out: &mut Outbox<Self>) {
        for effect in effects {
            match effect {
                Effect::Arm(timer, after) => out.arm(timer, after),
                Effect::Disarm(timer) => out.disarm(timer),
                Effect::Notify(notice) => out.notify(Told::Notice(notice)),
                Effect::Persist(record) => out.persist(record),
                Effect::Send(to, message) => out.send(to, message),
            }
        }
    }
}
