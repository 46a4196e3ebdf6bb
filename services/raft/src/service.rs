//! How a node is asked: the document's functions, the store, the cluster; and how the protocol's
//! effects are carried out.

mod cluster;
mod metrics;
mod peer;
mod peers;
mod progress;
mod refusal;
mod store;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chassis::{Callers, Chassis, Events, Faults, Inbox, Services, Shutdown, World};
use consensus::store::Answer;
use consensus::{
    Change, Configuration, Index, Message, Notice, Occurrence, Raft, Record, Refusal, Request,
    Route, View,
};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::cluster_service_server::ClusterServiceServer;
use proto::ensemble::raft::v1::raft_service_server::RaftServiceServer;
use proto::ensemble::raft::v1::store_service_server::StoreServiceServer;
use protocols::{NodeId, Ticket};
use tokio::sync::{oneshot, watch as signal};
use tonic::Status;

pub(crate) use self::metrics::Metrics;
use self::peers::Peers;
use self::progress::Progress;
use self::watch::Watchers;
use crate::client;
use crate::storage::{Owner, Storage};

/// The longest message of a client: a key, a value, a condition, and what goes with them.
const CLIENT_MESSAGE_LIMIT: usize = 4 << 20;
/// The longest message of a member: entries of a mebibyte, or one with a value and a condition.
const PEER_MESSAGE_LIMIT: usize = 16 << 20;
/// How long a caller who sets no deadline waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node that is to stop waits for another to take over.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);
const JOIN_DEADLINE: Duration = Duration::from_secs(5);

/// What a node is.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: String,
    pub(crate) owner: Owner,
    pub(crate) storage: Storage,
    /// Present if faults may be switched on.
    pub(crate) faults: Option<Faults>,
}

/// What became of something that was asked.
enum Outcome {
    Answered(Answer, Index),
    Done,
    Refused(Refusal),
}

/// What the services of one node share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Service(Arc<Shared>);

struct Shared {
    node: Node,
    inbox: Inbox<Raft>,
    peers: Peers,
    watchers: Watchers,
    events: Events,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
    progress: Progress,
    callers: Callers<Raft, Outcome>,
    /// Whether a leader is known: without one there is nothing to serve.
    led: signal::Sender<bool>,
    /// Configurations that were committed and have not been looked at.
    settled: signal::Sender<Vec<Arc<Configuration>>>,
    /// Whether leadership has been handed over, for a node that is to stop.
    handed_over: signal::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

impl Service {
    /// The services of a node, and the reason for which its peers will not have it, should there
    /// be one.
    pub(crate) fn new(
        chassis: &Chassis,
        inbox: Inbox<Raft>,
        node: Node,
    ) -> (Self, oneshot::Receiver<anyhow::Error>) {
        let (peers, refused) = Peers::new(chassis, &node, inbox.clone());
        let shared = Shared {
            metrics: Arc::new(Metrics::new(&chassis.telemetry.meter())),
            progress: Progress::new(&chassis.telemetry),
            peers,
            node,
            callers: Callers::new(inbox.clone(), Request::Forget),
            inbox,
            watchers: Watchers::default(),
            events: chassis.events.clone(),
            shutdown: chassis.shutdown.clone(),
            led: signal::Sender::new(false),
            settled: signal::Sender::new(Vec::new()),
            handed_over: signal::Sender::new(false),
        };
        (Self(Arc::new(shared)), refused)
    }

    /// What it serves. The store is ready while a leader is known, the rest always.
    pub(crate) fn services(&self, services: Services) -> Services {
        let raft = RaftServiceServer::new(self.clone());
        let store = StoreServiceServer::new(self.clone());
        let cluster = ClusterServiceServer::new(self.clone());
        services
            .with(raft.max_decoding_message_size(PEER_MESSAGE_LIMIT))
            .with_ready(
                store.max_decoding_message_size(CLIENT_MESSAGE_LIMIT),
                self.0.led.subscribe(),
            )
            .with(cluster)
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        self.0.metrics.clone()
    }

    /// Brings a request before the protocol and waits for what comes of it.
    async fn ask(&self, request: impl FnOnce(Ticket) -> Request) -> Result<Outcome, Status> {
        match tokio::time::timeout(PATIENCE, self.0.callers.ask(request)).await {
            Ok(outcome) => outcome.ok_or_else(stopping),
            Err(_) => Err(Status::deadline_exceeded(
                "no answer in time; whether it was done is not known",
            )),
        }
    }

    /// Changes members or leaders.
    async fn administer(&self, change: Change, route: Route) -> Result<(), Status> {
        match self.ask(|ticket| Request::Administer(ticket, change, route)).await? {
            Outcome::Done => Ok(()),
            Outcome::Refused(refusal) => Err(self.refused(refusal, route)),
            Outcome::Answered(..) => Err(unexpected()),
        }
    }

    async fn view(&self) -> Result<View, Status> {
        self.0.inbox.view().await.ok_or_else(stopping)
    }

