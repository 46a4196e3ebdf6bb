//! What must be true at every moment of every storm: the five properties of the Raft paper
//! (figure 3), and what a server promises of its ballots, its store and its limits.
//!
//! It looks at what is durable and at what was performed, not at what a server believes: a belief
//! that dies with its server before anybody heard of it was never true. After each step it looks
//! only at what that step added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use consensus::store::{Action, Counts, Event, LeaseId};
use consensus::{
    Config, Entry, Index, Marks, Notice, Occurrence, Payload, Record, Snapshot, Term, Time,
};
use protocols::NodeId;
use protocols::simulator::{Simulator, Step};

use crate::witness::{Applied, Ledger, Told, Witness};

/// The books of one storm.
pub(crate) struct Audit {
    config: Config,
    ledger: Arc<Mutex<Ledger>>,
    kept: BTreeMap<NodeId, Kept>,
    /// Every vote that is durable: the voter, the term and the candidate.
    ballots: BTreeSet<(NodeId, Term, NodeId)>,
    /// By place, from 1: the entries that are committed.
    committed: Vec<Committed>,
    /// What the store held after an entry.
    states: BTreeMap<Index, (Counts, Time)>,
    /// What each entry changed.
    events: BTreeMap<Index, Vec<Arc<Event>>>,
    /// Entries that some server has dropped.
    dropped: BTreeSet<(Index, Term)>,
    /// Every value that was ever put: clients never put one twice.
    values: BTreeSet<Arc<[u8]>>,
    pub(crate) counts: Seen,
}

/// What the audit saw: a storm in which nothing happens shows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) elections: u64,
    pub(crate) overwritten: u64,
    pub(crate) compacted: u64,
    pub(crate) installed: u64,
    pub(crate) configurations: u64,
    pub(crate) committed: u64,
    /// Entries that were committed although some server had dropped them (the paper's figure 8).
    pub(crate) resurrected: u64,
}

#[derive(Clone, Copy, Debug)]
struct Committed {
    term: Term,
    /// The lowest term in which a server knew it.
    by: Term,
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Kept {
    /// How many of its records have been read.
    records: usize,
    ballot: (Term, Option<NodeId>),
    /// The last entry that an installed snapshot stands for, and the terms of those after it.
    base: Index,
    base_term: Term,
    terms: Vec<Term>,
    /// Which of its lives it is in.
    life: u64,
    applied: Index,
    /// Up to here it has told what changed.
    told: Index,
}

impl Kept {
    fn last(&self) -> Index {
        Index(self.base.0 + self.terms.len() as u64)
    }

    fn term(&self, index: Index) -> Option<Term> {
        if index == self.base {
            return Some(self.base_term);
        }
        let offset = index.0.checked_sub(self.base.0 + 1)?;
        self.terms.get(usize::try_from(offset).ok()?).copied()
    }

    fn truncate(&mut self, from: Index) {
        let length = from.0.saturating_sub(self.base.0 + 1);
        self.terms.truncate(usize::try_from(length).expect("a storm is short"));
    }
}

impl Audit {
    pub(crate) fn new(config: Config, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self {
            config,
            ledger,
            kept: BTreeMap::new(),
            ballots: BTreeSet::new(),
            committed: Vec::new(),
            states: BTreeMap::new(),
            events: BTreeMap::new(),
            dropped: BTreeSet::new(),
            values: BTreeSet::new(),
            counts: Seen::default(),
        }
    }

    fn committed(&self, index: Index) -> Option<Committed> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.committed.get(place).copied()
    }

    /// Stops the test if this step broke a promise.
    pub(crate) fn after(&mut self, simulator: &Simulator<Witness>, step: &Step<Witness>) {
        let node = step.node;
        let witness = simulator.node(node);
        let marks = witness.map(|witness| witness.raft().marks());
        self.read_records(node, simulator.records(node));
        for vote in self.ledger.lock().expect("no step has panicked").take_votes() {
            assert!(self.ballots.contains(&vote), "{vote:?} is given and not kept");
        }
        if let Some(witness) = witness {
            self.begin(simulator, node, witness);
        }
        for told in &step.notices {
            if let Told::Notice(notice) = told {
                self.hear(simulator, node, notice);
            }
        }
        for told in &step.notices {
            if let Told::Applied(applied) = told {
                self.advance(simulator, node, *applied);
            }
        }
        if let Some(marks) = marks {
            self.limit(node, marks);
        }
        if step.crashed {
            // It may not have told all that it applied.
            self.kept.entry(node).or_default().applied = Index(0);
        }
    }

