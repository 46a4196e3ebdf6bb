//! A collector inside the process of a test: it keeps the spans that processes send it.

#![allow(dead_code, reason = "each test that uses this module uses a part of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A span, as a test wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first one of a trace.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) service: String,
    /// Nanoseconds after 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Told {
    /// The process within its system.
    pub(crate) fn node(&self) -> &str {
        self.attributes.get("ensemble.node").map_or("", |node| node)
    }
}

/// The collector.
pub(crate) struct Collector {
    address: SocketAddr,
    spans: Spans,
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Told>>>);

impl Collector {
    /// One at a port that nobody has.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// One at this address.
    pub(crate) fn start_at(address: &str) -> Self {
        let incoming = TcpIncoming::bind(address.parse().expect("an address")).expect("a port");
        let (address, spans) = (incoming.local_addr().expect("it is bound"), Spans::default());
        let service = TraceServiceServer::new(spans.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { address, spans }
    }

    /// Where processes find it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it was told so far.
    pub(crate) fn spans(&self) -> Vec<Told> {
        self.spans.0.lock().expect("no holder panics").clone()
    }

    /// Everything that it was told so far of this trace.
    pub(crate) fn trace(&self, trace: &str) -> Vec<Told> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Waits until what it was told of a trace is enough.
    pub(crate) async fn until<T>(
        &self,
        trace: &str,
        enough: impl Fn(&[Told]) -> Option<T>,
    ) -> (T, Vec<Told>) {
        let started = Instant::now();
        loop {
            let spans = self.trace(trace);
            if let Some(seen) = enough(&spans) {
                return (seen, spans);
            }
            assert!(started.elapsed() < PATIENCE, "not enough of {trace}: {spans:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How many spans of this name there are under that one.
pub(crate) fn under<'a>(spans: &'a [Told], parent: &str, name: &str) -> Vec<&'a Told> {
    spans.iter().filter(|span| span.parent == parent && span.name == name).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.as_ref()?.value.as_ref()?;
        let text = match value {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(_)
            | Value::DoubleValue(_)
            | Value::ArrayValue(_)
            | Value::KvlistValue(_)
            | Value::BytesValue(_)
            | Value::StringValueStrindex(_) => format!("{value:?}"),
        };
        Some((attribute.key.clone(), text))
    };
    attributes.iter().filter_map(text).collect()
}

fn told(span: &Span, service: &str) -> Told {
    let status = span.status.clone().unwrap_or_default();
    let failed = status.code == StatusCode::Error as i32;
    Told {
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        name: span.name.clone(),
        kind: span.kind(),
        service: service.to_owned(),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        error: failed.then_some(status.message),
        attributes: texts(&span.attributes),
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for process in &request.get_ref().resource_spans {
            let resource = texts(process.resource.as_ref().map_or(&[], |it| &it.attributes));
            let service = resource.get("service.name").map_or("", |name| name);
            let spans = process.scope_spans.iter().flat_map(|part| &part.spans);
            let spans = spans.map(|span| told(span, service));
            self.0.lock().expect("no holder panics").extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
