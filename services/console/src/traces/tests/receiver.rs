//! Spans arrive by gRPC.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest,
};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status as Refusal};

use super::*;
use crate::traces::{Forwarder, Limited, Receiver};

async fn serving(limits: Limits) -> (Arc<Mutex<Traces>>, TraceServiceClient<Channel>) {
    let (traces, url) = serving_on(limits, None);
    let client = TraceServiceClient::connect(url).await;
    (traces, client.expect("it serves"))
}

pub(super) fn serving_on(
    limits: Limits,
    forwarder: Option<Forwarder>,
) -> (Arc<Mutex<Traces>>, String) {
    let traces = Arc::new(Mutex::new(Traces::new(limits)));
    let service = Receiver::new(traces.clone(), || NOW).passing_on(forwarder).into_service();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = incoming.local_addr().expect("it is bound");
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    (traces, format!("http://{address}"))
}

pub(super) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest { resource_spans: vec![of_service("raft-node", spans)] }
}

async fn refusal(
    client: &mut TraceServiceClient<Channel>,
    spans: Vec<Span>,
) -> Option<ExportTracePartialSuccess> {
    let response = client.export(request(spans)).await.expect("it answers");
    response.into_inner().partial_success
}

#[tokio::test]
async fn spans_that_are_sent_are_kept() {
    let (traces, mut client) = serving(Limits::default()).await;
    let spans = (1..=1_000).map(|id| span(7, id, 0, 0, 1)).collect();
    assert_eq!(None, refusal(&mut client, spans).await);
    assert_eq!(1_000, check(&traces.lock().expect("no holder panics")).kept);
}

#[tokio::test]
async fn a_sender_is_told_how_many_spans_were_refused_and_why() {
    let limits = Limits { trace_spans: 4, per_second: 8, ..Limits::default() };
    let (traces, mut client) = serving(limits).await;
    let mut spans: Vec<_> = (1..=10).map(|id| span(7, id, 0, 0, 1)).collect();
    spans[0].trace_id.pop();
    let told = refusal(&mut client, spans).await.expect("some are refused");
    assert_eq!(6, told.rejected_spans);
    assert_eq!(
        "6 of 10 spans were refused: 1 make no sense: a trace id is not 16 bytes, or zero; \
         2 came faster than 8 a second: sample fewer traces; 3 belong to a trace that is full \
         with 4 spans or 1048576 bytes: begin a trace for every request",
        told.error_message
    );
    let stats = check(&traces.lock().expect("no holder panics"));
    assert_eq!((4, 5, 1), (stats.kept, stats.dropped, stats.invalid));
}

#[tokio::test]
async fn a_message_that_becomes_too_heavy_is_refused_before_it_is_read() {
    let (traces, mut client) = serving(Limits::default()).await;
    // Two bytes each as they are sent.
    let nothings = vec![Span::default(); 100_000];
    let status = client.export(request(nothings)).await.expect_err("it is too heavy");
    assert_eq!(Code::InvalidArgument, status.code());
    assert!(status.message().contains("send fewer spans at a time"), "{status:?}");
    let events = vec![opentelemetry_proto::tonic::trace::v1::span::Event::default(); 400_000];
    let nested = Span { events, ..span(7, 1, 0, 0, 1) };
    client.export(request(vec![nested])).await.expect_err("it is too heavy");
    let spans = (1..=1_000).map(|id| span(7, id, 0, 0, 1)).collect();
    assert_eq!(None, refusal(&mut client, spans).await);
    assert_eq!(1_000, traces.lock().expect("no holder panics").stats(NOW).received);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_next_is_taken() {
    let (traces, mut client) = serving(Limits::default()).await;
    let large = Span { name: "x".repeat(2 << 20), ..span(7, 1, 0, 0, 1) };
    let status = client.export(request(vec![large])).await.expect_err("it is too large");
    assert_eq!(Code::OutOfRange, status.code());
    assert_eq!(None, refusal(&mut client, vec![span(7, 1, 0, 0, 1)]).await);
    assert_eq!(1, check(&traces.lock().expect("no holder panics")).received);
}

#[tokio::test]
async fn a_span_that_makes_no_sense_is_refused_alone() {
    let (_, mut client) = serving(Limits::default()).await;
    let told = refusal(&mut client, vec![Span::default(), span(7, 1, 0, 0, 1)]).await;
    assert_eq!(Some(1), told.map(|told| told.rejected_spans));
}

#[tokio::test]
async fn nothing_sent_is_nothing_refused() {
    let (traces, mut client) = serving(Limits::default()).await;
    let empty = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans::default(); 1_000] };
    let response = client.export(empty).await.expect("it answers").into_inner();
    assert_eq!(None, response.partial_success);
    assert_eq!(0, check(&traces.lock().expect("no holder panics")).received);
}

/// Answers as soon as there is a permit for it.
#[derive(Clone)]
struct Slow(Arc<Semaphore>);

impl tonic::codegen::Service<http::Request<Body>> for Slow {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let permits = self.0.clone();
        Box::pin(async move {
            permits.acquire().await.expect("it is never closed").forget();
            Ok(http::Response::new(Body::empty()))
        })
    }
}

#[tokio::test]
async fn what_is_too_much_at_a_time_is_refused_unread_and_may_come_again() {
    let permits = Arc::new(Semaphore::new(0));
    let mut limited = Limited::new(Slow(permits.clone()), 2);
    let mut call = || limited.call(http::Request::new(Body::empty()));
    let status = |answer: http::Response<Body>| Refusal::from_header_map(answer.headers());
    let (first, second, third) = (call(), call(), call());
    let third = tokio::time::timeout(Duration::from_secs(30), third).await.expect("in time");
    let refused = status(third.expect("an answer")).expect("it is refused");
    assert_eq!(Code::ResourceExhausted, refused.code());
    assert!(!refused.details().is_empty(), "it says when it may come again");
    permits.add_permits(2);
    for taken in [first, second] {
        assert!(status(taken.await.expect("an answer")).is_none());
    }
    let again = call();
    permits.add_permits(1);
    assert!(status(again.await.expect("an answer")).is_none());
    // One that is given up makes room, too.
    drop((call(), call()));
    let again = call();
    permits.add_permits(1);
    assert!(status(again.await.expect("an answer")).is_none());
}
