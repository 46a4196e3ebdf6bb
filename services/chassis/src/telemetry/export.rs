//! Where traces and metrics are sent by OTLP/gRPC, and what happens when nobody is there: it is
//! said once, what there is to send is lost, and the collector is asked again ever less often.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry_otlp::{MetricExporter, RetryPolicy, SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as ExportSpans,
};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::channel::{Connector, is_by_tls};
use crate::settings::Environment;

/// Where a collector takes both.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long one export may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says so.
const EXPORT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a span waits for others at most, unless `OTEL_BSP_SCHEDULE_DELAY` says so.
const SPANS_DELAY: Duration = Duration::from_secs(1);
/// The shortest and the longest time for which a collector that is not there is left alone.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        })
    }
}

impl Signal {
    /// The variable that holds for it alone, and the one that switches it off.
    fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::Traces => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"),
            Self::Metrics => ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_METRICS_EXPORTER"),
        }
    }

    /// Where it goes, and by which variable; nothing when it goes nowhere.
    pub(super) fn endpoint(self, environment: &Environment) -> Option<(&'static str, &str)> {
        let (own, switch) = self.variables();
        let off = environment.get("OTEL_SDK_DISABLED") == Some("true")
            || environment.get(switch) == Some("none");
        let set = |variable| Some((variable, environment.get(variable)?));
        set(own).or_else(|| set(ENDPOINT)).filter(|_| !off)
    }

    /// Whether it can go where it is to go.
    pub(super) fn check(self, environment: &Environment, has_tls: bool) -> anyhow::Result<()> {
        let Some((variable, url)) = self.endpoint(environment) else { return Ok(()) };
        let by_tls = is_by_tls(url).with_context(|| variable)?;
        anyhow::ensure!(
            has_tls || !by_tls,
            "{variable}={url}: there are no certificates; set CHASSIS_TLS_DIR, or give \
             http://HOST:PORT"
        );
        Ok(())
    }
}

/// How long one export may take.
fn deadline(environment: &Environment) -> Duration {
    let given = environment.get("OTEL_EXPORTER_OTLP_TIMEOUT").and_then(|text| text.parse().ok());
    given.map_or(EXPORT_DEADLINE, Duration::from_millis)
}

/// Once more after a moment, or when the collector wants: nobody has to wait for long when this
/// process ends.
fn retry() -> RetryPolicy {
    RetryPolicy::recommended().with_max_retries(1)
}

/// What sends spans; nothing when they go nowhere.
pub(super) fn spans(
    environment: &Environment,
    connector: &Connector,
) -> anyhow::Result<Option<BatchSpanProcessor>> {
    let Some((variable, url)) = Signal::Traces.endpoint(environment) else { return Ok(None) };
    let channel = connector.lazily(url, deadline(environment)).with_context(|| variable)?;
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel.into_inner())
        .with_retry_policy(retry())
        .build()
        .with_context(|| format!("{variable}={url}"))?;
    let mut config = BatchConfigBuilder::default();
    if environment.get("OTEL_BSP_SCHEDULE_DELAY").is_none() {
        config = config.with_scheduled_delay(SPANS_DELAY);
    }
    let exporter = Patient::new(Signal::Traces, url, exporter);
    Ok(Some(BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build()))
}

/// What sends metrics; nothing when they go nowhere.
pub(super) fn metrics(
    environment: &Environment,
    connector: &Connector,
) -> anyhow::Result<Option<Patient<MetricExporter>>> {
    let Some((variable, url)) = Signal::Metrics.endpoint(environment) else { return Ok(None) };
    let channel = connector.lazily(url, deadline(environment)).with_context(|| variable)?;
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_channel(channel.into_inner())
        .with_retry_policy(retry())
        .build()
        .with_context(|| format!("{variable}={url}"))?;
    Ok(Some(Patient::new(Signal::Metrics, url, exporter)))
}

/// Exports, and leaves a collector alone for a while that is not there.
#[derive(Debug)]
pub(super) struct Patient<E> {
    exporter: E,
    signal: Signal,
    url: String,
    absence: Mutex<Option<Absence>>,
}

/// A collector takes nothing.
#[derive(Clone, Copy, Debug)]
struct Absence {
    since: Instant,
    rest: Duration,
    until: Instant,
}

impl<E> Patient<E> {
    fn new(signal: Signal, url: &str, exporter: E) -> Self {
        Self { exporter, signal, url: url.to_owned(), absence: Mutex::default() }
    }

