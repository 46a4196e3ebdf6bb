//! What is told of a lookup as a trace.

use std::collections::BTreeSet;

use chassis::telemetry::{Span, decode_trace};
use proto::ensemble::chord::v1 as pb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::collector::{Collector, Told, under};
use crate::ring::{Ring, Variables, until};

const REGISTER: &str = "ensemble.chord.v1.RegistryService/Register";

/// A caller's span; its trace and its own name.
fn caller(number: u8) -> (Span, String, String) {
    let bytes = [&[number; 24][..], &[1]].concat();
    let span = Span::carried(decode_trace(&bytes).expect("a trace"));
    (span, format!("{number:02x}").repeat(16), format!("{number:02x}").repeat(8))
}

/// Looks places up until the way to one has so many nodes.
async fn far(ring: &Ring, mode: pb::Mode) -> (u64, Vec<String>) {
    let mut client = ring.client(1).await;
    for place in (1..64u64).map(|number| number << 58) {
        let request = pb::LocateRequest {
            place: Some(pb::locate_request::Place::Id(place)),
            mode: mode.into(),
        };
        let path = client.locate(request).await.unwrap().into_inner().path.unwrap();
        let id = |hop: &pb::Hop| hop.peer.as_ref().unwrap().id.to_string();
        let ids: Vec<_> = path.hops.iter().map(id).collect();
        if ids.len() >= 3 {
            return (place, ids);
        }
    }
    panic!("every place is near");
}

/// Locates a place, and waits for so many spans; they, and the first of them.
async fn located(
    ring: &Ring,
    collector: &Collector,
    (place, mode): (u64, pb::Mode),
    number: u8,
    count: usize,
) -> (Told, Vec<Told>) {
    let (span, trace, root) = caller(number);
    let mut client = ring.client(1).await;
    let place = Some(pb::locate_request::Place::Id(place));
    let request = pb::LocateRequest { place, mode: mode.into() };
    span.scope(client.locate(request)).await.unwrap();
    let enough = |spans: &[Told]| (spans.len() >= count).then_some(());
    let (_, spans) = collector.until(&trace, enough).await;
    let name = "ensemble.chord.v1.NodeService/Locate";
    let [asked] = under(&spans, &root, name)[..] else { panic!("{spans:#?}") };
    (asked.clone(), spans)
}

#[tokio::test]
async fn a_lookup_is_a_span_at_every_node_on_its_way() {
    let collector = Collector::start();
    let own = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT".to_owned(), collector.url())];
    let ring = Ring::without_registry_and(7, own.into_iter().collect::<Variables>()).await;
    let (place, path) = far(&ring, pb::Mode::Iterative).await;

    let way = (place, pb::Mode::Iterative);
    let (asked, spans) = located(&ring, &collector, way, 7, path.len()).await;
    assert_eq!(asked.node(), path[0]);
    let steps = under(&spans, &asked.id, "chord step");
    let steps: BTreeSet<_> = steps.iter().map(|step| step.node()).collect();
    let last = path.len() - 1;
    assert_eq!(steps, path[1..last].iter().map(|id| &**id).collect(), "{spans:#?}");
    let [end] = under(&spans, &asked.id, "chord perform")[..] else { panic!("{spans:#?}") };
    assert_eq!(end.node(), path[last]);

    let way = (place, pb::Mode::Recursive);
    let (asked, spans) = located(&ring, &collector, way, 8, path.len()).await;
    let mut before = asked.id;
    for node in &path[1..] {
        let [hop] = under(&spans, &before, "chord route")[..] else { panic!("{spans:#?}") };
        assert_eq!(hop.node(), node);
        before.clone_from(&hop.id);
    }
}

#[tokio::test]
async fn what_a_node_does_by_itself_makes_no_trace() {
    let collector = Collector::start();
    let own = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT".to_owned(), collector.url())];
    let own = own.into_iter().collect::<Variables>();
    let mut ring = Ring::with_registry_and(16, own).await;
    ring.run(1);
    ring.assigned(1).await;
    let (registry, _) = ring.registry.clone().expect("it has one");
    until(async || match renewals(&registry).await {
        3.. => Ok(()),
        count => Err(format!("registered {count} times")),
    })
    .await;
    let (span, trace, _) = caller(9);
    let mut client = ring.registry_client().await.unwrap();
    span.scope(client.get_chord_info(pb::GetChordInfoRequest {})).await.unwrap();
    collector.until(&trace, |spans| (!spans.is_empty()).then_some(())).await;
    let spans = collector.spans();
    let count = spans.iter().filter(|span| span.name == REGISTER).count();
    assert_eq!(count, 1, "the first is no renewal: {spans:#?}");
}

/// How often a node has registered, by the registry's metrics.
async fn renewals(registry: &str) -> u64 {
    let mut stream = TcpStream::connect(registry).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let count = |line: &&str| line.contains("duration_seconds_count") && line.contains(REGISTER);
    let line = text.lines().find(count).unwrap_or_default();
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
