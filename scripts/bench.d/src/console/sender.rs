//! Spans as processes send them: five services that take part in every request, each by messages
//! of its own spans, so that a trace comes in five messages.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use super::views::now_us;

const SERVICES: [&str; 5] =
    ["overlay-leader", "overlay-team-leader", "overlay-worker", "raft-node", "chord-node"];
/// How often each service is there.
const GROUPS: usize = 2;
/// Spans of one message, as exporters have it.
pub(super) const BATCH: usize = 500;
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// What became of what was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// Spans that were sent and answered.
    pub(super) spans: u64,
    /// Of those, how many were refused.
    pub(super) refused: u64,
    /// Why some were refused, or why a message failed.
    pub(super) reason: Option<String>,
    /// Messages without an answer, or with an error.
    pub(super) failed: u64,
}

impl Sent {
    pub(super) fn add(&mut self, other: Self) {
        self.spans += other.spans;
        self.refused += other.refused;
        self.failed += other.failed;
        self.reason = self.reason.take().or(other.reason);
    }
}

pub(super) type Client = TraceServiceClient<Channel>;

/// A connection to whoever takes spans.
pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let endpoint = endpoint.tcp_nodelay(true).connect_timeout(CONNECT_DEADLINE);
    let channel = endpoint.timeout(ANSWER_DEADLINE).connect().await;
    channel.with_context(|| format!("sending spans to {address}"))
}

/// Sends one message, and counts what comes of it.
pub(super) async fn send(client: &mut Client, message: ExportTraceServiceRequest, sent: &mut Sent) {
    let parts = message.resource_spans.iter().flat_map(|from| &from.scope_spans);
    let spans = parts.map(|part| part.spans.len() as u64).sum::<u64>();
    match client.export(message).await {
        Ok(answer) => {
            sent.spans += spans;
            if let Some(partial) = answer.into_inner().partial_success {
                sent.refused += partial.rejected_spans.unsigned_abs();
                sent.reason.get_or_insert(partial.error_message);
            }
        }
        Err(status) => {
            sent.failed += 1;
            sent.reason.get_or_insert_with(|| format!("{:?}: {}", status.code(), status.message()));
        }
    }
}

/// Sends so many spans a second for so long; as many as are taken when no number is given.
pub(super) async fn load(
    address: SocketAddr,
    per_second: Option<u32>,
    length: Duration,
) -> anyhow::Result<Sent> {
    let senders = (GROUPS * SERVICES.len()) as u32;
    let pause = per_second.map(|rate| Duration::from_secs(1) * BATCH as u32 * senders / rate);
    let until = Instant::now() + length;
    let mut all = JoinSet::new();
    for number in 0..senders {
        let mut client = Client::new(connect(address).await?);
        all.spawn(async move {
            let (group, service) =
                (number as usize / SERVICES.len(), number as usize % SERVICES.len());
            let mut sent = Sent::default();
            let mut due = Instant::now() + pause.unwrap_or_default() * number / senders;
            for round in 0.. {
                tokio::time::sleep_until(due.into()).await;
                if Instant::now() >= until {
                    break;
                }
                send(&mut client, message(group, service, round), &mut sent).await;
                due += pause.unwrap_or_default();
            }
            sent
        });
    }
    let mut sent = Sent::default();
    while let Some(one) = all.join_next().await {
        sent.add(one.context("a sender of spans broke off")?);
    }
    Ok(sent)
}

/// The spans of one service in this round: one of each of so many traces.
fn message(group: usize, service: usize, round: u64) -> ExportTraceServiceRequest {
    let spans = (0..BATCH as u64).map(|at| span(service, (group as u64) << 48 | round << 16 | at));
    wrapped(SERVICES[service], spans.collect())
}

/// A message with these spans of a service.
pub(super) fn wrapped(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = vec![
        text("service.name", service),
        text("service.instance.id", "P1"),
        text("service.version", "0.1.0"),
        text("telemetry.sdk.language", "rust"),
    ];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope = Some(InstrumentationScope { name: "ensemble".into(), ..<_>::default() });
    let scope_spans = vec![ScopeSpans { scope, spans, schema_url: String::new() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
    ExportTraceServiceRequest { resource_spans }
}

/// One span of the trace of this number, asked for by the service before.
pub(super) fn span(service: usize, trace: u64) -> Span {
    let id = |service: usize| (trace << 3 | service as u64 | 1 << 63).to_be_bytes().to_vec();
    let end = now_us() * 1_000;
    let number = |key: &str, value| with(key, Value::IntValue(value));
    Span {
        trace_id: u128::from(trace | 1 << 63).to_be_bytes().to_vec(),
        span_id: id(service),
        parent_span_id: if service == 0 { Vec::new() } else { id(service - 1) },
        name: format!("ensemble.{}/Work", SERVICES[service % SERVICES.len()]),
        kind: 2,
        start_time_unix_nano: end - 2_000_000,
        end_time_unix_nano: end,
        attributes: vec![
            text("rpc.system", "grpc"),
            text("rpc.service", "ensemble.overlay.v1.OverlayService"),
            text("rpc.method", "Forward"),
            number("rpc.grpc.status_code", 0),
            text("server.address", "127.0.0.1"),
            number("server.port", 50_051 + service as i64),
            number("thread.id", 1),
            number("busy_ns", (trace % 900_000) as i64),
        ],
        ..Span::default()
    }
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    with(key, Value::StringValue(value.into()))
}

fn with(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}
