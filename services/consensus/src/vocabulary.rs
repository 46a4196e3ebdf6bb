//! The words of the protocol: terms, entries, messages, records, requests and notices.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use protocols::{NodeId, Ticket, Trace};
use serde::Serialize;

use crate::store::{Answer, Command, Compacted, Event, Part, Query, Store};

/// A term: the time of one leader at most. 0 before the first election.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Term(pub u64);

impl Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// A place in the log, from 1; 0 is before the first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Index(pub u64);

impl Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Index {
    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before; 0 has none but itself.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// The store's time, in milliseconds since the cluster began: what leaders stamp on entries. It
/// stands still while there is no leader.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl Time {
    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` until this; nothing if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: Term,
    /// The store's time when it was made; never less than that of the entry before.
    pub time: Time,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Nothing: a leader's first entry, or one that tells the time.
    Nothing,
    /// A client's command.
    Command(Command),
    /// The members from here on.
    Configuration(Arc<Configuration>),
}

/// Who belongs to the cluster.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// The members by name.
    pub members: BTreeMap<NodeId, Member>,
}

/// One member of the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Member {
    /// Where it is, as `host:port`.
    pub address: Arc<str>,
    /// What it is for.
    pub standing: Standing,
}

/// What a member is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Votes and counts.
    Voter,
    /// Receives the log, and is made a voter when it has caught up.
    Joining,
    /// Receives the log, and stays so.
    Learner,
}

/// What members say to each other. Section numbers are those of Ongaro's dissertation.
#[derive(Clone, PartialEq)]
pub enum Message {
    /// A candidate asks for a vote (3.4).
    RequestVote {
        /// The term of the candidacy; with `pre`, the term that it would have.
        term: Term,
        /// The candidate's last entry.
        last: (Index, Term),
        /// Whether it only asks what the answer would be (9.6).
        pre: bool,
        /// Whether the leader wants it (3.10): a leader that is heard is no objection.
        transfer: bool,
    },
    /// A vote.
    Vote {
        /// The voter's term; with `granted` and `pre`, the term that was asked about.
        term: Term,
        /// Whether it is for the one who asked.
        granted: bool,
        /// Whether it was only asked what it would be.
        pre: bool,
    },
    /// The leader's entries, or a sign of life without any (3.5).
    AppendEntries {
        /// The leader's term.
        term: Term,
        /// The entry before.
        previous: (Index, Term),
        /// What follows it; few enough for a message.
        entries: Vec<Arc<Entry>>,
        /// What the leader knows to be committed.
        commit: Index,
        /// Which question of the leader's this answers when it comes back: whoever answers it
        /// followed the leader after it was asked (6.4).
        round: u64,
    },
    /// What became of them.
    Appended {
        /// The follower's term.
        term: Term,
        /// The round that it answers.
        round: u64,
        /// Up to where the logs match, or where to look for it.
        outcome: Result<Index, Mismatch>,
    },
    /// A piece of a snapshot (5.1).
    InstallSnapshot {
        /// The leader's term.
        term: Term,
        /// The last entry that it contains.
        last: (Index, Term),
        /// The number of this piece, from 0.
        number: u64,
        /// The piece.
        piece: Piece,
        /// Whether it is the last one.
        done: bool,
    },
    /// How far a snapshot has come.
    Installing {
        /// The follower's term.
        term: Term,
        /// The last entry that the snapshot contains.
        last: Index,
        /// The number of the piece that is wanted next.
        wanted: u64,
    },
    /// The leader asks its heir to become leader at once (3.10).
    TimeoutNow {
        /// The leader's term.
        term: Term,
    },
    /// A follower passes a client's command on to the leader of this term. The ticket is used once
    /// in the term, so that a repetition of the message is known for one.
    Propose(Term, Ticket, Command),
    /// What became of it.
    Proposed(Ticket, Result<Answer, Refusal>),
    /// A follower asks up to where it must have applied to answer what it was asked (6.4).
    ReadIndex(Ticket),
    /// Up to there.
    Readable(Ticket, Result<Index, Refusal>),
    /// A follower passes a change of members or of leaders on to the leader.
    Administer(Ticket, Change),
    /// What became of it.
    Administered(Ticket, Result<(), Refusal>),
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The first: the members.
    Configuration(Arc<Configuration>),
    /// Every other: the store's.
    Store(Part),
}

/// Where the logs of leader and follower differ: how to find where they match without trying every
/// entry (5.3 of the Raft paper: conflict term).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The entry before those that were sent.
    pub previous: Index,
    /// The term of the follower's own entry there; none if its log ends before.
    pub term: Option<Term>,
    /// The follower's first entry of that term, or the one after its last.
    pub first: Index,
}

/// What must be durable.
#[derive(Clone, Debug)]
pub enum Record {
    /// The term, and who has this node's vote in it.
    Ballot(Term, Option<NodeId>),
    /// Entries in order; whatever the log had from the first one's place on is gone.
    Append(Vec<Arc<Entry>>),
    /// A snapshot of what is applied. Nothing is lost while it is not durable, if the log before it
    /// still is: it may be written behind the protocol's back.
    Compact(Arc<Snapshot>),
    /// A snapshot that was received. The log is gone, unless it has the snapshot's last entry: then
    /// what follows that entry stays.
    Install(Arc<Snapshot>),
}

/// The state after some entry.
#[derive(Clone)]
pub struct Snapshot {
    /// The last entry that it contains.
    pub last: (Index, Term),
    /// The members after it.
    pub configuration: Arc<Configuration>,
    /// The store after it.
    pub store: Store,
}

/// The protocol's alarms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// Nothing was heard of a leader, or an election had no winner.
    Election,
    /// The leader shows that it lives.
    Heartbeat,
    /// All that came at once is here: entries and questions leave together.
    Flush,
    /// Nothing has told the followers lately what is committed.
    Commit,
    /// A lease or a session may have ended.
    Expiry,
    /// A transfer of leadership has taken too long.
    Transfer,
}

/// What to do with a request if this node does not lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Pass it on to the leader.
    Forward,
    /// Refuse it, and say who leads.
    Here,
}

/// What a local caller asks.
#[derive(Clone, Debug)]
pub enum Request {
    /// Do this.
    Propose(Ticket, Command, Route),
    /// Tell this as it is after every command answered so far (linearizable).
    Read(Ticket, Query, Route),
    /// Tell this as this node knows it, without asking anyone: it may be old.
    Peek(Ticket, Query),
    /// Tell every event after this version that this node knows, for a watch.
    History(Ticket, Index),
    /// Change the members or the leader.
    Administer(Ticket, Change, Route),
    /// Take a snapshot now, and drop the log before it.
    Compact(Ticket),
    /// This caller has gone away: whatever it asked need not be answered.
    Forget(Ticket),
}

/// A change of members or of leaders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Adds a member at an address that does not vote yet, to become a voter or not; of a member
    /// that is there already, sets the address.
    Add(NodeId, Arc<str>, Standing),
    /// Makes a learner a voter, if it has caught up.
    Promote(NodeId),
    /// Removes a member.
    Remove(NodeId),
    /// Hands leadership to this voter, or to the one that is furthest.
    Transfer(Option<NodeId>),
}

/// What a local caller is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The answer, and the last entry that it takes into account; 0 if the leader did not say.
    Answered(Ticket, Answer, Index),
    /// Why there is none.
    Refused(Ticket, Refusal),
    /// What was asked is done.
    Done(Ticket),
    /// A command that belongs to a trace is in this leader's log.
    Logged(Index, Trace),
    /// The same is committed.
    Committed(Index),
    /// The events after the version that was asked for, and the last entry that was applied; events
    /// after it follow by [`Notice::Changed`].
    History(Ticket, Result<Vec<Arc<Event>>, Compacted>, Index),
    /// What an entry changed.
    Changed(Vec<Arc<Event>>),
    /// The members have changed, or may have changed back: links are wanted to these.
    Configured(Arc<Configuration>),
    /// These are the members for good: that is committed. Who is none of them may come back with
    /// other data.
    Settled(Arc<Configuration>),
    /// Something that an onlooker wants to know.
    Occurred(Occurrence),
}

/// Something that an onlooker wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occurrence {
    /// It stands for election in this term.
    Stood(Term),
    /// It leads in this term.
    Won(Term),
    /// It does not lead any more.
    SteppedDown(Term),
    /// It follows this leader.
    Followed(NodeId, Term),
    /// The leader that it followed has fallen silent.
    Bereft(Term),
    /// It has taken a snapshot of everything up to this entry.
    Compacted(Index),
    /// It has received a snapshot of everything up to this entry.
    Installed(Index),
    /// It is no member of the cluster any more.
    Removed,
}

/// Why a request was not carried out, and what happened to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This node does not lead; nothing was done. Who leads, if it is known.
    NotLeader(Option<NodeId>),
    /// Limits are reached; nothing was done. Ask again a little later.
    Busy,
    /// The store holds as many bytes as it may; nothing was done.
    Full,
    /// The leader is handing over; nothing was done. Ask again a little later.
    HandingOver,
    /// Another leader has put something else in its place; it was not done and never will be.
    Overwritten,
    /// It may have been done or not, or may still be.
    Unknown,
    /// Another change of the members is under way, or this leader has not committed anything yet;
    /// nothing was done.
    ChangePending,
    /// There is no such member.
    NoMember(NodeId),
    /// This member votes already.
    AlreadyVoter(NodeId),
    /// The member lacks this many entries; it must first catch up.
    Behind(NodeId, u64),
    /// It is the last voter: without it there is no cluster.
    LastVoter,
    /// No voter could take over.
    NoHeir,
    /// As many members as there may be.
    TooManyMembers,
    /// The request contradicts the limits: its field, and why.
    Invalid(&'static str, &'static str),
}

impl Message {
    /// The term that the message is of.
    pub(crate) fn term(&self) -> Option<Term> {
        match self {
            Self::RequestVote { term, .. }
            | Self::Vote { term, .. }
            | Self::AppendEntries { term, .. }
            | Self::Appended { term, .. }
            | Self::InstallSnapshot { term, .. }
            | Self::Installing { term, .. }
            | Self::TimeoutNow { term }
            | Self::Propose(term, ..) => Some(*term),
            Self::Proposed(..)
            | Self::ReadIndex(_)
            | Self::Readable(..)
            | Self::Administer(..)
            | Self::Administered(..) => None,
        }
    }
}
