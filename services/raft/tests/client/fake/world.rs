//! What the nodes share: the store, who leads, and what is to go wrong.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::ensemble::raft::v1 as pb;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::Fault;

/// A call that reached a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) node: u64,
    pub(crate) method: &'static str,
    /// Session, sequence and acknowledged.
    pub(crate) ordinal: Option<(u64, u64, u64)>,
}

/// An answer that a session keeps.
type Kept = Arc<dyn Any + Send + Sync>;

/// The store and the cluster.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) members: Vec<pb::Member>,
    pub(crate) items: BTreeMap<Bytes, pb::Item>,
    pub(crate) version: u64,
    pub(crate) history: Vec<(u64, Vec<pb::Event>)>,
    /// From which version one can watch.
    pub(crate) earliest: u64,
    leases: BTreeMap<u64, (Duration, Instant)>,
    sessions: BTreeMap<u64, BTreeMap<u64, Kept>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Vec<(&'static str, Fault)>,
    pub(crate) suspended: Vec<(u64, u32)>,
}

impl World {
    pub(crate) fn join(&mut self, id: u64, address: &str) {
        let standing = pb::member::Standing::Voter.into();
        self.members.push(pb::Member { id, address: address.into(), standing });
    }

    pub(crate) fn elect(&mut self, id: Option<u64>) {
        self.leader = id;
        self.term += 1;
    }

    pub(crate) fn address(&self, id: u64) -> String {
        let member = self.members.iter().find(|member| member.id == id);
        member.map(|member| member.address.clone()).unwrap_or_default()
    }

    /// Whether a node may carry out what it is asked.
    pub(crate) fn lead(&self, node: u64, route: i32) -> Result<(), Status> {
        match self.leader {
            Some(leader) if leader == node => Ok(()),
            Some(_) if route != pb::Route::Here as i32 => Ok(()),
            None if route != pb::Route::Here as i32 => Err(Status::unavailable("no leader")),
            leader => {
                let mut details = HashMap::new();
                if let Some(leader) = leader {
                    details.insert("leader_id".to_owned(), leader.to_string());
                    details.insert("leader_address".to_owned(), self.address(leader));
                }
                let text = format!("node {node} does not lead");
                Err(explained(Code::FailedPrecondition, &text, "NOT_LEADER", details))
            }
        }
    }

