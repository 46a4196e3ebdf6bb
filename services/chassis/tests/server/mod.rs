//! Servers inside the process of a test that can be killed and started again, and whose calls go
//! wrong as the test likes: for the tests of every system's client.

#![allow(dead_code, reason = "each test that uses this module uses a part of it")]

use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Router;
use tonic::{Response, Status};

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

/// The connections to one server. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Vec<std::net::TcpStream>>>);

impl Connections {
    /// Carries a call out, unless and as far as this goes wrong with it.
    pub(crate) async fn carry_out<A>(
        &self,
        fault: Option<Fault>,
        work: impl FnOnce() -> Result<A, Status>,
    ) -> Result<Response<A>, Status> {
        match fault {
            None => work().map(Response::new),
            Some(Fault::Before(status)) => Err(status),
            Some(Fault::After(status)) => work().and(Err(status)),
            Some(Fault::Break) => {
                work()?;
                self.break_all();
                std::future::pending().await
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    fn note(&self, stream: TcpStream) -> TcpStream {
        let stream = stream.into_std().expect("a stream");
        let handle = stream.try_clone().expect("a stream");
        self.0.lock().expect("nobody panics").push(handle);
        TcpStream::from_std(stream).expect("a stream")
    }

    /// Breaks them in the middle of whatever happens on them.
    fn break_all(&self) {
        for connection in self.0.lock().expect("nobody panics").drain(..) {
            // One that the client has closed is broken already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// One server, which keeps its address.
pub(crate) struct Server {
    address: SocketAddr,
    listener: Option<TcpListener>,
    pub(crate) connections: Connections,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// One that does not serve anything yet.
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, tasks) = (Connections::default(), Vec::new());
        Self { address, listener: Some(listener), connections, tasks }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Serves this from here on, where it served before.
    pub(crate) async fn serve(&mut self, services: Router) {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(self.address).await.expect("its port"),
        };
        let connections = self.connections.clone();
        let (accepted, incoming) = mpsc::channel(16);
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = connections.note(stream);
                if accepted.send(Ok::<_, std::io::Error>(stream)).await.is_err() {
                    return;
                }
            }
        };
        let serve = async move {
            let serving = services.serve_with_incoming(ReceiverStream::new(incoming));
            serving.await.expect("it serves");
        };
        self.tasks = vec![tokio::spawn(accept), tokio::spawn(serve)];
    }

    /// Ends as if it had been killed.
    pub(crate) async fn kill(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // It lets go of its port when it has ended, with an error that says that it was told
            // to.
            let _ = task.await;
        }
        self.connections.break_all();
    }
}
