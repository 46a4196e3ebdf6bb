//! Spans arrive by gRPC.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest,
};
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};

use super::*;
use crate::traces::Receiver;

async fn serving(limits: Limits) -> (Arc<Mutex<Traces>>, TraceServiceClient<Channel>) {
    let traces = Arc::new(Mutex::new(Traces::new(limits)));
    let service = Receiver::new(traces.clone(), || NOW).into_service();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = incoming.local_addr().expect("it is bound");
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let client = TraceServiceClient::connect(format!("http://{address}")).await;
    (traces, client.expect("it serves"))
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
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