    /// Carries out a command of a session once.
    pub(crate) fn once<A: Clone + Send + Sync + 'static>(
        &mut self,
        ordinal: Option<pb::Ordinal>,
        work: impl FnOnce(&mut Self) -> Result<A, Status>,
    ) -> Result<A, Status> {
        let Some(pb::Ordinal { session, sequence, acknowledged }) = ordinal else {
            return work(self);
        };
        let Some(answers) = self.sessions.get_mut(&session) else {
            return Err(absent("NO_SESSION", &format!("there is no session {session}")));
        };
        answers.retain(|number, _| *number > acknowledged);
        if let Some(kept) = answers.get(&sequence) {
            let kept = kept.downcast_ref::<A>().expect("the same command again");
            return Ok(kept.clone());
        }
        let answer = work(self)?;
        let answers = self.sessions.get_mut(&session).expect("it is open");
        answers.insert(sequence, Arc::new(answer.clone()));
        Ok(answer)
    }

    fn holds(item: Option<&pb::Item>, condition: Option<pb::Condition>) -> bool {
        use pb::condition::Condition;
        match condition.and_then(|condition| condition.condition) {
            None => true,
            Some(Condition::Absent(_)) => item.is_none(),
            Some(Condition::Version(version)) => item.is_some_and(|item| item.version == version),
            Some(Condition::Value(value)) => item.is_some_and(|item| item.value == value),
        }
    }

    pub(crate) fn put(&mut self, request: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        let pb::PutRequest { key, value, lease, condition, .. } = request;
        if key.is_empty() {
            return Err(Status::invalid_argument("key: it is empty"));
        }
        self.expire();
        if let Some(lease) = lease.filter(|lease| !self.leases.contains_key(lease)) {
            return Err(absent("NO_LEASE", &format!("there is no lease {lease}")));
        }
        let current = self.items.get(&key).cloned();
        if !Self::holds(current.as_ref(), condition) {
            return Ok(pb::PutResponse { done: false, current, ..Default::default() });
        }
        self.version += 1;
        let version = self.version;
        let created = current.as_ref().map_or(version, |item| item.created);
        let item = pb::Item { key: key.clone(), value, version, created, lease };
        self.items.insert(key, item.clone());
        let event = pb::Event { version, item: Some(item), deleted: false, expired: false };
        self.history.push((version, vec![event]));
        let previous = current.map(|item| item.version);
        Ok(pb::PutResponse { done: true, version, previous, current: None })
    }

    pub(crate) fn delete(&mut self, request: pb::DeleteRequest) -> pb::DeleteResponse {
        let pb::DeleteRequest { key, condition, .. } = request;
        self.expire();
        let current = self.items.get(&key).cloned();
        if !Self::holds(current.as_ref(), condition) {
            return pb::DeleteResponse { done: false, current, ..Default::default() };
        }
        self.version += 1;
        self.remove(&key, false);
        let previous = current.map(|item| item.version);
        pb::DeleteResponse { done: true, version: self.version, previous, current: None }
    }

    fn remove(&mut self, key: &Bytes, expired: bool) {
        if self.items.remove(key).is_some() {
            let item = Some(pb::Item { key: key.clone(), ..Default::default() });
            let event = pb::Event { version: self.version, item, deleted: true, expired };
            self.history.push((self.version, vec![event]));
        }
    }

    pub(crate) fn grant(&mut self, ttl: Duration) -> u64 {
        self.version += 1;
        self.leases.insert(self.version, (ttl, Instant::now() + ttl));
        self.version
    }

    /// A lease that lives: its time to live, and what is left of it.
    pub(crate) fn lease(&mut self, lease: u64) -> Result<(Duration, Duration), Status> {
        self.expire();
        let found = self.leases.get(&lease);
        let (ttl, end) =
            found.ok_or_else(|| absent("NO_LEASE", &format!("there is no lease {lease}")))?;
        Ok((*ttl, end.saturating_duration_since(Instant::now())))
    }

    pub(crate) fn keep(&mut self, lease: u64) -> Result<Duration, Status> {
        let (ttl, _) = self.lease(lease)?;
        self.leases.insert(lease, (ttl, Instant::now() + ttl));
        Ok(ttl)
    }

    /// Ends a lease; how many keys went with it.
    pub(crate) fn revoke(&mut self, lease: u64, expired: bool) -> u64 {
        self.leases.remove(&lease);
        let keys = self.keys_of(lease);
        self.version += 1;
        for key in &keys {
            self.remove(key, expired);
        }
        keys.len() as u64
    }

    pub(crate) fn keys_of(&self, lease: u64) -> Vec<Bytes> {
        let items = self.items.values().filter(|item| item.lease == Some(lease));
        items.map(|item| item.key.clone()).collect()
    }

    /// Ends the leases whose time is up.
    fn expire(&mut self) {
        let at = Instant::now();
        let ended = self.leases.iter().filter(|(_, (_, end))| *end <= at);
        for lease in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.revoke(lease, true);
        }
    }

    pub(crate) fn open_session(&mut self) -> u64 {
        self.version += 1;
        self.sessions.insert(self.version, BTreeMap::new());
        self.version
    }

    pub(crate) fn close_session(&mut self, session: u64) -> Result<(), Status> {
        self.sessions
            .remove(&session)
            .map(drop)
            .ok_or_else(|| absent("NO_SESSION", &format!("there is no session {session}")))
    }

    /// The answers that are kept of a session.
    pub(crate) fn kept(&self, session: u64) -> usize {
        self.sessions.get(&session).map_or(0, BTreeMap::len)
    }

    pub(crate) fn range(&mut self, request: &pb::RangeRequest) -> (Vec<pb::Item>, bool) {
        self.expire();
        let limit = if request.limit == 0 { 1000 } else { request.limit as usize };
        let after = request.after.clone().unwrap_or_default();
        let mut wanted = self
            .items
            .values()
            .filter(|item| item.key.starts_with(&request.prefix) && item.key > after);
        let items: Vec<_> = wanted.by_ref().take(limit).cloned().collect();
        (items, wanted.next().is_some())
    }

    /// The changes after a version of keys with a prefix.
    pub(crate) fn changes(
        &self,
        after: u64,
        prefix: &[u8],
    ) -> Result<Vec<(u64, Vec<pb::Event>)>, Status> {
        if after < self.earliest.saturating_sub(1) {
            let details = HashMap::from([("earliest".to_owned(), self.earliest.to_string())]);
            return Err(explained(Code::OutOfRange, "it is gone", "COMPACTED", details));
        }
        let is_wanted = |event: &&pb::Event| {
            event.item.as_ref().is_some_and(|item| item.key.starts_with(prefix))
        };
        let later = self.history.iter().filter(|(version, _)| *version > after);
        let wanted = later.map(|(version, events)| {
            (*version, events.iter().filter(is_wanted).cloned().collect::<Vec<_>>())
        });
        Ok(wanted.filter(|(_, events)| !events.is_empty()).collect())
    }
}

fn absent(reason: &str, text: &str) -> Status {
    explained(Code::NotFound, text, reason, HashMap::new())
}

/// A status with an `ErrorInfo`.
fn explained(code: Code, text: &str, reason: &str, details: HashMap<String, String>) -> Status {
    let mut all = ErrorDetails::new();
    all.set_error_info(reason, "ensemble.raft", details);
    Status::with_error_details(code, text, all)
}
