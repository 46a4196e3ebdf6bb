//! How a node stands with its registry: it is given an id, keeps it by renewing, and learns who
//! else there is. The ring lives without the registry.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chassis::channel::{Channel, Connector};
use chassis::{Inbox, Shutdown};
use hashring::{Chord, Circle, Id, Peer, Request};
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::registry_service_client::RegistryServiceClient;
use protocols::Input;
use tokio::sync::Mutex as Turn;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::{info, warn};

use super::{Node, locked};
use crate::{identity, wire};

/// How long the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
const LEAST_BACKOFF: Duration = Duration::from_millis(100);
const MOST_BACKOFF: Duration = Duration::from_secs(5);
/// Time between two renewals when the registry never forgets.
const LONG_LEASE: Duration = Duration::from_secs(15);
/// Time between two questions about nodes that are not known.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Nodes that are remembered.
const KNOWN_LIMIT: usize = 65_536;
/// The longest answer: as many nodes, with the longest addresses.
const MESSAGE_LIMIT: usize = 32 << 20;

/// What the registry gave to this node.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    pub(crate) id: Id,
    pub(crate) circle: Circle,
    /// The others, in order of registration.
    pub(crate) others: Vec<Peer>,
}

/// Why there is no answer from the registry that is one.
enum Failure {
    /// It may answer another time.
    Silent(anyhow::Error),
    /// It will not have this node.
    Lost(Lost),
}

/// Why the registry will not have this node.
#[derive(Debug)]
pub(crate) struct Lost {
    reason: String,
    message: String,
}

impl Lost {
    /// Whether a node that is on the ring must end for it: another one is who it is. All else is
    /// the registry's own trouble.
    fn ends_a_member(&self) -> bool {
        ["ADDRESS_TAKEN", "ID_TAKEN"].contains(&self.reason.as_str())
    }

    /// Whether this node's id was given to a node at another address.
    pub(crate) fn another_has_the_id(&self) -> bool {
        self.reason == "ID_TAKEN"
    }
}

impl Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry refuses this node: {}", self.message)
    }
}

impl std::error::Error for Lost {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        if ![Code::AlreadyExists, Code::InvalidArgument].contains(&status.code()) {
            return Self::Silent(anyhow::anyhow!("{}: {message}", status.code()));
        }
        let info = status.get_details_error_info();
        let reason = info.map(|info| info.reason).unwrap_or_default();
        Self::Lost(Lost { reason, message })
    }
}

/// Who has which id, as far as the registry said so.
#[derive(Default)]
struct Known {
    addresses: BTreeMap<Id, Arc<str>>,
}

/// A node's standing with its registry.
pub(crate) struct Enrolment {
    connector: Connector,
    registry: String,
    /// Where this node is.
    address: String,
    incarnation: u64,
    lease: Mutex<Duration>,
    /// Whether the registry knows this node, as far as is known.
    registered: AtomicBool,
    /// Whether the registry will not have this node any more.
    lost: AtomicBool,
    /// Whether this node has left. Held while the registry is told that it is there: what is said
    /// of its end must come last.
    left: Turn<bool>,
    known: Mutex<Known>,
    /// When it was asked last about nodes that were not known, and whether it answered.
    asked: Turn<Option<(Instant, bool)>>,
}

impl Enrolment {
    pub(crate) fn new(connector: Connector, registry: &str, address: &str) -> Self {
        Self {
            connector,
            registry: registry.to_owned(),
            address: address.to_owned(),
            // 0 is for those that never renew.
            incarnation: chassis::seed().max(1),
            lease: Mutex::new(LONG_LEASE),
            registered: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            left: Turn::default(),
            known: Mutex::default(),
            asked: Turn::default(),
        }
    }

