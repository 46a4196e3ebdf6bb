//! Bad input: an error that says what to do, and everyone else is served on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use proto::documents::overlay_node_client::OverlayNodeClient;
use proto::documents::{Request, Response};
use proto::ensemble::overlay::v1 as pb;
use proto::ensemble::overlay::v1::overlay_service_client::OverlayServiceClient;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::cluster::{Cluster, PATIENCE, process, start};

/// Starts a process that must not come up, and returns what it says.
async fn refused(id: char, variables: &[(&str, &str)]) -> String {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    start(id, &variables).refused(PATIENCE).await
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_its_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = taken.local_addr().unwrap().to_string();
    let in_use = refused('A', &[("OVERLAY_ADDRESSES", &format!("A={here}"))]).await;
    assert!(in_use.contains(&here) && in_use.contains("another process has this port"), "{in_use}");
    for (id, variables, expected) in [
        ('A', [("OVERLAY_ID", "Z")], "there is no process Z; there are A, B, C, D, E, F"),
        ('A', [("OVERLAY_ID", "C")], "run overlay-worker"),
        ('A', [("OVERLAY_QUEUE", "1")], "OVERLAY_QUEUE: no such variable"),
        ('A', [("OVERLAY_QUEUE_LIMIT", "many")], "OVERLAY_QUEUE_LIMIT=many"),
        ('A', [("OVERLAY_ADDRESSES", "A")], "expected ID=HOST:PORT"),
        ('A', [("OVERLAY_CONFIG", "/nowhere.json")], "/nowhere.json"),
        ('A', [("CHASSIS_LISTEN", "0.0.0.0:1")], "set CHASSIS_TLS_DIR"),
        ('A', [("CHASSIS_LISTEN", "203.0.113.1:1")], "set CHASSIS_TLS_DIR"),
        ('A', [("CHASSIS_TLS_DIR", "/nowhere")], "tls.crt"),
        ('A', [("CHASSIS_LOG", "overlay=loud")], "CHASSIS_LOG"),
        ('A', [("CHASSIS_THREADS", "0")], "CHASSIS_THREADS=0"),
        ('A', [("OVERLAY_PATIENCE_MS", "1")], "OVERLAY_PATIENCE_MS=1"),
    ] {
        let mut all = vec![("OVERLAY_ADDRESSES", "A=127.0.0.1:1,C=127.0.0.1:2")];
        all.extend(variables);
        let said = refused(id, &all).await;
        assert!(said.contains(expected), "{variables:?}: {said}");
    }
}

#[tokio::test]
async fn a_malformed_file_is_named_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("processes.json");
    for (text, expected) in [
        ("", "line 1 column 0"),
        ("{\"processes\": {\"A\": {\"id\": \"A\"}}}", "missing field `role` at line 1 column 31"),
        ("{\"processes\": []}", "line 1 column 14"),
    ] {
        fs::write(&path, text).unwrap();
        let said = refused('A', &[("OVERLAY_CONFIG", path.to_str().unwrap())]).await;
        assert!(said.contains(expected) && said.contains("processes.json"), "{said}");
    }
    let missing = overlay::TWO_HOSTS.replace("[\"B\", \"E\"]", "[\"B\", \"X\"]");
    fs::write(&path, missing.replace("192.168.1.1", "127.0.0.1")).unwrap();
    let said = refused('A', &[("OVERLAY_CONFIG", path.to_str().unwrap())]).await;
    assert!(said.contains("processes.A.neighbors: X is no other process"), "{said}");
}

