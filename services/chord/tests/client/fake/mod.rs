//! A ring without a protocol: a registry and nodes on loopback that share what is saved, and a
//! test that decides what they say and what goes wrong.

mod services;
mod world;

use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proto::ensemble::chord::v1::node_service_server::NodeServiceServer;
use proto::ensemble::chord::v1::registry_service_server::RegistryServiceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
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

/// Somebody who serves: the registry, or the node with this id.
pub(crate) type Who = Option<u64>;

/// The ring.
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    processes: Vec<Process>,
}

/// The registry or a node.
struct Process {
    who: Who,
    address: SocketAddr,
    connections: Arc<Mutex<Vec<std::net::TcpStream>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Fake {
    /// A registry, and nodes with these ids, which have found each other.
    pub(crate) async fn start(bits: u32, ids: &[u64]) -> Self {
        let world = Arc::new(Mutex::new(World::new(bits)));
        let mut fake = Self { world, processes: Vec::new() };
        for who in std::iter::once(None).chain(ids.iter().copied().map(Some)) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let address = listener.local_addr().expect("an address");
            match who {
                Some(id) => fake.world().join(id, &address.to_string()),
                None => fake.world().registry = address.to_string(),
            }
            let connections = Arc::default();
            fake.processes.push(Process { who, address, connections, tasks: Vec::new() });
            fake.serve(who, listener);
        }
        fake.world().settle();
        fake
    }

    fn serve(&mut self, who: Who, listener: TcpListener) {
        let world = self.world.clone();
        let process = self.process_mut(who);
        let connections = process.connections.clone();
        let service = services::Service { who, world, connections: connections.clone() };
        let (accepted, incoming) = mpsc::channel(16);
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().expect("a stream");
                let handle = stream.try_clone().expect("a stream");
                connections.lock().expect("nobody panics").push(handle);
                if accepted.send(TcpStream::from_std(stream)).await.is_err() {
                    return;
                }
            }
        };
        let serve = async move {
            let mut server = Server::builder();
            let router = match who {
                None => server.add_service(RegistryServiceServer::new(service)),
                Some(_) => server.add_service(NodeServiceServer::new(service)),
            };
            router.serve_with_incoming(ReceiverStream::new(incoming)).await.expect("it serves");
        };
        process.tasks = vec![tokio::spawn(accept), tokio::spawn(serve)];
    }

    fn process_mut(&mut self, who: Who) -> &mut Process {
        self.processes.iter_mut().find(|process| process.who == who).expect("there is one")
    }

    /// What they share.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics while holding the world")
    }

    /// Where somebody is.
    pub(crate) fn address(&self, who: Who) -> String {
        let process = self.processes.iter().find(|process| process.who == who);
        process.expect("there is one").address.to_string()
    }

    /// Where the nodes are.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let nodes = self.processes.iter().filter(|process| process.who.is_some());
        nodes.map(|process| process.address.to_string()).collect()
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

    /// Ends a process as if it had been killed.
    pub(crate) async fn kill(&mut self, who: Who) {
        let process = self.process_mut(who);
        for task in process.tasks.drain(..) {
            task.abort();
            // It lets go of its port when it has ended, with an error that says that it was told
            // to.
            let _ = task.await;
        }
        break_all(&process.connections);
    }

    /// Starts a process that was killed where it was.
    pub(crate) async fn restart(&mut self, who: Who) {
        let listener = TcpListener::bind(self.process_mut(who).address).await.expect("its port");
        self.serve(who, listener);
    }
}

/// Breaks connections in the middle of whatever happens on them.
fn break_all(connections: &Mutex<Vec<std::net::TcpStream>>) {
    for connection in connections.lock().expect("nobody panics").drain(..) {
        // One that the client has closed is broken already.
        let _ = connection.shutdown(Shutdown::Both);
    }
}
