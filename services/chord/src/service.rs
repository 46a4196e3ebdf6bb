//! How the registry and the nodes are asked, and how the protocol's effects are carried out.

mod enrolment;
mod hops;
mod metrics;
mod node;
mod peers;
mod refusal;
mod registry;

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chassis::telemetry::Span;
use chassis::{Callers, Chassis, Events, Inbox, Services, Shutdown, World};
use hashring::{
    Chord, Event, Joined, Message, Mode, Notice, Peer, Performed, Record, Refusal, Request, View,
};
use proto::ensemble::chord::v1::node_service_server::NodeServiceServer;
use protocols::{Input, NodeId};
use tokio::sync::watch as signal;
use tonic::Status;

pub(crate) use self::enrolment::Enrolment;
use self::hops::Hops;
pub(crate) use self::metrics::Metrics;
use self::peers::Peers;
pub(crate) use self::registry::Registry;
use crate::identity::Ring;

/// The longest message: a page of the longest keys, or a mebibyte of items, and what goes with
/// them.
const MESSAGE_LIMIT: usize = 8 << 20;
/// How long a node that is to stop waits for its successor to have its keys.
const LEAVE_PATIENCE: Duration = Duration::from_secs(7);

/// What a node is.
pub(crate) struct Node {
    pub(crate) me: Peer,
    pub(crate) ring: Ring,
    pub(crate) replicas: usize,
    /// How lookups go when nobody says.
    pub(crate) mode: Mode,
    /// The registry that gave it its id, if one did.
    pub(crate) registry: Option<Arc<Enrolment>>,
}

/// What the services of one node share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Service(Arc<Shared>);

struct Shared {
    node: Node,
    inbox: Inbox<Chord>,
    callers: Callers<Chord, Result<Performed, Refusal>>,
    peers: Arc<Peers>,
    hops: Hops,
    events: Events,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
    /// Whether it is a member that may be asked.
    ready: signal::Sender<bool>,
    /// Whether it was told to quit.
    quitting: signal::Sender<bool>,
    /// Whether it leaves the ring, for whatever reason.
    leaving: signal::Sender<bool>,
    /// Whether it has left.
    left: signal::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

/// Waits until something is so.
async fn until(signal: &signal::Sender<bool>) {
    // An error is impossible: the sender lives.
    let _ = signal.subscribe().wait_for(|so| *so).await;
}

impl Service {
    pub(crate) fn new(chassis: &Chassis, inbox: Inbox<Chord>, node: Node) -> Self {
        Self(Arc::new(Shared {
            callers: Callers::new(inbox.clone(), Request::Forget),
            peers: Arc::new(Peers::new(chassis, &node, inbox.clone())),
            hops: Hops::new(&chassis.telemetry),
            metrics: Arc::new(Metrics::new(&chassis.telemetry.meter())),
            events: chassis.events.clone(),
            shutdown: chassis.shutdown.clone(),
            ready: signal::Sender::new(false),
            quitting: signal::Sender::new(false),
            leaving: signal::Sender::new(false),
            left: signal::Sender::new(false),
            inbox,
            node,
        }))
    }

    /// What it serves. It is ready while it is a member.
    pub(crate) fn services(&self, services: Services) -> Services {
        let node = NodeServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        services.with_ready(node, self.0.ready.subscribe())
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        self.0.metrics.clone()
    }

    /// Closes links that nobody needs, for as long as the process lives.
    pub(crate) async fn tend_links(self) {
        self.0.peers.tend().await;
    }

    /// Waits for a wish to stop, from outside or by Quit; leaves the ring, tells the registry, and
    /// then has the process end.
    pub(crate) async fn depart(self, mut asked: Shutdown) {
        tokio::select! {
            () = asked.requested() => (),
            () = until(&self.0.quitting) => (),
        }
        self.leave().await;
        if let Some(registry) = &self.0.node.registry {
            registry.deregister(self.0.node.me.id).await;
        }
        self.0.shutdown.request();
    }

    /// Leaves the ring, and warns if it is not known whether everything is with the successor.
    async fn leave(&self) {
        if !self.0.leaving.send_replace(true) {
            tracing::info!("leaving the ring");
        }
        self.0.ready.send_replace(false);
        self.0.inbox.put(Input::Request(Request::Leave)).await;
        if tokio::time::timeout(LEAVE_PATIENCE, until(&self.0.left)).await.is_err() {
            tracing::warn!(
                patience = ?LEAVE_PATIENCE,
                "the successor may not have all keys: leaving it to the copies"
            );
        }
    }

    /// Keeps the registry's lease, and returns why it cannot be kept, should that happen.
    pub(crate) async fn stay_registered(&self) -> anyhow::Result<Infallible> {
        let Some(registry) = &self.0.node.registry else { return std::future::pending().await };
        let renewing = registry.renew(&self.0.node, &self.0.inbox);
        let lost = Span::quiet().scope(renewing).await;
        if lost.another_has_the_id() {
            // What is kept here goes to others first.
            self.leave().await;
        }
        Err(lost.into())
    }

    async fn view(&self) -> Result<View, Status> {
        self.0.inbox.view().await.ok_or_else(stopping)
    }

    fn joined(&self, joined: &Joined) {
        let line = format!(
            "assigned node_id={}, successor_id={}, predecessor_id={}",
            self.0.node.me.id, joined.successor.id, joined.predecessor.id
        );
        // Nobody may be reading.
        let _ = writeln!(std::io::stdout(), "{line}");
        if !*self.0.leaving.borrow() {
            self.0.ready.send_replace(true);
        }
    }

    fn tell(&self, event: &Event) {
        let place = |peer: &Peer| format!("{} at {}", peer.id, peer.address);
        let told = match event {
            Event::Founded => "begins a ring".to_owned(),
            Event::Predecessor(Some(peer)) => format!("comes after {}", place(peer)),
            Event::Predecessor(None) => "does not know who comes before it".to_owned(),
            Event::Successor(peer) => format!("comes before {}", place(peer)),
            Event::Suspected(peer) => format!("takes {} for dead", place(peer)),
            Event::Returned(peer) => format!("hears {} again", place(peer)),
            Event::Ready(interval) => {
                format!("answers for the places after {} up to {}", interval.after, interval.to)
            }
            Event::Counted(nodes) => format!("has counted {nodes} nodes on one ring"),
            Event::Astray => "is not on the ring that it has counted".to_owned(),
        };
        self.0.events.tell(&told);
    }
}

impl World<Chord> for Service {
    fn notify(&mut self, notice: Notice) {
        match notice {
            Notice::Performed(ticket, outcome) => {
                if let Err(refusal) = outcome {
                    self.0.metrics.refuse(refusal);
                }
                self.0.callers.settle(ticket, outcome);
            }
            Notice::Joined(joined) => self.joined(&joined),
            Notice::Left => {
                self.0.left.send_replace(true);
            }
            Notice::Event(event) => self.tell(&event),
        }
    }

    async fn persist(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        match records.into_iter().next() {
            None => Ok(()),
            Some(record) => match record {},
        }
    }

    fn send(&mut self, _: NodeId, message: Message) {
        self.0.hops.say(&message);
        if !self.0.peers.say(&message) {
            self.0.metrics.lose();
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("this node is stopping; ask another")
}
