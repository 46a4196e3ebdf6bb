//! How a node without a protocol answers.

use std::sync::Arc;
use std::time::Duration;

use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::cluster_service_server::ClusterService;
use proto::ensemble::raft::v1::raft_service_server::RaftService;
use proto::ensemble::raft::v1::store_service_server::StoreService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::world::{Call, World};
use crate::server::Connections;

/// One node's services.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) connections: Connections,
}

type Answer<A> = Result<Response<A>, Status>;

impl Service {
    /// Notes a call, has it go wrong if it is to, and carries it out.
    async fn carry_out<A>(
        &self,
        method: &'static str,
        ordinal: Option<pb::Ordinal>,
        work: impl FnOnce(&mut World) -> Result<A, Status>,
    ) -> Answer<A> {
        let fault = {
            let mut world = self.shared.world();
            let ordinal = ordinal.map(|it| (it.session, it.sequence, it.acknowledged));
            world.calls.push(Call { node: self.id, method, ordinal });
            let place = world.faults.iter().position(|(of, _)| *of == method);
            place.map(|place| world.faults.remove(place).1)
        };
        self.connections.carry_out(fault, || self.shared.change(work)).await
    }

    /// The same of a leader, or through it.
    async fn lead<A>(
        &self,
        method: &'static str,
        route: i32,
        ordinal: Option<pb::Ordinal>,
        work: impl FnOnce(&mut World) -> Result<A, Status>,
    ) -> Answer<A> {
        let id = self.id;
        self.carry_out(method, ordinal, |world| {
            world.lead(id, route)?;
            work(world)
        })
        .await
    }
}

