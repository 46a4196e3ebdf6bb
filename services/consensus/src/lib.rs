//! Raft as a pure state machine, and the replicated store that it feeds.
//!
//! Read it with Ongaro's dissertation ("Consensus: Bridging Theory and Practice", 2014) open;
//! section numbers are its own. [`Raft`] is one server:
//!
//! | what | where | section |
//! |---|---|---|
//! | elections, pre-vote | `election.rs` | 3.4, 9.6 |
//! | the leader's log, check quorum | `replication.rs`, `progress.rs` | 3.5, 6.2, 10.2 |
//! | the follower's log | `following.rs` | 3.5 |
//! | commands, their answers and their bounds | `proposing.rs` | 6.3 |
//! | linearizable reads: read index, leases | `reading.rs` | 6.4 |
//! | snapshots, compaction | `snapshot.rs` | 5 |
//! | members, learners, transfer of leadership | `membership.rs` | 4, 3.10 |
//! | the store, leases, sessions, history | `store.rs` | 6.3 |
//!
//! # What it promises
//!
//! With fewer than half of the voters down, lost or cut off for ever: one leader a term; no command
//! that was answered is lost; every node applies the same entries in the same order; a read sees
//! every command that was answered before it was asked, and a client sees one history
//! (linearizability). It waits for no disk: what is durable when is the order of its effects.
//!
//! # And where that ends
//!
//! - A node that comes back without the records that it had is not the same node: it must be
//!   removed, and added again.
//! - With [`Config::lease_reads`], reads ask nobody, and are as good as the clocks: see there.
//! - A [`Request::Peek`] is as old as its node.
//! - Messages are not authenticated here; whoever can forge a member's can do what it can. A term
//!   that leaps by more than [`TERM_LEAP_LIMIT`] is taken for forged and ignored.
//!
//! # How it is proven
//!
//! The very value that runs in a node runs in `protocols::simulator`: thousands of storms, after
//! each step of which the five properties of the Raft paper must hold, and the history of clients
//! must be linearizable (`tests/raft`). There is no model of it for a model checker such as
//! stateright, and that is a choice. A checker exhausts the states of a model that is small enough:
//! three servers, two terms, a handful of entries, no time. It would check the election and the log
//! as the paper has them, which were checked before; the mistakes that were found here lay in what
//! such a model leaves out: entries that are sent before they are written, answers after a change
//! of leaders, snapshots whose pieces overtake each other, members that come and go while a
//! majority is cut off, clocks and leases. What storms cannot give is exhaustion: `scripts/soak`
//! goes on for as long as one likes.

mod election;
mod following;
mod log;
mod membership;
mod progress;
mod proposing;
mod reading;
mod replication;
mod show;
mod snapshot;
pub mod store;
mod view;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use protocols::{Input, NodeId, Outbox, Protocol, Ticket};
use rand::Rng as _;
use rand::rngs::StdRng;

use self::log::Log;
use self::membership::Transfer;
use self::proposing::{Forwarded, INCARNATION_SHIFT, Origin};
use self::reading::Reads;
use self::replication::Leader;
use self::snapshot::Arriving;
use self::store::Store;
pub use self::view::{ElectionView, Marks, MemberView, View};
pub use self::vocabulary::{
    Change, Configuration, Entry, Index, Member, Message, Mismatch, Notice, Occurrence, Payload,
    Piece, Record, Refusal, Request, Route, Snapshot, Standing, Term, Time, Timer,
};

/// No honest term is further ahead than this: at an election every 150 ms it takes twenty years.
pub const TERM_LEAP_LIMIT: u64 = 1 << 32;
/// The most members of a cluster.
pub const MEMBERS_LIMIT: usize = 32;

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub me: NodeId,
    /// From which range it draws the silence after which it stands for election (150 to 300 ms in
    /// the document).
    pub election: RangeInclusive<Duration>,
    /// How often a leader shows that it lives (50 ms in the document).
    pub heartbeat: Duration,
    /// Answer reads without asking anyone for as long as no other leader can have been elected.
    /// Sound only if no member's clock runs faster than another's by more than a tenth, and if all
    /// members have the same `election` and this switched on. Otherwise reads may be stale.
    pub lease_reads: bool,
    /// Bytes of keys and values beyond which nothing more is put.
    pub store_bytes: u64,
    /// Bytes of the log beyond which a snapshot is taken, if not earlier.
    pub log_bytes: usize,
    /// Bytes of entries that wait to be committed; more are refused.
    pub uncommitted_bytes: usize,
    /// Bytes of entries in one message, unless one entry alone is longer.
    pub message_bytes: usize,
    /// Bytes of entries on the way to one member.
    pub flight_bytes: usize,
    /// Requests that wait at this node; more are refused.
    pub waiting_limit: usize,
}

