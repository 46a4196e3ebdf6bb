//! What arrives is passed on.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use chassis::channel::Connector;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;

use tokio::io::AsyncReadExt as _;

use super::receiver::{request, serving_on};
use super::*;
use crate::traces::forward::cost;
use crate::traces::{DEADLINE, Forwarded, Forwarder};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Spans of a trace of their own, as a message.
fn message(trace: u128, spans: u64) -> ExportTraceServiceRequest {
    request((1..=spans).map(|id| span(trace, id, 0, 0, 1)).collect())
}

fn passing_on_to(url: &str, most: usize) -> Forwarder {
    let channel = Connector::new(None).lazily(url, DEADLINE).expect("a channel");
    let forwarder = Forwarder::new(most);
    tokio::spawn(forwarder.clone().run(channel));
    forwarder
}

#[tokio::test]
async fn what_arrives_is_passed_on_and_what_is_refused_there_is_counted() {
    let limits = Limits { trace_spans: 4, ..Limits::default() };
    let (there, url) = serving_on(limits, None);
    let forwarder = passing_on_to(&url, 1 << 20);
    let (here, url) = serving_on(Limits::default(), Some(forwarder.clone()));
    let client = TraceServiceClient::connect(url).await;
    let mut client = client.expect("it serves");
    for (trace, spans) in [(1, 3), (2, 6)] {
        client.export(message(trace, spans)).await.expect("it answers");
    }
    until("all are passed on", || forwarder.counts() == Forwarded { passed: 7, lost: 2 }).await;
    assert_eq!(9, check(&here.lock().expect("no holder panics")).kept);
    assert_eq!(7, check(&there.lock().expect("no holder panics")).kept);
}

#[tokio::test]
async fn what_nobody_takes_waits_within_limits_and_is_passed_on_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let each = message(1, 2);
    let most = 3 * cost(prost::Message::encoded_len(&each));
    let forwarder = passing_on_to(&format!("http://{address}"), most);
    // One is on its way, three wait.
    forwarder.pass_on(&each);
    until("it is on its way", || forwarder.waiting() == 0).await;
    for trace in 2..=10 {
        forwarder.pass_on(&message(trace, 2));
    }
    assert_eq!(forwarder.counts(), Forwarded { passed: 0, lost: 12 });
    let traces = Arc::new(Mutex::new(Traces::default()));
    let service = crate::traces::Receiver::new(traces.clone(), || NOW).into_service();
    let serving = tonic::transport::Server::builder().add_service(service).serve(address);
    tokio::spawn(serving);
    until("the rest comes", || forwarder.counts() == Forwarded { passed: 8, lost: 12 }).await;
    let kept = check(&traces.lock().expect("no holder panics"));
    assert_eq!((8, 4), (kept.kept, kept.traces));
}

#[tokio::test]
async fn messages_that_are_nearly_nothing_take_no_more_than_there_may_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let forwarder = passing_on_to(&format!("http://{address}"), 64 << 10);
    let spans = vec![Span::default()];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let tiny = ExportTraceServiceRequest { resource_spans };
    for _ in 0..10_000 {
        forwarder.pass_on(&tiny);
    }
    // Each takes memory of its own, besides what is sent.
    let waiting = 10_000 - forwarder.counts().lost;
    assert!((500..=1_000).contains(&waiting), "{waiting} wait");
}

#[tokio::test]
async fn what_is_on_its_way_when_a_connection_breaks_is_sent_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let forwarder = passing_on_to(&format!("http://{address}"), 1 << 20);
    forwarder.pass_on(&message(1, 2));
    let (mut broken, _) = listener.accept().await.expect("a connection");
    let mut read = Vec::new();
    while !read.windows(12).any(|part| part == b"service.name") {
        let length = broken.read_buf(&mut read).await.expect("a message");
        assert_ne!(length, 0, "it is closed");
    }
    drop((broken, listener));
    let traces = Arc::new(Mutex::new(Traces::default()));
    let service = crate::traces::Receiver::new(traces.clone(), || NOW).into_service();
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(address));
    until("it is open no more", || forwarder.counts() != Forwarded::default()).await;
    assert_eq!(forwarder.counts(), Forwarded { passed: 2, lost: 0 });
    assert_eq!(2, check(&traces.lock().expect("no holder panics")).kept);
}

#[tokio::test]
async fn what_makes_no_sense_there_is_lost_at_once() {
    // A server that knows no trace service.
    let (health, service) = tonic_health::server::health_reporter();
    let bound = "127.0.0.1:0".parse().expect("an address");
    let incoming = tonic::transport::server::TcpIncoming::bind(bound).expect("a port");
    let address = incoming.local_addr().expect("it is bound");
    let serving = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(incoming));
    let forwarder = passing_on_to(&format!("http://{address}"), 1 << 20);
    forwarder.pass_on(&message(1, 2));
    until("it is lost", || forwarder.counts() == Forwarded { passed: 0, lost: 2 }).await;
    drop(health);
}

#[tokio::test]
async fn what_waits_at_the_end_gets_a_moment_and_no_longer() {
    let (there, url) = serving_on(Limits::default(), None);
    let forwarder = passing_on_to(&url, 1 << 20);
    forwarder.finish(PATIENCE).await;
    for trace in 1..=50 {
        forwarder.pass_on(&message(trace, 2));
    }
    forwarder.finish(PATIENCE).await;
    assert_eq!(forwarder.counts(), Forwarded { passed: 100, lost: 0 });
    assert_eq!(100, check(&there.lock().expect("no holder panics")).kept);
    // Nobody is there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let forwarder = passing_on_to(&format!("http://{address}"), 1 << 20);
    forwarder.pass_on(&message(1, 2));
    let began = Instant::now();
    forwarder.finish(Duration::from_millis(50)).await;
    assert!(began.elapsed() >= Duration::from_millis(50) && began.elapsed() < PATIENCE);
}