    /// What a server had applied since its snapshot it applies, and tells, again in its next life.
    fn begin(&mut self, simulator: &Simulator<Witness>, node: NodeId, witness: &Witness) {
        let kept = self.kept.entry(node).or_default();
        if kept.life == witness.life {
            return;
        }
        let marks = witness.raft().marks();
        (kept.life, kept.applied, kept.told) = (witness.life, marks.applied, marks.applied);
        if self.committed.len() as u64 <= marks.applied.0 {
            // It kept the snapshot, and crashed before it could tell anybody what it had applied.
            let store = witness.raft().store();
            let state = (store.counts(), store.time());
            self.advance(simulator, node, Applied { to: marks.applied, term: marks.term, state });
        }
    }

    fn read_records(&mut self, node: NodeId, records: &[Record]) {
        let kept = self.kept.entry(node).or_default();
        let fresh = kept.records.min(records.len());
        kept.records = records.len();
        for record in &records[fresh..] {
            match record {
                Record::Ballot(term, vote) => self.keep_ballot(node, (*term, *vote)),
                Record::Append(entries) => self.keep_entries(node, entries),
                Record::Compact(snapshot) => {
                    self.counts.compacted += 1;
                    let own = self.kept[&node].term(snapshot.last.0);
                    assert_eq!(own, Some(snapshot.last.1), "{node} has what it compacts");
                }
                Record::Install(snapshot) => self.keep_snapshot(node, snapshot),
            }
        }
    }

    /// A server's term never falls, and in one term it votes once, whatever crashes lie between.
    fn keep_ballot(&mut self, node: NodeId, (term, vote): (Term, Option<NodeId>)) {
        let kept = self.kept.entry(node).or_default();
        let (last_term, last_vote) = kept.ballot;
        assert!(last_term <= term, "{node} falls from {last_term:?} to {term:?}");
        if term == last_term && last_vote.is_some() {
            assert_eq!(vote, last_vote, "{node} votes once in {term:?}");
        }
        kept.ballot = (term, vote);
        self.ballots.extend(vote.map(|vote| (node, term, vote)));
    }

    fn keep_entries(&mut self, node: NodeId, entries: &[Arc<Entry>]) {
        let mut ledger = self.ledger.lock().expect("no step has panicked");
        let kept = self.kept.entry(node).or_default();
        let first = entries.first().expect("an empty record says nothing").index;
        assert!(kept.base < first && first <= kept.last().next(), "{node} leaves a gap");
        for gone in first.0..=kept.last().0 {
            let (index, term) = (Index(gone), kept.term(Index(gone)));
            self.counts.overwritten += 1;
            self.dropped.insert((index, term.expect("it is in the log")));
            let place = usize::try_from(gone - 1).expect("a storm is short");
            let committed = self.committed.get(place).map(|committed| committed.term);
            assert!(
                committed.is_none() || committed != term,
                "{node} loses {index:?}@{term:?}, which is committed"
            );
            let of = term.expect("it is in the log");
            let own = ledger.leader_of(of) == Some(node) && kept.ballot.0 == of;
            assert!(!own, "{node} leads in {of:?} and overwrites its own entry");
        }
        kept.truncate(first);
        for entry in entries {
            let before = kept.term(kept.last()).expect("the last entry has a term");
            assert_eq!(entry.index, kept.last().next(), "{node} leaves a gap");
            ledger.matches(entry, before);
            // A leader's own record may outlive the crash in which it had no time to tell what it
            // had applied; another has the entry when the leader had told.
            let theirs = ledger.leader_of(entry.term).is_some_and(|leader| leader != node);
            if theirs && matches!(entry.payload, Payload::Configuration(_)) {
                one_change_at_a_time(&self.committed, &ledger, entry, &kept.terms, kept.base);
            }
            kept.terms.push(entry.term);
        }
    }

    fn keep_snapshot(&mut self, node: NodeId, snapshot: &Snapshot) {
        let (index, term) = snapshot.last;
        self.counts.installed += 1;
        let committed = self.committed(index).map(|committed| committed.term);
        assert_eq!(committed, Some(term), "a snapshot of {index:?} is of what is committed");
        if let Some(state) = self.states.get(&index) {
            let installed = (snapshot.store.counts(), snapshot.store.time());
            assert_eq!(*state, installed, "{node} installs what others had at {index:?}");
        }
        let kept = self.kept.entry(node).or_default();
        if kept.term(index) == Some(term) {
            let after = (index.0 - kept.base.0) as usize;
            kept.terms.drain(..after);
        } else {
            kept.terms.clear();
        }
        (kept.base, kept.base_term) = (index, term);
    }

