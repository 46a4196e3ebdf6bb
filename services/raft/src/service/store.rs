//! `StoreService`: keys and values, leases, sessions, watches.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function asks for one kind of answer: every other is the same mistake"
)]

use std::pin::Pin;
use std::time::Duration;

use chassis::status::invalid;
use chassis::telemetry::Span;
use consensus::store::{Action, Answer, Command, Key, Query};
use consensus::{Request, Route};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::store_service_server::StoreService;
use tokio_stream::Stream;
use tonic::{Code, Response, Status};

use super::refusal::because;
use super::{Outcome, Service, route, unexpected};
use crate::wire;

/// Items of a range whose caller sets no limit.
const RANGE_DEFAULT: usize = 1000;
/// The most items of a range.
const RANGE_LIMIT: u32 = 10_000;

impl Service {
    /// Has a command carried out.
    async fn propose(
        &self,
        action: Action,
        ordinal: Option<pb::Ordinal>,
        route: Route,
    ) -> Result<Answer, Status> {
        let ordinal = ordinal.map(wire::entry::decode_ordinal).transpose()?;
        let command = Command { ordinal, action, trace: Span::current().trace() };
        match self.ask(|ticket| Request::Propose(ticket, command, route)).await? {
            Outcome::Answered(answer, _) => known(answer),
            Outcome::Refused(refusal) => Err(self.refused(refusal, route)),
            Outcome::Done => Err(unexpected()),
        }
    }

    /// Has a query answered, and tells what the answer takes into account.
    async fn read(&self, query: Query, stale: bool, route: Route) -> Result<(Answer, u64), Status> {
        let request = |ticket| match stale {
            true => Request::Peek(ticket, query),
            false => Request::Read(ticket, query, route),
        };
        match self.ask(request).await? {
            Outcome::Answered(answer, applied) => Ok((known(answer)?, applied.0)),
            Outcome::Refused(refusal) => Err(self.refused(refusal, route)),
            Outcome::Done => Err(unexpected()),
        }
    }

