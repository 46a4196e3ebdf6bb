//! The other nodes: a link to each that this one speaks to, and who may speak to it.
//!
//! The protocol says where a node is when it says something to it. Links are made when they are
//! needed and closed when they are not; a node that is not who it was taken for is not spoken to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::channel::{Channel, Connector};
use chassis::status::invalid;
use chassis::{Chassis, Inbox, Link, LinkEvent, Outgoing, Traffic};
use hashring::{Chord, Id, Message, Peer, Request};
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_client::NodeServiceClient;
use protocols::Input;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::{debug, warn};

use super::refusal::because;
use super::{Enrolment, Node, locked};
use crate::identity::Ring;
use crate::wire;

const FROM: &str = "ensemble-from";
const ADDRESS: &str = "ensemble-address";
const TO: &str = "ensemble-to";
const RING: &str = "ensemble-ring";
/// The most links to other nodes.
const LINKS_LIMIT: usize = 1024;
/// The most links of other nodes to this one.
const VISITS_LIMIT: usize = 4096;
/// How long a link is kept on which nothing is said.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
const TEND_INTERVAL: Duration = Duration::from_secs(10);
/// How long a node that refused this one is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// Refusals that were logged; after as many they are logged again.
const LOGGED_LIMIT: usize = 1024;

/// How this node introduces itself.
struct Card {
    me: Peer,
    ring: Ring,
}

/// What is between this node and another.
enum Way {
    /// A link, and when something was said on it last.
    Open(Link<pb::LinkRequest>, Instant),
    /// The other will not have this node, or is not the one that was meant: not before then again.
    Refused(Instant),
}

impl Way {
    fn is_idle(&self, now: Instant) -> bool {
        match self {
            Self::Open(_, used) => *used + IDLE_LIMIT <= now,
            Self::Refused(until) => *until <= now,
        }
    }

    /// When it was of use last.
    fn used(&self) -> Instant {
        match self {
            Self::Open(_, at) | Self::Refused(at) => *at,
        }
    }
}

/// The ways to all others, and which refusals were logged.
#[derive(Default)]
struct Ways {
    all: BTreeMap<Peer, Way>,
    logged: BTreeSet<(Peer, String)>,
}

/// The other nodes.
pub(super) struct Peers {
    card: Arc<Card>,
    registry: Option<Arc<Enrolment>>,
    connector: Connector,
    traffic: Traffic,
    inbox: Inbox<Chord>,
    ways: Arc<Mutex<Ways>>,
    /// Who is linked to this node: from which address, by how many links.
    visits: Mutex<BTreeMap<Id, (Arc<str>, usize)>>,
}

/// A node's link to this one, for as long as it lasts.
pub(super) struct Visit<'a> {
    peers: &'a Peers,
    pub(super) from: Peer,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut visits = locked(&self.peers.visits);
        if let Some((_, links)) = visits.get_mut(&self.from.id) {
            *links -= 1;
            if *links == 0 {
                visits.remove(&self.from.id);
            }
        }
    }
}

impl Peers {
    pub(super) fn new(chassis: &Chassis, node: &Node, inbox: Inbox<Chord>) -> Self {
        Self {
            card: Arc::new(Card { me: node.me.clone(), ring: node.ring.clone() }),
            registry: node.registry.clone(),
            connector: chassis.connector.clone(),
            traffic: chassis.traffic.clone(),
            inbox,
            ways: Arc::default(),
            visits: Mutex::default(),
        }
    }

    /// Says something to a node. False if it is lost.
    pub(super) fn say(&self, message: &Message) -> bool {
        let (now, to) = (Instant::now(), &message.to);
        let mut ways = locked(&self.ways);
        match ways.all.get_mut(to) {
            Some(Way::Open(link, used)) => {
                *used = now;
                return link.say(wire::encode(message));
            }
            Some(Way::Refused(until)) if now < *until => {
                self.inbox.try_put(Input::Unreachable(to.node()));
                return false;
            }
            Some(Way::Refused(_)) | None => (),
        }
        let link = self.link(to);
        let said = link.say(wire::encode(message));
        ways.add(to.clone(), Way::Open(link, now));
        said
    }

