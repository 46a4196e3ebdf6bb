//! The other members: a link to each, and who may speak to this node.
//!
//! Every data directory has an identity, a random number. A node remembers the identity of every
//! member that it has met; another one under the same id is refused, since its votes and entries
//! would not be those that this node counted on. A member that was removed is forgotten, and may
//! come back with other data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chassis::channel::{Channel, Connector};
use chassis::{Chassis, Inbox, Link, LinkEvent, Outgoing, Traffic};
use consensus::{Configuration, Message, Raft};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::raft_service_client::RaftServiceClient;
use protocols::{Input, NodeId};
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use tracing::{error, warn};

use super::refusal::because;
use super::{Node, locked};
use crate::wire;

const FROM: &str = "ensemble-from";
const ADDRESS: &str = "ensemble-address";
const CLUSTER: &str = "ensemble-cluster";
const FOUNDERS: &str = "ensemble-founders";
const IDENTITY: &str = "ensemble-identity";
/// Links to nodes that are no members, but have spoken to this one.
const GUESTS_LIMIT: usize = 16;

/// How this node introduces itself.
#[derive(Clone, Debug)]
struct Card {
    me: NodeId,
    address: String,
    cluster: String,
    founders: String,
    identity: u64,
}

/// One node that this one speaks to.
struct Peer {
    address: String,
    link: Link<pb::LinkRequest>,
    member: bool,
    /// Links that it has to this node.
    incoming: usize,
}

impl Peer {
    fn is_wanted(&self) -> bool {
        self.member || self.incoming > 0
    }
}

/// A caller of a unary RPC that waits for what the protocol says to its candidate or leader.
type Caller = oneshot::Sender<Message>;

/// The other members.
pub(super) struct Peers {
    card: Arc<Card>,
    connector: Connector,
    traffic: Traffic,
    inbox: Inbox<Raft>,
    known: Mutex<BTreeMap<NodeId, Peer>>,
    voters: Arc<Mutex<BTreeSet<NodeId>>>,
    objections: Arc<Objections>,
    /// Callers of RequestVote and AppendEntries, by the node as which they ask.
    callers: Mutex<BTreeMap<(NodeId, Kind), Caller>>,
}

/// Which of the document's functions was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Vote,
    Append,
}

/// Who will not have this node, and why.
#[derive(Debug)]
struct Objections {
    by: Mutex<BTreeSet<NodeId>>,
    told: Mutex<Option<oneshot::Sender<anyhow::Error>>>,
}

impl Peers {
    pub(super) fn new(
        chassis: &Chassis,
        node: &Node,
        inbox: Inbox<Raft>,
    ) -> (Self, oneshot::Receiver<anyhow::Error>) {
        let (told, refused) = oneshot::channel();
        let card = Card {
            me: node.id,
            address: node.address.clone(),
            cluster: node.owner.cluster.clone(),
            founders: founders(&node.owner.founders),
            identity: node.storage.identity(),
        };
        let peers = Self {
            card: Arc::new(card),
            connector: chassis.connector.clone(),
            traffic: chassis.traffic.clone(),
            inbox,
            known: Mutex::default(),
            voters: Arc::default(),
            objections: Arc::new(Objections { by: Mutex::default(), told: Some(told).into() }),
            callers: Mutex::default(),
        };
        (peers, refused)
    }

