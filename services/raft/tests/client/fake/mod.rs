//! A cluster without a protocol: nodes on loopback that share one store, and a test that decides
//! who leads and what goes wrong.

mod services;
mod world;

use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proto::ensemble::raft::v1::cluster_service_server::ClusterServiceServer;
use proto::ensemble::raft::v1::raft_service_server::RaftServiceServer;
use proto::ensemble::raft::v1::store_service_server::StoreServiceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Server;

pub(crate) use self::world::{Call, World};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is refused, and nothing is done.
    Before(Status),
    /// It is carried out, and answered with this.
    After(Status),
    /// It is carried out, and the connection breaks before the answer.
    Break,
    /// Nothing is done, and nothing is answered.
    Hang,
}

/// What the nodes share.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// The version of the store, for those who watch.
    version: watch::Sender<u64>,
}

/// Some nodes.
pub(crate) struct Fake {
    pub(crate) shared: Arc<Shared>,
    nodes: Vec<Running>,
}

/// One node.
struct Running {
    id: u64,
    address: SocketAddr,
    connections: Arc<Mutex<Vec<std::net::TcpStream>>>,
    tasks: Vec<JoinHandle<()>>,
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
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let address = listener.local_addr().expect("an address");
            fake.shared.world().join(id, &address.to_string());
            let node = Running { id, address, connections: Arc::default(), tasks: Vec::new() };
            fake.nodes.push(node);
            fake.serve(id, listener);
        }
        fake.elect(Some(1));
        fake
    }

    fn serve(&mut self, id: u64, listener: TcpListener) {
        let shared = self.shared.clone();
        let node = self.node(id);
        let service = services::Service { id, shared, connections: node.connections.clone() };
        let connections = node.connections.clone();
        let (accepted, incoming) = mpsc::channel(16);
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().expect("a stream");
                let handle = stream.try_clone().expect("a stream");
                connections.lock().expect("nobody panics").push(handle);
                let stream = TcpStream::from_std(stream);
                if accepted.send(stream).await.is_err() {
                    return;
                }
            }
        };
        let serve = async move {
            let serving = Server::builder()
                .add_service(StoreServiceServer::new(service.clone()))
                .add_service(ClusterServiceServer::new(service.clone()))
                .add_service(RaftServiceServer::new(service))
                .serve_with_incoming(ReceiverStream::new(incoming));
            serving.await.expect("it serves");
        };
        node.tasks = vec![tokio::spawn(accept), tokio::spawn(serve)];
    }

    fn node(&mut self, id: u64) -> &mut Running {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a node")
    }

    /// Where a node is.
    pub(crate) fn address(&self, id: u64) -> String {
        let node = self.nodes.iter().find(|node| node.id == id).expect("a node");
        node.address.to_string()
    }

    /// Where they all are.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.to_string()).collect()
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
        let node = self.node(id);
        for task in node.tasks.drain(..) {
            task.abort();
            // It lets go of its port when it has ended, with an error that says that it was told
            // to.
            let _ = task.await;
        }
        break_all(&node.connections);
    }

    /// Starts a node that was killed where it was.
    pub(crate) async fn restart(&mut self, id: u64) {
        let listener = TcpListener::bind(self.node(id).address).await.expect("its own port");
        self.serve(id, listener);
    }
}

/// Breaks connections in the middle of whatever happens on them.
fn break_all(connections: &Mutex<Vec<std::net::TcpStream>>) {
    for connection in connections.lock().expect("nobody panics").drain(..) {
        // One that the client has closed is broken already.
        let _ = connection.shutdown(Shutdown::Both);
    }
}
