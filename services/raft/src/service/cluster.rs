//! `ClusterService`: the state of a node, its members, its leader, its snapshots.

use consensus::{Change, MemberView, Request, Standing, View};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::cluster_service_server::ClusterService;
use protocols::NodeId;
use tonic::{Response, Status};

use super::{Outcome, Service, route, unexpected};
use crate::wire;

impl Service {
    fn status(&self, view: View) -> pb::GetStatusResponse {
        pb::GetStatusResponse {
            id: view.id.0,
            cluster: self.0.node.owner.cluster.clone(),
            role: view.role.into(),
            term: view.term.0,
            leader: view.leader.map(|leader| leader.0),
            first_index: view.first.0,
            last_index: view.last.0,
            commit: view.commit.0,
            applied: view.applied.0,
            snapshot: view.snapshot.0,
            log_bytes: view.log_bytes as u64,
            keys: view.store.keys,
            store_bytes: view.store.bytes,
            leases: view.store.leases,
            sessions: view.store.sessions,
            members: view.members.into_iter().map(member).collect(),
            change_pending: view.change_pending,
        }
    }
}

fn member(view: MemberView) -> pb::MemberStatus {
    let standing = match view.standing {
        Standing::Voter => pb::member::Standing::Voter,
        Standing::Joining => pb::member::Standing::Joining,
        Standing::Learner => pb::member::Standing::Learner,
    };
    let member = pb::Member { id: view.id.0, address: view.address, standing: standing.into() };
    pb::MemberStatus {
        member: Some(member),
        match_index: view.matched.map(|index| index.0),
        silent_ms: view.silent_ms,
        snapshot: view.snapshot,
    }
}

#[tonic::async_trait]
impl ClusterService for Service {
    async fn get_status(
        &self,
        _: tonic::Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Ok(Response::new(self.status(self.view().await?)))
    }

    async fn add_member(
        &self,
        request: tonic::Request<pb::AddMemberRequest>,
    ) -> Result<Response<pb::AddMemberResponse>, Status> {
        let request = request.into_inner();
        let at = route(request.route());
        let address = wire::entry::address(&request.address)?;
        let standing = if request.learner { Standing::Learner } else { Standing::Joining };
        self.administer(Change::Add(NodeId(request.id), address, standing), at).await?;
        Ok(Response::new(pb::AddMemberResponse {}))
    }

    async fn promote_member(
        &self,
        request: tonic::Request<pb::PromoteMemberRequest>,
    ) -> Result<Response<pb::PromoteMemberResponse>, Status> {
        let request = request.get_ref();
        self.administer(Change::Promote(NodeId(request.id)), route(request.route())).await?;
        Ok(Response::new(pb::PromoteMemberResponse {}))
    }

    async fn remove_member(
        &self,
        request: tonic::Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let request = request.get_ref();
        self.administer(Change::Remove(NodeId(request.id)), route(request.route())).await?;
        Ok(Response::new(pb::RemoveMemberResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: tonic::Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        let request = request.get_ref();
        let heir = request.to.map(NodeId);
        self.administer(Change::Transfer(heir), route(request.route())).await?;
        let leader = heir.or(self.view().await?.leader);
        let leader =
            leader.ok_or_else(|| Status::unavailable("the new leader is not known yet"))?;
        Ok(Response::new(pb::TransferLeadershipResponse { leader: leader.0 }))
    }

    async fn take_snapshot(
        &self,
        _: tonic::Request<pb::TakeSnapshotRequest>,
    ) -> Result<Response<pb::TakeSnapshotResponse>, Status> {
        match self.ask(Request::Compact).await? {
            Outcome::Done => (),
            Outcome::Answered(..) | Outcome::Refused(_) => return Err(unexpected()),
        }
        let last = self.view().await?.snapshot;
        let written = self.0.node.storage.snapshot_written(last).await;
        written.map_err(|error| Status::internal(format!("{error:#}")))?;
        Ok(Response::new(pb::TakeSnapshotResponse { last_index: last.0 }))
    }
}
