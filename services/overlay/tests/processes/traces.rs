//! What is told of a request as a trace, and what it costs when nobody is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chassis::telemetry::{Span, decode_trace};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proto::ensemble::overlay::v1 as pb;
use proto::ensemble::overlay::v1::overlay_service_client::OverlayServiceClient;
use rustix::process::Signal;

use crate::cluster::{Cluster, PATIENCE, process, start};
use crate::collector::{Collector, under};
use crate::process::{Process, free_address};

const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const FORWARD: &str = "ensemble.overlay.v1.OverlayService/Forward";

/// A span of a caller, which tells it elsewhere; its trace and its own name.
fn caller(number: u8) -> (Span, String, String) {
    let bytes = [&[number; 16][..], &[number; 8], &[1]].concat();
    let span = Span::carried(decode_trace(&bytes).expect("a trace"));
    (span, format!("{number:02x}").repeat(16), format!("{number:02x}").repeat(8))
}

#[tokio::test]
async fn a_request_is_one_trace_of_all_processes() {
    let collector = Collector::start();
    let cluster = Cluster::start(&[(TRACES, &collector.url())]).await;
    let client = cluster.client('A').await;
    let (span, trace, root) = caller(7);
    let answer = span.scope(process(&client, b"hello", PATIENCE)).await.unwrap();
    assert!(answer.complete, "{answer:?}");
    let (_, spans) = collector.until(&trace, |spans| (spans.len() >= 6).then_some(())).await;
    let [asked] = under(&spans, &root, FORWARD)[..] else { panic!("{spans:#?}") };
    assert_eq!((asked.node(), &*asked.service), ("A", "overlay-leader"));
    assert_eq!((asked.kind, &asked.error), (SpanKind::Server, &None));
    assert_eq!(asked.attributes["rpc.response.status_code"], "OK");
    // Each process under the one that asked it, as the answer has it too.
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&*span.id, span.node())).collect();
    let mut edges: Vec<_> = (spans.iter().filter(|span| span.name == "overlay question"))
        .map(|span| (by_id[&*span.parent], span.node()))
        .collect();
    let mut visits: Vec<_> = (answer.visits.iter().skip(1))
        .map(|visit| (visit.asked_by.as_str(), visit.process.as_str()))
        .collect();
    edges.sort_unstable();
    visits.sort_unstable();
    assert_eq!(edges, visits);
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_health_is_no_trace() {
    let collector = Collector::start();
    let cluster = Cluster::start(&[(TRACES, &collector.url())]).await;
    let mut client = OverlayServiceClient::new(cluster.channel('A').await);
    let (span, trace, root) = caller(8);
    let wrong = pb::ForwardRequest { operation: 99, ..<_>::default() };
    let status = span.scope(client.forward(wrong)).await.expect_err("no such operation");
    let enough = |spans: &[_]| (!spans.is_empty()).then_some(());
    let (_, spans) = collector.until(&trace, enough).await;
    let [failed] = under(&spans, &root, FORWARD)[..] else { panic!("{spans:#?}") };
    assert_eq!(failed.error.as_deref(), Some(status.message()));
    assert_eq!(failed.attributes["rpc.response.status_code"], "INVALID_ARGUMENT");
    // Whoever asks without a trace begins one: the cluster was asked until it was whole.
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.parent.is_empty() && span.name == FORWARD));
    let quiet = ["grpc.health", "Observe", "/Link"];
    assert!(!spans.iter().any(|span| quiet.iter().any(|name| span.name.contains(name))));
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_a_line() {
    let (address, collector) = (free_address(), free_address());
    let variables = [
        ("OVERLAY_ADDRESSES", format!("C={address}")),
        (TRACES, format!("http://{collector}")),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("http://{collector}")),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
    ];
    let mut lonely = start('C', &variables);
    let channel = connected(&lonely, &address).await;
    let ask = async || {
        let mut client = OverlayServiceClient::new(channel.clone());
        client.get_metrics(pb::GetMetricsRequest {}).await.unwrap();
    };
    let lines = |process: &Process, words: &str| process.log().matches(words).count();
    until(&lonely, async || {
        ask().await;
        lines(&lonely, "cannot be exported") >= 2
    })
    .await;
    // Enough for several attempts.
    let again = Collector::start_at(&collector);
    until(&lonely, async || {
        ask().await;
        lines(&lonely, "traces are exported again") == 1 && !again.spans().is_empty()
    })
    .await;
    let log = lonely.log();
    assert_eq!(log.matches("traces cannot be exported").count(), 1, "{log}");
    assert_eq!(log.matches("metrics cannot be exported").count(), 1, "{log}");
    let asked = Instant::now();
    lonely.signal(Signal::TERM);
    assert!(lonely.ended(PATIENCE).await.success());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

async fn connected(process: &Process, address: &str) -> chassis::channel::Channel {
    let started = Instant::now();
    loop {
        let connector = chassis::channel::Connector::new(None);
        match connector.connect(address, Duration::from_secs(1)).await {
            Ok(channel) => return channel,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}: {}", process.log()),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until(process: &Process, so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !so().await {
        assert!(started.elapsed() < PATIENCE, "not in time:\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