    pub(super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// Where a node is.
    pub(super) fn address(&self, node: NodeId) -> Option<String> {
        if node == self.card.me {
            return Some(self.card.address.clone());
        }
        locked(&self.known).get(&node).map(|peer| peer.address.clone())
    }

    /// Keeps links to these members, and to nobody else.
    pub(super) fn follow(&self, configuration: &Configuration) {
        let others = || configuration.members.iter().filter(|(id, _)| **id != self.card.me);
        *locked(&self.voters) = others()
            .filter(|(_, member)| member.standing == consensus::Standing::Voter)
            .map(|(id, _)| *id)
            .collect();
        let mut known = locked(&self.known);
        for (id, peer) in &mut *known {
            peer.member = configuration.members.contains_key(id);
        }
        // Guests stay until their own links end.
        known.retain(|_, peer| peer.is_wanted());
        for (id, member) in others() {
            if known.get(id).is_none_or(|peer| *peer.address != *member.address) {
                let incoming = known.get(id).map_or(0, |peer| peer.incoming);
                known.insert(*id, Peer { incoming, ..self.link(*id, &member.address, true) });
            }
        }
    }

    /// A node has linked to this one: also if it is no member it is to have answers. False if as
    /// many do as may.
    fn welcome(&self, guest: NodeId, address: &str) -> bool {
        let mut known = locked(&self.known);
        let guests = known.values().filter(|peer| !peer.member).count();
        if guests >= GUESTS_LIMIT && !known.contains_key(&guest) {
            return false;
        }
        let new = || self.link(guest, address, false);
        let peer = known.entry(guest).or_insert_with(new);
        peer.incoming += 1;
        // It lives: if the link to it is down, it is tried again at once.
        peer.link.nudge();
        true
    }

    /// A node's link to this one has ended.
    pub(super) fn leave(&self, guest: NodeId) {
        let mut known = locked(&self.known);
        if let Some(peer) = known.get_mut(&guest) {
            peer.incoming = peer.incoming.saturating_sub(1);
        }
        known.retain(|_, peer| peer.is_wanted());
    }

    fn link(&self, to: NodeId, address: &str, member: bool) -> Peer {
        let (card, objections) = (self.card.clone(), self.objections.clone());
        let voters = self.voters.clone();
        let open = move |channel: Channel, outgoing: Outgoing<pb::LinkRequest>| {
            let request = introduced(&card, outgoing);
            let (card, objections, voters) = (card.clone(), objections.clone(), voters.clone());
            async move {
                let ended = RaftServiceClient::new(channel).link(request?).await.map(drop);
                match &ended {
                    Err(status) if status.code() == Code::FailedPrecondition => {
                        let voters = locked(&voters).clone();
                        objections.raise(to, &card, &voters, status);
                    }
                    Ok(()) | Err(_) => objections.withdraw(to),
                }
                ended
            }
        };
        let inbox = self.inbox.clone();
        let tell = move |event| {
            let inbox = inbox.clone();
            async move {
                if event == LinkEvent::Broken {
                    inbox.put(Input::Unreachable(to)).await;
                }
            }
        };
        let (connector, sent) = (self.connector.clone(), self.traffic.to(&to.0.to_string()));
        let link = Link::keep(connector, address.to_owned(), sent, open, tell);
        Peer { address: address.to_owned(), link, member, incoming: 0 }
    }

    /// Says something to a node. False if it is lost.
    pub(super) fn say(&self, to: NodeId, message: &Message) -> bool {
        if let Some(kind) = answers(message)
            && let Some(caller) = locked(&self.callers).remove(&(to, kind))
            // If the caller has gone away, the answer is for the node itself.
            && caller.send(message.clone()).is_ok()
        {
            return true;
        }
        let known = locked(&self.known);
        // Whom nobody knows has never spoken to this node, or has gone away.
        let Some(peer) = known.get(&to) else { return false };
        peer.link.say(wire::encode(message, self.card.me))
    }

    /// Waits for what the protocol says to this node next.
    pub(super) fn expect(&self, from: NodeId, kind: Kind) -> oneshot::Receiver<Message> {
        let (caller, answer) = oneshot::channel();
        locked(&self.callers).insert((from, kind), caller);
        answer
    }

    /// Whether a node is a member other than this one.
    pub(super) fn is_member(&self, node: NodeId) -> bool {
        locked(&self.known).get(&node).is_some_and(|peer| peer.member)
    }

    /// Who wants to link to this node, if it may.
    pub(super) async fn admit(
        &self,
        metadata: &MetadataMap,
        node: &Node,
    ) -> Result<NodeId, Status> {
        let text = |name: &'static str| {
            let value = metadata.get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| Status::invalid_argument(format!("{name}: missing")))
        };
        let wrong = |name: &str| Status::invalid_argument(format!("{name}: malformed"));
        let from = text(FROM)?.parse().map(NodeId).map_err(|_| wrong(FROM))?;
        let identity = u64::from_str_radix(text(IDENTITY)?, 16).map_err(|_| wrong(IDENTITY))?;
        let (cluster, founders) = (text(CLUSTER)?, text(FOUNDERS)?);
        let refuse = |reason, message| because(Code::FailedPrecondition, reason, message, []);
        if cluster != self.card.cluster {
            let own = &self.card.cluster;
            let message = format!("this is cluster {own:?}, not {cluster:?}: set RAFT_CLUSTER");
            return Err(refuse("OTHER_CLUSTER", message));
        }
        let both = !founders.is_empty() && !self.card.founders.is_empty();
        if both && founders != self.card.founders {
            let own = &self.card.founders;
            let message = format!(
                "this node was told the founding members {own}, not {founders}: all need the same"
            );
            return Err(refuse("OTHER_FOUNDERS", message));
        }
        // Whoever is no member is not remembered: its votes and entries were not counted on.
        let known = if self.is_member(from) {
            let remembered = node.storage.remember(from, identity).await;
            remembered.map_err(|error| Status::internal(format!("{error:#}")))?
        } else {
            node.storage.peers().await.get(&from).is_none_or(|known| *known == identity)
        };
        if !known || from == self.card.me {
            let message = format!(
                "node {} has spoken with other data before, or there are two of it: stop one; if \
                 its data directory is lost, remove the member, and add it again",
                from.0
            );
            return Err(refuse("OTHER_IDENTITY", message));
        }
        if !self.welcome(from, text(ADDRESS)?) {
            let message = format!("{GUESTS_LIMIT} nodes that are no members are linked already");
            return Err(Status::resource_exhausted(message));
        }
        Ok(from)
    }
}

