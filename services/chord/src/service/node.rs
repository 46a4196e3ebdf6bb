//! `NodeService`: the document's functions, the state of a node, and the links between nodes.

use std::time::Duration;

use chassis::status::{Wrong, invalid};
use chassis::telemetry::Span;
use chassis::time_left;
use hashring::{
    Action, Id, Key, Mode, Operation, Outcome, Peer, Performed, Refusal, Request, View,
};
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_server::NodeService;
use protocols::Input;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status, Streaming};
use tracing::{debug, warn};

use super::refusal::refused;
use super::{LEAVE_PATIENCE, Service, stopping, until};
use crate::identity::Identity;
use crate::wire;

/// How long a caller waits who sets no deadline.
const BUDGET: Duration = Duration::from_secs(10);
/// How long a caller can wait.
const BUDGET_LIMIT: Duration = Duration::from_secs(60);
/// How long before its caller's deadline an answer is sent at the latest, so that it is there by
/// then; a tenth of a short time.
const HEAD_START: Duration = Duration::from_millis(100);
/// The protocol tells in time what it knows; one that does not even do that is suspended.
const MARGIN: Duration = Duration::from_millis(500);

impl Service {
    /// Has something done with a place, within the caller's time.
    async fn perform(
        &self,
        operation: Operation,
        mode: pb::Mode,
        metadata: &MetadataMap,
    ) -> Result<Performed, Status> {
        let mode = match mode {
            pb::Mode::Unspecified => self.0.node.mode,
            pb::Mode::Iterative => Mode::Iterative,
            pb::Mode::Recursive => Mode::Recursive,
        };
        let left = time_left(metadata).unwrap_or(BUDGET).min(BUDGET_LIMIT);
        let budget = left - HEAD_START.min(left / 10);
        let request = |ticket| Request::Perform(ticket, operation, mode, budget);
        match tokio::time::timeout(budget + MARGIN, self.0.callers.ask(request)).await {
            Ok(Some(outcome)) => outcome.map_err(refused),
            Ok(None) => Err(stopping()),
            Err(_) => Err(refused(Refusal::Unknown)),
        }
    }

    fn operation(&self, key: Key, action: Action) -> Operation {
        let (id, trace) = (self.0.node.ring.key(&key), Span::current().trace());
        Operation { id, key, action, trace }
    }

    /// Hears one node until it falls silent.
    async fn hear(&self, from: &Peer, mut stream: Streaming<pb::LinkRequest>) {
        let super::Node { me, ring, .. } = &self.0.node;
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return debug!(from = from.id.0, "the link was closed"),
                Err(status) => return debug!(from = from.id.0, %status, "the link broke"),
            };
            match wire::decode(message, from, me, ring) {
                Ok(mut message) => {
                    self.0.hops.hear(&mut message);
                    if !self.0.inbox.put(Input::Message(from.node(), message)).await {
                        return;
                    }
                }
                Err(Wrong(field, reason)) => {
                    warn!(from = from.id.0, field, reason, "a malformed message was ignored");
                }
            }
        }
    }

    fn state(&self, view: &View) -> pb::GetStateResponse {
        let super::Node { ring, replicas, registry, .. } = &self.0.node;
        let identity = match ring.identity {
            Identity::Registry => pb::Identity::Registry,
            Identity::Sha1 => pb::Identity::Sha1,
        };
        let finger = |(index, count, peer): &(u32, u32, Peer)| pb::Finger {
            index: *index,
            count: *count,
            peer: Some(wire::encode_peer(peer)),
        };
        pb::GetStateResponse {
            node: Some(wire::encode_peer(&view.node)),
            bits: view.bits,
            identity: identity.into(),
            ring: ring.name.to_string(),
            phase: view.phase.to_owned(),
            predecessor: view.predecessor.as_ref().map(wire::encode_peer),
            successors: wire::encode_peers(&view.successors),
            fingers: view.fingers.iter().map(finger).collect(),
            ready: view.ready.is_some(),
            keys: view.keys,
            copies: view.copies,
            bytes: view.bytes,
            bytes_limit: view.bytes_limit,
            counted: view.counted,
            lost: wire::encode_peers(&view.lost),
            replicas: *replicas as u32,
            registry: registry.as_ref().map_or_else(String::new, |it| it.registry().to_owned()),
            registered: registry.as_ref().is_some_and(|registry| registry.is_registered()),
        }
    }
}

/// Where a lookup went.
fn path(performed: &Performed) -> Option<pb::Path> {
    Some(pb::Path {
        by: Some(wire::encode_peer(&performed.by)),
        hops: performed.path.iter().map(wire::encode_hop).collect(),
    })
}

fn unexpected() -> Status {
    Status::internal("the ring answered something else than it was asked")
}