    fn hear(&mut self, simulator: &Simulator<Witness>, node: NodeId, notice: &Notice) {
        match notice {
            Notice::Occurred(Occurrence::Won(term)) => {
                self.counts.elections += 1;
                self.ledger.lock().expect("no step has panicked").leads(*term, node);
                self.complete(simulator, node, *term);
            }
            Notice::Occurred(Occurrence::Installed(index)) => {
                let kept = self.kept.entry(node).or_default();
                (kept.applied, kept.told) = (*index, *index);
            }
            Notice::Changed(events) => self.change(node, events),
            Notice::Occurred(_)
            | Notice::Answered(..)
            | Notice::Refused(..)
            | Notice::Done(_)
            | Notice::Logged(..)
            | Notice::Committed(_)
            | Notice::History(..)
            | Notice::Configured(_)
            | Notice::Settled(_) => (),
        }
    }

    /// Leader completeness: whoever is elected has all that was committed in earlier terms.
    fn complete(&self, simulator: &Simulator<Witness>, node: NodeId, term: Term) {
        let Some(raft) = simulator.node(node).map(Witness::raft) else { return };
        let marks = raft.marks();
        if !marks.leads || marks.term != term {
            return;
        }
        for (place, committed) in self.committed.iter().enumerate() {
            let index = Index(place as u64 + 1);
            if committed.by < term && marks.first <= index {
                let own = raft.entry(index).map(|entry| entry.term);
                assert_eq!(own, Some(committed.term), "{node} leads {term:?} without {index:?}");
            }
        }
    }

    /// Every watcher sees the same changes in the same order, and none is left out.
    fn change(&mut self, node: NodeId, events: &[Arc<Event>]) {
        let version = events.first().expect("a change changes something").version;
        assert!(events.iter().all(|event| event.version == version), "one entry's events");
        let kept = self.kept.entry(node).or_default();
        assert!(kept.told < version, "{node} tells {version:?} twice");
        let skipped = self.events.range(kept.told.next()..version).next();
        assert!(skipped.is_none(), "{node} does not tell {skipped:?}");
        kept.told = version;
        if let Some(known) = self.events.get(&version) {
            assert_eq!(known, events, "{node} tells the same of {version:?} as others");
            return;
        }
        for (other, kept) in &self.kept {
            assert!(
                kept.applied < version || kept.told >= version || *other == node,
                "{other} did not tell {version:?}"
            );
        }
        for item in events.iter().filter_map(|event| event.item.as_ref()) {
            let first = self.values.insert(item.value.clone());
            assert!(first, "{version:?} carries out a command again");
        }
        self.events.insert(version, events.to_vec());
    }

    /// State machine safety: the same entries everywhere, for ever, and the same store.
    fn advance(&mut self, simulator: &Simulator<Witness>, node: NodeId, applied: Applied) {
        let Applied { to, term, state } = applied;
        let kept = self.kept.entry(node).or_default();
        // A crash may have left it a snapshot of what it had no time to tell that it applied.
        let known = Index(self.committed.len() as u64);
        let from = kept.applied.min(known).max(kept.base).next();
        assert!(from.0 <= self.committed.len() as u64 + 1, "a snapshot of what nobody applied");
        kept.applied = kept.applied.max(to);
        for at in from.0..=to.0 {
            let index = Index(at);
            let own = kept.term(index);
            let own = own.unwrap_or_else(|| panic!("{node} applies {index:?} and keeps it not"));
            let place = usize::try_from(at - 1).expect("a storm is short");
            match self.committed.get_mut(place) {
                Some(committed) => {
                    assert_eq!(own, committed.term, "{node} applies another {index:?}");
                    committed.by = term.min(committed.by);
                }
                None => {
                    self.counts.committed += 1;
                    self.counts.resurrected += u64::from(self.dropped.contains(&(index, own)));
                    self.committed.push(Committed { term: own, by: term });
                    let ledger = self.ledger.lock().expect("no step has panicked");
                    let entry = ledger.entry(index, own).expect("it is in a log");
                    let of_members = matches!(entry.payload, Payload::Configuration(_));
                    self.counts.configurations += u64::from(of_members);
                }
            }
        }
        for (other, raft) in simulator.nodes().map(|(id, witness)| (id, witness.raft())) {
            let marks = raft.marks();
            if marks.leads && term <= marks.term {
                for index in (from.0..=to.0).map(Index).filter(|index| marks.first <= *index) {
                    let own = raft.entry(index).map(|entry| entry.term);
                    let committed = self.committed(index).map(|committed| committed.term);
                    assert_eq!(own, committed, "{other} leads {:?} otherwise", marks.term);
                }
            }
        }
        let known = *self.states.entry(to).or_insert(state);
        assert_eq!(known, state, "{node} has another store at {to:?}");
    }