    /// Where the registry is.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether the registry knows this node, as far as is known.
    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    /// Asks for an id until there is an answer. Nothing if it is time to stop before.
    pub(crate) async fn enrol(&self, shutdown: &mut Shutdown) -> anyhow::Result<Option<Enrolled>> {
        let mut backoff = LEAST_BACKOFF;
        loop {
            let enrolled = tokio::select! {
                enrolled = self.enrol_once() => enrolled,
                () = shutdown.requested() => return Ok(None),
            };
            match enrolled {
                Ok(enrolled) => return Ok(Some(enrolled)),
                Err(Failure::Lost(lost)) => return Err(lost.into()),
                Err(Failure::Silent(reason)) => {
                    let reason = format!("{reason:#}");
                    warn!(registry = self.registry, reason, again_in = ?backoff, "no id yet");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => (),
                () = shutdown.requested() => return Ok(None),
            }
            backoff = (backoff * 2).min(MOST_BACKOFF);
        }
    }

    async fn enrol_once(&self) -> Result<Enrolled, Failure> {
        let (id, circle) = self.register(None).await?;
        let others = self.others(circle).await.map_err(Failure::Silent)?;
        info!(registry = self.registry, id = id.0, others = others.len(), "registered");
        Ok(Enrolled { id, circle, others })
    }

    /// Renews the lease for as long as the registry has it so, and has the protocol meet the nodes
    /// that it knows. Returns when it will not have this node any more.
    pub(super) async fn renew(&self, node: &Node, inbox: &Inbox<Chord>) -> Lost {
        let mut backoff = None;
        loop {
            let period = *locked(&self.lease) / 3;
            tokio::time::sleep(backoff.unwrap_or(period)).await;
            match self.renew_once(node).await {
                Ok(others) => {
                    if backoff.take().is_some() {
                        info!(registry = self.registry, "the registry is there again");
                    }
                    inbox.put(Input::Request(Request::Meet(others))).await;
                }
                Err(Failure::Lost(lost)) => {
                    self.lost.store(true, Ordering::Relaxed);
                    return lost;
                }
                Err(Failure::Silent(reason)) => {
                    self.registered.store(false, Ordering::Relaxed);
                    if backoff.is_none() {
                        let reason = format!("{reason:#}");
                        warn!(registry = self.registry, reason, "going on without the registry");
                    }
                    let longer = backoff.map_or(LEAST_BACKOFF, |before| before * 2);
                    backoff = Some(longer.min(MOST_BACKOFF).min(period));
                }
            }
        }
    }

    async fn renew_once(&self, node: &Node) -> Result<Vec<Peer>, Failure> {
        let registered = {
            let left = self.left.lock().await;
            if *left {
                drop(left);
                // There is nothing to renew any more.
                return std::future::pending().await;
            }
            self.register(Some(node.me.id)).await
        };
        let (id, circle) = registered.map_err(|failure| match failure {
            Failure::Lost(lost) if !lost.ends_a_member() => Failure::Silent(lost.into()),
            Failure::Lost(_) | Failure::Silent(_) => failure,
        })?;
        if (id, circle) != (node.me.id, node.ring.circle) {
            let (bits, own) = (circle.bits(), node.ring.circle.bits());
            return Err(Failure::Silent(anyhow::anyhow!(
                "it has m = {bits} and node {id} here, where node {} has m = {own}",
                node.me.id
            )));
        }
        self.others(circle).await.map_err(Failure::Silent)
    }

    /// Tells the registry that this node has left, unless its entry is another's by now, and
    /// renews no more.
    pub(super) async fn deregister(&self, id: Id) {
        *self.left.lock().await = true;
        if self.lost.load(Ordering::Relaxed) {
            return;
        }
        let told = async {
            let mut request = tonic::Request::new(pb::DeregisterRequest { id: id.0 });
            request.set_timeout(PATIENCE);
            self.client().await?.deregister(request).await?;
            anyhow::Ok(())
        };
        if let Err(reason) = told.await {
            let reason = format!("{reason:#}");
            warn!(registry = self.registry, reason, "the registry was not told of the end");
        }
    }

    async fn client(&self) -> anyhow::Result<RegistryServiceClient<Channel>> {
        let channel = self.connector.connect(&self.registry, PATIENCE).await?;
        Ok(RegistryServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT))
    }

    async fn register(&self, id: Option<Id>) -> Result<(Id, Circle), Failure> {
        let mut request = tonic::Request::new(pb::RegisterRequest {
            address: self.address.clone(),
            id: id.map(|id| id.0),
            incarnation: self.incarnation,
        });
        request.set_timeout(PATIENCE);
        let mut client = self.client().await.map_err(Failure::Silent)?;
        let response = client.register(request).await?.into_inner();
        let Some(id) = response.id else {
            return Err(Failure::Lost(Lost { reason: "FULL".into(), message: response.error }));
        };
        let checked = || {
            let circle = identity::circle(response.bits).context("bits")?;
            ensure!(circle.contains(Id(id)), "id {id} is not on the circle");
            Ok((Id(id), circle))
        };
        let checked = checked().context("the registry's answer makes no sense");
        *locked(&self.lease) = match response.lease_ms {
            0 => LONG_LEASE,
            lease => Duration::from_millis(lease),
        };
        self.registered.store(checked.is_ok(), Ordering::Relaxed);
        checked.map_err(Failure::Silent)
    }

    /// The registered nodes but this one. What cannot be one is left out.
    async fn others(&self, circle: Circle) -> anyhow::Result<Vec<Peer>> {
        let mut request = tonic::Request::new(pb::GetChordInfoRequest {});
        request.set_timeout(PATIENCE);
        let response = self.client().await?.get_chord_info(request).await?.into_inner();
        let peer = |peer: pb::Peer| {
            let address = wire::address("address", &peer.address).ok()?;
            let id = wire::place("id", peer.id, circle).ok()?;
            Some(Peer { id, address })
        };
        let nodes = response.nodes.into_iter().take(KNOWN_LIMIT).filter_map(peer);
        let others = nodes.filter(|peer| *peer.address != *self.address).collect::<Vec<_>>();
        locked(&self.known).learn(&others);
        Ok(others)
    }

    /// Whether a node is who it says. What the registry once said holds until it says otherwise:
    /// after a restart it knows nobody for a while. And while it cannot be asked, nodes are
    /// believed.
    pub(super) async fn vouches_for(&self, peer: &Peer, circle: Circle) -> bool {
        let arrived = Instant::now();
        let is_known = || locked(&self.known).has(peer);
        if is_known() {
            return true;
        }
        let mut asked = self.asked.lock().await;
        match *asked {
            // Somebody has asked meanwhile.
            Some((at, answered)) if arrived < at => return !answered || is_known(),
            Some((at, _)) => tokio::time::sleep_until(at + ASK_INTERVAL).await,
            None => (),
        }
        let answered = self.others(circle).await.is_ok();
        *asked = Some((Instant::now(), answered));
        !answered || is_known()
    }
}

impl Known {
    fn has(&self, peer: &Peer) -> bool {
        self.addresses.get(&peer.id) == Some(&peer.address)
    }

    fn learn(&mut self, peers: &[Peer]) {
        if self.addresses.len() + peers.len() > KNOWN_LIMIT {
            self.addresses.clear();
        }
        self.addresses.extend(peers.iter().map(|peer| (peer.id, peer.address.clone())));
    }
}
