//! Logs, metrics and traces. Logs go to standard output; `/metrics` shows Prometheus text; traces
//! and metrics are exported by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, trace};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use serde_json::{Map, Value};
use tonic::metadata::{KeyRef, MetadataMap};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{Common, Environment, LogFormat};

/// Names of attributes and metrics: they are an interface, so they stand in one place.
pub mod names {
    /// Attribute: `grpc`.
    pub const RPC_SYSTEM: &str = "rpc.system.name";
    /// Attribute: `package.Service/Method`.
    pub const RPC_METHOD: &str = "rpc.method";
    /// Attribute: `OK`, `UNAVAILABLE` and so on.
    pub const RPC_STATUS: &str = "rpc.response.status_code";
    /// Attribute: the process within its system, such as `A`.
    pub const NODE: &str = "ensemble.node";
    /// Attribute: why a share is missing in an answer.
    pub const MISSING: &str = "ensemble.missing";
    /// Histogram: seconds from a call's arrival to its last byte.
    pub const RPC_DURATION: &str = "rpc.server.call.duration";
    /// Counter: messages for a peer that were lost because its link was full.
    pub const LINK_LOST: &str = "ensemble.link.lost";
}

/// Where a collector takes traces and metrics by gRPC.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long the last export may take when the process ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Metrics and traces of this process.
#[derive(Debug)]
pub struct Telemetry {
    registry: prometheus::Registry,
    metrics: SdkMeterProvider,
    traces: Option<(SdkTracerProvider, SdkTracer)>,
    /// Whether metrics are pushed to a collector.
    pub(crate) pushes: bool,
}

impl Telemetry {
    pub(crate) fn start(
        role: &'static str,
        common: &Common,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        log(role, common)?;
        let endpoint = environment.get(ENDPOINT);
        let pushes = endpoint.is_some() && environment.get("OTEL_SDK_DISABLED") != Some("true");
        let mut resource = Resource::builder();
        if environment.get("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(role);
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = resource.with_attribute(version).build();
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .build()
            .context("starting the Prometheus exporter")?;
        let mut metrics =
            SdkMeterProvider::builder().with_reader(exporter).with_resource(resource.clone());
        let mut traces = None;
        if pushes {
            let wrong = || format!("{ENDPOINT}={}", endpoint.unwrap_or_default());
            let exporter = MetricExporter::builder().with_tonic().build().with_context(wrong)?;
            metrics = metrics.with_periodic_exporter(exporter);
            let exporter = SpanExporter::builder().with_tonic().build().with_context(wrong)?;
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource)
                .build();
            let tracer = provider.tracer("ensemble");
            traces = Some((provider, tracer));
        }
        Ok(Self { registry, metrics: metrics.build(), traces, pushes })
    }

    /// Where a role makes its instruments.
    pub fn meter(&self) -> Meter {
        self.metrics.meter("ensemble")
    }

    /// All metrics as Prometheus text.
    pub(crate) fn prometheus_text(&self) -> anyhow::Result<String> {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .context("writing the metrics")
    }

    /// Starts a span when traces are exported.
    pub fn span(&self, name: &'static str, kind: SpanKind, parent: Parent) -> Span {
        let Some((_, tracer)) = &self.traces else { return Span(None) };
        let context = match parent.0 {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let builder = tracer.span_builder(name).with_kind(kind);
        Span(Some(tracer.build_with_context(builder, &context)))
    }

    /// Exports what has not been exported; gives up after a while.
    pub(crate) async fn flush(&self) {
        let (metrics, traces) = (self.metrics.clone(), self.traces.clone());
        // Shutting down blocks until its own thread has exported, which needs this runtime.
        let flushing = tokio::task::spawn_blocking(move || {
            if let Some((provider, _)) = traces {
                report(provider.shutdown_with_timeout(FLUSH_DEADLINE));
            }
            report(metrics.shutdown_with_timeout(FLUSH_DEADLINE));
        });
        let _ = tokio::time::timeout(FLUSH_DEADLINE * 2, flushing).await;
    }
}

fn report<E: fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the last telemetry could not be exported");
    }
}