#[tokio::test]
async fn a_wrong_request_is_refused_by_field() {
    let cluster = Cluster::start(&[]).await;
    let mut client = OverlayServiceClient::new(cluster.channel('A').await);
    let good = || pb::ForwardRequest { payload: "x".into(), ..pb::ForwardRequest::default() };
    let too_large = vec![0; (8 << 20) + 1];
    for (field, request) in [
        ("operation", pb::ForwardRequest { operation: 99, ..good() }),
        ("team", pb::ForwardRequest { team: 99, ..good() }),
        ("hops", pb::ForwardRequest { hops: vec!["A".into(); 10_000], ..good() }),
        ("hops[1]", pb::ForwardRequest { hops: vec!["B".into(), "Q".into()], ..good() }),
        ("payload", pb::ForwardRequest { payload: too_large.into(), ..good() }),
    ] {
        let status = client.forward(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        let details = status.get_details_bad_request().expect("rich details");
        assert_eq!(details.field_violations[0].field, field);
    }
    let past = pb::ForwardRequest { budget_ms: Some(0), ..good() };
    assert_eq!(client.forward(past).await.unwrap_err().code(), Code::DeadlineExceeded);
    let huge = pb::ForwardRequest { payload: vec![0; 20 << 20].into(), ..good() };
    assert_eq!(client.forward(huge).await.unwrap_err().code(), Code::OutOfRange);
    let mut worker = OverlayServiceClient::new(cluster.channel('C').await);
    let pink = pb::ForwardRequest { team: pb::Team::Pink.into(), ..good() };
    let status = worker.forward(pink).await.unwrap_err();
    assert!(status.message().contains("C does not serve pink"), "{status}");
    // Forged hops keep others from being asked, and the answer says so.
    let forged = pb::ForwardRequest { hops: vec!["B".into()], ..good() };
    let answer = client.forward(forged).await.unwrap().into_inner();
    assert_eq!(answer.result, "A|E|F-processed;D-processed;E-processed");
    assert_eq!(answer.missing[0].process_id, "B");
    cluster.whole_again().await;
}

#[tokio::test]
async fn a_stranger_cannot_speak_as_a_neighbour() {
    let cluster = Cluster::start(&[]).await;
    let mut client = OverlayServiceClient::new(cluster.channel('A').await);
    for name in [None, Some("Z"), Some("F"), Some("A")] {
        let mut request = tonic::Request::new(tokio_stream::empty());
        if let Some(name) = name {
            request.metadata_mut().insert("ensemble-from", name.parse().unwrap());
        }
        let status = client.link(request).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{name:?}");
    }
}

#[tokio::test]
async fn a_thousand_silent_connections_and_garbage_keep_nobody_from_being_served() {
    let mut cluster = Cluster::start(&[]).await;
    let address = cluster.address('A').to_owned();
    let silent: Vec<_> = (0..1000).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    assert_eq!(silent.len(), 1000);
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0xff; 100_000],
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let client = cluster.client('A').await;
    for _ in 0..20 {
        assert!(process(&client, b"x", PATIENCE).await.unwrap().complete);
    }
    let log = cluster.process('A').log();
    assert!(!log.contains("panicked"), "{log}");
    // They are closed by themselves.
    let mut last = silent.into_iter().next_back().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(last.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[tokio::test]
async fn a_deadline_in_the_call_itself_is_kept() {
    let mut cluster = Cluster::start(&[("OVERLAY_PATIENCE_MS", "60000")]).await;
    cluster.process('F').signal(rustix::process::Signal::STOP);
    let mut client = OverlayNodeClient::new(cluster.channel('A').await);
    let mut request = tonic::Request::new(Request { payload: "x".into(), hops: Vec::new() });
    request.set_timeout(Duration::from_millis(700));
    let answer = client.forward(request).await.unwrap().into_inner();
    assert_eq!(answer.result, "A|B|C-processed;B-processed;E|D-processed;E-processed");
}

#[tokio::test]
async fn a_request_that_never_comes_whole_is_given_up() {
    let mut cluster = Cluster::start(&[("CHASSIS_GRACE_MS", "60000")]).await;
    let mut client = tonic::client::Grpc::new(cluster.channel('A').await);
    client.ready().await.unwrap();
    let nothing = tonic::Request::new(tokio_stream::pending::<Request>());
    let path = PathAndQuery::from_static("/OverlayNode/Forward");
    let codec = ProstCodec::<Request, Response>::default();
    let calling = client.client_streaming(nothing, path, codec);
    let answer = tokio::time::timeout(PATIENCE, calling).await.expect("it is given up");
    assert_eq!(answer.unwrap_err().code(), Code::DeadlineExceeded);
    cluster.process('A').signal(rustix::process::Signal::TERM);
    assert!(cluster.process('A').ended(PATIENCE).await.success());
}
