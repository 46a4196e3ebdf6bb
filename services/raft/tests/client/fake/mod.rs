//! A cluster without a protocol: nodes on loopback that share one store, and a test that decides
//! who leads and what goes wrong.

mod services;
mod world;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proto::ensemble::raft::v1::cluster_service_server::ClusterServiceServer;
use proto::ensemble::raft::v1::raft_service_server::RaftServiceServer;
use proto::ensemble::raft::v1::store_service_server::StoreServiceServer;
use tokio::sync::watch;
use tonic::transport::server::Router;

pub(crate) use self::world::{Call, World};
pub(crate) use crate::server::Fault;
use crate::server::Server;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the nodes share.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// The version of the store, for those who watch.
    version: watch::Sender<u64>,
}

/// Some nodes.
pub(crate) struct Fake {
    pub(crate) shared: Arc<Shared>,
    nodes: Vec<(u64, Server)>,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics while holding the world")
    }

    /// Changes the world, and tells those who watch.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let outcome = change(&mut world);
        self.version.send_replace(world.version);
        outcome
    }
}

impl Fake {
    /// So many nodes, of which the first leads.
    pub(crate) async fn start(count: u64) -> Self {
        let shared = Shared { world: Mutex::default(), version: watch::channel(0).0 };
        let mut fake = Self { shared: Arc::new(shared), nodes: Vec::new() };
        for id in 1..=count {
            let mut server = Server::bind().await;
            fake.shared.world().join(id, &server.address());
            server.serve(fake.services(id, &server)).await;
            fake.nodes.push((id, server));
        }
        fake.elect(Some(1));
        fake
    }

    fn services(&self, id: u64, server: &Server) -> Router {
        let (shared, connections) = (self.shared.clone(), server.connections.clone());
        let service = services::Service { id, shared, connections };
        tonic::transport::Server::builder()
            .add_service(StoreServiceServer::new(service.clone()))
            .add_service(ClusterServiceServer::new(service.clone()))
            .add_service(RaftServiceServer::new(service))
    }

    fn at(&self, id: u64) -> usize {
        self.nodes.iter().position(|(it, _)| *it == id).expect("a node")
    }

    /// Where a node is.
    pub(crate) fn address(&self, id: u64) -> String {
        self.nodes[self.at(id)].1.address()
    }

    /// Where they all are.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|(_, server)| server.address()).collect()
    }

    /// What the nodes share.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// This node leads, or none.
    pub(crate) fn elect(&self, id: Option<u64>) {
        self.world().elect(id);
    }

    /// The next call of this method goes wrong; faults of one method come one after another.
    pub(crate) fn fail(&self, method: &'static str, fault: Fault) {
        self.world().faults.push((method, fault));
    }

    /// The calls of this method so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Call> {
        let world = self.world();
        world.calls.iter().filter(|call| call.method == method).cloned().collect()
    }

    /// Ends a node as if it had been killed.
    pub(crate) async fn kill(&mut self, id: u64) {
        let at = self.at(id);
        self.nodes[at].1.kill().await;
    }

    /// Starts a node that was killed where it was.
    pub(crate) async fn restart(&mut self, id: u64) {
        let at = self.at(id);
        let services = self.services(id, &self.nodes[at].1);
        self.nodes[at].1.serve(services).await;
    }
}