    /// What a server remembers of the changes is what was told of them, without a gap.
    pub(crate) fn compare_history(&self, events: &[Arc<Event>], applied: Index) {
        let first = events.first().map_or(applied, |event| event.version);
        let known = self.events.range(first..=applied).flat_map(|(_, events)| events);
        assert!(known.eq(events), "a history leaves something out");
    }

    /// By the leaders' own clocks no lease ended early, and none lived on. Tells which lease ended
    /// at which version, where keys ended with it.
    pub(crate) fn judge_leases(&self) -> Vec<(u64, Index)> {
        let ledger = self.ledger.lock().expect("no step has panicked");
        let mut deadlines = BTreeMap::new();
        let mut attached = BTreeMap::new();
        let mut ends = Vec::new();
        for (place, committed) in self.committed.iter().enumerate() {
            let index = Index(place as u64 + 1);
            let entry = ledger.entry(index, committed.term).expect("it is committed");
            deadlines.retain(|_, (_, deadline)| entry.time < *deadline);
            let action = match &entry.payload {
                Payload::Command(command) => Some(&command.action),
                Payload::Nothing | Payload::Configuration(_) => None,
            };
            for event in self.events.get(&index).into_iter().flatten().filter(|it| it.expired) {
                let lease: Option<LeaseId> = attached.remove(&event.key);
                let revoked = action == lease.map(Action::Revoke).as_ref();
                if let Some(LeaseId(lease)) = lease.filter(|_| !revoked) {
                    let alive = deadlines.contains_key(&lease);
                    assert!(!alive, "lease {lease} ends early at {index:?}");
                    ends.push((lease, index));
                }
            }
            match action {
                Some(Action::Grant(ttl)) => {
                    deadlines.insert(index.0, (*ttl, entry.time.after(*ttl)));
                }
                Some(Action::KeepAlive(lease)) => {
                    if let Some((ttl, deadline)) = deadlines.get_mut(&lease.0) {
                        *deadline = entry.time.after(*ttl);
                    }
                }
                // By the entries and not by the events, which may have been told to nobody.
                Some(Action::Put { key, lease: Some(lease), .. })
                    if deadlines.contains_key(&lease.0) =>
                {
                    attached.insert(key.clone(), *lease);
                }
                Some(Action::Revoke(lease)) => drop(deadlines.remove(&lease.0)),
                Some(
                    Action::Put { .. }
                    | Action::Delete { .. }
                    | Action::OpenSession
                    | Action::CloseSession(_),
                )
                | None => (),
            }
        }
        ends
    }

    /// Nothing grows without a limit.
    fn limit(&self, node: NodeId, marks: Marks) {
        let spoke = self.ledger.lock().expect("no step has panicked").spoke(node);
        assert!(spoke <= marks.term, "{node} spoke in {spoke:?} and is in {:?}", marks.term);
        let Config { waiting_limit, uncommitted_bytes, log_bytes, .. } = self.config;
        for waiting in marks.waiting {
            assert!(waiting <= 2 * waiting_limit, "{node} lets wait: {marks:?}");
        }
        let entry = 128 << 10;
        assert!(marks.uncommitted <= uncommitted_bytes + entry, "{node}: {marks:?}");
        assert!(
            marks.log_bytes <= log_bytes + 3 * (uncommitted_bytes + entry),
            "{node}: {marks:?}"
        );
    }
}

/// Members change when the last change is committed, and an entry of the leader's own term is.
fn one_change_at_a_time(
    committed: &[Committed],
    ledger: &Ledger,
    change: &Entry,
    terms: &[Term],
    base: Index,
) {
    let own = committed.iter().rev().take_while(|entry| change.term <= entry.term);
    let own = own.filter(|entry| entry.term == change.term).count();
    assert!(0 < own, "{change:?} is made before an entry of its term is committed");
    for at in (base.0.max(committed.len() as u64) + 1)..change.index.0 {
        let term = terms[usize::try_from(at - base.0 - 1).expect("a storm is short")];
        let pending = ledger.entry(Index(at), term).expect("it is in the log");
        let changes = matches!(pending.payload, Payload::Configuration(_));
        assert!(!changes, "{change:?} is made while {pending:?} is pending");
    }
}
