//! A registry that is slow to renew, and notes in which order it has done what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::registry_service_server::{RegistryService, RegistryServiceServer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How long it takes to renew.
const SLOWNESS: Duration = Duration::from_millis(500);

/// Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct SlowRegistry {
    done: Arc<Mutex<Vec<&'static str>>>,
    renewing: Arc<Notify>,
    deregistered: Arc<Notify>,
}

impl SlowRegistry {
    /// Serves until the test ends, and tells where.
    pub(crate) async fn serve(&self) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder().add_service(RegistryServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Waits until somebody asks it to renew.
    pub(crate) async fn renewing(&self) {
        self.renewing.notified().await;
    }

    /// What it has done, in order.
    pub(crate) fn done(&self) -> Vec<&'static str> {
        self.done.lock().unwrap().clone()
    }

    fn note(&self, what: &'static str) {
        self.done.lock().unwrap().push(what);
    }
}

#[tonic::async_trait]
impl RegistryService for SlowRegistry {
    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        if request.into_inner().id.is_none() {
            self.note("registered");
        } else {
            self.renewing.notify_one();
            // Long enough for the end of the node to overtake it, if it may.
            let _ = tokio::time::timeout(SLOWNESS, self.deregistered.notified()).await;
            self.note("renewed");
        }
        let error = String::new();
        Ok(Response::new(pb::RegisterResponse { id: Some(5), bits: 8, error, lease_ms: 300 }))
    }

    async fn deregister(
        &self,
        _: Request<pb::DeregisterRequest>,
    ) -> Result<Response<pb::DeregisterResponse>, Status> {
        self.note("deregistered");
        self.deregistered.notify_one();
        Ok(Response::new(pb::DeregisterResponse {}))
    }

    async fn populate_finger_table(
        &self,
        _: Request<pb::PopulateFingerTableRequest>,
    ) -> Result<Response<pb::PopulateFingerTableResponse>, Status> {
        Err(Status::unimplemented("no node asks this"))
    }

    async fn get_chord_info(
        &self,
        _: Request<pb::GetChordInfoRequest>,
    ) -> Result<Response<pb::GetChordInfoResponse>, Status> {
        Ok(Response::new(pb::GetChordInfoResponse { nodes: Vec::new(), bits: 8 }))
    }
}