/// Which of the document's functions a message answers.
fn answers(message: &Message) -> Option<Kind> {
    match message {
        Message::Vote { .. } => Some(Kind::Vote),
        Message::Appended { .. } => Some(Kind::Append),
        Message::RequestVote { .. }
        | Message::AppendEntries { .. }
        | Message::InstallSnapshot { .. }
        | Message::Installing { .. }
        | Message::TimeoutNow { .. }
        | Message::Propose(..)
        | Message::Proposed(..)
        | Message::ReadIndex(_)
        | Message::Readable(..)
        | Message::Administer(..)
        | Message::Administered(..) => None,
    }
}

fn founders(founders: &BTreeSet<NodeId>) -> String {
    let ids = founders.iter().map(|id| id.0.to_string());
    ids.collect::<Vec<_>>().join(",")
}

fn introduced(
    card: &Card,
    outgoing: Outgoing<pb::LinkRequest>,
) -> Result<Request<Outgoing<pb::LinkRequest>>, Status> {
    let mut request = Request::new(outgoing);
    for (name, value) in [
        (FROM, card.me.0.to_string()),
        (ADDRESS, card.address.clone()),
        (CLUSTER, card.cluster.clone()),
        (FOUNDERS, card.founders.clone()),
        (IDENTITY, format!("{:016x}", card.identity)),
    ] {
        let value = value.parse().map_err(|_| Status::internal(format!("{name}: not ASCII")))?;
        request.metadata_mut().insert(name, value);
    }
    Ok(request)
}

impl Objections {
    /// A peer will not have this node. If that is what most say, it is right.
    fn raise(&self, by: NodeId, card: &Card, voters: &BTreeSet<NodeId>, status: &Status) {
        let info = status.get_details_error_info();
        let reason = info.map(|info| info.reason).unwrap_or_default();
        warn!(by = by.0, reason, message = status.message(), "refused by a peer");
        let mut all = locked(&self.by);
        all.insert(by);
        let against = all.intersection(voters).count();
        // This node's own voice is one of theirs.
        if 2 * against > voters.len()
            && let Some(told) = locked(&self.told).take()
        {
            let me = card.me.0;
            let message = status.message();
            error!(reason, "refused by most peers");
            // An error means that the process is ending anyway.
            let _ = told.send(anyhow::anyhow!("the other nodes refuse node {me}: {message}"));
        }
    }

    fn withdraw(&self, by: NodeId) {
        locked(&self.by).remove(&by);
    }
}
