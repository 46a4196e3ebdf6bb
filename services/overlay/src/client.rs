//! How a process of the overlay is spoken to.

use std::time::Duration;

use anyhow::Context as _;
use chassis::channel::{Channel, Connector};
use chassis::{Counter, Link, LinkEvent, Outgoing};
use proto::ensemble::overlay::v1 as pb;
use proto::ensemble::overlay::v1::overlay_service_client::OverlayServiceClient;
use serde::Serialize;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// The metadata in which a neighbour names itself.
pub(crate) const FROM: &str = "ensemble-from";
/// The longest answer: names and times of every process.
const ANSWER_LIMIT: usize = 4 << 20;

pub use proto::ensemble::overlay::v1::{Operation, Team};

/// Asks one process of the overlay. Clones share its connection.
#[derive(Clone, Debug)]
pub struct Client {
    service: OverlayServiceClient<Channel>,
}

/// The combined answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The text, the counts as `wc` prints them, or the digest as `b3sum` does.
    pub result: String,
    /// Whether everyone who should have taken part did.
    pub complete: bool,
    /// Who took part, in the order of the tree.
    pub visits: Vec<Visit>,
    /// Who did not.
    pub missing: Vec<Missing>,
    /// Teams that were served through another edge than their leader's.
    pub detours: Vec<Detour>,
}

/// One process's share.
#[derive(Clone, Debug, Serialize)]
pub struct Visit {
    /// The process.
    pub process: String,
    /// Its role.
    pub role: String,
    /// Its team.
    pub team: String,
    /// Who asked it; empty for the client.
    pub asked_by: String,
    /// Microseconds in its queue.
    pub queued_us: u64,
    /// Microseconds from arrival to answer.
    pub total_us: u64,
    /// First byte and number of bytes that it worked on.
    pub part: Option<(u64, u64)>,
}

/// A process whose share is not in an answer.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// The process.
    pub process: String,
    /// `unreachable`, `late`, `busy` or `visited`.
    pub reason: String,
    /// First byte and number of bytes that nobody worked on because of it.
    pub part: Option<(u64, u64)>,
}

/// A team served through another edge.
#[derive(Clone, Debug, Serialize)]
pub struct Detour {
    /// The team.
    pub team: String,
    /// Who served it.
    pub through: String,
}

/// The state of one process.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// The process.
    pub process: String,
    /// Its role.
    pub role: String,
    /// Its team.
    pub team: String,
    /// Requests in hand.
    pub active: u32,
    /// The most requests in hand.
    pub active_limit: u32,
    /// Requests that wait.
    pub queued: u32,
    /// The most requests that wait.
    pub queue_limit: u32,
    /// Microseconds that the oldest has waited.
    pub oldest_wait_us: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests refused because of a limit.
    pub refused: u64,
    /// Requests that ran out of time before their work began.
    pub expired: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
    /// Mean microseconds from arrival to answer.
    pub mean_total_us: u64,
    /// Mean microseconds in the queue.
    pub mean_queued_us: u64,
    /// Neighbours by name, and whether each shows signs of life.
    pub neighbours: Vec<(String, bool)>,
}

/// What became of a request that has no answer.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Limits are reached: ask again after this time.
    Exhausted(Duration),
    /// The time was up.
    Expired,
    /// The request itself is wrong, and will be next time.
    Invalid(String),
    /// The process did not answer; whether it worked is not known.
    Failed(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exhausted(after) => write!(f, "the limits are reached; ask again in {after:?}"),
            Self::Expired => write!(f, "no answer in time"),
            Self::Invalid(reason) | Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::ResourceExhausted => {
                let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
                Self::Exhausted(after.unwrap_or(Duration::from_millis(100)))
            }
            Code::DeadlineExceeded | Code::Cancelled => Self::Expired,
            Code::InvalidArgument | Code::OutOfRange => Self::Invalid(status.message().into()),
            Code::Ok
            | Code::Unknown
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => {
                Self::Failed(format!("{:?}: {}", status.code(), status.message()))
            }
        }
    }
}

impl Client {
    /// Connects to the process at `host:port`.
    ///
    /// # Errors
    ///
    /// When there is no connection before the deadline.
    pub async fn connect(
        connector: &Connector,
        address: &str,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let channel = connector.connect(address, deadline).await?;
        let service = OverlayServiceClient::new(channel).max_decoding_message_size(ANSWER_LIMIT);
        Ok(Self { service })
    }

