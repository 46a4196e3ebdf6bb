//! A ring without a protocol: a registry and nodes on loopback that share what is saved, and a
//! test that decides what they say and what goes wrong.

mod services;
mod world;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proto::ensemble::chord::v1::node_service_server::NodeServiceServer;
use proto::ensemble::chord::v1::registry_service_server::RegistryServiceServer;
use tonic::transport::server::Router;

pub(crate) use self::world::{Call, World};
pub(crate) use crate::server::Fault;
use crate::server::Server;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who serves: the registry, or the node with this id.
pub(crate) type Who = Option<u64>;

/// The ring.
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    servers: Vec<(Who, Server)>,
}

impl Fake {
    /// A registry, and nodes with these ids, which have found each other.
    pub(crate) async fn start(bits: u32, ids: &[u64]) -> Self {
        let world = Arc::new(Mutex::new(World::new(bits)));
        let mut fake = Self { world, servers: Vec::new() };
        for who in std::iter::once(None).chain(ids.iter().copied().map(Some)) {
            let mut server = Server::bind().await;
            match who {
                Some(id) => fake.world().join(id, &server.address()),
                None => fake.world().registry = server.address(),
            }
            server.serve(fake.services(who, &server)).await;
            fake.servers.push((who, server));
        }
        fake.world().settle();
        fake
    }

    fn services(&self, who: Who, server: &Server) -> Router {
        let (world, connections) = (self.world.clone(), server.connections.clone());
        let service = services::Service { who, world, connections };
        let mut builder = tonic::transport::Server::builder();
        match who {
            None => builder.add_service(RegistryServiceServer::new(service)),
            Some(_) => builder.add_service(NodeServiceServer::new(service)),
        }
    }

    fn at(&self, who: Who) -> usize {
        self.servers.iter().position(|(it, _)| *it == who).expect("there is one")
    }

    /// What they share.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics while holding the world")
    }

    /// Where somebody is.
    pub(crate) fn address(&self, who: Who) -> String {
        self.servers[self.at(who)].1.address()
    }

    /// Where the nodes are.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let nodes = self.servers.iter().filter(|(who, _)| who.is_some());
        nodes.map(|(_, server)| server.address()).collect()
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

    /// Ends somebody as if it had been killed.
    pub(crate) async fn kill(&mut self, who: Who) {
        let at = self.at(who);
        self.servers[at].1.kill().await;
    }

    /// Starts somebody who was killed where it was.
    pub(crate) async fn restart(&mut self, who: Who) {
        let at = self.at(who);
        let services = self.services(who, &self.servers[at].1);
        self.servers[at].1.serve(services).await;
    }
}
