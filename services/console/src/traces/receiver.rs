//! Where processes send their spans: the trace service of OTLP/gRPC.
//!
//! It answers once the spans are kept or refused, and says how many were refused and why. A sender
//! does not send refused spans again, as the protocol has it. How large a message may be, and how
//! many come at a time, is limited: a message decoded takes many times its size.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use chassis::status::exhausted;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    SERVICE_NAME, TraceService,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use prost::bytes::Buf as _;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use super::weight::weight;
use super::{Forwarder, Limits, Origin, Outcome, Traces};

/// How many spans are taken before whoever else wants the store has its turn.
const TURN: usize = 256;
/// The usual most bytes of a message: an exporter sends 512 spans at a time.
const MESSAGE_BYTES: usize = 1 << 20;

/// The most bytes that a message takes once it is read: one of long texts takes little more than it
/// has, one of short ones ten times as much.
const MEMORY_BYTES: usize = 16 << 20;

/// How many messages are taken at a time.
const AT_ONCE: usize = 16;
/// When one that was not taken may be sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// Puts spans that arrive into the store.
#[derive(Clone, Debug)]
pub struct Receiver<C> {
    traces: Arc<Mutex<Traces>>,
    forwarder: Option<Forwarder>,
    /// Tells the time since 1970.
    clock: C,
}

impl<C: Fn() -> Duration + Send + Sync + 'static> Receiver<C> {
    /// A receiver for this store; the clock tells the time since 1970.
    pub fn new(traces: Arc<Mutex<Traces>>, clock: C) -> Self {
        Self { traces, forwarder: None, clock }
    }

    /// The same, which passes whatever arrives on.
    #[must_use]
    pub fn passing_on(self, forwarder: Option<Forwarder>) -> Self {
        Self { forwarder, ..self }
    }

    /// What a server serves, with a limit of 1 MiB a message, of 16 MiB that it takes once it is
    /// read, and of 16 messages at a time.
    pub fn into_service(self) -> Limited<Exports<Self>> {
        Limited::new(Exports(self), AT_ONCE)
    }

    /// Holds the store for a turn only.
    fn take(&self, origin: Origin<'_>, spans: &[Span]) -> Outcome {
        let now = (self.clock)();
        self.traces.lock().expect("no holder panics").add_from(now, origin, spans)
    }

    async fn take_all(&self, request: &ExportTraceServiceRequest) -> Outcome {
        let mut outcome = Outcome::default();
        for process in &request.resource_spans {
            for part in &process.scope_spans {
                let origin =
                    Origin { resource: process.resource.as_ref(), scope: part.scope.as_ref() };
                for spans in part.spans.chunks(TURN) {
                    outcome.add(self.take(origin, spans));
                    tokio::task::yield_now().await;
                }
            }
        }
        outcome
    }

    fn limits(&self) -> Limits {
        self.traces.lock().expect("no holder panics").limits().clone()
    }
}

#[tonic::async_trait]
impl<C: Fn() -> Duration + Send + Sync + 'static> TraceService for Receiver<C> {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(forwarder) = &self.forwarder {
            forwarder.pass_on(request.get_ref());
        }
        let outcome = self.take_all(request.get_ref()).await;
        let partial_success = (outcome.refused() > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(outcome.refused()).unwrap_or(i64::MAX),
            error_message: why(&outcome, &self.limits()),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

/// The trace service, which weighs each message before it reads it.
#[derive(Clone, Debug)]
pub struct Exports<S>(S);

impl<S> NamedService for Exports<S> {
    const NAME: &'static str = SERVICE_NAME;
}

impl<S: TraceService + Clone> Service<http::Request<Body>> for Exports<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let export = Export(self.0.clone());
        if !request.uri().path().ends_with("/Export") {
            let unknown = Status::unimplemented("the trace service has one method: Export");
            return Box::pin(std::future::ready(Ok(unknown.into_http())));
        }
        Box::pin(async move {
            let mut grpc = Grpc::new(Weighed).max_decoding_message_size(MESSAGE_BYTES);
            Ok(grpc.unary(export, request).await)
        })
    }
}

/// Its method.
struct Export<S>(S);

impl<S: TraceService + Clone> UnaryService<ExportTraceServiceRequest> for Export<S> {
    type Response = ExportTraceServiceResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: Request<ExportTraceServiceRequest>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move { service.export(request).await })
    }
}

/// How messages are read that are not too heavy.
struct Weighed;

impl Codec for Weighed {
    type Encode = ExportTraceServiceResponse;
    type Decode = ExportTraceServiceRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Weighed {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn encode(&mut self, answer: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Weighed {
    type Item = ExportTraceServiceRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        let weight = weight(&message);
        if weight > MEMORY_BYTES {
            let reason = format!(
                "the message takes {weight} bytes once it is read, more than {MEMORY_BYTES}: \
                 send fewer spans at a time"
            );
            return Err(Status::invalid_argument(reason));
        }
        let message = Self::Item::decode(message);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Why spans were refused, and what helps.
fn why(outcome: &Outcome, limits: &Limits) -> String {
    let mut reasons = Vec::new();
    if let Some(flaw) = outcome.flaw {
        reasons.push(format!("{} make no sense: {flaw}", outcome.invalid));
    }
    if outcome.hasty > 0 {
        let (count, limit) = (outcome.hasty, limits.per_second);
        reasons.push(format!("{count} came faster than {limit} a second: sample fewer traces"));
    }
    if outcome.crowded > 0 {
        let (count, spans, bytes) = (outcome.crowded, limits.trace_spans, limits.trace_bytes);
        reasons.push(format!(
            "{count} belong to a trace that is full with {spans} spans or {bytes} bytes: \
             begin a trace for every request"
        ));
    }
    let all = outcome.taken + outcome.refused();
    format!("{} of {all} spans were refused: {}", outcome.refused(), reasons.join("; "))
}

/// A service that takes so many calls at a time, counted before anything of them is read. Clones
/// share the count.
#[derive(Clone, Debug)]
pub struct Limited<S> {
    service: S,
    room: Arc<Semaphore>,
}

impl<S> Limited<S> {
    /// Takes so many calls at a time.
    pub fn new(service: S, most: usize) -> Self {
        Self { service, room: Arc::new(Semaphore::new(most)) }
    }
}

impl<S: NamedService> NamedService for Limited<S> {
    const NAME: &'static str = S::NAME;
}

/// What a service answers with.
type Answer = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for Limited<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            let message = "as many messages are being taken as may be: send it again in a moment";
            return Box::pin(std::future::ready(Ok(exhausted(message, AGAIN).into_http())));
        };
        let answering = self.service.call(request);
        Box::pin(async move {
            let _place = place;
            answering.await
        })
    }
}
