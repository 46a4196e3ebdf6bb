//! What every request has in common: it can be asked of a node, and says what may be done when
//! the outcome of asking is not known.

use chassis::channel::Channel;
use std::future::Future;

use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::cluster_service_client::ClusterServiceClient;
use proto::ensemble::raft::v1::store_service_client::StoreServiceClient;
use tonic::{Response, Status};

use super::error::Names;

/// The longest answer: a range of a mebibyte, with an item of its own length at the end; or all the
/// keys that one lease takes with it.
pub(crate) const ANSWER_LIMIT: usize = 64 << 20;

/// A request that a leader carries out.
pub(crate) trait Ask: Clone + Send {
    /// What it is answered with.
    type Answer: Send;
    /// Whether it changes nothing.
    const READS: bool;

    /// Whether asking twice is no worse than asking once.
    fn is_repeatable(&self) -> bool;

    /// What may not be there.
    fn names(&self) -> Names;

    /// Says what a node does that does not lead.
    fn route(&mut self, route: pb::Route);

    /// Asks.
    fn ask(
        self,
        channel: Channel,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

/// The store behind a channel.
pub(crate) fn store(channel: Channel) -> StoreServiceClient<Channel> {
    StoreServiceClient::new(channel).max_decoding_message_size(ANSWER_LIMIT)
}

/// The cluster behind a channel.
pub(crate) fn cluster(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel)
}

/// One line a request: its service and method, its answer, whether it reads, whether it may be
/// repeated, and its names.
macro_rules! asks {
    ($($request:ident: $service:ident.$method:ident -> $answer:ident, reads $reads:literal,
       |$this:ident| repeatable $repeatable:expr, lease $lease:expr, session $session:expr;)*) => {
        $(impl Ask for pb::$request {
            type Answer = pb::$answer;
            const READS: bool = $reads;

            fn is_repeatable(&self) -> bool {
                let $this = self;
                let _ = $this;
                $repeatable
            }

            fn names(&self) -> Names {
                let $this = self;
                let _ = $this;
                Names { lease: $lease, session: $session }
            }

            fn route(&mut self, route: pb::Route) {
                self.set_route(route);
            }

            async fn ask(self, channel: Channel) -> Result<Response<pb::$answer>, Status> {
                $service(channel).$method(self).await
            }
        })*
    };
}

// Whoever opens a session twice has one too many, which ends by itself; a lease that is kept alive
// twice, or a session that is closed twice, is as after once.
asks! {
    PutRequest: store.put -> PutResponse, reads false,
        |it| repeatable it.ordinal.is_some(), lease it.lease, session session(&it.ordinal);
    DeleteRequest: store.delete -> DeleteResponse, reads false,
        |it| repeatable it.ordinal.is_some(), lease None, session session(&it.ordinal);
    GrantLeaseRequest: store.grant_lease -> GrantLeaseResponse, reads false,
        |it| repeatable it.ordinal.is_some(), lease None, session session(&it.ordinal);
    RevokeLeaseRequest: store.revoke_lease -> RevokeLeaseResponse, reads false,
        |it| repeatable it.ordinal.is_some(), lease Some(it.lease), session session(&it.ordinal);
    KeepLeaseAliveRequest: store.keep_lease_alive -> KeepLeaseAliveResponse, reads false,
        |it| repeatable true, lease Some(it.lease), session None;
    OpenSessionRequest: store.open_session -> OpenSessionResponse, reads false,
        |it| repeatable true, lease None, session None;
    CloseSessionRequest: store.close_session -> CloseSessionResponse, reads false,
        |it| repeatable true, lease None, session Some(it.session);
    GetRequest: store.get -> GetResponse, reads true,
        |it| repeatable true, lease None, session None;
    RangeRequest: store.range -> RangeResponse, reads true,
        |it| repeatable true, lease None, session None;
    GetLeaseRequest: store.get_lease -> GetLeaseResponse, reads true,
        |it| repeatable true, lease Some(it.lease), session None;
    AddMemberRequest: cluster.add_member -> AddMemberResponse, reads false,
        |it| repeatable false, lease None, session None;
    PromoteMemberRequest: cluster.promote_member -> PromoteMemberResponse, reads false,
        |it| repeatable false, lease None, session None;
    RemoveMemberRequest: cluster.remove_member -> RemoveMemberResponse, reads false,
        |it| repeatable false, lease None, session None;
    TransferLeadershipRequest: cluster.transfer_leadership -> TransferLeadershipResponse,
        reads false, |it| repeatable false, lease None, session None;
}

fn session(ordinal: &Option<pb::Ordinal>) -> Option<u64> {
    ordinal.as_ref().map(|ordinal| ordinal.session)
}