impl Config {
    /// The document's times, and limits for a small machine.
    pub fn of(me: NodeId) -> Self {
        Self {
            me,
            election: Duration::from_millis(150)..=Duration::from_millis(300),
            heartbeat: Duration::from_millis(50),
            lease_reads: false,
            store_bytes: 256 << 20,
            log_bytes: 64 << 20,
            uncommitted_bytes: 16 << 20,
            message_bytes: 1 << 20,
            flight_bytes: 8 << 20,
            waiting_limit: 10_000,
        }
    }
}

/// What a server is at the moment.
#[derive(Debug)]
enum Role {
    /// It follows, or waits for somebody to follow.
    Follower,
    /// It asks whether it would be elected (9.6), with these answers for it.
    PreCandidate(BTreeSet<NodeId>),
    /// It stands for election, with these votes for it.
    Candidate(BTreeSet<NodeId>),
    /// It leads.
    Leader(Box<Leader>),
}

/// One server.
#[derive(Debug)]
pub struct Raft {
    config: Config,
    random: StdRng,

    // Durable: as the records say.
    term: Term,
    vote: Option<NodeId>,
    log: Log,
    /// The last entry of the latest snapshot.
    snapshot: Index,

    // As far as the log is committed.
    commit: Index,
    /// The same as `commit` after each step.
    applied: Index,
    store: Store,
    /// The members from each of these entries on: first those of the last entry that is applied or
    /// earlier, then those of entries that may yet be overwritten. The last one counts (4.1).
    configurations: Vec<(Index, Arc<Configuration>)>,

    role: Role,
    leader: Option<NodeId>,
    /// When a leader was last heard; with lease reads, or when this server started.
    heard: Option<Duration>,
    /// The connection to the leader broke: it is most likely gone.
    leader_gone: bool,
    /// The silence after which it stands for election, as it was drawn.
    patience: Duration,
    /// When its election timer was set, and how long it runs.
    timer: (Duration, Duration),
    flush_armed: bool,
    arriving: Option<Arriving>,

    /// Who waits for an entry, in the log or not: as long as no entry of a later term is committed,
    /// it may yet be, through another server that has it (figure 3.7).
    waiting: BTreeMap<(Term, Index), Origin>,
    /// What was passed on to the leader, by the ticket of that.
    forwarded: BTreeMap<Ticket, Forwarded>,
    /// The last ticket that was used towards a leader.
    serial: u64,
    reads: Reads,
    transfer: Option<Transfer>,
    /// Messages that made no sense.
    ignored: u64,
    /// When it took its last input.
    now: Duration,
}

impl Raft {
    /// A server with these records, the oldest first. `founders` are the members with which its
    /// cluster began, the same for each of them; none for a server that joins later.
    pub fn new(
        config: Config,
        founders: Configuration,
        records: Vec<Record>,
        mut random: StdRng,
    ) -> Self {
        let serial = u64::from(random.random::<u32>()) << INCARNATION_SHIFT;
        let mut raft = Self {
            config,
            random,
            term: Term(0),
            vote: None,
            log: Log::default(),
            snapshot: Index(0),
            commit: Index(0),
            applied: Index(0),
            store: Store::default(),
            configurations: vec![(Index(0), Arc::new(founders))],
            role: Role::Follower,
            leader: None,
            heard: None,
            leader_gone: false,
            patience: Duration::ZERO,
            timer: (Duration::ZERO, Duration::ZERO),
            flush_armed: false,
            arriving: None,
            waiting: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            serial,
            reads: Reads::default(),
            transfer: None,
            ignored: 0,
            now: Duration::ZERO,
        };
        for record in records {
            raft.recall(record);
        }
        raft
    }

    fn recall(&mut self, record: Record) {
        match record {
            Record::Ballot(term, vote) => (self.term, self.vote) = (term, vote),
            Record::Append(entries) => {
                // Of entries that a snapshot contains there may be more than the log kept.
                let first = self.log.first();
                let entries = entries.into_iter().filter(|entry| first <= entry.index);
                let entries = entries.collect::<Vec<_>>();
                if let Some(entry) = entries.first() {
                    self.truncate(entry.index);
                }
                for entry in entries {
                    self.push(entry);
                }
            }
            Record::Compact(snapshot) | Record::Install(snapshot) => self.restore(&snapshot),
        }
    }

    /// Adds an entry to the log; the members that it names count at once (4.1).
    fn push(&mut self, entry: Arc<Entry>) {
        if let Payload::Configuration(configuration) = &entry.payload {
            self.configurations.push((entry.index, configuration.clone()));
        }
        self.log.push(entry);
    }

    /// Drops entries from this place on, and the members that they named.
    fn truncate(&mut self, from: Index) {
        assert!(self.applied < from, "what is applied stays");
        self.log.truncate(from);
        self.configurations.retain(|(index, _)| *index < from);
    }

    fn start(&mut self, now: Duration, out: &mut Outbox<Self>) {
        if self.config.lease_reads {
            // It may have promised a leader not to vote for another.
            self.heard = Some(now);
        }
        out.notify(Notice::Configured(self.configuration().clone()));
        self.be_patient(out);
    }