    /// Sends a payload through the overlay and waits at most `deadline` for the answer.
    ///
    /// # Errors
    ///
    /// Says whether and when it makes sense to ask again.
    pub async fn forward(
        &self,
        payload: Vec<u8>,
        operation: Operation,
        team: Team,
        deadline: Duration,
    ) -> Result<Answer, Refusal> {
        let mut request = Request::new(pb::ForwardRequest {
            payload: payload.into(),
            hops: Vec::new(),
            operation: operation.into(),
            team: team.into(),
            budget_ms: Some(u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX)),
        });
        // The answer with whatever was done in time comes a little before the call is given up.
        request.set_timeout(deadline + Duration::from_millis(200));
        let answer = self.service.clone().forward(request).await?.into_inner();
        Ok(answer.into())
    }

    /// The state of the process.
    ///
    /// # Errors
    ///
    /// When it does not answer before the deadline.
    pub async fn metrics(&self, deadline: Duration) -> anyhow::Result<Metrics> {
        let mut request = Request::new(pb::GetMetricsRequest {});
        request.set_timeout(deadline);
        let mut service = self.service.clone();
        let answer = tokio::time::timeout(deadline, service.get_metrics(request))
            .await
            .context("no answer in time")?;
        Ok(answer.map_err(Refusal::from)?.into_inner().into())
    }
}

fn range(part: Option<pb::Part>) -> Option<(u64, u64)> {
    part.map(|part| (part.offset, part.length))
}

impl From<pb::ForwardResponse> for Answer {
    fn from(answer: pb::ForwardResponse) -> Self {
        let visit = |visit: pb::Visit| Visit {
            process: visit.process_id,
            role: visit.role,
            team: visit.team,
            asked_by: visit.asked_by,
            queued_us: visit.queued_us,
            total_us: visit.total_us,
            part: range(visit.part),
        };
        let missing = |missing: pb::Missing| Missing {
            reason: match missing.reason() {
                pb::missing::Reason::Unspecified => "unknown",
                pb::missing::Reason::Unreachable => "unreachable",
                pb::missing::Reason::Late => "late",
                pb::missing::Reason::Busy => "busy",
                pb::missing::Reason::Visited => "visited",
            }
            .into(),
            process: missing.process_id,
            part: range(missing.part),
        };
        let detour = |detour: pb::Detour| Detour { team: detour.team, through: detour.through };
        Self {
            result: answer.result,
            complete: answer.missing.is_empty(),
            visits: answer.visits.into_iter().map(visit).collect(),
            missing: answer.missing.into_iter().map(missing).collect(),
            detours: answer.detours.into_iter().map(detour).collect(),
        }
    }
}

impl From<pb::GetMetricsResponse> for Metrics {
    fn from(metrics: pb::GetMetricsResponse) -> Self {
        let neighbour = |neighbour: pb::Neighbour| (neighbour.process_id, neighbour.alive);
        Self {
            process: metrics.process_id,
            role: metrics.role,
            team: metrics.team,
            active: metrics.active,
            active_limit: metrics.active_limit,
            queued: metrics.queued,
            queue_limit: metrics.queue_limit,
            oldest_wait_us: metrics.oldest_wait_us,
            answered: metrics.answered,
            refused: metrics.refused,
            expired: metrics.expired,
            cancelled: metrics.cancelled,
            mean_total_us: metrics.mean_total_us,
            mean_queued_us: metrics.mean_queued_us,
            neighbours: metrics.neighbours.into_iter().map(neighbour).collect(),
        }
    }
}

/// Keeps the link from the process `me` to the neighbour at `address`, and counts what it carries.
pub(crate) fn link<T: Future<Output = ()> + Send>(
    connector: Connector,
    me: String,
    address: String,
    sent: Counter,
    tell: impl Fn(LinkEvent) -> T + Send + 'static,
) -> Link<pb::LinkRequest> {
    let open = move |channel: Channel, outgoing: Outgoing<pb::LinkRequest>| {
        let mut request = Request::new(outgoing);
        let name = me.parse();
        async move {
            let name = name.map_err(|_| Status::internal("a process id that is not ASCII"))?;
            request.metadata_mut().insert(FROM, name);
            OverlayServiceClient::new(channel).link(request).await.map(drop)
        }
    };
    Link::keep(connector, address, sent, open, tell)
}
