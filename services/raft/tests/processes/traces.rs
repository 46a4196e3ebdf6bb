//! What is told of a command as a trace.

use std::collections::BTreeSet;

use chassis::channel::Connector;
use chassis::telemetry::{Span, decode_trace};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::store_service_client::StoreServiceClient;

use crate::cluster::{Cluster, PATIENCE};
use crate::collector::{Collector, under};

const PUT: &str = "ensemble.raft.v1.StoreService/Put";

#[tokio::test]
async fn a_write_through_a_follower_is_one_trace_of_all_members() {
    let collector = Collector::start();
    let variables = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*collector.url())];
    let cluster = Cluster::start(3, &variables).await;
    let leader = cluster.leader().await;
    let follower = cluster.ids().into_iter().find(|id| *id != leader).expect("there are three");
    let connector = Connector::new(None);
    let channel = connector.connect(cluster.address(follower), PATIENCE).await.unwrap();
    let span = Span::carried(decode_trace(&[&[7; 24][..], &[1]].concat()).expect("a trace"));
    let (trace, root) = ("07".repeat(16), "07".repeat(8));
    let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..<_>::default() };
    let mut client = StoreServiceClient::new(channel);
    let put = span.scope(client.put(put)).await.unwrap().into_inner();
    assert!(put.done, "{put:?}");
    let all = |spans: &[_]| (spans.len() >= 6).then_some(());
    let (_, spans) = collector.until(&trace, all).await;
    let [asked] = under(&spans, &root, PUT)[..] else { panic!("{spans:#?}") };
    assert_eq!((asked.node(), asked.kind), (&*follower.to_string(), SpanKind::Server));
    let [proposed] = under(&spans, &asked.id, "raft propose")[..] else { panic!("{spans:#?}") };
    assert_eq!((proposed.node(), proposed.kind), (&*leader.to_string(), SpanKind::Server));
    let [commit] = under(&spans, &proposed.id, "raft commit")[..] else { panic!("{spans:#?}") };
    assert_eq!(commit.node(), leader.to_string());
    let appends = under(&spans, &proposed.id, "raft append");
    let nodes: BTreeSet<_> = appends.iter().map(|append| append.node().to_owned()).collect();
    assert_eq!(nodes, cluster.ids().iter().map(u64::to_string).collect());
    for append in appends {
        let index = "ensemble.raft.index";
        assert_eq!(append.attributes[index], commit.attributes[index]);
    }
    assert_eq!(spans.len(), 6, "{spans:#?}");
    assert!(spans.iter().all(|span| span.error.is_none()), "{spans:#?}");
}
