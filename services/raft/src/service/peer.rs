//! `RaftService`: the document's functions, and the links between members.

use std::time::Duration;

use chassis::status::{Wrong, invalid};
use consensus::{Message, Route};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::raft_service_server::RaftService;
use protocols::{Input, NodeId};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::Service;
use super::peers::{Kind, Peers};
use super::refusal::because;
use crate::wire;

/// How long the protocol may take to answer a candidate or a leader.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// The longest time, in seconds, for which a node can be suspended.
const SUSPEND_LIMIT: u32 = 600;

/// A node's link to this one, however it ends.
struct Visit<'a> {
    peers: &'a Peers,
    from: NodeId,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.peers.leave(self.from);
    }
}

impl Service {
    /// Brings a member's message before the protocol, and waits for what is said to the member.
    async fn converse(
        &self,
        from: NodeId,
        message: Message,
        kind: Kind,
    ) -> Result<Message, Status> {
        if !self.0.peers.is_member(from) {
            let message = format!("{}: no other member of this cluster", from.0);
            return Err(because(Code::FailedPrecondition, "NO_MEMBER", message, []));
        }
        let answer = self.0.peers.expect(from, kind);
        self.0.inbox.put(Input::Message(from, message)).await;
        match tokio::time::timeout(ANSWER_DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            // Another caller asks as the same member.
            Ok(Err(_)) => Err(Status::aborted("another call as the same member took its place")),
            Err(_) => Err(Status::deadline_exceeded("the node said nothing to it")),
        }
    }

    /// Hears one member until it falls silent.
    async fn hear(&self, from: NodeId, mut stream: Streaming<pb::LinkRequest>) {
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return debug!(from = from.0, "the link was closed"),
                Err(status) => return debug!(from = from.0, %status, "the link broke"),
            };
            match wire::decode(message, from) {
                Ok(mut message) => {
                    self.0.progress.hear(from, &mut message);
                    if !self.0.inbox.put(Input::Message(from, message)).await {
                        return;
                    }
                }
                Err(Wrong(field, reason)) => {
                    warn!(from = from.0, field, reason, "a malformed message was ignored");
                }
            }
        }
    }

    /// Returns when this node is to stop and has handed over what it led.
    async fn finished(&self) {
        self.0.shutdown.clone().requested().await;
        // An error means that the process is being torn down anyway.
        let _ = self.0.handed_over.subscribe().wait_for(|done| *done).await;
    }
}

#[tonic::async_trait]
impl RaftService for Service {
    async fn request_vote(
        &self,
        request: Request<pb::RequestVoteRequest>,
    ) -> Result<Response<pb::RequestVoteResponse>, Status> {
        let request = request.into_inner();
        let message = wire::decode_request_vote(&request)?;
        let answer = self.converse(NodeId(request.candidate_id), message, Kind::Vote).await?;
        Ok(Response::new(wire::encode_vote(&answer)))
    }

    async fn append_entries(
        &self,
        request: Request<pb::AppendEntriesRequest>,
    ) -> Result<Response<pb::AppendEntriesResponse>, Status> {
        let request = request.into_inner();
        let leader = NodeId(request.leader_id);
        let message = wire::decode_append(request)?;
        let answer = self.converse(leader, message, Kind::Append).await?;
        Ok(Response::new(wire::encode_appended(&answer)))
    }

    async fn get_leader(
        &self,
        _: Request<pb::GetLeaderRequest>,
    ) -> Result<Response<pb::GetLeaderResponse>, Status> {
        let view = self.view().await?;
        let leader = view.leader.or(view.vote);
        let address = leader.and_then(|leader| self.0.peers.address(leader)).unwrap_or_default();
        Ok(Response::new(pb::GetLeaderResponse { id: leader.map(|leader| leader.0), address }))
    }

    async fn suspend(
        &self,
        request: Request<pb::SuspendRequest>,
    ) -> Result<Response<pb::SuspendResponse>, Status> {
        let period = request.get_ref().period;
        if !(1..=SUSPEND_LIMIT).contains(&period) {
            return Err(invalid("period", format!("{period} s; 1 to {SUSPEND_LIMIT}")));
        }
        let Some(faults) = &self.0.node.faults else {
            let message = "faults are off; start the node with CHASSIS_FAULTS=on".into();
            return Err(because(Code::FailedPrecondition, "FAULTS_OFF", message, []));
        };
        faults.suspend(Duration::from_secs(u64::from(period)));
        Ok(Response::new(pb::SuspendResponse {}))
    }

    async fn set_val(
        &self,
        request: Request<pb::SetValRequest>,
    ) -> Result<Response<pb::SetValResponse>, Status> {
        let pb::SetValRequest { key, value } = request.into_inner();
        let put = pb::PutRequest { key: key.into(), value: value.into(), ..<_>::default() };
        let done = self.put_value(put).await?.done;
        Ok(Response::new(pb::SetValResponse { success: done }))
    }

    async fn get_val(
        &self,
        request: Request<pb::GetValRequest>,
    ) -> Result<Response<pb::GetValResponse>, Status> {
        let key = wire::entry::key(request.into_inner().key.as_bytes())?;
        let found = self.look_up(key, false, Route::Forward).await?;
        let (success, value) = match found.item {
            Some(item) => (true, String::from_utf8_lossy(&item.value).into_owned()),
            None => (false, String::new()),
        };
        Ok(Response::new(pb::GetValResponse { success, value }))
    }

    async fn link(
        &self,
        request: Request<Streaming<pb::LinkRequest>>,
    ) -> Result<Response<pb::LinkResponse>, Status> {
        let from = self.0.peers.admit(request.metadata(), &self.0.node).await?;
        let _visit = Visit { peers: &self.0.peers, from };
        tokio::select! {
            () = self.hear(from, request.into_inner()) => (),
            () = self.finished() => (),
        }
        Ok(Response::new(pb::LinkResponse {}))
    }
}
