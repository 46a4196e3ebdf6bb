//! Where processes send their spans: the trace service of OTLP/gRPC.
//!
//! It answers once the spans are kept or refused, and says how many were refused and why. A sender
//! does not send refused spans again, as the protocol has it. How large a message may be, and how
//! many come at a time, the server limits: a message decoded takes many times its size.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use super::{Limits, Origin, Outcome, Traces};

/// How many spans are taken before whoever else wants the store has its turn.
const TURN: usize = 256;
/// The usual most bytes of a message: an exporter sends 512 spans at a time.
const MESSAGE_BYTES: usize = 1 << 20;

/// Puts spans that arrive into the store.
#[derive(Clone, Debug)]
pub struct Receiver<C> {
    traces: Arc<Mutex<Traces>>,
    /// Tells the time since 1970.
    clock: C,
}

impl<C: Fn() -> Duration + Send + Sync + 'static> Receiver<C> {
    /// A receiver for this store; the clock tells the time since 1970.
    pub fn new(traces: Arc<Mutex<Traces>>, clock: C) -> Self {
        Self { traces, clock }
    }

    /// What a server serves, with a limit of 1 MiB a message.
    pub fn into_service(self) -> TraceServiceServer<Self> {
        TraceServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES)
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
        let outcome = self.take_all(request.get_ref()).await;
        let partial_success = (outcome.refused() > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(outcome.refused()).unwrap_or(i64::MAX),
            error_message: why(&outcome, &self.limits()),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
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