    fn link(&self, to: &Peer) -> Link<pb::LinkRequest> {
        let (card, ways) = (self.card.clone(), self.ways.clone());
        let (inbox, peer) = (self.inbox.clone(), to.clone());
        let open = move |channel: Channel, outgoing: Outgoing<pb::LinkRequest>| {
            let request = introduced(&card, &peer, outgoing);
            let (inbox, peer, ways) = (inbox.clone(), peer.clone(), ways.clone());
            async move {
                let ended = NodeServiceClient::new(channel).link(request?).await.map(drop);
                if let Err(status) = &ended
                    && let Some(reason) = refusal(status)
                {
                    locked(&ways).refused(&peer, reason, status);
                    if status_means_another(status) {
                        inbox.put(Input::Request(Request::Mistaken(peer))).await;
                    }
                }
                ended
            }
        };
        let (inbox, node) = (self.inbox.clone(), to.node());
        let tell = move |event| {
            let inbox = inbox.clone();
            async move {
                if event == LinkEvent::Broken {
                    inbox.put(Input::Unreachable(node)).await;
                }
            }
        };
        let (connector, sent) = (self.connector.clone(), self.traffic.to(&to.id.0.to_string()));
        Link::keep(connector, to.address.to_string(), sent, open, tell)
    }

    /// Closes links that nobody needs, for as long as the process lives.
    pub(super) async fn tend(&self) {
        let mut interval = tokio::time::interval(TEND_INTERVAL);
        loop {
            let now = interval.tick().await;
            locked(&self.ways).close_idle(now);
        }
    }

    /// Who wants to link to this node, if it may.
    pub(super) async fn admit(&self, metadata: &MetadataMap) -> Result<Visit<'_>, Status> {
        let text = |name: &'static str| {
            let value = metadata.get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| invalid(name, "missing"))
        };
        let number = |name| text(name)?.parse().map_err(|_| invalid(name, "no number"));
        let Card { me, ring } = &*self.card;
        let (name, to) = (text(RING)?, number(TO)?);
        if name != ring.to_string() {
            let message = format!(
                "this is a node of the ring {ring}, not {name}: all need the same CHORD_RING, m \
                 and kind of ids"
            );
            return Err(refuse("OTHER_RING", message));
        }
        if to != me.id.0 {
            let message = format!("this is node {}, not {to}", me.id);
            let facts = [("id", me.id.to_string())];
            return Err(because(Code::FailedPrecondition, "OTHER_NODE", message, facts));
        }
        let address = wire::address(ADDRESS, text(ADDRESS)?)?;
        let id = wire::place(FROM, number(FROM)?, ring.circle)?;
        let from = Peer { id, address };
        self.identify(&from).await?;
        self.enter(from)
    }

    /// Whether a node is who it says.
    async fn identify(&self, from: &Peer) -> Result<(), Status> {
        let Card { me, ring } = &*self.card;
        let Peer { id, address } = from;
        if *id == me.id {
            return Err(refuse(
                "FALSE_ID",
                format!("{id} is the id of this node, at {}", me.address),
            ));
        }
        if let Some(expected) = ring.node(address)
            && expected != *id
        {
            let message = format!("{expected} is the id of {address}, not {id}");
            return Err(refuse("FALSE_ID", message));
        }
        if let Some(registry) = &self.registry
            && !registry.vouches_for(from, ring.circle).await
        {
            let message = format!("the registry knows no node {id} at {address}");
            return Err(refuse("FALSE_ID", message));
        }
        Ok(())
    }

    fn enter(&self, from: Peer) -> Result<Visit<'_>, Status> {
        let mut visits = locked(&self.visits);
        if visits.len() >= VISITS_LIMIT && !visits.contains_key(&from.id) {
            let message = format!("{VISITS_LIMIT} nodes are linked to this one already");
            return Err(Status::resource_exhausted(message));
        }
        let (address, links) = visits.entry(from.id).or_insert_with(|| (from.address.clone(), 0));
        if *address != from.address {
            let message = format!("the node at {address} speaks as {}", from.id);
            return Err(refuse("FALSE_ID", message));
        }
        if *links >= VISITS_LIMIT {
            let message = format!("{VISITS_LIMIT} links of node {} already", from.id);
            return Err(Status::resource_exhausted(message));
        }
        *links += 1;
        // It lives: if the link to it is down, it is tried again at once.
        let mut ways = locked(&self.ways);
        match ways.all.get(&from) {
            Some(Way::Open(link, _)) => link.nudge(),
            Some(Way::Refused(_)) => drop(ways.all.remove(&from)),
            None => (),
        }
        Ok(Visit { peers: self, from })
    }
}

impl Ways {
    /// Adds one, and closes the one that was of no use for the longest if there are too many.
    fn add(&mut self, peer: Peer, way: Way) {
        self.all.insert(peer, way);
        if self.all.len() > LINKS_LIMIT {
            let oldest = self.all.iter().min_by_key(|(_, way)| way.used());
            let oldest = oldest.map(|(peer, _)| peer.clone());
            oldest.and_then(|peer| self.all.remove(&peer));
        }
    }

