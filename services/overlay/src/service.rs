//! How a process of the overlay is asked: the document's `OverlayNode`, `OverlayService`, and the
//! links between neighbours.

mod metrics;
mod wire;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chassis::status::{Wrong, exhausted, invalid};
use chassis::telemetry::{Span, Spans, Telemetry, names};
use chassis::{Callers, Events, Inbox, Link, Shutdown, World, time_left};
use opentelemetry::trace::SpanKind;
use proto::documents;
use proto::documents::overlay_node_server::{OverlayNode, OverlayNodeServer};
use proto::ensemble::overlay::v1 as pb;
use proto::ensemble::overlay::v1::overlay_service_server::{OverlayService, OverlayServiceServer};
use protocols::overlay::{
    Event, Message, Missing, Notice, Operation, Overlay, Part, Report, Request, Task, Team, Teams,
    Topology, View,
};
use protocols::{Input, NodeId, Ticket, Trace};
use tokio::sync::Semaphore;
use tonic::{Code, Response, Status, Streaming};
use tracing::{debug, warn};

pub(crate) use self::metrics::Metrics;
use crate::client::FROM;
use crate::{PAYLOAD_LIMIT, work};

/// The longest message: a payload and what goes with it.
const MESSAGE_LIMIT: usize = PAYLOAD_LIMIT + (64 << 10);
/// How often a process that is to stop looks whether it has finished.
const FINISHED_INTERVAL: Duration = Duration::from_millis(10);
/// How long a refusal is kept back.
const HOLD: Duration = Duration::from_millis(20);
/// Refusals that are kept back at once; more are told immediately.
const HELD_LIMIT: usize = 1024;

type Outcome = Result<Report, Status>;

/// What the services of one process share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) me: NodeId,
    pub(crate) topology: Arc<Topology>,
    pub(crate) inbox: Inbox<Overlay>,
    pub(crate) links: Arc<BTreeMap<NodeId, Link<pb::LinkRequest>>>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) events: Events,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
    /// Time for an answer when the caller does not say.
    pub(crate) budget: Duration,
    pub(crate) calls: Arc<Calls>,
}

/// What is in hand.
#[derive(Debug)]
pub(crate) struct Calls {
    callers: Callers<Overlay, Outcome>,
    /// Spans of the questions of neighbours that are in hand.
    spans: Spans<(NodeId, Ticket)>,
    /// Room for refusals that are kept back for a moment.
    held: Semaphore,
    /// Room for work.
    workers: Semaphore,
}

impl Calls {
    pub(crate) fn new(inbox: Inbox<Overlay>) -> Self {
        Self {
            callers: Callers::new(inbox, Request::Cancel),
            spans: Spans::default(),
            held: Semaphore::new(HELD_LIMIT),
            workers: Semaphore::new(thread::available_parallelism().map_or(1, NonZero::get)),
        }
    }
}