#[tonic::async_trait]
impl StoreService for Service {
    async fn put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        let it = request.into_inner();
        let ordinal = it.ordinal;
        let work = |world: &mut World| world.once(ordinal, |world| world.put(it.clone()));
        self.lead("put", it.route, ordinal, work).await
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Answer<pb::GetResponse> {
        let it = request.into_inner();
        let read = |world: &mut World| {
            let item = world.items.get(&it.key).cloned();
            Ok(pb::GetResponse { item, applied: world.version })
        };
        match it.stale {
            true => self.carry_out("get", None, read).await,
            false => self.lead("get", it.route, None, read).await,
        }
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Answer<pb::DeleteResponse> {
        let it = request.into_inner();
        let ordinal = it.ordinal;
        let work = |world: &mut World| world.once(ordinal, |world| Ok(world.delete(it.clone())));
        self.lead("delete", it.route, ordinal, work).await
    }

    async fn range(&self, request: Request<pb::RangeRequest>) -> Answer<pb::RangeResponse> {
        let it = request.into_inner();
        let read = |world: &mut World| {
            let (items, more) = world.range(&it);
            Ok(pb::RangeResponse { items, more, applied: world.version })
        };
        match it.stale {
            true => self.carry_out("range", None, read).await,
            false => self.lead("range", it.route, None, read).await,
        }
    }

    type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let pb::WatchRequest { prefix, after } = request.into_inner();
        let from = |world: &mut World| Ok(after.unwrap_or(world.version));
        let mut told = self.carry_out("watch", None, from).await?.into_inner();
        let (say, stream) = mpsc::channel(1);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let mut version = shared.version.subscribe();
            let first = pb::WatchResponse { events: Vec::new(), applied: told };
            let mut answers = vec![Ok(first)];
            loop {
                for answer in answers.drain(..) {
                    if say.send(answer).await.is_err() {
                        return;
                    }
                }
                version.mark_unchanged();
                match shared.world().changes(told, &prefix) {
                    Err(status) => answers.push(Err(status)),
                    Ok(changes) => answers.extend(changes.into_iter().map(|(applied, events)| {
                        told = applied;
                        Ok(pb::WatchResponse { events, applied })
                    })),
                }
                if answers.is_empty() && version.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn grant_lease(
        &self,
        request: Request<pb::GrantLeaseRequest>,
    ) -> Answer<pb::GrantLeaseResponse> {
        let pb::GrantLeaseRequest { ttl_ms, ordinal, route } = request.into_inner();
        let work = |world: &mut World| {
            world.once(ordinal, |world| {
                let lease = world.grant(Duration::from_millis(ttl_ms));
                Ok(pb::GrantLeaseResponse { lease, ttl_ms })
            })
        };
        self.lead("grant_lease", route, ordinal, work).await
    }

    async fn keep_lease_alive(
        &self,
        request: Request<pb::KeepLeaseAliveRequest>,
    ) -> Answer<pb::KeepLeaseAliveResponse> {
        let pb::KeepLeaseAliveRequest { lease, route } = request.into_inner();
        let work = |world: &mut World| {
            let ttl_ms = world.keep(lease)?.as_millis() as u64;
            Ok(pb::KeepLeaseAliveResponse { ttl_ms })
        };
        self.lead("keep_lease_alive", route, None, work).await
    }

    async fn revoke_lease(
        &self,
        request: Request<pb::RevokeLeaseRequest>,
    ) -> Answer<pb::RevokeLeaseResponse> {
        let pb::RevokeLeaseRequest { lease, ordinal, route } = request.into_inner();
        let work = |world: &mut World| {
            world.once(ordinal, |world| {
                world.lease(lease)?;
                Ok(pb::RevokeLeaseResponse { keys: world.revoke(lease, false) })
            })
        };
        self.lead("revoke_lease", route, ordinal, work).await
    }

    async fn get_lease(
        &self,
        request: Request<pb::GetLeaseRequest>,
    ) -> Answer<pb::GetLeaseResponse> {
        let pb::GetLeaseRequest { lease, route } = request.into_inner();
        let work = |world: &mut World| {
            let (ttl, left) = world.lease(lease)?;
            let keys = world.keys_of(lease).len() as u64;
            let [ttl_ms, left_ms] = [ttl, left].map(|it| it.as_millis() as u64);
            Ok(pb::GetLeaseResponse { ttl_ms, left_ms, keys })
        };
        self.lead("get_lease", route, None, work).await
    }

    async fn open_session(
        &self,
        request: Request<pb::OpenSessionRequest>,
    ) -> Answer<pb::OpenSessionResponse> {
        let open =
            |world: &mut World| Ok(pb::OpenSessionResponse { session: world.open_session() });
        self.lead("open_session", request.into_inner().route, None, open).await
    }

    async fn close_session(
        &self,
        request: Request<pb::CloseSessionRequest>,
    ) -> Answer<pb::CloseSessionResponse> {
        let pb::CloseSessionRequest { session, route } = request.into_inner();
        let close = |world: &mut World| {
            world.close_session(session)?;
            Ok(pb::CloseSessionResponse {})
        };
        self.lead("close_session", route, None, close).await
    }
}

#[tonic::async_trait]
impl ClusterService for Service {
    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Answer<pb::GetStatusResponse> {
        let id = self.id;
        let look = |world: &mut World| {
            let leads = world.leader == Some(id);
            let member = |member: &pb::Member| pb::MemberStatus {
                member: Some(member.clone()),
                match_index: leads.then_some(world.version),
                silent_ms: (leads && member.id != id).then_some(12),
                snapshot: false,
            };
            Ok(pb::GetStatusResponse {
                id,
                cluster: "fake".into(),
                role: if leads { "leader" } else { "follower" }.into(),
                term: world.term,
                leader: world.leader,
                first_index: 1,
                last_index: world.version,
                commit: world.version,
                applied: world.version,
                keys: world.items.len() as u64,
                members: world.members.iter().map(member).collect(),
                ..Default::default()
            })
        };
        self.carry_out("get_status", None, look).await
    }

    async fn add_member(
        &self,
        request: Request<pb::AddMemberRequest>,
    ) -> Answer<pb::AddMemberResponse> {
        let pb::AddMemberRequest { id, address, learner, route } = request.into_inner();
        let add = |world: &mut World| {
            world.join(id, &address);
            if learner {
                let standing = pb::member::Standing::Learner.into();
                world.members.last_mut().expect("it has joined").standing = standing;
            }
            Ok(pb::AddMemberResponse {})
        };
        self.lead("add_member", route, None, add).await
    }

    async fn promote_member(
        &self,
        request: Request<pb::PromoteMemberRequest>,
    ) -> Answer<pb::PromoteMemberResponse> {
        let pb::PromoteMemberRequest { id, route } = request.into_inner();
        let promote = |world: &mut World| {
            let found = world.members.iter_mut().find(|member| member.id == id);
            let absent = || Status::failed_precondition(format!("there is no member {id}"));
            found.ok_or_else(absent)?.standing = pb::member::Standing::Voter.into();
            Ok(pb::PromoteMemberResponse {})
        };
        self.lead("promote_member", route, None, promote).await
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Answer<pb::RemoveMemberResponse> {
        let pb::RemoveMemberRequest { id, route } = request.into_inner();
        let remove = |world: &mut World| {
            world.members.retain(|member| member.id != id);
            Ok(pb::RemoveMemberResponse {})
        };
        self.lead("remove_member", route, None, remove).await
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Answer<pb::TransferLeadershipResponse> {
        let pb::TransferLeadershipRequest { to, route } = request.into_inner();
        let transfer = |world: &mut World| {
            let others = world.members.iter().map(|member| member.id);
            let heir = to.or_else(|| others.clone().find(|id| Some(*id) != world.leader));
            let leader = heir.ok_or_else(|| Status::failed_precondition("no heir"))?;
            world.elect(Some(leader));
            Ok(pb::TransferLeadershipResponse { leader })
        };
        self.lead("transfer_leadership", route, None, transfer).await
    }

    async fn take_snapshot(
        &self,
        _: Request<pb::TakeSnapshotRequest>,
    ) -> Answer<pb::TakeSnapshotResponse> {
        let take = |world: &mut World| Ok(pb::TakeSnapshotResponse { last_index: world.version });
        self.carry_out("take_snapshot", None, take).await
    }
}

#[tonic::async_trait]
impl RaftService for Service {
    async fn request_vote(
        &self,
        _: Request<pb::RequestVoteRequest>,
    ) -> Answer<pb::RequestVoteResponse> {
        Err(Status::unimplemented("there is no protocol"))
    }

    async fn append_entries(
        &self,
        _: Request<pb::AppendEntriesRequest>,
    ) -> Answer<pb::AppendEntriesResponse> {
        Err(Status::unimplemented("there is no protocol"))
    }

    async fn get_leader(&self, _: Request<pb::GetLeaderRequest>) -> Answer<pb::GetLeaderResponse> {
        let look = |world: &mut World| {
            let address = world.leader.map(|id| world.address(id)).unwrap_or_default();
            Ok(pb::GetLeaderResponse { id: world.leader, address })
        };
        self.carry_out("get_leader", None, look).await
    }

    async fn suspend(&self, request: Request<pb::SuspendRequest>) -> Answer<pb::SuspendResponse> {
        let period = request.into_inner().period;
        let id = self.id;
        let suspend = |world: &mut World| {
            world.suspended.push((id, period));
            Ok(pb::SuspendResponse {})
        };
        self.carry_out("suspend", None, suspend).await
    }

    async fn set_val(&self, request: Request<pb::SetValRequest>) -> Answer<pb::SetValResponse> {
        let pb::SetValRequest { key, value } = request.into_inner();
        let (key, value) = (key.into(), value.into());
        let put = pb::PutRequest { key, value, ..Default::default() };
        let set = |world: &mut World| Ok(pb::SetValResponse { success: world.put(put)?.done });
        self.lead("set_val", 0, None, set).await
    }

    async fn get_val(&self, request: Request<pb::GetValRequest>) -> Answer<pb::GetValResponse> {
        let key = request.into_inner().key;
        let read = |world: &mut World| {
            let item = world.items.get(key.as_bytes());
            let value = item.map(|item| String::from_utf8_lossy(&item.value).into_owned());
            Ok(pb::GetValResponse { success: value.is_some(), value: value.unwrap_or_default() })
        };
        self.lead("get_val", 0, None, read).await
    }

    async fn link(&self, _: Request<Streaming<pb::LinkRequest>>) -> Answer<pb::LinkResponse> {
        Err(Status::unimplemented("there is no protocol"))
    }
}