    fn close_idle(&mut self, now: Instant) {
        self.all.retain(|_, way| !way.is_idle(now));
    }

    /// A node will not have this one, or is another than was meant.
    fn refused(&mut self, peer: &Peer, reason: String, status: &Status) {
        let Peer { id, address } = peer;
        self.add(peer.clone(), Way::Refused(Instant::now() + REFUSED_PAUSE));
        if self.logged.len() >= LOGGED_LIMIT {
            self.logged.clear();
        }
        let message = status.message();
        match self.logged.insert((peer.clone(), reason.clone())) {
            true => warn!(id = id.0, %address, reason, message, "refused by another node"),
            false => debug!(id = id.0, %address, reason, message, "refused again"),
        }
    }
}

fn refuse(reason: &str, message: String) -> Status {
    because(Code::FailedPrecondition, reason, message, [])
}

/// Why another node refuses this one, if it does.
fn refusal(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    (status.code() == Code::FailedPrecondition).then_some(info.reason)
}

fn status_means_another(status: &Status) -> bool {
    refusal(status).is_some_and(|reason| reason == "OTHER_NODE")
}

fn introduced(
    card: &Card,
    to: &Peer,
    outgoing: Outgoing<pb::LinkRequest>,
) -> Result<tonic::Request<Outgoing<pb::LinkRequest>>, Status> {
    let mut request = tonic::Request::new(outgoing);
    for (name, value) in [
        (FROM, card.me.id.to_string()),
        (ADDRESS, card.me.address.to_string()),
        (TO, to.id.to_string()),
        (RING, card.ring.to_string()),
    ] {
        let value = value.parse().map_err(|_| Status::internal(format!("{name}: not ASCII")))?;
        request.metadata_mut().insert(name, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use hashring::{Answer, Body, Circle};
    use protocols::Ticket;

    use super::*;
    use crate::identity::Identity;

    fn peer(number: u64) -> Peer {
        // Nobody listens on port 1.
        Peer { id: Id(number), address: "127.0.0.1:1".into() }
    }

    fn peers() -> Peers {
        let circle = Circle::new(64);
        let ring = Ring { name: "test".into(), circle, identity: Identity::Registry };
        let (inbox, _) = Inbox::new();
        Peers {
            card: Arc::new(Card { me: peer(0), ring }),
            registry: None,
            connector: Connector::new(None),
            traffic: Traffic::default(),
            inbox,
            ways: Arc::default(),
            visits: Mutex::default(),
        }
    }

    fn message(to: u64) -> Message {
        let body = Body::Answer(Ticket(1), Answer::Kept(true));
        Message { from: peer(0), to: peer(to), body }
    }

    #[tokio::test]
    async fn links_are_bounded_and_the_one_that_was_used_the_longest_ago_goes() {
        let (peers, limit) = (peers(), LINKS_LIMIT as u64);
        for to in (1..=limit).chain([1, limit + 1]) {
            assert!(peers.say(&message(to)));
        }
        let ways = locked(&peers.ways);
        assert_eq!(ways.all.len(), LINKS_LIMIT);
        let there = [1, 2, 3, limit, limit + 1].map(|to| ways.all.contains_key(&peer(to)));
        assert_eq!(there, [true, false, true, true, true]);
    }

    #[tokio::test]
    async fn a_link_that_nobody_uses_is_closed() {
        let peers = peers();
        peers.say(&message(1));
        let began = Instant::now();
        let mut ways = locked(&peers.ways);
        ways.close_idle(began + IDLE_LIMIT / 2);
        assert_eq!(ways.all.len(), 1);
        ways.close_idle(began + IDLE_LIMIT);
        assert_eq!(ways.all.len(), 0);
    }

    #[tokio::test]
    async fn who_refuses_is_left_alone_for_a_while() {
        let peers = peers();
        let status = refuse("FALSE_ID", "no".to_owned());
        assert_eq!(refusal(&status).as_deref(), Some("FALSE_ID"));
        peers.say(&message(1));
        locked(&peers.ways).refused(&peer(1), "FALSE_ID".to_owned(), &status);
        assert!(!peers.say(&message(1)));
        // Until it shows itself.
        let visit = peers.enter(peer(1)).unwrap();
        assert!(peers.say(&message(1)));
        // Another by its name must wait until it has gone.
        let other = Peer { address: "127.0.0.1:2".into(), ..peer(1) };
        let refused = peers.enter(other.clone()).err().unwrap();
        assert_eq!(refusal(&refused).as_deref(), Some("FALSE_ID"));
        drop(visit);
        assert!(peers.enter(other).is_ok());
    }
}
