//! What a client says and is told, in plain types.

use bytes::Bytes;
use proto::ensemble::raft::v1 as pb;
use serde::Serialize;

/// What is to be written under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key, 1 to 4,096 bytes.
    pub key: Bytes,
    /// The value, at most 1 MiB.
    pub value: Bytes,
    /// The lease with which the key expires; without one, it stays.
    pub lease: Option<u64>,
    /// What must hold.
    pub condition: Condition,
}

impl Put {
    /// Sets a key, whatever it has.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self { key, value, lease: None, condition: Condition::Always }
    }

    /// It expires with this lease.
    #[must_use]
    pub fn with_lease(mut self, lease: u64) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Only if this holds.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

/// What must hold of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such key.
    Absent,
    /// It was last set at this version.
    Version(u64),
    /// It has this value.
    Value(Bytes),
}

/// What a key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The version at which it was set last.
    pub version: u64,
    /// The version at which it was set first since it was last absent.
    pub created: u64,
    /// The lease with which it expires.
    pub lease: Option<u64>,
}

/// A write was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The version that it made.
    pub version: u64,
    /// The version before, if there was such a key.
    pub previous: Option<u64>,
}

/// What became of a write with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition held, and it was carried out.
    Written(Written),
    /// The condition did not hold, and nothing was done: what the key has, if there is such a key.
    Unmet(Option<Item>),
}

/// Where a read is answered, and what it promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// By the leader: it sees every write that was answered before (linearizable).
    #[default]
    Latest,
    /// By any node, once it has got as far as the leader was when asked: as fresh as the latest
    /// (linearizable), and the work is spread over the nodes.
    Spread,
    /// By any node, from what it has: it may be old.
    Stale,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The version that it made.
    pub version: u64,
    /// The key.
    pub key: Bytes,
    /// What became of it.
    pub change: Change,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was set, and has this.
    Set(Item),
    /// It was deleted.
    Deleted,
    /// The end of its lease deleted it.
    Expired,
}

/// A lease: keys that are put with it are deleted when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// Its name.
    pub id: u64,
    /// Its whole time to live, in milliseconds.
    pub ttl_ms: u64,
}

/// What is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LeaseLeft {
    /// Its whole time to live, in milliseconds.
    pub ttl_ms: u64,
    /// What is left of it, in milliseconds.
    pub left_ms: u64,
    /// How many keys expire with it.
    pub keys: u64,
}

/// A node that leads, or is said to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leader {
    /// Its id.
    pub id: u64,
    /// Where it is, as `host:port`.
    pub address: String,
}

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not said.
    Unknown,
    /// Votes and counts.
    Voter,
    /// Will vote when it has caught up.
    Joining,
    /// Only receives the log.
    Learner,
}

impl Standing {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Voter => "voter",
            Self::Joining => "joining",
            Self::Learner => "learner",
        }
    }
}

/// The state of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// The node.
    pub id: u64,
    /// The cluster's name.
    pub cluster: String,
    /// `follower`, `pre_candidate`, `candidate` or `leader`.
    pub role: String,
    /// Its term.
    pub term: u64,
    /// Who leads, if it knows.
    pub leader: Option<u64>,
    /// The first entry that its log has in memory.
    pub first_index: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry that it knows to be committed.
    pub commit: u64,
    /// The last entry that it has applied.
    pub applied: u64,
    /// The last entry of its snapshot; 0 if it has none.
    pub snapshot: u64,
    /// Bytes of the log in memory.
    pub log_bytes: u64,
    /// Keys in the store.
    pub keys: u64,
    /// Bytes of keys and values in the store.
    pub store_bytes: u64,
    /// Leases that live.
    pub leases: u64,
    /// Sessions that are open.
    pub sessions: u64,
    /// The members by the latest configuration that it knows.
    pub members: Vec<MemberStatus>,
    /// Whether a change of members is under way.
    pub change_pending: bool,
}

/// A member as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// Where it is, as `host:port`.
    pub address: String,
    /// What it is for.
    pub standing: Standing,
    /// Up to where its log matches the leader's; only a leader knows.
    pub match_index: Option<u64>,
    /// Milliseconds since the leader heard it; only a leader knows, of others.
    pub silent_ms: Option<u64>,
    /// Whether a snapshot is on its way to it.
    pub snapshot: bool,
}

impl From<Put> for pb::PutRequest {
    fn from(put: Put) -> Self {
        Self {
            key: put.key,
            value: put.value,
            lease: put.lease,
            condition: put.condition.into(),
            ordinal: None,
            route: 0,
        }
    }
}

impl From<Condition> for Option<pb::Condition> {
    fn from(condition: Condition) -> Self {
        let condition = match condition {
            Condition::Always => return None,
            Condition::Absent => pb::condition::Condition::Absent(pb::Nothing {}),
            Condition::Version(version) => pb::condition::Condition::Version(version),
            Condition::Value(value) => pb::condition::Condition::Value(value),
        };
        Some(pb::Condition { condition: Some(condition) })
    }
}

impl From<pb::Item> for Item {
    fn from(item: pb::Item) -> Self {
        let pb::Item { key, value, version, created, lease } = item;
        Self { key, value, version, created, lease }
    }
}

impl From<pb::PutResponse> for Outcome {
    fn from(answer: pb::PutResponse) -> Self {
        let pb::PutResponse { done, version, previous, current } = answer;
        match done {
            true => Self::Written(Written { version, previous }),
            false => Self::Unmet(current.map(Item::from)),
        }
    }
}

impl From<pb::DeleteResponse> for Outcome {
    fn from(answer: pb::DeleteResponse) -> Self {
        let pb::DeleteResponse { done, version, previous, current } = answer;
        match done {
            true => Self::Written(Written { version, previous }),
            false => Self::Unmet(current.map(Item::from)),
        }
    }
}

impl From<pb::Event> for Event {
    fn from(event: pb::Event) -> Self {
        let pb::Event { version, item, deleted, expired } = event;
        let item = item.map(Item::from);
        let key = item.as_ref().map(|item| item.key.clone()).unwrap_or_default();
        let change = match item {
            _ if expired => Change::Expired,
            Some(item) if !deleted => Change::Set(item),
            Some(_) | None => Change::Deleted,
        };
        Self { version, key, change }
    }
}

impl From<pb::GetStatusResponse> for NodeStatus {
    fn from(status: pb::GetStatusResponse) -> Self {
        Self {
            id: status.id,
            cluster: status.cluster,
            role: status.role,
            term: status.term,
            leader: status.leader,
            first_index: status.first_index,
            last_index: status.last_index,
            commit: status.commit,
            applied: status.applied,
            snapshot: status.snapshot,
            log_bytes: status.log_bytes,
            keys: status.keys,
            store_bytes: status.store_bytes,
            leases: status.leases,
            sessions: status.sessions,
            members: status.members.into_iter().map(MemberStatus::from).collect(),
            change_pending: status.change_pending,
        }
    }
}

impl From<pb::MemberStatus> for MemberStatus {
    fn from(status: pb::MemberStatus) -> Self {
        let pb::MemberStatus { member, match_index, silent_ms, snapshot } = status;
        let member = member.unwrap_or_default();
        let standing = match member.standing() {
            pb::member::Standing::Unspecified => Standing::Unknown,
            pb::member::Standing::Voter => Standing::Voter,
            pb::member::Standing::Joining => Standing::Joining,
            pb::member::Standing::Learner => Standing::Learner,
        };
        let pb::Member { id, address, .. } = member;
        Self { id, address, standing, match_index, silent_ms, snapshot }
    }
}