/// The span that another one belongs under, perhaps of another process.
#[derive(Clone, Debug, Default)]
pub struct Parent(Option<SpanContext>);

impl Parent {
    /// From the `traceparent` of a call.
    pub fn of_call(metadata: &MetadataMap) -> Self {
        struct Metadata<'a>(&'a MetadataMap);
        impl Extractor for Metadata<'_> {
            fn get(&self, key: &str) -> Option<&str> {
                self.0.get(key)?.to_str().ok()
            }
            fn keys(&self) -> Vec<&str> {
                let ascii = |key| match key {
                    KeyRef::Ascii(key) => Some(key.as_str()),
                    KeyRef::Binary(_) => None,
                };
                self.0.keys().filter_map(ascii).collect()
            }
        }
        let context = TraceContextPropagator::new().extract(&Metadata(metadata));
        let span = context.span().span_context().clone();
        Self(span.is_valid().then_some(span))
    }

    /// From 16 bytes trace id, 8 bytes span id and 1 byte flags.
    pub fn of_bytes(bytes: &[u8; 25]) -> Self {
        let mut trace_id = [0; 16];
        trace_id.copy_from_slice(&bytes[..16]);
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&bytes[16..24]);
        let span = SpanContext::new(
            TraceId::from_bytes(trace_id),
            SpanId::from_bytes(span_id),
            TraceFlags::new(bytes[24]),
            true,
            TraceState::default(),
        );
        Self(span.is_valid().then_some(span))
    }
}

/// A span that ends when it is dropped; nothing when traces are not exported.
#[derive(Debug)]
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

impl Span {
    /// 16 bytes trace id, 8 bytes span id and 1 byte flags, for a message to another process.
    pub fn bytes(&self) -> Option<[u8; 25]> {
        let span = trace::Span::span_context(self.0.as_ref()?);
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&span.trace_id().to_bytes());
        bytes[16..24].copy_from_slice(&span.span_id().to_bytes());
        bytes[24] = span.trace_flags().to_u8();
        Some(bytes)
    }

    /// Notes something about it.
    pub fn note(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        if let Some(span) = &mut self.0 {
            trace::Span::set_attribute(span, KeyValue::new(name, value.into()));
        }
    }

    /// Marks it as failed.
    pub fn fail(&mut self, reason: String) {
        if let Some(span) = &mut self.0 {
            trace::Span::set_status(span, trace::Status::error(reason));
        }
    }
}

/// Whether logs and exports can be made with these settings.
pub(crate) fn check(common: &Common, environment: &Environment) -> anyhow::Result<()> {
    filter(common)?;
    if let Some(endpoint) = environment.get(ENDPOINT) {
        let plain = endpoint.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
        anyhow::ensure!(plain, "{ENDPOINT}={endpoint}: give http://HOST:4317, in clear text");
    }
    Ok(())
}

fn filter(common: &Common) -> anyhow::Result<Targets> {
    let wrong = || format!("CHASSIS_LOG={}: not a filter, such as info", common.log);
    common.log.parse().with_context(wrong)
}

fn log(role: &'static str, common: &Common) -> anyhow::Result<()> {
    let filter = filter(common)?;
    let pretty = match common.log_format {
        LogFormat::Auto => io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer();
    let result = if pretty {
        registry.with(lines.with_target(false)).try_init()
    } else {
        registry.with(lines.event_format(Json { role })).try_init()
    };
    result.context("starting the log")
}

/// One JSON object a line: when, how grave, which service, what, and the event's own fields.
struct Json {
    role: &'static str,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Map::new();
        line.insert("timestamp".into(), timestamp.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("service".into(), self.role.into());
        line.insert("target".into(), event.metadata().target().into());
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        if let Some(message) = fields.0.remove("message") {
            line.insert("message".into(), message);
        }
        line.extend(fields.0.into_iter().map(|(name, value)| (name.into(), value)));
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct Fields(BTreeMap<&'static str, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }
}