#[tonic::async_trait]
impl NodeService for Service {
    async fn get_finger_table(
        &self,
        _: tonic::Request<pb::GetFingerTableRequest>,
    ) -> Result<Response<pb::GetFingerTableResponse>, Status> {
        let view = self.view().await?;
        let mut fingers = Vec::<Peer>::new();
        for (_, _, peer) in view.fingers {
            if !fingers.contains(&peer) {
                fingers.push(peer);
            }
        }
        if fingers.is_empty() {
            // Alone, or still joining: it is all that it knows.
            fingers.push(view.node.clone());
        }
        Ok(Response::new(pb::GetFingerTableResponse {
            node: Some(wire::encode_peer(&view.node)),
            fingers: wire::encode_peers(&fingers),
        }))
    }

    async fn save(
        &self,
        request: tonic::Request<pb::SaveRequest>,
    ) -> Result<Response<pb::SaveResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let action = Action::Save(wire::value("value", &request.value)?);
        let operation = self.operation(wire::key(&request.key)?, action);
        let id = operation.id.0;
        let performed = self.perform(operation, request.mode(), &metadata).await?;
        let saved = match performed.outcome {
            Outcome::Saved => true,
            Outcome::Exists => false,
            Outcome::Located
            | Outcome::Found(_)
            | Outcome::Missing
            | Outcome::Removed
            | Outcome::Declined(_) => return Err(unexpected()),
        };
        Ok(Response::new(pb::SaveResponse { saved, path: path(&performed), id }))
    }

    async fn remove(
        &self,
        request: tonic::Request<pb::RemoveRequest>,
    ) -> Result<Response<pb::RemoveResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let operation = self.operation(wire::key(&request.key)?, Action::Remove);
        let id = operation.id.0;
        let performed = self.perform(operation, request.mode(), &metadata).await?;
        let removed = match performed.outcome {
            Outcome::Removed => true,
            Outcome::Missing => false,
            Outcome::Located
            | Outcome::Found(_)
            | Outcome::Saved
            | Outcome::Exists
            | Outcome::Declined(_) => return Err(unexpected()),
        };
        Ok(Response::new(pb::RemoveResponse { removed, path: path(&performed), id }))
    }

    async fn find(
        &self,
        request: tonic::Request<pb::FindRequest>,
    ) -> Result<Response<pb::FindResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let operation = self.operation(wire::key(&request.key)?, Action::Find);
        let id = operation.id.0;
        let performed = self.perform(operation, request.mode(), &metadata).await?;
        let value = match &performed.outcome {
            Outcome::Found(value) => Some(wire::shared(value)),
            Outcome::Missing => None,
            Outcome::Located
            | Outcome::Saved
            | Outcome::Exists
            | Outcome::Removed
            | Outcome::Declined(_) => return Err(unexpected()),
        };
        Ok(Response::new(pb::FindResponse { value, path: path(&performed), id }))
    }

    async fn locate(
        &self,
        request: tonic::Request<pb::LocateRequest>,
    ) -> Result<Response<pb::LocateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mode = request.mode();
        let id: Id = match request.place {
            Some(pb::locate_request::Place::Id(id)) => {
                wire::place("id", id, self.0.node.ring.circle)?
            }
            Some(pb::locate_request::Place::Key(key)) => self.0.node.ring.key(&wire::key(&key)?),
            None => return Err(invalid("place", "missing; give an id or a key")),
        };
        let (key, trace) = (Key::default(), Span::current().trace());
        let operation = Operation { id, key, action: Action::Locate, trace };
        let performed = self.perform(operation, mode, &metadata).await?;
        Ok(Response::new(pb::LocateResponse { id: id.0, path: path(&performed) }))
    }

    async fn quit(
        &self,
        _: tonic::Request<pb::QuitRequest>,
    ) -> Result<Response<pb::QuitResponse>, Status> {
        self.0.quitting.send_replace(true);
        if tokio::time::timeout(LEAVE_PATIENCE, until(&self.0.left)).await.is_err() {
            let message = "the node ends, but its successor may not have all of its keys";
            return Err(Status::deadline_exceeded(message));
        }
        let successor = self.view().await?.successors.first().map(wire::encode_peer);
        Ok(Response::new(pb::QuitResponse { successor }))
    }

    async fn get_state(
        &self,
        _: tonic::Request<pb::GetStateRequest>,
    ) -> Result<Response<pb::GetStateResponse>, Status> {
        Ok(Response::new(self.state(&self.view().await?)))
    }

    async fn link(
        &self,
        request: tonic::Request<Streaming<pb::LinkRequest>>,
    ) -> Result<Response<pb::LinkResponse>, Status> {
        let visit = self.0.peers.admit(request.metadata()).await?;
        let mut shutdown = self.0.shutdown.clone();
        tokio::select! {
            () = self.hear(&visit.from, request.into_inner()) => (),
            () = shutdown.requested() => (),
        }
        Ok(Response::new(pb::LinkResponse {}))
    }
}
