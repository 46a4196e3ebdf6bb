//! `RegistryService`: the document's registry.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::Events;
use hashring::{Circle, Id};
use opentelemetry::metrics::Meter;
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::registry_service_server::{RegistryService, RegistryServiceServer};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use super::locked;
use super::refusal::because;
use crate::directory::{Directory, Refused};
use crate::wire;

/// The longest request; there is nothing long to say.
const MESSAGE_LIMIT: usize = 16 << 10;
/// How often it looks for nodes whose lease is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The registry of one ring. Clones are the same.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Shared>);

struct Shared {
    circle: Circle,
    lease: Duration,
    started: Instant,
    events: Events,
    directory: Mutex<Directory>,
}

impl Registry {
    pub(crate) fn new(circle: Circle, lease: Duration, events: Events, meter: &Meter) -> Self {
        let directory = Mutex::new(Directory::new(circle, lease));
        let shared = Arc::new(Shared { circle, lease, started: Instant::now(), events, directory });
        let seen = shared.clone();
        meter
            .u64_observable_gauge("ensemble.chord.registry.nodes")
            .with_description("Registered nodes.")
            .with_callback(move |observer| {
                observer.observe(locked(&seen.directory).nodes().len() as u64, &[]);
            })
            .build();
        Self(shared)
    }

    pub(crate) fn server(&self) -> RegistryServiceServer<Self> {
        RegistryServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// Forgets nodes whose lease is over, for as long as the process lives.
    pub(crate) async fn forget_silent(self) -> anyhow::Result<Infallible> {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        loop {
            interval.tick().await;
            self.expire();
        }
    }

    fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn expire(&self) {
        let expired = locked(&self.0.directory).expire(self.now());
        for peer in expired {
            let told = format!("node {} at {} has fallen silent", peer.id, peer.address);
            self.0.events.tell(&told);
        }
    }

    fn refused(&self, request: &pb::RegisterRequest, refused: Refused) -> Refusal {
        let (address, bits) = (&request.address, self.0.circle.bits());
        match refused {
            Refused::Full => {
                let room = locked(&self.0.directory).room();
                Refusal::Answer(format!(
                    "the ring is full: {room} nodes are the most with m = {bits}; end another \
                     node, or start the registry with a larger m"
                ))
            }
            Refused::Registered(id) => Refusal::Answer(format!(
                "{address} is registered already, as node {id}; deregister it, or register \
                 another address"
            )),
            Refused::AddressTaken(id) => Refusal::Error(because(
                Code::AlreadyExists,
                "ADDRESS_TAKEN",
                format!(
                    "another process at {address} is node {id} now: give each node an address of \
                     its own"
                ),
                [("id", id.to_string())],
            )),
            Refused::IdTaken => Refusal::Error(because(
                Code::AlreadyExists,
                "ID_TAKEN",
                "another node has this id by now: start this one again, and it is given a free one",
                [],
            )),
        }
    }
}

/// How it is said that there is no id.
enum Refusal {
    /// As the document says it.
    Answer(String),
    Error(Status),
}

#[tonic::async_trait]
impl RegistryService for Registry {
    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let request = request.into_inner();
        let address = wire::address("address", &request.address)?;
        let id = request.id.map(|id| wire::place("id", id, self.0.circle)).transpose()?;
        self.expire();
        let incarnation = request.incarnation;
        let (registered, new) = {
            let mut directory = locked(&self.0.directory);
            let before = directory.nodes().len();
            let registered = directory.register(&address, id, incarnation, self.now());
            (registered, directory.nodes().len() > before)
        };
        let bits = self.0.circle.bits();
        match registered.map_err(|refused| self.refused(&request, refused)) {
            Ok(id) => {
                if new {
                    self.0.events.tell(&format!("node {id} is at {address}"));
                }
                let lease_ms = if incarnation == 0 { 0 } else { self.0.lease.as_millis() as u64 };
                let error = String::new();
                Ok(Response::new(pb::RegisterResponse { id: Some(id.0), bits, error, lease_ms }))
            }
            Err(Refusal::Answer(error)) => {
                tracing::warn!(%address, reason = error, "no id for it");
                Ok(Response::new(pb::RegisterResponse { id: None, bits, error, lease_ms: 0 }))
            }
            Err(Refusal::Error(status)) => {
                tracing::warn!(%address, reason = status.message(), "refused");
                Err(status)
            }
        }
    }

    async fn deregister(
        &self,
        request: Request<pb::DeregisterRequest>,
    ) -> Result<Response<pb::DeregisterResponse>, Status> {
        let id = request.into_inner().id;
        self.expire();
        if !locked(&self.0.directory).deregister(Id(id)) {
            return Err(no_node(id));
        }
        self.0.events.tell(&format!("node {id} has left"));
        Ok(Response::new(pb::DeregisterResponse {}))
    }

    async fn populate_finger_table(
        &self,
        request: Request<pb::PopulateFingerTableRequest>,
    ) -> Result<Response<pb::PopulateFingerTableResponse>, Status> {
        let id = request.into_inner().id;
        self.expire();
        let neighbours = locked(&self.0.directory).neighbours(Id(id));
        let (predecessor, fingers) = neighbours.ok_or_else(|| no_node(id))?;
        Ok(Response::new(pb::PopulateFingerTableResponse {
            predecessor: Some(wire::encode_peer(&predecessor)),
            fingers: wire::encode_peers(&fingers),
        }))
    }

    async fn get_chord_info(
        &self,
        _: Request<pb::GetChordInfoRequest>,
    ) -> Result<Response<pb::GetChordInfoResponse>, Status> {
        self.expire();
        let directory = locked(&self.0.directory);
        let nodes = directory.nodes().map(|peer| wire::encode_peer(&peer)).collect();
        Ok(Response::new(pb::GetChordInfoResponse { nodes, bits: self.0.circle.bits() }))
    }
}

fn no_node(id: u64) -> Status {
    because(Code::NotFound, "NO_NODE", format!("there is no node {id}"), [])
}