    pub(super) async fn put_value(&self, put: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        let at = route(put.route());
        let action = Action::Put {
            key: wire::entry::key(&put.key)?,
            value: wire::entry::value(&put.value)?,
            lease: put.lease.map(wire::entry::lease_id).transpose()?,
            condition: wire::entry::decode_condition(put.condition)?,
        };
        let key = put.key;
        match self.propose(action, put.ordinal, at).await? {
            Answer::Put { version, previous } => Ok(pb::PutResponse {
                done: true,
                version: version.0,
                previous: previous.map(|version| version.0),
                current: None,
            }),
            Answer::Unmet(item) => Ok(pb::PutResponse {
                current: item.map(|item| wire::state::encode_item(&key[..].into(), &item)),
                ..<_>::default()
            }),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn look_up(
        &self,
        key: Key,
        stale: bool,
        route: Route,
    ) -> Result<pb::GetResponse, Status> {
        match self.read(Query::Get(key.clone()), stale, route).await? {
            (Answer::Item(item), applied) => {
                let item = item.map(|item| wire::state::encode_item(&key, &item));
                Ok(pb::GetResponse { item, applied })
            }
            _ => Err(unexpected()),
        }
    }
}

/// An answer that is one: that a lease or a session does not exist is an error to its caller.
fn known(answer: Answer) -> Result<Answer, Status> {
    match answer {
        Answer::NoLease(lease) => {
            let message = format!("there is no lease {}; it may have expired", lease.0);
            Err(because(Code::NotFound, "NO_LEASE", message, []))
        }
        Answer::NoSession(session) => {
            let message = format!(
                "there is no session {}; it may have been idle for too long, and whether its last \
                 commands were carried out is not known",
                session.0
            );
            Err(because(Code::NotFound, "NO_SESSION", message, []))
        }
        Answer::Forgotten => {
            let message = "the answer to this command of the session is not kept any more";
            Err(because(Code::FailedPrecondition, "FORGOTTEN", message.into(), []))
        }
        answer => Ok(answer),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[tonic::async_trait]
impl StoreService for Service {
    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send + 'static>>;

    async fn put(
        &self,
        request: tonic::Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        self.put_value(request.into_inner()).await.map(Response::new)
    }

    async fn get(
        &self,
        request: tonic::Request<pb::GetRequest>,
    ) -> Result<Response<pb::GetResponse>, Status> {
        let request = request.get_ref();
        let key = wire::entry::key(&request.key)?;
        self.look_up(key, request.stale, route(request.route())).await.map(Response::new)
    }

    async fn delete(
        &self,
        request: tonic::Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        let request = request.into_inner();
        let at = route(request.route());
        let key = wire::entry::key(&request.key)?;
        let condition = wire::entry::decode_condition(request.condition)?;
        let action = Action::Delete { key: key.clone(), condition };
        let response = match self.propose(action, request.ordinal, at).await? {
            Answer::Deleted { version, previous } => pb::DeleteResponse {
                done: true,
                version: version.0,
                previous: previous.map(|version| version.0),
                current: None,
            },
            Answer::Unmet(item) => pb::DeleteResponse {
                current: item.map(|item| wire::state::encode_item(&key, &item)),
                ..<_>::default()
            },
            _ => return Err(unexpected()),
        };
        Ok(Response::new(response))
    }

    async fn range(
        &self,
        request: tonic::Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        let at = route(request.route());
        if request.limit > RANGE_LIMIT {
            return Err(invalid("limit", format!("{RANGE_LIMIT} at most")));
        }
        let limit = match request.limit {
            0 => RANGE_DEFAULT,
            limit => limit as usize,
        };
        let query = Query::Range {
            prefix: request.prefix[..].into(),
            after: request.after.map(|after| after[..].into()),
            limit,
        };
        match self.read(query, request.stale, at).await? {
            (Answer::Items(items, more), applied) => {
                let items =
                    items.iter().map(|(key, item)| wire::state::encode_item(key, item)).collect();
                Ok(Response::new(pb::RangeResponse { items, more, applied }))
            }
            _ => Err(unexpected()),
        }
    }

    async fn watch(
        &self,
        request: tonic::Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let stream = self.begin_watch(request.prefix[..].into(), request.after).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn grant_lease(
        &self,
        request: tonic::Request<pb::GrantLeaseRequest>,
    ) -> Result<Response<pb::GrantLeaseResponse>, Status> {
        let request = request.into_inner();
        let action = Action::Grant(Duration::from_millis(request.ttl_ms));
        match self.propose(action, request.ordinal, route(request.route())).await? {
            Answer::Granted(lease, ttl) => {
                Ok(Response::new(pb::GrantLeaseResponse { lease: lease.0, ttl_ms: millis(ttl) }))
            }
            _ => Err(unexpected()),
        }
    }

    async fn keep_lease_alive(
        &self,
        request: tonic::Request<pb::KeepLeaseAliveRequest>,
    ) -> Result<Response<pb::KeepLeaseAliveResponse>, Status> {
        let request = request.into_inner();
        let action = Action::KeepAlive(wire::entry::lease_id(request.lease)?);
        match self.propose(action, None, route(request.route())).await? {
            Answer::KeptAlive(_, ttl) => {
                Ok(Response::new(pb::KeepLeaseAliveResponse { ttl_ms: millis(ttl) }))
            }
            _ => Err(unexpected()),
        }
    }

    async fn revoke_lease(
        &self,
        request: tonic::Request<pb::RevokeLeaseRequest>,
    ) -> Result<Response<pb::RevokeLeaseResponse>, Status> {
        let request = request.into_inner();
        let action = Action::Revoke(wire::entry::lease_id(request.lease)?);
        match self.propose(action, request.ordinal, route(request.route())).await? {
            Answer::Revoked(keys) => Ok(Response::new(pb::RevokeLeaseResponse { keys })),
            _ => Err(unexpected()),
        }
    }

    async fn get_lease(
        &self,
        request: tonic::Request<pb::GetLeaseRequest>,
    ) -> Result<Response<pb::GetLeaseResponse>, Status> {
        let request = request.get_ref();
        let query = Query::Lease(wire::entry::lease_id(request.lease)?);
        match self.read(query, false, route(request.route())).await? {
            (Answer::Lease { ttl, left, keys }, _) => Ok(Response::new(pb::GetLeaseResponse {
                ttl_ms: millis(ttl),
                left_ms: millis(left),
                keys,
            })),
            _ => Err(unexpected()),
        }
    }

    async fn open_session(
        &self,
        request: tonic::Request<pb::OpenSessionRequest>,
    ) -> Result<Response<pb::OpenSessionResponse>, Status> {
        match self.propose(Action::OpenSession, None, route(request.get_ref().route())).await? {
            Answer::Opened(session) => {
                Ok(Response::new(pb::OpenSessionResponse { session: session.0 }))
            }
            _ => Err(unexpected()),
        }
    }

    async fn close_session(
        &self,
        request: tonic::Request<pb::CloseSessionRequest>,
    ) -> Result<Response<pb::CloseSessionResponse>, Status> {
        let request = request.get_ref();
        let action = Action::CloseSession(wire::entry::session_id(request.session)?);
        match self.propose(action, None, route(request.route())).await? {
            Answer::Closed => Ok(Response::new(pb::CloseSessionResponse {})),
            _ => Err(unexpected()),
        }
    }
}