impl Service {
    /// The document's service.
    pub(crate) fn document(&self) -> OverlayNodeServer<Self> {
        OverlayNodeServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// Our own.
    pub(crate) fn own(&self) -> OverlayServiceServer<Self> {
        OverlayServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    fn name(&self, id: NodeId) -> &str {
        &self.topology.place(id).name
    }

    /// Brings a request before the protocol and waits for what comes of it.
    async fn ask(&self, mut task: Task, hops: Vec<NodeId>) -> Outcome {
        if task.part.bytes.len() > PAYLOAD_LIMIT {
            let length = task.part.bytes.len();
            return Err(invalid("payload", format!("{length} bytes; at most {PAYLOAD_LIMIT}")));
        }
        if task.budget.is_zero() {
            return Err(Status::deadline_exceeded("the deadline had passed on arrival"));
        }
        task.budget = task.budget.min(wire::BUDGET_LIMIT);
        let span = Span::current();
        task.trace = span.trace();
        let asking = self.calls.callers.ask(|ticket| Request::Forward(ticket, task, hops));
        let outcome = asking.await.unwrap_or_else(|| Err(stopping()));
        match &outcome {
            Ok(report) => self.note_missing(&span, &report.missing),
            Err(status) => self.hold(status).await,
        }
        outcome
    }

    /// Keeps a refusal back for a moment: a client that asks again at once, whatever it is told,
    /// slows itself down instead of everybody else.
    async fn hold(&self, status: &Status) {
        if status.code() != Code::ResourceExhausted {
            return;
        }
        let Ok(_held) = self.calls.held.try_acquire() else { return };
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = tokio::time::sleep(HOLD) => (),
            () = shutdown.requested() => (),
        }
    }

    fn note_missing(&self, span: &Span, missing: &[Missing]) {
        if !missing.is_empty() {
            let said =
                |missing: &Missing| format!("{} {:?}", self.name(missing.process), missing.reason);
            let said: Vec<_> = missing.iter().map(said).collect();
            span.note(names::MISSING, said.join(", "));
        }
    }

    /// The teams that a client asks for, if this process serves them.
    fn teams(&self, wanted: Option<Team>) -> Result<Teams, Status> {
        match wanted {
            None => Ok(self.topology.served_by_default(self.me)),
            Some(team) if self.topology.serves(self.me, team) => Ok(team.into()),
            Some(team) => {
                let reason = format!("{} does not serve {}", self.name(self.me), team.name());
                Err(invalid("team", reason))
            }
        }
    }

    async fn view(&self) -> Result<View, Status> {
        self.inbox.view().await.ok_or_else(stopping)
    }

    /// Tells the neighbours when this process is to stop.
    pub(crate) async fn take_leave(self) {
        self.shutdown.clone().requested().await;
        self.inbox.put(Input::Request(Request::Leave)).await;
    }

    /// Returns when this process is to stop, has nothing in hand, and has said all that it had to
    /// say: until then the answers of its neighbours are wanted, and they want its own.
    async fn finished(&self) {
        self.shutdown.clone().requested().await;
        loop {
            let Some(view) = self.inbox.view().await else { return };
            let said = self.links.values().all(Link::is_idle);
            // What a link has taken is on the wire by the next look.
            tokio::time::sleep(FINISHED_INTERVAL).await;
            if view.active + view.queued == 0 && said {
                return;
            }
        }
    }

    /// Hears one neighbour until it falls silent.
    async fn hear(&self, from: NodeId, mut stream: Streaming<pb::LinkRequest>) {
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return debug!(from = self.name(from), "the link was closed"),
                Err(status) => {
                    return debug!(from = self.name(from), %status, "the link broke");
                }
            };
            match wire::decode(message, &self.topology) {
                Ok(mut message) => {
                    self.begin_span(from, &mut message);
                    if let Message::Cancel(ticket) = &message {
                        self.calls.spans.end((from, *ticket), |span| span.fail("cancelled".into()));
                    }
                    if !self.inbox.put(Input::Message(from, message)).await {
                        return;
                    }
                }
                Err(Wrong(field, reason)) => {
                    warn!(from = self.name(from), field, reason, "a malformed message was ignored");
                }
            }
        }
    }

    /// A question of a neighbour is a span under the neighbour's own.
    fn begin_span(&self, from: NodeId, message: &mut Message) {
        let Message::Question(ticket, task, _) = message else { return };
        let span = self.telemetry.span_under("overlay question", SpanKind::Server, task.trace);
        if !span.is_none() {
            task.trace = span.trace();
            self.calls.spans.hold((from, *ticket), span);
        }
    }

    /// Works where it does not keep the protocol from answering others.
    fn work(&self, ticket: Ticket, operation: Operation, part: Part) {
        let (inbox, calls) = (self.inbox.clone(), self.calls.clone());
        tokio::spawn(async move {
            // As many at once as there are processors; the others wait, and their requests expire.
            let _turn = calls.workers.acquire().await;
            let working = tokio::task::spawn_blocking(move || work::work(operation, &part));
            match working.await {
                Ok(product) => {
                    inbox.put(Input::Request(Request::Worked(ticket, product))).await;
                }
                // The request expires and says that its share is late.
                Err(error) => warn!(%error, "work failed"),
            }
        });
    }
}

impl World<Overlay> for Service {
    fn notify(&mut self, notice: Notice) {
        match notice {
            Notice::Answered(ticket, report) => self.calls.callers.settle(ticket, Ok(report)),
            Notice::Refused(ticket, after) => {
                let message =
                    format!("as many requests as the limits allow; ask again in {after:?}");
                self.calls.callers.settle(ticket, Err(exhausted(message, after)));
            }
            Notice::Expired(ticket) => {
                let status = Status::deadline_exceeded("the time was up before any work was done");
                self.calls.callers.settle(ticket, Err(status));
            }
            Notice::Work(ticket, operation, part) => self.work(ticket, operation, part),
            Notice::Event(Event::Lost(id)) => self.events.tell(&format!("lost {}", self.name(id))),
            Notice::Event(Event::Found(id)) => {
                self.events.tell(&format!("found {}", self.name(id)));
            }
            Notice::Event(Event::Left(id)) => {
                self.events.tell(&format!("{} is leaving", self.name(id)));
            }
            Notice::Event(Event::Full) => self.events.tell("queue full"),
        }
    }

    async fn persist(&mut self, _: Vec<std::convert::Infallible>) -> anyhow::Result<()> {
        Ok(())
    }

