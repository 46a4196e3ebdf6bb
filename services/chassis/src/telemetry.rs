//! Logs, metrics and traces. Logs go to standard output; `/metrics` shows Prometheus text; traces
//! and metrics are exported by OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` says, or the variable of
//! either.

mod export;
pub(crate) mod span;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::{SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use protocols::Trace;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::export::Signal;
pub(crate) use self::span::Parent;
pub use self::span::{Span, Spans, decode_trace, encode_trace};
use crate::channel::Connector;
use crate::logs::{Fields, Logs};
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
    /// Attribute: the place of an entry in the log.
    pub const RAFT_INDEX: &str = "ensemble.raft.index";
    /// Histogram: seconds from a call's arrival to its last byte.
    pub const RPC_DURATION: &str = "rpc.server.call.duration";
    /// Counter: messages for a peer that were lost because its link was full.
    pub const LINK_LOST: &str = "ensemble.link.lost";
}

/// How long the last export may take when the process ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Metrics and traces of this process.
#[derive(Debug)]
pub struct Telemetry {
    registry: prometheus::Registry,
    metrics: SdkMeterProvider,
    traces: Option<(SdkTracerProvider, SdkTracer)>,
    /// The process within its system, as soon as that is known.
    node: OnceLock<Arc<str>>,
    /// Whether metrics are pushed to a collector.
    pub(crate) pushes: bool,
}

impl Telemetry {
    pub(crate) fn start(
        role: &'static str,
        environment: &Environment,
        connector: &Connector,
    ) -> anyhow::Result<Self> {
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
        let exporter = export::metrics(environment, connector)?;
        let pushes = exporter.is_some();
        if let Some(exporter) = exporter {
            metrics = metrics.with_periodic_exporter(exporter);
        }
        let traces = export::spans(environment, connector)?.map(|processor| {
            let provider = SdkTracerProvider::builder()
                .with_span_processor(processor)
                .with_resource(resource)
                .build();
            let tracer = provider.tracer("ensemble");
            (provider, tracer)
        });
        Ok(Self { registry, metrics: metrics.build(), traces, node: OnceLock::new(), pushes })
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

    /// Says what this process is called within its system.
    pub(crate) fn call(&self, node: &str) {
        // The first name stays.
        let _ = self.node.set(node.into());
    }

    /// Whether traces are exported.
    pub fn traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Starts a span when traces are exported.
    pub(crate) fn span(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Parent,
    ) -> Span {
        let Some((_, tracer)) = &self.traces else { return Span::default() };
        let builder = tracer.span_builder(name).with_kind(kind);
        let span = Span::of(tracer.build_with_context(builder, &parent.context()));
        if let Some(node) = self.node.get() {
            span.note(names::NODE, node.clone());
        }
        span
    }

    /// Starts the first span of a trace, for something that this process has others do. What is
    /// not exported here is carried to them all the same.
    pub fn root(&self, name: String) -> Span {
        let span = self.span(name, SpanKind::Internal, Parent::default());
        if span.trace() == Trace(None) { Span::first() } else { span }
    }

    /// Starts a span of what a message wants done; nothing if it belongs to no trace.
    pub fn span_under(&self, name: &'static str, kind: SpanKind, trace: Trace) -> Span {
        match trace {
            Trace(Some(_)) if self.traces() => self.span(name, kind, Parent::of(trace)),
            Trace(_) => Span::default(),
        }
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

/// Whether logs and exports can be made with these settings.
pub(crate) fn check(common: &Common, environment: &Environment) -> anyhow::Result<()> {
    filter(common)?;
    for signal in [Signal::Traces, Signal::Metrics] {
        signal.check(environment, common.tls_dir.is_some())?;
    }
    Ok(())
}

fn filter(common: &Common) -> anyhow::Result<Targets> {
    let wrong = || format!("CHASSIS_LOG={}: not a filter, such as info", common.log);
    common.log.parse().with_context(wrong)
}

/// Begins to log; whoever watches the log finds it there.
pub(crate) fn log(role: &'static str, common: &Common) -> anyhow::Result<Logs> {
    let logs = Logs::default();
    let filter = filter(common)?;
    let pretty = match common.log_format {
        LogFormat::Auto => io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let registry = tracing_subscriber::registry().with(filter).with(logs.clone());
    let lines = tracing_subscriber::fmt::layer();
    let result = if pretty {
        registry.with(lines.with_target(false)).try_init()
    } else {
        registry.with(lines.event_format(Json { role })).try_init()
    };
    result.context("starting the log")?;
    Ok(logs)
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(message) = fields.0.remove("message") {
            line.insert("message".into(), message);
        }
        line.extend(fields.0.into_iter().map(|(name, value)| (name.into(), value)));
        writeln!(writer, "{}", Value::Object(line))
    }
}