    /// When this node is to stop, hands leadership over: nobody has to wait for an election.
    pub(crate) async fn hand_over(self) {
        self.0.shutdown.clone().requested().await;
        let leads = self.view().await.is_ok_and(|view| view.leader == Some(view.id));
        if leads {
            let handing = self.administer(Change::Transfer(None), Route::Here);
            match tokio::time::timeout(HAND_OVER_PATIENCE, handing).await {
                Ok(Ok(())) => (),
                Ok(Err(status)) => {
                    tracing::warn!(reason = status.message(), "leadership was not handed over");
                }
                Err(_) => tracing::warn!("leadership was not handed over in time"),
            }
        }
        self.0.handed_over.send_replace(true);
    }

    /// Asks the cluster to make this node a member, until it is one.
    pub(crate) async fn join(self, seeds: Vec<String>) {
        let (id, address) = (self.0.node.id, self.0.node.address.clone());
        let options = client::Options { deadline: JOIN_DEADLINE, ..<_>::default() };
        let client = match client::Client::new(self.0.peers.connector(), seeds, options) {
            Ok(client) => client,
            Err(error) => return tracing::error!(%error, "cannot ask to be a member"),
        };
        loop {
            let Ok(view) = self.view().await else { return };
            if view.members.iter().any(|member| member.id == id) {
                return;
            }
            match client.add_member(id.0, &address, false).await {
                Ok(()) => tracing::info!(%address, "asked to be a member"),
                Err(error) => tracing::warn!(%error, "not yet a member; trying again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Forgets the data of every member that is removed, in the order of the removals.
    pub(crate) async fn forget_removed(self) {
        let mut settled = self.0.settled.subscribe();
        while settled.changed().await.is_ok() {
            let mut taken = Vec::new();
            self.0.settled.send_if_modified(|settled| {
                taken = std::mem::take(settled);
                false
            });
            for configuration in taken {
                let members = configuration.members.keys().copied().collect();
                if let Err(error) = self.0.node.storage.forget_others(&members).await {
                    tracing::error!(reason = format!("{error:#}"), "forgetting members");
                }
            }
        }
    }

    /// Ends what goes on behind the protocol's back.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.0.node.storage.close().await {
            tracing::error!(reason = format!("{error:#}"), "closing the data directory");
        }
    }

    fn occurred(&self, occurrence: Occurrence) {
        let told = match occurrence {
            Occurrence::Stood(term) => format!("stands for election in term {}", term.0),
            Occurrence::Won(term) => format!("leads in term {}", term.0),
            Occurrence::SteppedDown(term) => format!("does not lead any more in term {}", term.0),
            Occurrence::Followed(leader, term) => {
                format!("follows {} in term {}", leader.0, term.0)
            }
            Occurrence::Bereft(term) => format!("hears no leader in term {}", term.0),
            Occurrence::Compacted(index) => format!("snapshot up to {index}"),
            Occurrence::Installed(index) => format!("snapshot up to {index} received"),
            Occurrence::Removed => "removed from the cluster".to_owned(),
        };
        match occurrence {
            Occurrence::Won(_) | Occurrence::Followed(..) => self.0.led.send_replace(true),
            Occurrence::Stood(_) | Occurrence::SteppedDown(_) | Occurrence::Bereft(_) => {
                self.0.led.send_replace(false)
            }
            // Who is removed hears no leader soon, unless it reads that in its own past.
            Occurrence::Compacted(_) | Occurrence::Installed(_) | Occurrence::Removed => false,
        };
        if let Occurrence::Installed(_) = occurrence {
            self.0.watchers.let_go();
        }
        self.0.events.tell(&told);
    }
}

impl World<Raft> for Service {
    fn notify(&mut self, notice: Notice) {
        match notice {
            Notice::Answered(ticket, answer, index) => {
                self.0.callers.settle(ticket, Outcome::Answered(answer, index));
            }
            Notice::Refused(ticket, refusal) => {
                self.0.metrics.refuse(&refusal);
                self.0.callers.settle(ticket, Outcome::Refused(refusal));
            }
            Notice::Done(ticket) => self.0.callers.settle(ticket, Outcome::Done),
            Notice::Logged(index, trace) => self.0.progress.logged(index, trace),
            Notice::Committed(index) => self.0.progress.committed(index),
            Notice::History(ticket, history, applied) => {
                self.0.watchers.begin(ticket, history, applied);
            }
            Notice::Changed(events) => self.0.watchers.tell(&events),
            Notice::Configured(configuration) => self.0.peers.follow(&configuration),
            Notice::Settled(configuration) => {
                self.0.settled.send_modify(|settled| settled.push(configuration));
            }
            Notice::Occurred(occurrence) => self.occurred(occurrence),
        }
    }

    async fn persist(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        let began = tokio::time::Instant::now();
        let spans = self.0.progress.appending(&records);
        self.0.node.storage.persist(records).await?;
        drop(spans);
        self.0.metrics.synced(began.elapsed());
        Ok(())
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.0.progress.say(to, &message);
        if !self.0.peers.say(to, &message) {
            self.0.metrics.lose(to);
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("this node is stopping; ask another")
}

fn unexpected() -> Status {
    Status::internal("the store answered something else than it was asked")
}

fn route(route: pb::Route) -> Route {
    match route {
        pb::Route::Unspecified | pb::Route::Forward => Route::Forward,
        pb::Route::Here => Route::Here,
    }
}