    fn on_message(
        &mut self,
        now: Duration,
        from: NodeId,
        message: Message,
        out: &mut Outbox<Self>,
    ) {
        if message.term().is_some_and(|term| term.0 > self.term.0.saturating_add(TERM_LEAP_LIMIT)) {
            self.ignored += 1;
            return;
        }
        match message {
            Message::RequestVote { term, last, pre, transfer } => {
                self.on_request_vote(now, from, (term, last), (pre, transfer), out);
            }
            Message::Vote { term, granted, pre } => {
                self.on_vote(now, from, term, (granted, pre), out);
            }
            Message::AppendEntries { term, previous, entries, commit, round } => {
                self.on_append_entries(now, from, (term, commit, round), (previous, entries), out);
            }
            Message::Appended { term, round, outcome } => {
                self.on_appended(now, from, (term, round), outcome, out);
            }
            Message::InstallSnapshot { term, last, number, piece, done } => {
                self.on_install_snapshot(now, from, (term, last, number), (piece, done), out);
            }
            Message::Installing { term, last, wanted } => {
                self.on_installing(now, from, (term, last, wanted), out);
            }
            Message::TimeoutNow { term } => self.on_timeout_now(now, from, term, out),
            Message::Propose(term, ticket, command) => {
                self.on_propose(now, (from, ticket), term, command, out);
            }
            Message::Proposed(ticket, outcome) => self.on_proposed(from, ticket, outcome, out),
            Message::ReadIndex(ticket) => self.on_read_index(from, ticket, out),
            Message::Readable(ticket, outcome) => self.on_readable(from, ticket, outcome, out),
            Message::Administer(ticket, change) => {
                self.on_administer(now, (from, ticket), change, out);
            }
            Message::Administered(ticket, outcome) => {
                self.on_administered(from, ticket, outcome, out);
            }
        }
    }

    fn on_request(&mut self, now: Duration, request: Request, out: &mut Outbox<Self>) {
        match request {
            Request::Propose(ticket, command, route) => {
                self.on_proposal(now, ticket, command, route, out);
            }
            Request::Read(ticket, query, route) => self.on_read(now, ticket, query, route, out),
            Request::Peek(ticket, query) => self.answer(ticket, &query, out),
            Request::History(ticket, after) => {
                out.notify(Notice::History(ticket, self.store.history(after), self.applied));
            }
            Request::Administer(ticket, change, route) => {
                self.on_administration(now, ticket, change, route, out);
            }
            Request::Compact(ticket) => {
                if self.may_compact() {
                    self.compact(0, out);
                }
                out.notify(Notice::Done(ticket));
            }
            Request::Forget(ticket) => self.forget(ticket),
        }
    }

    /// The connection to a peer broke. Whoever leads sends again what may be lost; whoever follows
    /// that peer need not wait for the silence to grow long.
    fn on_unreachable(&mut self, peer: NodeId, out: &mut Outbox<Self>) {
        if let Some(progress) = self.progress(peer) {
            progress.doubt();
        } else if self.leader == Some(peer) {
            self.abandon_forwarded(out);
            // With leases a promise to the leader is kept whatever becomes of it.
            if !self.config.lease_reads && matches!(self.role, Role::Follower) {
                self.leader_gone = true;
                let soon = self.random.random_range(Duration::ZERO..=self.config.heartbeat);
                self.wait(soon, out);
            }
        }
    }

    fn on_timeout(&mut self, now: Duration, timer: Timer, out: &mut Outbox<Self>) {
        match timer {
            Timer::Election => self.stand(now, out),
            Timer::Heartbeat => self.beat(now, out),
            Timer::Flush => self.flush(now, out),
            Timer::Commit => self.tell_commit(out),
            Timer::Expiry => self.pass_time(now, out),
            Timer::Transfer => self.give_up_transfer(now, out),
        }
    }

    /// Lets whatever comes at the same time come, and then sends it together.
    fn arm_flush(&mut self, out: &mut Outbox<Self>) {
        if !self.flush_armed {
            self.flush_armed = true;
            out.arm(Timer::Flush, Duration::ZERO);
        }
    }

    fn flush(&mut self, now: Duration, out: &mut Outbox<Self>) {
        self.flush_armed = false;
        match self.role {
            Role::Leader(_) => self.flush_as_leader(now, out),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => self.ask_to_read(out),
        }
    }
}

impl Protocol for Raft {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Notice;
    type Record = Record;
    type View = View;

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        self.now = now;
        match input {
            Input::Start => self.start(now, out),
            Input::Message(from, message) => self.on_message(now, from, message, out),
            Input::Unreachable(peer) => self.on_unreachable(peer, out),
            Input::Timeout(timer) => self.on_timeout(now, timer, out),
            Input::Request(request) => self.on_request(now, request, out),
        }
    }

    fn view(&self) -> View {
        self.view_at(self.now)
    }

    fn view_at(&self, now: Duration) -> View {
        self.look(now)
    }
}