    fn send(&mut self, to: NodeId, message: Message) {
        if let Message::Answer(ticket, outcome) = &message {
            self.calls.spans.end((to, *ticket), |span| match outcome {
                Ok(report) => self.note_missing(span, &report.missing),
                Err(reason) => span.fail(format!("{reason:?}")),
            });
        }
        let link = self.links.get(&to).expect("the protocol speaks to neighbours alone");
        if !link.say(wire::encode(message, &self.topology)) {
            self.metrics.lose(self.name(to));
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("this process is stopping; ask again elsewhere")
}

#[tonic::async_trait]
impl OverlayNode for Service {
    async fn forward(
        &self,
        request: tonic::Request<documents::Request>,
    ) -> Result<Response<documents::Response>, Status> {
        let budget = time_left(request.metadata()).unwrap_or(self.budget);
        let documents::Request { payload, hops } = request.into_inner();
        let hops = wire::hops(&hops, &self.topology)?;
        let task = Task {
            operation: Operation::Process,
            teams: self.teams(None)?,
            // Its answer has no field to say so.
            detour: false,
            part: Part::whole(payload.as_bytes().into()),
            budget,
            trace: Trace::default(),
        };
        let report = self.ask(task, hops).await?;
        let hops = report.visits.iter().map(|visit| self.name(visit.process).to_owned()).collect();
        Ok(Response::new(documents::Response { result: report.text, hops }))
    }

    async fn get_metrics(
        &self,
        _: tonic::Request<documents::MetricsRequest>,
    ) -> Result<Response<documents::MetricsResponse>, Status> {
        let view = self.view().await?;
        let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let mean = metrics::mean(view.totals.total, view.totals.answered);
        Ok(Response::new(documents::MetricsResponse {
            active_requests: number(view.active),
            max_capacity: number(view.active_limit),
            is_healthy: !self.shutdown.is_requested(),
            queue_size: number(view.queued),
            avg_processing_time_ms: mean.as_secs_f32() * 1e3,
            process_id: view.id,
            role: view.role.into(),
            team: view.team.into(),
        }))
    }
}

#[tonic::async_trait]
impl OverlayService for Service {
    async fn forward(
        &self,
        request: tonic::Request<pb::ForwardRequest>,
    ) -> Result<Response<pb::ForwardResponse>, Status> {
        let deadline = time_left(request.metadata());
        let request = request.into_inner();
        let asked = request.budget_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let budget = asked.into_iter().chain(deadline).min().unwrap_or(self.budget);
        let hops = wire::hops(&request.hops, &self.topology)?;
        let operation = wire::operation(request.operation)?;
        let total = request.payload.len() as u64;
        let task = Task {
            operation,
            teams: self.teams(wire::team(request.team)?)?,
            detour: true,
            part: Part::whole(request.payload[..].into()),
            budget,
            trace: Trace::default(),
        };
        let report = self.ask(task, hops).await?;
        Ok(Response::new(response(operation, total, report, &self.topology)))
    }

    async fn get_metrics(
        &self,
        _: tonic::Request<pb::GetMetricsRequest>,
    ) -> Result<Response<pb::GetMetricsResponse>, Status> {
        Ok(Response::new(metrics::response(self.view().await?)))
    }

    async fn link(
        &self,
        request: tonic::Request<Streaming<pb::LinkRequest>>,
    ) -> Result<Response<pb::LinkResponse>, Status> {
        let from = request.metadata().get(FROM).and_then(|name| name.to_str().ok());
        let from = from.and_then(|name| self.topology.named(name));
        let Some((from, link)) = from.and_then(|id| Some((id, self.links.get(&id)?))) else {
            let reason = format!("{FROM}: not a neighbour of {}", self.name(self.me));
            return Err(Status::permission_denied(reason));
        };
        // It lives: if our own link to it is down, try again at once.
        link.nudge();
        tokio::select! {
            () = self.hear(from, request.into_inner()) => (),
            () = self.finished() => (),
        }
        Ok(Response::new(pb::LinkResponse {}))
    }
}

/// The combined answer, with what its operation makes of it.
fn response(
    operation: Operation,
    total: u64,
    report: Report,
    topology: &Topology,
) -> pb::ForwardResponse {
    let mut response = pb::ForwardResponse {
        visits: report.visits.iter().map(|visit| wire::encode_visit(visit, topology)).collect(),
        missing: (report.missing.iter())
            .map(|missing| wire::encode_missing(missing, topology))
            .collect(),
        detours: (report.detours.iter())
            .map(|detour| wire::encode_detour(*detour, topology))
            .collect(),
        ..pb::ForwardResponse::default()
    };
    match operation {
        Operation::Process => response.result = report.text,
        Operation::WordCount => {
            let count = report.count;
            response.result = format!("{} {} {}", count.lines, count.words, count.bytes);
            response.word_count = Some(wire::encode_count(count));
        }
        Operation::Digest => {
            if let Some(digest) = work::digest(total, &report.pieces) {
                response.result = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                response.digest = digest.to_vec().into();
            }
        }
    }
    response
}