    /// Has something exported, unless the collector is left alone. What becomes of it is told
    /// here, so that nobody else need tell it.
    async fn attempt(
        &self,
        now: Instant,
        export: impl Future<Output = OTelSdkResult>,
    ) -> OTelSdkResult {
        let absence = *self.absence.lock().expect("no holder panics");
        if absence.is_some_and(|absence| now < absence.until) {
            return Ok(());
        }
        let (signal, url) = (self.signal, &self.url);
        let now_absent = match export.await {
            Ok(()) => {
                if let Some(Absence { since, .. }) = absence {
                    let lost_for = now.saturating_duration_since(since);
                    info!(%url, ?lost_for, "{signal} are exported again");
                }
                None
            }
            Err(error) => {
                if absence.is_none() {
                    warn!(%url, %error, "{signal} cannot be exported, and are lost until it works");
                }
                Some(Absence::after(absence, now))
            }
        };
        *self.absence.lock().expect("no holder panics") = now_absent;
        Ok(())
    }
}

impl Absence {
    fn after(before: Option<Self>, now: Instant) -> Self {
        let rest = before.map_or(SHORTEST_REST, |before| (before.rest * 2).min(LONGEST_REST));
        Self { since: before.map_or(now, |before| before.since), rest, until: now + rest }
    }
}

impl<E: ExportSpans> ExportSpans for Patient<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.attempt(Instant::now(), self.exporter.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Patient<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.attempt(Instant::now(), self.exporter.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn each_signal_goes_where_its_own_variable_says() {
        let environment = |variables: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            variables.iter().map(own).collect::<Environment>()
        };
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1");
        let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:2");
        let both = (ENDPOINT, "http://127.0.0.1:3");
        let urls = |variables: &[(&str, &str)]| {
            let environment = environment(variables);
            [Signal::Traces, Signal::Metrics]
                .map(|signal| signal.endpoint(&environment).map(|(_, url)| url.to_owned()))
        };
        let some = |one: Option<(&str, &str)>| one.map(|(_, url)| url.to_owned());
        for (variables, expected) in [
            (&[][..], [None, None]),
            (&[both], [Some(both), Some(both)]),
            (&[traces], [Some(traces), None]),
            (&[metrics, both], [Some(both), Some(metrics)]),
            (&[traces, both], [Some(traces), Some(both)]),
            (&[both, ("OTEL_METRICS_EXPORTER", "none")], [Some(both), None]),
            (&[traces, ("OTEL_SDK_DISABLED", "true")], [None, None]),
        ] {
            assert_eq!(urls(variables), expected.map(some), "{variables:?}");
        }
        for (url, has_tls, wrong) in [
            ("http://127.0.0.1:4317", false, None),
            ("http://127.0.0.1:4317/", true, None),
            ("https://127.0.0.1:4317", true, None),
            ("https://127.0.0.1:4317", false, Some("set CHASSIS_TLS_DIR")),
            ("127.0.0.1:4317", false, Some("give http://HOST:PORT")),
            ("http://", false, Some("give http://HOST:PORT")),
            ("grpc://127.0.0.1:4317", true, Some("give http://HOST:PORT")),
        ] {
            let environment = environment(&[(traces.0, url)]);
            let said = Signal::Traces.check(&environment, has_tls).err();
            let said = said.map(|error| format!("{error:#}"));
            match (&said, wrong) {
                (None, None) => (),
                (Some(said), Some(wrong)) => {
                    assert!(said.starts_with(traces.0) && said.contains(wrong), "{said}");
                }
                _ => panic!("{url}: {said:?}"),
            }
        }
    }

    /// How often it is asked in so many seconds.
    async fn asked(patient: &Patient<()>, from: Instant, seconds: u64, is_there: bool) -> u64 {
        let asked = AtomicU64::new(0);
        for second in 0..seconds {
            let export = async {
                asked.fetch_add(1, Ordering::Relaxed);
                let gone = || OTelSdkError::InternalFailure("nobody is there".to_owned());
                is_there.then_some(()).ok_or_else(gone)
            };
            assert!(patient.attempt(from + Duration::from_secs(second), export).await.is_ok());
        }
        asked.into_inner()
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_is_asked_ever_less_often() {
        let patient = Patient::new(Signal::Traces, "http://127.0.0.1:1", ());
        let began = Instant::now();
        // At once, after 1, 3, 7, 15 and 31 seconds, and then every half minute.
        assert_eq!(asked(&patient, began, 100, false).await, 8);
        // The last time after 91 seconds: until 121 it is left alone.
        let again = began + Duration::from_secs(100);
        assert_eq!(asked(&patient, again, 100, true).await, 79);
    }
}
